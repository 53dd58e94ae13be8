"""The blocks name no backend: their tests pass on JAX as well.

All but those marked `one_backend`: they test what happens in NumPy and Python before
or after the backend is called, and what they call of it other tests call on JAX too.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this is JAX already")
def test_on_jax(tmp_path):
    chosen = ["-m", "not slow and not one_backend", "."]
    # Neither several processes nor notebooks, which pyproject.toml asks for.
    without = ["-o", "addopts=", "-p", "no:nbval", "-p", "no:cacheprovider"]
    # Compiling takes most of the time, the results almost none of it. What is left
    # out is how XLA makes code fast, not what it computes; the emitters of fused loops
    # take twice as long for it as what they replaced; and what two tests have in
    # common, such as the step of a small model, is compiled once.
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"
    settings = {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": flags,
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *without, *chosen],
        cwd=Path(__file__).parent,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


@pytest.mark.one_backend
def test_no_backend_is_named_but_in_one_place():
    folder = Path(__file__).parents[2] / "utils" / "vae"
    for path in set(folder.glob("*.py")) - {folder / "backend.py"}:
        for word in ("import tensorflow", "import jax", "import torch"):
            assert word not in path.read_text(), f"{path.name} says {word!r}"
