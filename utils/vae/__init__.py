"""Building blocks of variational autoencoders, in Keras 3 on any backend.

Lesson 4 explains each of them; all names below are imported from here.

On a CPU with TensorFlow, leave ``jit_compile`` alone: Keras then does without XLA,
under which the random numbers of the binarization took most of a training step.
"""

from . import _quiet  # noqa: F401 (before anything that imports Keras)
from .evaluation import LogLikelihood, active_units, log_likelihood
from .layers import Sampling, gaussian_kl
from .likelihoods import Bernoulli, Gaussian, Likelihood
from .model import VAE
from .networks import conv_decoder, conv_encoder, dense_decoder, dense_encoder
from .optimizers import Adam
from .training import KLWarmUp

__all__ = [
    "VAE",
    "Adam",
    "Bernoulli",
    "Gaussian",
    "KLWarmUp",
    "Likelihood",
    "LogLikelihood",
    "Sampling",
    "active_units",
    "conv_decoder",
    "conv_encoder",
    "dense_decoder",
    "dense_encoder",
    "gaussian_kl",
    "log_likelihood",
]
