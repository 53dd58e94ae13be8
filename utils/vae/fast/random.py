"""Random numbers that compile well, and are the same on every backend but torch.

A counter-based generator: the n-th number is a hash of n, of the seed, and of how
often the seed was used. Nothing is carried from one number to the next, so that a
compiler can fuse drawing with whatever uses the number. Of a training step of a small
network, under XLA on a CPU, TensorFlow's Philox takes a third and Keras' default most.
"""

import math

import keras
import numpy as np
from keras import ops

from ..backend import this_device


def uniform(shape, seed):
    """Draw from U(0, 1).

    Parameters
    ----------
    shape : tuple of int or tensor
    seed : keras.random.SeedGenerator, int below 2^32, or None

    Returns
    -------
    tensor of floats, multiples of 2^-24 in [0, 1)
    """
    if _has_no_words():
        return keras.random.uniform(shape, seed=seed)
    return _fraction(shape, seed, bits=24)


def normal(shape, seed):
    """Draw from N(0, 1), by the inverse of its distribution function.

    Parameters
    ----------
    shape, seed
        As for `uniform`.

    Returns
    -------
    tensor of floats, at most 5.3 from zero
    """
    if _has_no_words():
        return keras.random.normal(shape, seed=seed)
    # The middles of 2^23 intervals: the ends, where the inverse is infinite, stay
    # out of reach even where it is computed by way of (1 + x) / 2, rounded.
    x = 2 * _fraction(shape, seed, bits=23) - (1 - 2.0**-23)
    return math.sqrt(2) * ops.erfinv(x)


def _has_no_words():
    return keras.backend.backend() == "torch"  # no arithmetic on unsigned integers


def _fraction(shape, seed, bits):
    """The first bits of a random word, as a number in [0, 1)."""
    high_bits = ops.right_shift(_hash(shape, seed), np.uint32(32 - bits))
    # By way of int32, which processors turn into floats fastest.
    fraction = ops.cast(ops.cast(high_bits, "int32"), "float32") * 2.0**-bits
    return ops.cast(fraction, keras.config.floatx())


def _hash(shape, seed):
    """Return random words, the first output of ``pcg3d`` on (n, seed, times used).

    Source: Jarzynski and Olano (2020), "Hash Functions for GPU Rendering", Journal
    of Computer Graphics Techniques 9(3).
    """
    # All sums and products wrap around, by design.
    x = ops.cast(ops.arange(_product(shape), dtype="int32"), "uint32")
    y, z = _words(seed)
    x, y, z = (v * np.uint32(1664525) + np.uint32(1013904223) for v in (x, y, z))
    x = x + y * z
    y = y + z * x
    z = z + x * y
    x, y, z = (ops.bitwise_xor(v, ops.right_shift(v, np.uint32(16))) for v in (x, y, z))
    return ops.reshape(x + y * z, shape)


def _product(shape):
    product = 1
    for side in shape:  # numbers, or tensors where a batch may have any size
        product = product * side
    return product


def _words(seed):
    if seed is None:
        seed = keras.random.SeedGenerator()
    if isinstance(seed, keras.random.SeedGenerator):
        first, second = ops.unstack(ops.cast(seed.next(), "uint32"))
    else:
        first, second = ops.unstack(np.array([seed, 0], "uint32"))
    # Every device holds the same generators, but draws for images of its own.
    device = ops.cast(this_device(), "uint32")
    return first + device * np.uint32(0x9E3779B9), second
