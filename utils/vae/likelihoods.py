"""Likelihoods p(x|z): what the output of a decoder means.

Each is a small object with the interface of `Likelihood`, so that a model can be
trained, scored and drawn from without knowing which one it has.
"""

import math
import reprlib

import keras
import numpy as np
from keras import ops

from ..arguments import boolean, integer, integers, real, real_array
from .data import is_bytes
from .gaussian import checked, gaussian_log_prob
from .random import normal, uniform

# The lower end is the spread of a byte: uniform over 1/256, it has deviation 0.0011.
BOUNDS = (1e-3, 10.0)


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
        bytes_ = is_bytes(images)
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

    Implements eq. (4.12). Build the decoder with ``link="logit"``. Grey values are
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


@keras.saving.register_keras_serializable(package="utils.vae")
class Categorical(Likelihood):
    """Independent pixels of a few levels, each of a probability of its own.

    Bytes are cut into `num_levels` intervals of one width. The decoder's output has
    one axis more than the image: the last holds the logits of the levels.

    Parameters
    ----------
    num_levels : int
        From 2 to 256: with 256 bytes are modelled as they are.

    Raises
    ------
    ValueError
        If `num_levels` is no such integer. By `log_prob`: if the decoder's output has
        not the shape of the images and an axis of `num_levels`.

    Notes
    -----
    Source: van den Oord, Kalchbrenner and Kavukcuoglu (2016), section 3.
    """

    def __init__(self, num_levels=256):
        self.num_levels = integer("num_levels", num_levels, least=2, most=256)

    @property
    def scores(self):
        return "bytes" if self.num_levels == 256 else None

    def observe(self, images, seed):
        """Turn images into levels, from 0 for the lowest to 1 for the highest."""
        bytes_ = ops.round(255 * super().observe(images, seed))
        return ops.floor(bytes_ * self.num_levels / 256) / (self.num_levels - 1)

    def log_prob(self, x, decoded):
        expected = (*x.shape[1:], self.num_levels)
        if None not in expected and tuple(decoded.shape)[-len(expected) :] != expected:
            raise ValueError(
                f"decoded has shape {tuple(decoded.shape)}, but must end in {expected}:"
                " the logits of each pixel's levels."
            )
        log_probs = ops.log_softmax(full_precision(decoded), axis=-1)
        level = ops.cast(ops.round(x * (self.num_levels - 1)), "int32")
        chosen = ops.one_hot(level, self.num_levels, dtype=log_probs.dtype)
        return ops.sum(log_probs * chosen, axis=tuple(range(-len(expected), 0)))

    def mean(self, decoded):
        levels = np.linspace(0, 1, self.num_levels, dtype=keras.config.floatx())
        return ops.sum(ops.softmax(full_precision(decoded)) * levels, axis=-1)

    def sample(self, decoded, seed):
        gumbel = -ops.log(-ops.log(uniform(ops.shape(decoded), seed)))
        level = ops.argmax(full_precision(decoded) + gumbel, axis=-1)
        return ops.cast(level, keras.config.floatx()) / (self.num_levels - 1)

    def get_config(self):
        return {"num_levels": self.num_levels}


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
        if self.dequantize and is_bytes(images):
            u = uniform(ops.shape(images), seed)
            return (ops.cast(images, keras.config.floatx()) + u) / 256.0
        return super().observe(images, seed)


@keras.saving.register_keras_serializable(package="utils.vae")
class Gaussian(Dequantized, Likelihood):
    """Independent Gaussian pixels of one fixed standard deviation.

    Implements eq. (4.11), a density over images in [0, 1] whose mean is the
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
        log_var = 2 * math.log(self.scale)
        return gaussian_log_prob(x, matched(decoded, x), log_var, _pixel_axes(x))

    def sample(self, decoded, seed):
        noise = normal(ops.shape(decoded), seed)
        return full_precision(decoded) + self.scale * noise

    def get_config(self):
        return {"scale": self.scale, "dequantize": self.dequantize}


# --- noise that is learned ------------------------------------------------

# The free number behind every standard deviation may take any value, without one that
# overflows, vanishes, or no longer learns: see `bounded_log_scale`.


def bounded_log_scale(raw, bounds=BOUNDS):
    """Turn any number into the logarithm of a scale between two bounds.

    With c the middle and w half the width of the interval of logarithms:
    c + w a / sqrt(1 + a²), where a = raw / w. Its slope is 1 in the middle, and
    falls off as a power: nowhere to zero, as that of tanh is soon rounded to.

    Parameters
    ----------
    raw : tensor
    bounds : pair of float or array
        Lowest and highest scale; arrays for other ones in each dimension.

    Returns
    -------
    tensor, the shape of `raw`

    Raises
    ------
    ValueError
        If `bounds` are not positive, finite and in order, or `raw` is an array, not a
        tensor, and holds what are no finite real numbers.
    """
    return _bounded(checked("raw", raw), _checked_bounds(bounds))


def _bounded(raw, bounds):
    center, half_width = _interval(bounds)
    # sin(arctan(a)): the slope of a / sqrt(1 + a²), taken by parts, cancels.
    return center + half_width * ops.sin(ops.arctan(raw / half_width))


def _raw(scale, bounds):
    """Inverse of `bounded_log_scale`; next to an end for what lies beyond it."""
    center, half_width = _interval(bounds)
    share = (np.log(np.maximum(scale, 1e-30)) - center) / half_width
    share = np.clip(share, -0.9999, 0.9999)
    return half_width * share / np.sqrt(1 - share**2)


def _interval(bounds):
    low, high = (np.log(bound).astype("float32") for bound in bounds)
    return (low + high) / 2, (high - low) / 2


def _checked_bounds(bounds):
    try:
        low, high = (real_array("bounds", bound) for bound in bounds)
        right = np.all(low > 0) and np.all(_interval((low, high))[1] > 0)
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ValueError(
            f"bounds is {bounds!r}, but must be two positive, finite numbers, or "
            "arrays of such, the smaller one first."
        )
    return low.tolist(), high.tolist()  # as a file can hold them


class _LearnedScale(keras.layers.Layer):
    """Mix-in of likelihoods with one variable, from which all scales come."""

    def __init__(self, shape, bounds, initial, **kwargs):
        # In full precision, like all that log-weights are made of.
        super().__init__(**{"dtype": keras.config.floatx(), **kwargs})
        self.bounds = _checked_bounds(bounds)
        sizes = [np.shape(bound) for bound in self.bounds]
        if not _broadcast(shape, *sizes):
            raise ValueError(
                f"bounds has arrays of shapes {sizes}, which do not suit {shape}, the "
                "shape of the scale."
            )
        raw = 0.0
        if initial is not None:
            raw = _raw(_checked_scale(initial, shape), self.bounds)
        self.raw = self.add_weight(shape=shape, name="raw", autocast=False)
        self.raw.assign(np.broadcast_to(raw, shape))
        self.built = True

    def _matched(self, decoded, x):
        shape, image_shape = tuple(self.raw.shape), tuple(x.shape[1:])
        known = None not in image_shape
        if shape and known and shape != image_shape[-len(shape) :]:
            raise ValueError(
                f"shape is {shape}, but must be (), or the last axes of the images' "
                f"{image_shape}."
            )
        return matched(decoded, x)

    @property
    def log_scale(self):
        """Logarithm of the scale, as a tensor."""
        return _bounded(ops.convert_to_tensor(self.raw), self.bounds)

    @property
    def scale(self):
        """Standard deviations as they are now, as an array."""
        return ops.convert_to_numpy(ops.exp(self.log_scale))

    def get_config(self):
        # Without the initial scale: the weights, saved as well, know better.
        return {**super().get_config(), "bounds": self.bounds}


def _broadcast(*shapes):
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


def _checked_scale(scale, shape):
    scale = real_array("initial", scale)
    if not np.all(scale >= 0):
        raise ValueError(f"initial holds {scale.min()}, but must not be negative.")
    if scale.shape not in ((), shape):
        raise ValueError(
            f"initial has shape {scale.shape}, but must be one number or of shape "
            f"{shape}."
        )
    return scale


class _FittedScale(Dequantized):
    """Mix-in of Gaussians, the best standard deviation of which is known."""

    def fit_scale(self, vae, images, labels=None, *, batch_size=500):
        """Set the standard deviations to their optimum on training images.

        The root of the mean squared residual: the maximum of the bound, for these
        images and latent draws, over the standard deviation. Taken over all
        images that are given, at the current weights: never from a batch that is
        also scored, which would be no likelihood of that batch.

        Parameters
        ----------
        vae : VAE
            Whose likelihood this is.
        images : array, shape (N, *image_shape)
            Training images, as for ``vae.fit``; a few thousand will do for one
            shared number, or as many as there are for one number each.
        labels : array, shape (N, *condition_shape), optional
            If the model has conditions.
        batch_size : int
            Images at a time, which memory grows with.

        Returns
        -------
        ndarray
            The new `scale`; an optimum beyond `bounds` becomes the nearer end.

        Notes
        -----
        Source: Rybkin, Daniilidis and Levine (2021), eq. 7; there for the batch.
        """
        arrays = vae.check_arrays(images, labels)
        batch_size = integer("batch_size", batch_size)
        total = 0.0
        for i in range(0, len(arrays[0]), batch_size):
            batch = [ops.convert_to_tensor(a[i : i + batch_size]) for a in arrays]
            out = vae(batch if len(batch) > 1 else batch[0], training=False)
            squares = ops.square(self._residuals(out["x"], out["decoded"]))
            axes = tuple(range(len(squares.shape) - len(self.raw.shape)))
            mean = ops.convert_to_numpy(ops.mean(squares, axis=axes))
            total = total + len(batch[0]) * mean.astype("float64")
        self.raw.assign(_raw(np.sqrt(total / len(arrays[0])), self.bounds))
        return self.scale


@keras.saving.register_keras_serializable(package="utils.vae")
class LearnedGaussian(_LearnedScale, _FittedScale, Likelihood):
    """Independent Gaussian pixels whose standard deviation is learned.

    The mean is the decoder's output: build the decoder with ``link="identity"``.
    Trained with the networks, from `initial` on; `fit_scale` goes to the optimum at
    once.

    Parameters
    ----------
    shape : tuple of int
        () for one standard deviation, `image_shape` for one a dimension; also the
        last axes of `image_shape`, such as (3,) for one a channel.
    bounds : pair of float or array
        Between which it stays, in units of white minus black. With arrays of the
        shape of the last axes, each dimension has bounds of its own: where vectors
        were whitened, a floor of the original ones is one divided by their scales.
    initial : float or array, shape `shape`, optional
        Where it starts, or beyond `bounds` at the nearer end; their geometric middle
        if left out.
    dequantize : bool
        As for `Dequantized`.

    Raises
    ------
    ValueError
        If `shape` is no tuple, `bounds` are not positive and in order, or `initial` is
        negative or of another shape. By `log_prob`: if the images, or what the decoder
        gives, do not suit the shape.

    Notes
    -----
    Source: Rybkin, Daniilidis and Levine (2021), section 3.1.
    """

    def __init__(
        self, shape=(), *, bounds=BOUNDS, initial=None, dequantize=False, **kwargs
    ):
        super().__init__(integers("shape", shape), bounds, initial, **kwargs)
        self.dequantize = boolean("dequantize", dequantize)

    def _residuals(self, x, decoded):
        return x - self._matched(decoded, x)

    def log_prob(self, x, decoded):
        residuals = self._residuals(x, decoded)
        return gaussian_log_prob(residuals, 0.0, 2 * self.log_scale, _pixel_axes(x))

    def sample(self, decoded, seed):
        noise = normal(ops.shape(decoded), seed)
        return full_precision(decoded) + ops.exp(self.log_scale) * noise

    def get_config(self):
        own = {"shape": tuple(self.raw.shape), "dequantize": self.dequantize}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="utils.vae")
class PredictedGaussian(Dequantized, Likelihood):
    """Independent Gaussian pixels, each of a mean and a variance from the decoder.

    The last axis of the decoder's output is twice as long as that of the image:
    the means come first, then numbers that `bounded_log_scale` turns into
    logarithms of standard deviations. Build the decoder with ``link="identity"`` and
    ``outputs_per_pixel=2``.

    Parameters
    ----------
    bounds, dequantize
        As for `LearnedGaussian`.

    Raises
    ------
    ValueError
        If `bounds` are not positive and in order. By `log_prob`: if the decoder's
        last axis is not twice as long as that of the image, or the others differ.

    Notes
    -----
    Source: Kingma and Welling (2014), appendix C.2; there the logarithm of the
    variance is the output as it is, without bounds.
    """

    def __init__(self, *, bounds=BOUNDS, dequantize=False):
        self.bounds = _checked_bounds(bounds)
        self.dequantize = boolean("dequantize", dequantize)

    def _split(self, decoded):
        return ops.split(full_precision(decoded), 2, axis=-1)

    def log_prob(self, x, decoded):
        mean, raw = self._split(matched(decoded, x, outputs_per_pixel=2))
        log_scale = _bounded(raw, self.bounds)
        return gaussian_log_prob(x, mean, 2 * log_scale, _pixel_axes(x))

    def mean(self, decoded):
        return self._split(decoded)[0]

    def scale(self, decoded):
        """Standard deviation of each pixel: a picture as well."""
        return ops.exp(_bounded(self._split(decoded)[1], self.bounds))

    def sample(self, decoded, seed):
        mean, _ = self._split(decoded)
        return mean + self.scale(decoded) * normal(ops.shape(mean), seed)

    def get_config(self):
        return {"bounds": self.bounds, "dequantize": self.dequantize}


@keras.saving.register_keras_serializable(package="utils.vae")
class BasisGaussian(_LearnedScale, _FittedScale, Likelihood):
    """Gaussian pixels with correlated noise: independent in another basis.

    The residual's coordinates in a fixed orthonormal basis have a learned standard
    deviation each. In pixels, that is a Gaussian of covariance V diag(scale²) Vᵀ;
    and since det V is 1 or -1, its density is one of pixels. Build the decoder with
    ``link="identity"``.

    Parameters
    ----------
    basis : array, shape (D, D)
        V, whose columns are the directions, of flattened images; for those of the
        principal components, ``pca.components_.T``.
    bounds, dequantize
        As for `LearnedGaussian`.
    initial : float or array, shape (D,), optional
        Standard deviations to start from, such as the roots of the data's variances
        along the basis: together with a decoder that draws the mean image, that
        is the Gaussian with the data's covariance.

    Raises
    ------
    ValueError
        If the basis is not square, or not orthonormal to 1e-4; as for
        `LearnedGaussian`.
    """

    def __init__(
        self, basis, *, bounds=BOUNDS, initial=None, dequantize=False, **kwargs
    ):
        basis = _checked_basis(basis)
        super().__init__(basis.shape[:1], bounds, initial, **kwargs)
        self.dequantize = boolean("dequantize", dequantize)
        self.basis = self.add_weight(
            shape=basis.shape,
            initializer="zeros",
            trainable=False,
            autocast=False,
            name="basis",
        )
        self.basis.assign(basis)

    def _residuals(self, x, decoded):
        residuals = x - matched(decoded, x)
        axes = ops.shape(residuals)[: 1 - len(x.shape)]
        return ops.reshape(residuals, (*axes, -1)) @ ops.convert_to_tensor(self.basis)

    def log_prob(self, x, decoded):
        return gaussian_log_prob(self._residuals(x, decoded), 0.0, 2 * self.log_scale)

    def sample(self, decoded, seed):
        decoded = full_precision(decoded)
        rows = ops.reshape(decoded, (-1, self.basis.shape[0]))
        noise = ops.exp(self.log_scale) * normal(ops.shape(rows), seed)
        rows = rows + noise @ ops.transpose(self.basis)
        return ops.reshape(rows, ops.shape(decoded))

    def get_config(self):
        config = {**super().get_config(), "dequantize": self.dequantize}
        return {**config, "num_dims": self.basis.shape[0]}

    @classmethod
    def from_config(cls, config):
        # The basis itself is among the weights, which are loaded next.
        return cls(np.eye(config.pop("num_dims")), **config)


def _checked_basis(basis):
    basis = real_array("basis", basis, finite=False)
    if basis.ndim != 2 or len(set(basis.shape)) > 1:
        raise ValueError(
            f"basis has shape {basis.shape}, but must be square, one row a dimension: "
            "all the principal components, for example."
        )
    gap = np.abs(basis.T @ basis - np.eye(len(basis))).max()
    if not gap < 1e-4:
        raise ValueError(
            "basis must be orthonormal, its transpose being its inverse, but "
            f"the two are off by {gap:.2g}."
        )
    return basis


@keras.saving.register_keras_serializable(package="utils.vae")
class DiscretizedLogistic(_LearnedScale, Likelihood):
    """Independent bytes: a logistic distribution, cut into 256 intervals.

    The decoder, built with ``link="identity"``, gives its location, in [0, 1] for
    black to white; the interval of
    a byte is as wide as the steps between bytes, those of 0 and 255 extend to
    infinity. `log_prob` is the logarithm of a probability, not of a density.

    Parameters
    ----------
    shape, bounds, initial
        As for `LearnedGaussian`, of the scale of the logistic; its standard
        deviation is 1.81 times that.

    Raises
    ------
    ValueError
        As for `LearnedGaussian`.

    Notes
    -----
    Source: Kingma et al. (2016), appendix; Salimans et al. (2017), section 2.1.
    """

    scores = "bytes"
    link = "identity"

    def __init__(self, shape=(), *, bounds=BOUNDS, initial=None, **kwargs):
        super().__init__(integers("shape", shape), bounds, initial, **kwargs)

    def observe(self, images, seed):
        """Turn images into bytes over 255, floats to the nearest."""
        return ops.round(255 * super().observe(images, seed)) / 255

    def log_prob(self, x, decoded):
        log_scale = self.log_scale
        per_scale = ops.exp(-log_scale)
        residuals = x - self._matched(decoded, x)
        # With u and l the ends of the interval, in scales from the location:
        # s(u) - s(l) = s(u) s(-l) (1 - exp(l - u)), for the sigmoid s. No
        # difference of two numbers near 1, and u - l is known in advance.
        upper = ops.log_sigmoid((residuals + 1 / 510) * per_scale)
        lower = ops.log_sigmoid((1 / 510 - residuals) * per_scale)
        width = ops.log(-ops.expm1(-per_scale / 255))
        black, white = x < 1 / 510, x > 1 - 1 / 510
        terms = ops.where(white, 0.0, upper) + ops.where(black, 0.0, lower)
        terms += ops.where(ops.logical_or(black, white), 0.0, width)
        return _sum_pixels(terms, x)

    def mean(self, decoded):
        """Location, kept in [0, 1]: the median of the likelihood."""
        return ops.clip(decoded, 0.0, 1.0)

    def sample(self, decoded, seed):
        """Draw bytes, over 255."""
        u = uniform(ops.shape(decoded), seed)
        noise = ops.exp(self.log_scale) * (ops.log(u) - ops.log1p(-u))
        drawn = ops.clip(full_precision(decoded) + noise, 0.0, 1.0)
        return ops.round(255 * drawn) / 255

    def get_config(self):
        return {**super().get_config(), "shape": tuple(self.raw.shape)}


# --- bits per dimension ---------------------------------------------------


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


# --- what all of them need ------------------------------------------------


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
    return ops.sum(terms, axis=_pixel_axes(x))


def _pixel_axes(x):
    return tuple(range(1 - len(x.shape), 0))


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
