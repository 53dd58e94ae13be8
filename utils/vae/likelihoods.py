"""Likelihoods p(x|z): what the output of a decoder means.

Each is a small object with the interface of `Likelihood`, so that a model can be
trained, scored and drawn from without knowing which one it has.
"""

import math

import keras
import numpy as np
from keras import ops

from .random import uniform


class Likelihood:
    """Interface of a likelihood, and what all of them share.

    A subclass scores with ``log_prob(x, decoded)`` and draws with
    ``sample(decoded, seed)``; one that models something other than the images
    in [0, 1], or whose decoder does not end in the mean, overrides the rest.

    Attributes
    ----------
    scores : {"density", "bytes", None}
        What `log_prob` is the logarithm of, for `bits_per_dim`: a density of
        dequantized bytes, the probability of bytes, or neither.
    """

    scores = None

    def observe(self, images, seed):
        """Turn images into what is modelled.

        Parameters
        ----------
        images : tensor, shape (batch, ...)
            Bytes 0 to 255, or floats in [0, 1].
        seed : int or keras.random.SeedGenerator
            For likelihoods whose observation is random.

        Returns
        -------
        tensor of floats, the shape of `images`
        """
        if keras.backend.is_int_dtype(images.dtype):
            return ops.cast(images, keras.config.floatx()) / 255.0
        return ops.cast(images, keras.config.floatx())

    def log_prob(self, x, decoded):
        """Log-likelihood in nats per image, summed over pixels.

        Parameters
        ----------
        x : tensor, shape (batch, *image_shape)
            As `observe` returns it.
        decoded : tensor, shape (..., batch, *image_shape)
            Output of the decoder; the axes in front count latent draws.

        Returns
        -------
        tensor, shape (..., batch)
        """
        raise NotImplementedError

    def mean(self, decoded):
        """Mean of the likelihood, the shape of `decoded`: a picture."""
        return decoded

    def sample(self, decoded, seed):
        """Draw from the likelihood, the shape of `decoded`."""
        raise NotImplementedError

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable(package="utils.vae")
class Bernoulli(Likelihood):
    """Independent binary pixels, the decoder's output being their logits.

    Implements eq. (4.17). Grey values are probabilities of a white pixel:
    ``observe`` draws a binary image from them on the device, anew at each call
    (stochastic binarization; Salakhutdinov and Murray, 2008).
    """

    def observe(self, images, seed):
        """Binarize images: zeros and ones, as floats."""
        probabilities = super().observe(images, seed)
        threshold = uniform(ops.shape(images), seed)
        return ops.cast(threshold < probabilities, keras.config.floatx())

    def log_prob(self, x, decoded):
        # Both halves of the Bernoulli in one stable expression.
        logits = full_precision(decoded)
        softplus = _sum_softplus(logits, len(x.shape) - 1)
        return _sum_pixels(x * logits, x) - softplus

    def mean(self, decoded):
        return ops.sigmoid(decoded)

    def sample(self, decoded, seed):
        return self.observe(self.mean(decoded), seed)


class Dequantized:
    """Mix-in of densities, which bytes need to be spread out for.

    A density of numbers that only take 256 values can be made as large as one
    likes, by ever narrower peaks on them. Spread evenly over the width of a byte,
    it cannot: its mean logarithm is then a lower bound of the bytes' log-probability,
    up to the constant that `bits_per_dim` adds (Theis, van den Oord and Bethge,
    2016, section 3.1).

    Attributes
    ----------
    dequantize : bool
        Whether ``observe`` turns a byte into (byte + u) / 256, u from U(0, 1), anew
        at each call. Floats are taken as they are: spread out before.
    """

    dequantize = False

    @property
    def scores(self):
        return "density" if self.dequantize else None

    def observe(self, images, seed):
        """Turn images into floats in [0, 1], spread out if so asked."""
        if self.dequantize and keras.backend.is_int_dtype(images.dtype):
            u = uniform(ops.shape(images), seed)
            return (ops.cast(images, keras.config.floatx()) + u) / 256.0
        return super().observe(images, seed)


@keras.saving.register_keras_serializable(package="utils.vae")
class Gaussian(Dequantized, Likelihood):
    """Independent Gaussian pixels of one fixed standard deviation.

    Implements eq. (4.16), a density over images in [0, 1] whose mean is the
    decoder's output.

    Parameters
    ----------
    scale : float
        Standard deviation of the noise, in units of white minus black.
    dequantize : bool
        As for `Dequantized`.

    Raises
    ------
    ValueError
        If `scale` is not positive and finite.
    """

    def __init__(self, scale=1.0, *, dequantize=False):
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"scale is {scale!r}, but must be positive and finite.")
        self.scale = float(scale)
        self.dequantize = bool(dequantize)

    def log_prob(self, x, decoded):
        residuals = (x - full_precision(decoded)) / self.scale
        log_norm = math.log(self.scale) + 0.5 * math.log(2 * math.pi)
        return _sum_pixels(-0.5 * ops.square(residuals) - log_norm, x)

    def sample(self, decoded, seed):
        noise = keras.random.normal(ops.shape(decoded), seed=seed)
        return full_precision(decoded) + self.scale * noise

    def get_config(self):
        return {"scale": self.scale, "dequantize": self.dequantize}


def full_precision(decoded):
    """Cast what a decoder gives: sums over pixels are never in half precision."""
    return ops.cast(decoded, keras.config.floatx())


def _sum_pixels(terms, x):
    return ops.sum(terms, axis=tuple(range(1 - len(x.shape), 0)))


def _sum_softplus(logits, axes):
    """Sum ``log(1 + exp(logits))`` over the last `axes` axes.

    Logarithms cost more than the rest: one is taken of the product of up to 32
    factors, each between 1 and 2, instead of the sum of as many.
    """
    shape = ops.shape(logits)
    kept, pixels = shape[:-axes], math.prod(logits.shape[-axes:])
    group = math.gcd(pixels, 32)

    @ops.custom_gradient
    def total(logits):
        flat = ops.reshape(logits, (*kept, pixels // group, group))
        logs = ops.log(ops.prod(1 + ops.exp(-ops.abs(flat)), axis=-1))

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            each = ops.reshape(upstream, (*kept, *[1] * axes))
            return each * ops.sigmoid(logits)

        return ops.sum(ops.relu(flat), axis=(-2, -1)) + ops.sum(logs, -1), gradient

    return total(logits)


def bits_per_dim(log_prob, num_dims, *, of):
    """Turn nats per image into bits per dimension, the unit of published scores.

    Either way an upper bound of -log2 P(bytes) / num_dims, if `log_prob` is a lower
    bound of what `of` says, so that scores of both kinds may be compared.

    Parameters
    ----------
    log_prob : float or array
        Log-likelihood, or a bound of it, in nats per image.
    num_dims : int
        Pixels times channels.
    of : {"density", "bytes"} or Likelihood
        "density" for the log density, over [0, 1]^num_dims, of dequantized bytes
        (byte + u) / 256: to the density of a cell belong the 8 bits of its size.
        "bytes" for the log-probability of the bytes themselves. A likelihood
        knows which of the two it scores. There is no default: the two differ by 8.

    Returns
    -------
    float or array, as `log_prob`

    Raises
    ------
    ValueError
        If `of` is none of these, or a likelihood that scores neither: binarized
        images, or bytes that were not dequantized.

    Notes
    -----
    Source: Theis, van den Oord and Bethge (2016), section 3.1.

    Examples
    --------
    >>> bits_per_dim(0.0, 3072, of="density")  # the uniform density
    8.0
    """
    check_positive_integer("num_dims", num_dims)
    kind = of.scores if isinstance(of, Likelihood) else of
    if kind not in ("density", "bytes"):
        raise ValueError(
            f"of is {of!r}, but must be 'density' (of dequantized bytes in [0, 1]), "
            "'bytes' (their probability), or a likelihood of either: a Gaussian "
            "needs dequantize=True for that."
        )
    return (8.0 if kind == "density" else 0.0) - log_prob / (num_dims * math.log(2))


def check_positive_integer(name, value):
    """Return a positive integer, or raise a ValueError that names the argument."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(f"{name} is {value!r}, but must be a positive integer.")
    return int(value)


def check_sizes(name, value, at_least=0):
    """Return a tuple of positive integers, or raise a ValueError that names it.

    Parameters
    ----------
    name : str
    value : sequence of int
    at_least : int
        How many there must be.

    Returns
    -------
    tuple of int
    """
    try:
        sizes = tuple(check_positive_integer(name, size) for size in value)
    except (TypeError, ValueError):
        sizes = None
    if sizes is None or len(sizes) < at_least:
        raise ValueError(
            f"{name} is {value!r}, but must be a sequence of positive integers, "
            "such as (32,) or (32, 32)."
        )
    return sizes


def check_images(images, image_shape):
    """Return `images` as an array, or say what is wrong with them.

    Parameters
    ----------
    images : array-like, shape (N, *image_shape)
        Of one axis, `image_shape` is that of vectors, such as principal components,
        which may be any finite floats.
    image_shape : tuple of int

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If the shape differs, there is no image, or the values are neither bytes
        nor floats in [0, 1], nor the finite floats of a vector.
    """
    images = np.asarray(images)
    if images.shape[1:] != tuple(image_shape) or not len(images):
        raise ValueError(
            f"images has shape {images.shape}, but must be (N, "
            f"{', '.join(map(str, image_shape))}) with N at least 1."
        )
    if images.dtype == np.uint8:
        return images
    low, high = images.min(), images.max()
    if len(image_shape) == 1 and not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"images runs from {low} to {high}, but must be finite.")
    if len(image_shape) > 1 and not (low >= 0 and high <= 1):
        raise ValueError(
            f"images runs from {low} to {high} as {images.dtype}, "
            "but must be bytes (uint8, 0 to 255) or floats in [0, 1]."
        )
    return images
