# The commands of this project; the README says when to use which.
# Every target sets .venv up first, and at once if it is up already.

PRESET ?= $(or $(VI_PRESET),default)
export VI_PRESET := $(PRESET)

BIN := .venv/bin
LESSONS := $(sort $(wildcard notebooks/0$(LESSON)*.ipynb))
$(if $(LESSONS),,$(error LESSON is $(LESSON), but must be the number of a lesson, such as 4))
SIDE_ROADS := $(sort $(wildcard notebooks/further/0$(LESSON)*.ipynb))
EXECUTED := $(LESSONS:notebooks/%=build/lessons/%)
EXECUTED_SIDE_ROADS := $(SIDE_ROADS:notebooks/%=build/lessons/%)
SOURCES := $(shell find utils -name '*.py')
# What the site shows of side roads: their committed outputs, or those of this machine.
SHOWN := $(if $(filter 1,$(FURTHER)),$(EXECUTED_SIDE_ROADS),$(SIDE_ROADS))
# What an executed lesson depends on besides its code.
SETTINGS := $(VI_PRESET)|$(VI_DATA)|$(VI_OFFLINE)|$(KERAS_BACKEND)

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test lab class grades outputs mutants bench results lock clean chromium FORCE

help:
	@echo "make run                execute the lessons, build the site under build/site"
	@echo "make run PRESET=full    the same in the long form (PRESET=smoke: the short one)"
	@echo "make run FURTHER=1      execute the side roads of the lessons, too"
	@echo "make run LESSON=4       execute one lesson alone (FURTHER=1: and its side road)"
	@echo "make test               everything that CI runs"
	@echo "make lab                open the lessons in JupyterLab"
	@echo "make class              copies for students and teachers, slides: build/class/"
	@echo "make grades             grade a solved, an untouched and a half-done copy of each lesson"
	@echo "make outputs            execute lessons and side roads, keep the outputs in notebooks/"
	@echo "make mutants            plant every listed fault, expect each to be caught"
	@echo "make bench              time training beside Keras and PyTorch (needs the data)"
	@echo "make results            reach the papers' figures (hours; stop and go on at will)"
	@echo "make lock               renew requirements.lock from requirements.txt"
	@echo "make clean              remove build/ and .venv/"

ifdef LESSON
run: $(EXECUTED) $(filter build/%,$(SHOWN))
	@echo "Executed, to open in JupyterLab (make lab): $^"
else
run: build/site/index.html
	@echo "The executed lessons: file://$(CURDIR)/build/site/index.html"
endif

test: .venv/ready chromium
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

lab: .venv/ready
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks

class: .venv/ready
	PYTHONPATH=notebooks $(BIN)/python -m publish.classroom build/class

grades: .venv/ready
	$(BIN)/python -m pytest tests/test_class.py -n0 -m "slow or not slow" -k marks_of_every -v

# Rewrites the committed notebooks: run it with the real data (VI_DATA, or the
# network) and the default preset.
outputs: $(EXECUTED) $(EXECUTED_SIDE_ROADS)
	cp $(EXECUTED) notebooks/
	$(if $(SIDE_ROADS),cp $(EXECUTED_SIDE_ROADS) notebooks/further/)
	touch $^
	PYTHONPATH=notebooks $(BIN)/python -m publish.pictures

mutants: .venv/ready
	$(BIN)/python -m pytest tests/test_mutants.py -n0 -m "slow or not slow" -v

bench: .venv/ready
	$(BIN)/python -m pip install --disable-pip-version-check --quiet \
	  --requirement tests/benchmarks/requirements.txt
	$(BIN)/python tests/benchmarks/bench.py $(CASES)

results: .venv/ready
	$(BIN)/python tests/benchmarks/results.py $(EXPERIMENTS)

lock: .venv/ready
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --no-annotate --upgrade requirements.txt --output-file requirements.lock

clean:
	rm -rf build .venv

# --- set-up ---------------------------------------------------------------

define FIND_PYTHON
for python in "$(PYTHON)" python3.11 python3.12 python3.13 python3 python; do \
  if [ -n "$$python" ] && "$$python" -c 'import sys, venv; \
    sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
  then break; fi; python=; \
done; \
if [ -z "$$python" ]; then \
  echo "Python 3.11, 3.12 or 3.13 is needed and was not found." >&2; \
  echo "Install one from https://www.python.org, or name it: make PYTHON=/path/to/python3.11" >&2; \
  exit 1; \
fi
endef

.venv/ready: requirements.lock pyproject.toml
	@$(FIND_PYTHON); echo "Setting up .venv with $$($$python --version): a few minutes, once."; \
	"$$python" -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on \
	  --requirement requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet \
	  --no-deps --no-build-isolation --editable .
	@# Kernels warn of unencrypted TCP at every start; here it stays on this machine.
	@mkdir -p .venv/etc/ipython && echo 'c.Application.log_level = 40' \
	  > .venv/etc/ipython/ipython_kernel_config.py
	@touch $@

# The tests read the site in Chromium. Where it is missing and cannot be installed,
# they say so and skip.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	command -v google-chrome >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  echo "Installing Chromium for the tests of the site, once." && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -qq -y chromium >/dev/null; } || \
	  echo "Chromium was not found: the tests that read the site in it will skip." \
	    "Root can install it (Debian: apt-get install chromium); Chrome will do, as google-chrome."

# --- execution and site ---------------------------------------------------

build/settings: NOTE = $(SETTINGS)
build/shown: NOTE = $(EXECUTED) $(SHOWN)
build/settings build/shown: FORCE
	@mkdir -p build
	@echo '$(NOTE)' | cmp -s - $@ || echo '$(NOTE)' > $@

build/lessons/%.ipynb: notebooks/%.ipynb $(SOURCES) build/settings .venv/ready
	@mkdir -p $(@D)
	@echo "$* (preset $(VI_PRESET))"
	@trap 'rm -f build/executing.ipynb; exit 1' INT TERM; \
	$(BIN)/papermill --cwd $(<D) --log-output --progress-bar \
	  $< build/executing.ipynb || { rm -f build/executing.ipynb; exit 1; }
	@# Keep of each progress bar its end, of sliders (which a file cannot hold) none,
	@# of the metadata what a reader needs.
	@$(BIN)/jupyter nbconvert --log-level=WARN --to notebook --stdout \
	  --CoalesceStreamsPreprocessor.enabled=True \
	  --TagRemovePreprocessor.enabled=True \
	  --TagRemovePreprocessor.remove_all_outputs_tags='["remove-output"]' \
	  --ClearMetadataPreprocessor.enabled=True \
	  --ClearMetadataPreprocessor.preserve_cell_metadata_mask='["tags", "jupyter"]' \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask='["kernelspec"]' \
	  build/executing.ipynb > build/executed.ipynb
	@# nbconvert clears the metadata of code cells only.
	@$(BIN)/python -c "import nbformat, sys; lesson = nbformat.read(sys.argv[1], 4); \
	  [cell.metadata.pop('papermill', None) for cell in lesson.cells]; \
	  nbformat.write(lesson, sys.argv[1])" build/executed.ipynb
	@rm build/executing.ipynb && mv build/executed.ipynb $@

build/site/index.html: $(EXECUTED) $(SHOWN) build/shown README.md \
  $(wildcard notebooks/publish/site/*.*) notebooks/publish/lessons.py \
  notebooks/publish/pictures.py notebooks/pictures/road.png
	@rm -rf build/pages build/site && mkdir -p build/pages/further
	@cp $(EXECUTED) build/pages/
	@$(if $(SHOWN),cp $(SHOWN) build/pages/further/)
	@$(BIN)/sphinx-build -q -E -W $(if $(filter 1,$(FURTHER)),-t further) \
	  -c notebooks/publish/site build/pages build/site
