"""Building blocks of variational autoencoders, in Keras 3 on any backend.

Lessons 4 and 5 explain each of them; all names below are imported from here.

On TensorFlow, training on an array decides for itself whether XLA is worth its
compile time; see `backend`. Leave ``jit_compile`` alone.
"""

from . import _quiet  # noqa: F401 (before anything that imports Keras)
from .evaluation import LogLikelihood, active_units, log_likelihood
from .gaussian import gaussian_kl
from .layers import Sampling
from .likelihoods import (
    BasisGaussian,
    Bernoulli,
    DiscretizedLogistic,
    Gaussian,
    LearnedGaussian,
    Likelihood,
    PredictedGaussian,
    bits_per_dim,
    bounded_log_scale,
)
from .model import VAE
from .networks import conv_decoder, conv_encoder, dense_decoder, dense_encoder
from .priors import HierarchicalPrior
from .training import KLWarmUp

__all__ = [
    "VAE",
    "BasisGaussian",
    "Bernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "HierarchicalPrior",
    "KLWarmUp",
    "LearnedGaussian",
    "Likelihood",
    "LogLikelihood",
    "PredictedGaussian",
    "Sampling",
    "active_units",
    "bits_per_dim",
    "bounded_log_scale",
    "conv_decoder",
    "conv_encoder",
    "dense_decoder",
    "dense_encoder",
    "gaussian_kl",
    "log_likelihood",
]
