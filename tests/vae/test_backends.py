"""The blocks name no backend, and need nothing of the folder `fast`: both are tried.

On JAX without `fast`, all tests but those marked `one_backend`, which test what happens
in NumPy and Python before or after the backend is called, and what they call of it
other tests call on JAX too; on JAX with it, those of what it draws. What of it
TensorFlow uses, the fixture `with_and_without_fast` takes away.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from utils.vae.speed import fast

import keras
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not fast, reason="this is a pass already"
)


@pytest.fixture(scope="module")
def without_fast(tmp_path_factory):
    """A copy of the package and its tests, the folder deleted."""
    copy = tmp_path_factory.mktemp("without_fast")
    skipped = shutil.ignore_patterns("fast", "__pycache__")
    for folder in ("utils", "tests/vae"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", copy)
    assert not (copy / "utils/vae/fast").exists()
    return copy


@pytest.fixture(scope="module")
def run_on_jax(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))

    def run(root, *files):
        chosen = ["-m", "not slow and not one_backend", *files]
        # Neither several processes nor notebooks, which pyproject.toml asks for.
        without = ["-o", "addopts=", "-p", "no:nbval", "-p", "no:cacheprovider"]
        without += ["--assert=plain"]  # to rewrite what is run once takes seconds
        # Compiling takes most of the time, the results almost none of it. What is left
        # out is how XLA makes code fast, not what it computes; the emitters of fused
        # loops take twice as long for it as what they replaced; and what two tests
        # have in common, such as the step of a small model, is compiled once.
        flags = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"
        settings = {
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": str(root),
            "XLA_FLAGS": flags,
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        found = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *without, *chosen],
            cwd=root / "tests/vae",
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stdout[-5000:] + found.stderr[-2000:]

    return run


@pytest.mark.one_backend
def test_on_jax_without_fast(run_on_jax, without_fast):
    run_on_jax(without_fast, ".")


@pytest.mark.one_backend
def test_what_fast_draws_on_jax(run_on_jax):
    run_on_jax(ROOT, "fast")


@pytest.mark.one_backend
def test_no_backend_is_named_but_in_one_place():
    folder = ROOT / "utils/vae"
    for path in set(folder.glob("*.py")) - {folder / "backend.py"}:
        for word in ("import tensorflow", "import jax", "import torch"):
            assert word not in path.read_text(), f"{path.name} says {word!r}"


@pytest.mark.one_backend
def test_one_file_knows_of_fast():
    folder = ROOT / "utils/vae"
    for path in set(folder.glob("*.py")) - {folder / "speed.py"}:
        for word in ("from .fast", "from . import fast", "utils.vae.fast import"):
            assert word not in path.read_text(), f"{path.name} says {word!r}"
