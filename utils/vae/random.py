"""Random numbers: from whatever is a seed to Keras or NumPy, on every device others."""

from numbers import Integral

import keras

from ..arguments import rng
from .backend import num_devices, this_device
from .speed import fast


def generator(seed=None):
    """Keras' generator, of whatever is a seed to Keras or NumPy.

    Parameters
    ----------
    seed : int, SeedSequence, generator of numpy.random or of Keras, optional
        An int modulo 2^32, negative ones as well. A generator moves on: Keras' own is
        used itself, one of NumPy for a number. Fresh entropy if left out.

    Returns
    -------
    keras.random.SeedGenerator

    Raises
    ------
    ValueError
        If it is none of these.
    """
    seed = reseeded(seed)
    if isinstance(seed, keras.random.SeedGenerator):
        return seed
    return keras.random.SeedGenerator(seed)


def reseeded(seed):
    """Return a seed as Keras takes it: its generator, an int below 2^32, or None.

    Parameters, and what is raised, are those of `generator`.
    """
    if seed is None or isinstance(seed, keras.random.SeedGenerator):
        return seed
    if isinstance(seed, Integral) and not isinstance(seed, bool):
        return int(seed) % 2**32
    return int(rng("seed", seed).integers(2**32))


def uniform(shape, seed):
    """Draw from U(0, 1).

    Parameters
    ----------
    shape : tuple of int or tensor
    seed
        As for `generator`. One of Keras or NumPy gives other numbers at every call.

    Returns
    -------
    tensor of floats, shape `shape`, in [0, 1)
    """
    return _draw("uniform", shape, seed)


def normal(shape, seed):
    """Draw from N(0, 1); parameters and result are as of `uniform`."""
    return _draw("normal", shape, seed)


def _draw(law, shape, seed):
    seed = reseeded(seed)
    if fast:
        return getattr(fast, law)(shape, seed)
    draw = getattr(keras.random, law)
    if num_devices() == 1:
        return draw(shape, seed=seed)
    # Every device holds the same generator, but draws for images of its own.
    return draw((num_devices(), *shape), seed=seed)[this_device()]
