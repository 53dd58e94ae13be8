"""The score of a VAE: its log-likelihood by importance sampling."""

import dataclasses
import math
import warnings

import keras
import numpy as np
from keras import ops

from ..arguments import choice, integer, real
from .model import VAE
from .random import generator, normal

# Below two, one draw outweighs all others together: of weights that add up to 1, the
# squares add up to no more than the largest, so that this one is above 1/2.
TOO_FEW_EFFECTIVE = 2

# With fewer samples than these, the bound L_K is taken to be what was asked for: few
# networks have weights so even that 50 of them could estimate log p(x).
SAMPLES_FOR_A_BOUND = 50

# So many images decoded at a time keep a CPU's matrix products busy; fewer of them do
# where layers are wide, as those of convolutions. In single precision, 128 MiB a layer.
SLAB_IMAGES, SLAB_NUMBERS = 5000, 2**25


@dataclasses.dataclass(frozen=True)
class LogLikelihood:
    """Estimated log-likelihood of images under a VAE, in nats.

    Attributes
    ----------
    per_image : ndarray, shape (images,)
        Estimate of log p(x) for each image.
    effective_sample_size : ndarray, shape (images,)
        (Σw)²/Σw² over the importance weights of each image, from 1 to
        `num_samples`: how many of the draws carry the estimate. Small shows a bad
        estimate; large is no proof of a good one, as draws may have missed what
        matters all together.
    num_samples : int
        Importance samples per image.
    mean : float
        Of `per_image`, in nats per image: the score.
    standard_error : float
        Of the mean, from the spread over images: how far another test set of
        this size would move it. NaN for a single image.
    per_image_error : ndarray, shape (images,)
        Standard error of each estimate, from its finite number of importance
        samples (delta method). Never above 1, however wrong the estimate is; NaN for
        a single sample, from which no spread can be read.
    monte_carlo_error : float
        Of the mean, from the importance samples alone.
    shortfall : float
        Nats by which the mean falls short of the true log-likelihood, about: the
        logarithm of a noisy average is too small (eq. 4.24). A lower limit: the
        samples drawn do not show the weights that they missed, and no weights can
        make it larger than 1/2. So it is NaN, for unknown, if half of the images
        have an effective sample size below 2: those may fall short by hundreds.
    """

    per_image: np.ndarray
    effective_sample_size: np.ndarray
    num_samples: int

    @property
    def mean(self):
        return float(self.per_image.mean())

    @property
    def standard_error(self):
        if len(self.per_image) == 1:
            return math.nan
        return float(self.per_image.std(ddof=1) / math.sqrt(len(self.per_image)))

    @property
    def per_image_error(self):
        if self.num_samples == 1:
            return np.full(len(self.per_image), math.nan)
        # Delta method: var(log mean w) = (E[w²] / E[w]² - 1) / num_samples.
        variances = 1 / self.effective_sample_size - 1 / self.num_samples
        return np.sqrt(np.maximum(variances, 0))

    @property
    def monte_carlo_error(self):
        return float(np.linalg.norm(self.per_image_error) / len(self.per_image))

    @property
    def shortfall(self):
        if np.median(self.effective_sample_size) < TOO_FEW_EFFECTIVE:
            return math.nan
        return float((self.per_image_error**2).mean() / 2)

    def __str__(self):
        images, samples = (
            f"{count:,} {noun}{'s' * (count > 1)}"
            for count, noun in (
                (len(self.per_image), "image"),
                (self.num_samples, "sample"),
            )
        )
        score = (
            f"log p(x) ≥ {self.mean:.2f} ± {self.standard_error:.2f} nats per image "
            f"({images}, {samples} each"
        )
        if self.num_samples == 1:
            return f"{score}: the ELBO,\nwithout a Monte Carlo error)"
        sizes, shortfall = self.effective_sample_size, "an unknown amount"
        if not math.isnan(self.shortfall):
            shortfall = f"about {self.shortfall:.2f} or more; no more than 0.5 can show"
        return (
            f"{score};\n"
            f"effective sample size {np.median(sizes):.1f}, as a median, and below "
            f"{TOO_FEW_EFFECTIVE} for {np.mean(sizes < TOO_FEW_EFFECTIVE):.0%};\n"
            f"Monte Carlo error {self.monte_carlo_error:.3f}, short by {shortfall})"
        )


def log_likelihood(
    vae,
    images,
    labels=None,
    *,
    num_samples=5000,
    batch_size=100,
    seed=0,
    verbose="auto",
):
    """Estimate the log-likelihood of images by importance sampling.

    Implements eqs. (4.16), (4.17) and (4.23): the logarithm of the mean weight
    p(x|z) p(z) / q(z|x) of draws z from q(z|x). In expectation a lower bound of
    log p(x), never below the ELBO, which a single sample gives; it tightens as
    `num_samples` grows.

    Parameters
    ----------
    vae : VAE
    images : array-like, shape (N, *image_shape)
        As for ``vae.fit``; held-out images, usually. A Bernoulli likelihood binarizes
        each once, at random. Of a data set, give the images as an array.
    labels : array-like, shape (N, *condition_shape), optional
        If the model has conditions: then it is log p(x|condition) that is estimated.
    num_samples : int
        Importance samples per image.
    batch_size : int
        Images at a time. Memory grows with ``batch_size * num_samples *
        latent_dim``, not with the number of images or the width of the decoder.
    seed : int
        Two calls with one seed return the same numbers.
    verbose : "auto", 0, 1 or 2
        Progress bar, as in ``keras.Model.predict``.

    Returns
    -------
    LogLikelihood

    Raises
    ------
    ValueError
        If the images do not suit the model, or are a data set; if `num_samples` or
        `batch_size` is not a positive integer, or another argument is not what it
        must be.

    Warns
    -----
    UserWarning
        If half of the images or more have an effective sample size below 2, out of
        50 samples or more: then one draw of each outweighs all others together, and
        the estimate bounds log p(x), but does not tell how nearly. With fewer
        samples, the bound itself is taken to be what was asked for.

    Notes
    -----
    Source: Burda, Grosse and Salakhutdinov (2016), eqs. 7 and 8.
    """
    vae = _checked_model(vae)
    num_samples = integer("num_samples", num_samples)
    batch_size = integer("batch_size", batch_size)
    verbose = choice("verbose", verbose, ("auto", 0, 1, 2))
    arrays = vae.check_arrays(images, labels)
    rows = max(1, _slab(vae) // batch_size)
    sampler = _ImportanceSampler(vae, num_samples, min(rows, num_samples), seed)
    sampler.compile(jit_compile="auto")
    inputs = arrays if len(arrays) > 1 else arrays[0]
    sums = sampler.predict(inputs, batch_size=batch_size, verbose=verbose)
    log_scale, total, total_of_squares = sums.astype("float64").T
    score = LogLikelihood(
        per_image=log_scale + np.log(total) - math.log(num_samples),
        effective_sample_size=total**2 / total_of_squares,
        num_samples=num_samples,
    )
    if num_samples >= SAMPLES_FOR_A_BOUND and math.isnan(score.shortfall):
        few = np.count_nonzero(score.effective_sample_size < TOO_FEW_EFFECTIVE)
        warnings.warn(
            f"num_samples is {num_samples:,}, but of {len(arrays[0]):,} images "
            f"{few:,} have an effective sample size below {TOO_FEW_EFFECTIVE}: one "
            "draw of each outweighs all others together, and the estimate may be many "
            "nats below log p(x). More samples help a little; an encoder that is "
            "nearer to the posterior helps more.",
            stacklevel=2,
        )
    return score


def active_units(vae, images, labels=None, *, threshold=0.01):
    """Tell which latent variables carry information about the image.

    Parameters
    ----------
    vae : VAE
    images : array-like, shape (N, *image_shape)
        As for ``vae.fit``; two at least.
    labels : array-like, shape (N, *condition_shape), optional
        If the model has conditions.
    threshold : float
        A latent variable is active if the mean of q(z|x) varies over images by
        more than this, as a variance.

    Returns
    -------
    ndarray of bool, shape (latent_dim,)

    Raises
    ------
    ValueError
        If the images do not suit the model, there is only one, or `threshold` is not
        a finite number, 0 or above; if the mean of the model's posterior is not known.

    Notes
    -----
    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2.
    """
    vae = _checked_model(vae)
    threshold = real("threshold", threshold, least=0)
    parameters = vae.encode(images, labels)
    mean = vae.posterior.mean([ops.convert_to_tensor(a) for a in parameters])
    if mean is None:
        raise ValueError(
            f"vae has a {type(vae.posterior).__name__}, of which the mean is not known."
        )
    mean = ops.convert_to_numpy(mean)
    if len(mean) == 1:
        raise ValueError("images has only 1 image, but a variance needs 2 or more.")
    return mean.var(axis=0, dtype="float64") > threshold


def _slab(vae):
    """How many images to decode at a time."""
    outputs = [getattr(layer, "output", []) for layer in vae.decoder.layers]
    shapes = [output.shape[1:] for output in keras.tree.flatten(outputs)]
    widths = [math.prod(filter(None, shape)) for shape in shapes]
    # A mixture looks at all its components for each z.
    widths.append(getattr(vae.prior, "num_components", 1) * vae.latent_dim)
    return min(SLAB_IMAGES, SLAB_NUMBERS // max(widths))


def _checked_model(vae):
    if not isinstance(vae, VAE):
        raise ValueError(f"vae is {vae!r}, but must be a VAE.")
    return vae


class _ImportanceSampler(keras.Model):
    """From images to sums over the samples, of the weights w and of their squares.

    In units of the largest weight, whose logarithm comes first: 2 log w, of thousands
    of nats, would lose to rounding what tells the weights apart.
    """

    def __init__(self, vae, num_samples, rows, seed):
        super().__init__(name="importance_sampler", autocast=False)
        self.vae, self.num_samples, self.rows = vae, num_samples, rows
        self.seed_generator = generator(seed)

    def build(self, input_shape):
        self.built = True

    def call(self, inputs):
        images, condition = self.vae.split_inputs(inputs)
        x = self.vae.likelihood.observe(images, self.seed_generator)
        parameters = self.vae.parameters_of_posterior(x, condition)
        slabs = math.ceil(self.num_samples / self.rows)
        shape = (slabs, self.rows, ops.shape(x)[0], self.vae.noise_dim)
        noise = normal(shape, self.seed_generator)
        # The last slab may hold more than was asked for: weight zero.
        index = ops.reshape(ops.arange(slabs * self.rows), (slabs, self.rows, 1))
        log_mask = ops.where(index < self.num_samples, 0.0, -math.inf)

        def sums(slab):
            noise, log_mask = slab
            out = self.vae.draw(parameters, noise, condition)
            log_w = self.vae.log_prob(x, out) + log_mask
            log_w += out["log_prior"] - out["log_posterior"]
            return _sums(log_w, 1.0, 1.0)

        return ops.stack(_sums(*ops.map(sums, (noise, log_mask))), axis=-1)


def _sums(log_scale, total, total_of_squares):
    """Add up, over the first axis, what is given in units of exp(log_scale)."""
    largest = ops.max(log_scale, axis=0)
    # Where all weights are zero, so are the sums, in whatever unit.
    largest = ops.maximum(largest, -1e30)
    units = ops.exp(log_scale - largest)
    return (
        largest,
        ops.sum(units * total, axis=0),
        ops.sum(ops.square(units) * total_of_squares, axis=0),
    )
