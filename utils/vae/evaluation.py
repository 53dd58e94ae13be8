"""The score of a VAE: its log-likelihood by importance sampling."""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

from .layers import reparameterize
from .likelihoods import check_positive_integer
from .random import generator, normal


@dataclasses.dataclass(frozen=True)
class LogLikelihood:
    """Estimated log-likelihood of images under a VAE, in nats.

    Attributes
    ----------
    per_image : ndarray, shape (images,)
        Estimate of log p(x) for each image.
    mean : float
        Their mean, in nats per image: the score.
    standard_error : float
        Of the mean, from the spread over images: how far another test set of
        this size would move it. NaN for a single image.
    per_image_error : ndarray, shape (images,)
        Standard error of each estimate, from its finite number of importance
        samples (delta method).
    monte_carlo_error : float
        Of the mean, from the importance samples alone.
    shortfall : float
        Nats by which the mean falls short of the true log-likelihood, about: the
        logarithm of a noisy average is too small (eq. 4.24). A lower limit:
        the samples drawn do not show the weights that they missed.
    num_samples : int
        Importance samples per image.
    """

    per_image: np.ndarray
    per_image_error: np.ndarray
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
    def monte_carlo_error(self):
        return float(np.linalg.norm(self.per_image_error) / len(self.per_image))

    @property
    def shortfall(self):
        return float((self.per_image_error**2).mean() / 2)

    def __str__(self):
        return (
            f"log p(x) ≥ {self.mean:.2f} ± {self.standard_error:.2f} nats per image "
            f"({len(self.per_image):,} images, {self.num_samples:,} samples each;\n"
            f"Monte Carlo error {self.monte_carlo_error:.3f}, "
            f"short by about {self.shortfall:.2f} or more)"
        )


def log_likelihood(
    vae, images, num_samples=5000, *, batch_size=100, seed=0, verbose="auto"
):
    """Estimate the log-likelihood of images by importance sampling.

    Implements eqs. (4.23) to (4.25): the logarithm of the mean weight
    p(x|z) p(z) / q(z|x) of draws z from q(z|x). In expectation a lower bound of
    log p(x), never below the ELBO; it tightens as `num_samples` grows.

    Parameters
    ----------
    vae : VAE
    images : array, shape (N, *image_shape)
        As for ``vae.fit``; held-out images, usually. A Bernoulli
        likelihood binarizes each once, at random.
    num_samples : int
        Importance samples per image.
    batch_size : int
        Images at a time. Memory grows with ``batch_size * num_samples *
        latent_dim``, never with the number of images.
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
        If the images do not suit the model; if `num_samples` or `batch_size` is not
        a positive integer.

    Notes
    -----
    Source: Burda, Grosse and Salakhutdinov (2016), eqs. 7 and 8.
    """
    check_positive_integer("num_samples", num_samples)
    check_positive_integer("batch_size", batch_size)
    images = vae.check_images(images)
    # Slabs of about 5,000 decoded images keep a CPU's matrix products busy.
    rows = min(num_samples, max(1, 5000 // batch_size))
    sampler = _ImportanceSampler(vae, num_samples, rows, seed)
    sampler.compile(jit_compile="auto")
    sums = sampler.predict(images, batch_size=batch_size, verbose=verbose)
    log_sum, log_sum_of_squares = sums.astype("float64").T
    # Delta method: var(log mean w) = (E[w²] / E[w]² - 1) / num_samples.
    variances = np.exp(log_sum_of_squares - 2 * log_sum) - 1 / num_samples
    return LogLikelihood(
        per_image=log_sum - math.log(num_samples),
        per_image_error=np.sqrt(np.maximum(variances, 0)),
        num_samples=num_samples,
    )


def active_units(vae, images, threshold=0.01):
    """Tell which latent variables carry information about the image.

    Parameters
    ----------
    vae : VAE
    images : array, shape (N, *image_shape)
        As for ``vae.fit``.
    threshold : float
        A latent variable is active if the mean of q(z|x) varies over images by
        more than this, as a variance.

    Returns
    -------
    ndarray of bool, shape (latent_dim,)

    Notes
    -----
    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2.
    """
    mean, _ = vae.encode(images)
    return mean.var(axis=0) > threshold


class _ImportanceSampler(keras.Model):
    """From images to the logs of the sums of w and of w² over the samples."""

    def __init__(self, vae, num_samples, rows, seed):
        super().__init__(name="importance_sampler")
        self.vae, self.num_samples, self.rows = vae, num_samples, rows
        self.seed_generator = generator(seed)

    def build(self, input_shape):
        self.built = True

    def call(self, images):
        x = self.vae.likelihood.observe(images, self.seed_generator)
        mean, log_var = self.vae.encoder(x)
        slabs = math.ceil(self.num_samples / self.rows)
        shape = (slabs, self.rows, ops.shape(mean)[0])
        noise = [normal((*shape, mean.shape[1]), self.seed_generator)]
        if self.vae.prior is not None:
            noise.append(
                normal((*shape, self.vae.prior.latent_dim), self.seed_generator)
            )
        # The last slab may hold more than was asked for: weight zero.
        index = ops.reshape(ops.arange(slabs * self.rows), (slabs, self.rows, 1))
        log_mask = ops.where(index < self.num_samples, 0.0, -math.inf)

        def log_sums(slab):
            (noise, *for_prior), log_mask = slab
            z = reparameterize(mean, log_var, noise)
            decoded = self.vae.decoder(ops.reshape(z, (-1, z.shape[-1])))
            decoded = ops.reshape(decoded, (self.rows, -1, *decoded.shape[1:]))
            log_w = self.vae.likelihood.log_prob(x, decoded) + log_mask
            log_w += self.vae.log_density_ratio(z, mean, log_var, *for_prior)
            return ops.stack(
                [ops.logsumexp(log_w, axis=0), ops.logsumexp(2 * log_w, axis=0)],
                axis=-1,
            )

        return ops.logsumexp(ops.map(log_sums, (noise, log_mask)), axis=0)
