"""Likelihoods p(x|z): what the output of a decoder means.

Each is a small object with the interface of `Likelihood`, so that a model can be
trained, scored and drawn from without knowing which one it has.
"""

import math
import reprlib
import warnings

import keras
import numpy as np
from keras import ops

from ..arguments import boolean, integer, plain_array, real, real_array
from .random import reseeded, uniform

REMEDY = (
    'Numbers from 0 to 255 become bytes by astype("uint8"), in a tf.data set by '
    'map(lambda x: tf.cast(x, "uint8")); or divide them by 255.'
)


class Likelihood:
    """Interface of a likelihood, and what all of them share.

    A subclass scores with ``log_prob(x, decoded)`` and draws with
    ``sample(decoded, seed)``; one that models something other than the images
    in [0, 1], or whose decoder does not end in the mean, overrides the rest. To be
    saved with a model and loaded again, it must be registered, and have its
    settings in ``get_config``.

    Attributes
    ----------
    scores : {"density", "bytes", None}
        What `log_prob` is the logarithm of, for `bits_per_dim`: a density of
        dequantized bytes, the probability of bytes, or neither.
    any_vector : bool
        Whether vectors, which have one axis, may be any finite floats, such as
        principal components. Other vectors, and all images, must be in [0, 1].
    link : {"logit", "identity", None}
        With which `dense_decoder` and `conv_decoder` build the decoder; None for a
        decoder of another kind.

    Examples
    --------
    >>> @keras.saving.register_keras_serializable(package="mine")
    ... class Laplace(Likelihood):
    ...     link = "identity"
    ...
    ...     def log_prob(self, x, decoded):
    ...         terms = -ops.abs(x - decoded) - math.log(2)
    ...         return ops.sum(terms, axis=(-2, -1))  # of grey images
    >>> at_its_peak = Laplace().log_prob(np.ones((1, 2, 2)), np.ones((1, 2, 2)))
    >>> round(float(at_its_peak[0]) / math.log(2), 4)
    -4.0
    """

    scores = None
    any_vector = False
    link = None

    def observe(self, images, seed):
        """Turn images into what is modelled.

        Parameters
        ----------
        images : tensor, shape (batch, ...)
            Bytes 0 to 255, or floats in [0, 1].
        seed : int or keras.random.SeedGenerator
            For likelihoods whose observation is random; or as for `VAE`.

        Returns
        -------
        tensor of floats, the shape of `images`

        Raises
        ------
        ValueError
            If the type of the images is neither uint8, nor bool or that of floats.
        """
        bytes_ = _are_bytes(images)
        images = ops.cast(images, keras.config.floatx())
        return images / 255.0 if bytes_ else images

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

    def __repr__(self):
        settings = self.get_config().items()
        settings = (f"{name}={reprlib.repr(value)}" for name, value in settings)
        return f"{type(self).__name__}({', '.join(settings)})"

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable(package="utils.vae")
class Bernoulli(Likelihood):
    """Independent binary pixels, the decoder's output being their logits.

    Implements eq. (4.17). Build the decoder with ``link="logit"``. Grey values are
    probabilities of a white pixel: ``observe`` draws a binary image from them on the
    device, anew at each call (stochastic binarization; Salakhutdinov and Murray,
    2008).
    """

    link = "logit"

    def observe(self, images, seed):
        """Binarize images: zeros and ones, as floats."""
        probabilities = super().observe(images, seed)
        threshold = uniform(ops.shape(images), seed)
        return ops.cast(threshold < probabilities, keras.config.floatx())

    def log_prob(self, x, decoded):
        # Both halves of the Bernoulli in one stable expression.
        logits = matched(decoded, x)
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
    link = "identity"

    @property
    def any_vector(self):
        return not self.dequantize

    @property
    def scores(self):
        return "density" if self.dequantize else None

    def observe(self, images, seed):
        """Turn images into floats in [0, 1], spread out if so asked."""
        if self.dequantize and _are_bytes(images):
            u = uniform(ops.shape(images), seed)
            return (ops.cast(images, keras.config.floatx()) + u) / 256.0
        return super().observe(images, seed)


@keras.saving.register_keras_serializable(package="utils.vae")
class Gaussian(Dequantized, Likelihood):
    """Independent Gaussian pixels of one fixed standard deviation.

    Implements eq. (4.16), a density over images in [0, 1] whose mean is the
    decoder's output: build the decoder with ``link="identity"``.

    Parameters
    ----------
    scale : float
        Standard deviation of the noise, in units of white minus black.
    dequantize : bool
        As for `Dequantized`.

    Raises
    ------
    ValueError
        If `scale` is not positive and finite, or `dequantize` no bool.
    """

    def __init__(self, scale=1.0, *, dequantize=False):
        self.scale = real("scale", scale, above=0)
        self.dequantize = boolean("dequantize", dequantize)

    def log_prob(self, x, decoded):
        residuals = (x - matched(decoded, x)) / self.scale
        log_norm = math.log(self.scale) + 0.5 * math.log(2 * math.pi)
        return _sum_pixels(-0.5 * ops.square(residuals) - log_norm, x)

    def sample(self, decoded, seed):
        noise = keras.random.normal(ops.shape(decoded), seed=reseeded(seed))
        return full_precision(decoded) + self.scale * noise

    def get_config(self):
        return {"scale": self.scale, "dequantize": self.dequantize}


def full_precision(decoded):
    """Cast what a decoder gives: sums over pixels are never in half precision."""
    return ops.cast(decoded, keras.config.floatx())


def matched(decoded, x, outputs_per_pixel=1):
    """Return what a decoder gives in full precision, if it suits the images `x`.

    What only broadcasts, such as grey means of colour images, would be scored as if
    it were right.
    """
    image_shape, given = tuple(x.shape[1:]), tuple(decoded.shape)
    if None not in image_shape:
        expected = (*image_shape[:-1], image_shape[-1] * outputs_per_pixel)
        if given[-len(expected) :] != expected:
            raise ValueError(
                f"decoded has shape {given}, but must end in {expected}: build the "
                f"decoder with image_shape={image_shape} and "
                f"outputs_per_pixel={outputs_per_pixel}."
            )
    return full_precision(decoded)


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
    log_prob : float, array or tensor
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
        images, or bytes that were not dequantized; if `num_dims` is no positive
        integer, or `log_prob` is not finite.

    Notes
    -----
    Source: Theis, van den Oord and Bethge (2016), section 3.1.

    Examples
    --------
    >>> bits_per_dim(0.0, 3072, of="density")  # the uniform density
    8.0
    """
    num_dims = integer("num_dims", num_dims)
    log_prob = _checked_log_prob(log_prob)
    kind = of.scores if isinstance(of, Likelihood) else of
    if not isinstance(kind, str) or kind not in ("density", "bytes"):
        raise ValueError(
            f"of is {of!r}, but must be 'density' (of dequantized bytes in [0, 1]), "
            "'bytes' (their probability), or a likelihood of either: a Gaussian "
            "needs dequantize=True for that."
        )
    return (8.0 if kind == "density" else 0.0) - log_prob / (num_dims * math.log(2))


def _checked_log_prob(log_prob):
    if ops.is_tensor(log_prob):
        return log_prob
    checked = real_array("log_prob", log_prob)
    return checked if checked.ndim else float(checked)


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
        sizes = tuple(integer(name, size) for size in value)
    except (TypeError, ValueError):
        sizes = None
    if sizes is None or len(sizes) < at_least:
        raise ValueError(
            f"{name} is {value!r}, but must be a sequence of positive integers, "
            "such as (32,) or (32, 32)."
        )
    return sizes


def check_images(images, image_shape, *, any_vector=False, name="images"):
    """Return `images` as an array, or say what is wrong with them.

    Parameters
    ----------
    images : array-like, shape (N, *image_shape)
        An array, a tensor, a data frame, or a list of any of them.
    image_shape : tuple of int
    any_vector : bool
        Whether images of one axis, which are vectors such as principal components,
        may be any finite floats: as for `Likelihood`.
    name : str
        Of the argument, for the error.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If the shape differs, there is no image, some are masked, or the values are
        neither bytes nor floats in [0, 1], nor the finite floats of a vector.

    Warns
    -----
    UserWarning
        If bytes look like zeros and ones: all of them nearly black.
    """
    given, images = images, plain_array(name, images)
    if not images.ndim:
        raise ValueError(
            f"{name} is a {type(given).__name__}, but must be an array of shape (N, "
            f"{', '.join(map(str, image_shape))})."
        )
    if images.shape[1:] != tuple(image_shape) or not len(images):
        raise ValueError(
            f"{name} has shape {images.shape}, but must be (N, "
            f"{', '.join(map(str, image_shape))}) with N at least 1."
        )
    if _are_bytes(images, name):
        if images[:100].max() == 1:  # a few, as the rest may be larger than memory
            warnings.warn(
                f"{name} are bytes of 0 and 1, of which 255 would be white: if 1 is "
                "meant to be white, turn them into bool or float.",
                stacklevel=4,  # of a method of VAE, of what the user called
            )
        return images
    low, high = images.min(), images.max()
    if any_vector and len(image_shape) == 1:
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"{name} runs from {low} to {high}, but must be finite.")
    elif not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name} runs from {low} to {high} as {images.dtype}, but must be bytes "
            f"(uint8, 0 to 255) or floats in [0, 1]. {REMEDY}"
        )
    return images


def _are_bytes(images, name="images"):
    """Tell bytes from booleans and floats, and refuse other types.

    Of a tensor that stands for numbers yet to come, the type is known as well.
    """
    kind = str(getattr(images.dtype, "name", images.dtype)).split(".")[-1]
    if not kind.startswith(("uint8", "bool", "float", "bfloat")):
        raise ValueError(
            f"{name} is of type {kind}, but must be bytes (uint8, 0 to 255), booleans "
            f"or floats. {REMEDY}"
        )
    return kind == "uint8"
