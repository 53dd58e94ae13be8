"""The suite runs lessons in their short form, and never uses the network."""

import os

import pytest

# Notebook kernels inherit these.
os.environ["VI_PRESET"] = "smoke"
os.environ["VI_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "agg")

# Two processes with a thread of BLAS for each core wait for each other, spinning; on a
# busy machine, products of small matrices took ten times as long. Set before NumPy is
# imported, in xdist's controller for what it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What takes more than ten seconds, longest first: what is begun last should be short,
# or one process has nothing to do while the other ends.
LONGEST = [
    "test_backends.py",
    "test_site.py",
    "05_vae_svhn.ipynb",
    "04_vae_mnist.ipynb",
    "test_loop.py",
    "test_class.py",
    "test_devices.py",
    "test_learned_noise.py",
    "test_training.py",
    "03_mean_field.ipynb",
    "test_inputs.py",
    "test_model.py",
    "test_conditions.py",
    "test_posteriors.py",
    "test_priors.py",
    "test_readme.py",
    "test_mutants.py",
    "test_functionals.py",
]


def pytest_collection_modifyitems(items):
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(autouse=True)
def seeded():
    """Give every test the same random numbers, whatever ran before it."""
    import numpy as np

    np.random.seed(0)  # noqa: NPY002 (Keras initializers of seedless layers)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def uncompiled():
    """TensorFlow's functions run as they stand, untraced."""
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
