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
    """

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
        logits = _full_precision(decoded)
        softplus = _sum_softplus(logits, len(x.shape) - 1)
        return _sum_pixels(x * logits, x) - softplus

    def mean(self, decoded):
        return ops.sigmoid(decoded)

    def sample(self, decoded, seed):
        return self.observe(self.mean(decoded), seed)


@keras.saving.register_keras_serializable(package="utils.vae")
class Gaussian(Likelihood):
    """Independent Gaussian pixels of one fixed standard deviation.

    Implements eq. (4.16), a density over images in [0, 1] whose mean is the
    decoder's output.

    Parameters
    ----------
    scale : float
        Standard deviation of the noise, in units of white minus black.

    Raises
    ------
    ValueError
        If `scale` is not positive and finite.
    """

    def __init__(self, scale=1.0):
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"scale is {scale!r}, but must be positive and finite.")
        self.scale = float(scale)

    def log_prob(self, x, decoded):
        residuals = (x - _full_precision(decoded)) / self.scale
        log_norm = math.log(self.scale) + 0.5 * math.log(2 * math.pi)
        return _sum_pixels(-0.5 * ops.square(residuals) - log_norm, x)

    def sample(self, decoded, seed):
        noise = keras.random.normal(ops.shape(decoded), seed=seed)
        return _full_precision(decoded) + self.scale * noise

    def get_config(self):
        return {"scale": self.scale}


def _full_precision(decoded):
    # Sums over pixels in full precision, whatever the layers compute in.
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


def check_positive_integer(name, value):
    """Raise a ValueError that names the argument, unless it is a positive integer."""
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value!r}, but must be a positive integer.")


def check_images(images, image_shape):
    """Return `images` as an array, or say what is wrong with them.

    Parameters
    ----------
    images : array-like, shape (N, *image_shape)
    image_shape : tuple of int

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If the shape differs, there is no image, or the values are neither bytes
        nor floats in [0, 1].
    """
    images = np.asarray(images)
    if images.shape[1:] != tuple(image_shape) or not len(images):
        raise ValueError(
            f"images has shape {images.shape}, but must be (N, "
            f"{', '.join(map(str, image_shape))}) with N at least 1."
        )
    if images.dtype != np.uint8 and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"images runs from {images.min()} to {images.max()} as {images.dtype}, "
            "but must be bytes (uint8, 0 to 255) or floats in [0, 1]."
        )
    return images
