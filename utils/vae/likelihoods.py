"""Likelihoods p(x|z): what the output of a decoder means.

Each is a small object with one interface: ``observe`` turns images into what
is modelled, ``log_prob`` scores it in nats, ``mean`` and ``sample`` turn the
decoder's output into pictures.
"""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="utils.vae")
class Bernoulli:
    """Independent binary pixels, the decoder's output being their logits.

    Grey values are probabilities of a white pixel: ``observe`` draws a binary
    image from them, anew at each call (stochastic binarization; Salakhutdinov
    and Murray, 2008).
    """

    def observe(self, images, seed):
        """Binarize images on the device.

        Parameters
        ----------
        images : tensor, shape (batch, ...)
            Bytes 0 to 255, or floats in [0, 1].
        seed : int or keras.random.SeedGenerator

        Returns
        -------
        tensor of zeros and ones, the shape of `images`, floats
        """
        probabilities = _unit_interval(images)
        uniform = keras.random.uniform(ops.shape(images), seed=seed)
        return ops.cast(uniform < probabilities, keras.config.floatx())

    def log_prob(self, x, logits):
        """Log-likelihood in nats per image, implementing eq. (4.8).

        Parameters
        ----------
        x : tensor, shape (..., batch, height, width)
        logits : tensor that broadcasts with `x`

        Returns
        -------
        tensor, shape (..., batch)
            A sum over the pixels, both halves of the Bernoulli in one stable
            expression: x * logits - log(1 + exp(logits)).
        """
        x, logits = (ops.cast(a, keras.config.floatx()) for a in (x, logits))
        return ops.sum(x * logits - ops.softplus(logits), axis=(-2, -1))

    def mean(self, logits):
        """Probability of a white pixel, the shape of `logits`."""
        return ops.sigmoid(logits)

    def sample(self, logits, seed):
        """Binary images drawn from the likelihood, the shape of `logits`."""
        return self.observe(self.mean(logits), seed)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def _unit_interval(images):
    if keras.backend.is_int_dtype(images.dtype):
        return ops.cast(images, keras.config.floatx()) / 255.0
    return images


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
