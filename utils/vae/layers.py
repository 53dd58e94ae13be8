"""Layers and formulas that every variational autoencoder is made of."""

import keras
from keras import ops

from ..arguments import real_array
from .random import generator, normal


class SavedSeed:
    """Mix-in that saves the state of ``seed_generator``, which Keras leaves out.

    Without it a loaded model would start its random numbers from the beginning,
    and resumed training would use the same noise twice.
    """

    def save_own_variables(self, store):
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"])


@keras.saving.register_keras_serializable(package="utils.vae")
class Sampling(SavedSeed, keras.layers.Layer):
    """Draw a latent vector from a diagonal Gaussian by reparameterization.

    Implements eq. (4.11): z = mean + exp(log_var / 2) * noise with noise from
    N(0, I), so that gradients reach the mean and the log-variance.

    Parameters
    ----------
    seed : int, SeedSequence or generator of numpy.random, optional
        Seed of the layer's own generator; fresh entropy if left out.

    Raises
    ------
    ValueError
        If `seed` is none of these.

    Notes
    -----
    Called on a pair ``(mean, log_var)``, each of shape (batch, latent_dim), it
    returns latent vectors of the same shape, anew at every call, in training
    and in evaluation alike. Source: Kingma and Welling (2014), section 2.4.
    """

    def __init__(self, seed=None, **kwargs):
        # Under mixed precision, rounded noise would spoil the importance weights.
        super().__init__(**{"dtype": keras.config.floatx(), **kwargs})
        self.seed_generator = generator(seed)
        self.seed = self.seed_generator.get_config()["seed"]

    def call(self, inputs):
        mean, log_var = inputs
        noise = normal(ops.shape(mean), self.seed_generator)
        return reparameterize(mean, log_var, noise)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def reparameterize(mean, log_var, noise):
    """Turn noise from N(0, I) into a draw from N(mean, diag(exp(log_var)))."""
    return mean + ops.exp(0.5 * log_var) * noise


def gaussian_kl(mean, log_var):
    """KL divergence from N(mean, diag(exp(log_var))) to N(0, I).

    Implements eq. (4.15).

    Parameters
    ----------
    mean, log_var : array-like, shape (batch, latent_dim)
        Mean and logarithm of the variance of the approximate posterior.

    Returns
    -------
    tensor, shape (batch,)
        Nats per image: a sum over the latent variables, never a mean.

    Raises
    ------
    ValueError
        If either is an array, not a tensor, and holds what are no finite real
        numbers.

    Examples
    --------
    >>> float(gaussian_kl([[1.0, 2.0]], [[0.0, 0.0]])[0])
    2.5
    """
    # Sums over latent variables in full precision, whatever the layers compute in.
    mean = ops.cast(checked("mean", mean), keras.config.floatx())
    log_var = ops.cast(checked("log_var", log_var), keras.config.floatx())
    terms = ops.square(mean) + ops.expm1(log_var) - log_var
    return 0.5 * ops.sum(terms, axis=-1)


def checked(name, value):
    """Return a tensor: what is one as it is, for compiled code, other numbers checked.

    Raises
    ------
    ValueError
        If an array-like holds what are no finite real numbers, or masked ones.
    """
    if ops.is_tensor(value):
        return value
    return ops.convert_to_tensor(real_array(name, value), keras.config.floatx())


def log_density_ratio(z, mean, log_var):
    """Log p(z) - log q(z|x), for the prior N(0, I) and a Gaussian q.

    The part of eq. (4.25) that does not depend on the likelihood.

    Parameters
    ----------
    z : tensor, shape (..., batch, latent_dim)
    mean, log_var : tensor, shape (batch, latent_dim)

    Returns
    -------
    tensor, shape (..., batch)
        In nats.
    """
    noise = (z - mean) * ops.exp(-0.5 * log_var)
    return 0.5 * ops.sum(ops.square(noise) - ops.square(z) + log_var, axis=-1)
