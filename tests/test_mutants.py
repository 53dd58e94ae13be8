"""The suite can fail: each fault of mutants.toml, planted in a copy, turns it red."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())["mutant"]


def parameters():
    seen = set()
    for mutant in MUTANTS:
        marks = [pytest.mark.slow] if mutant["lesson"] in seen else []
        seen.add(mutant["lesson"])
        name = f"lesson {mutant['lesson']}: {mutant['fault_is']}"
        yield pytest.param(mutant, id=name, marks=marks)


@pytest.mark.parametrize("mutant", list(parameters()))
def test_a_planted_fault_is_caught(mutant, tmp_path):
    for folder in ("utils", "tests", "notebooks"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    file = tmp_path / mutant["file"]
    text = file.read_text()
    assert text.count(mutant["original"]) == 1, f"{mutant['file']} has changed"
    file.write_text(text.replace(mutant["original"], mutant["fault"]))

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-x", "-q", *mutant["tests"]],
        cwd=tmp_path,
        # Before the editable install, so that the copy is what gets imported.
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    # 1: tests ran and failed; anything else would be an accident.
    assert run.returncode == 1, run.stdout[-3000:] + run.stderr[-1000:]


def test_every_lesson_with_a_notebook_has_at_least_five_mutants():
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        lesson = int(notebook.name[:2])
        assert sum(mutant["lesson"] == lesson for mutant in MUTANTS) >= 5, notebook.name
