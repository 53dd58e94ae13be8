"""The Gaussian with independent coordinates: a draw, its log density and its KL.

Encoders, priors and noise are made of it; it stands here, once.
"""

import math

import keras
from keras import ops

from ..arguments import real_array

LOG_2_PI = math.log(2 * math.pi)


def reparameterize(mean, log_var, noise):
    """Turn noise from N(0, I) into a draw from N(mean, diag(exp(log_var))).

    Implements eq. (4.7).

    Parameters
    ----------
    mean, log_var, noise : array-like or tensor, shapes that broadcast

    Returns
    -------
    tensor

    Raises
    ------
    ValueError
        As for `gaussian_kl`.
    """
    mean, log_var = checked("mean", mean), checked("log_var", log_var)
    noise = checked("noise", noise)
    return mean + ops.exp(0.5 * log_var) * noise


def gaussian_log_prob(x, mean, log_var, axis=-1):
    """Log density of N(mean, diag(exp(log_var))).

    Parameters
    ----------
    x, mean, log_var : array-like or tensor, shapes that broadcast
    axis : int or tuple of int
        Of the coordinates, which are summed over.

    Returns
    -------
    tensor, the common shape without `axis`
        In nats.

    Raises
    ------
    ValueError
        As for `gaussian_kl`.
    """
    x, mean = checked("x", x), checked("mean", mean)
    log_var = checked("log_var", log_var)
    square = ops.square((x - mean) * ops.exp(-0.5 * log_var))
    return -0.5 * ops.sum(square + log_var + LOG_2_PI, axis=axis)


def gaussian_kl(mean, log_var):
    """KL divergence from N(mean, diag(exp(log_var))) to N(0, I).

    Implements eq. (4.10).

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
    terms = kl_terms(checked("mean", mean), checked("log_var", log_var))
    return ops.sum(terms, axis=-1)


def kl_terms(mean, log_var):
    """Terms of `gaussian_kl`, one for each latent variable: shape of `mean`."""
    # In full precision, whatever the layers compute in.
    mean, log_var = (ops.cast(a, keras.config.floatx()) for a in (mean, log_var))
    return 0.5 * (ops.square(mean) + ops.expm1(log_var) - log_var)


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
