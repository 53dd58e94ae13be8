"""The suite runs lessons in their short form, and never uses the network."""

import os

import pytest

# Notebook kernels inherit these.
os.environ["VI_PRESET"] = "smoke"
os.environ["VI_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "agg")


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
