"""Variational autoencoders to build on, in Keras 3 on any backend.

A `VAE` is put together from two networks and three objects, each of which can be
changed alone. The README of this folder shows how, in snippets that the tests run.

| file          | what it holds, and where to add to it                               |
|---------------|---------------------------------------------------------------------|
| `gaussian`    | the Gaussian: a draw, its log density, its KL                       |
| `networks`    | encoders and decoders                                               |
| `likelihoods` | p(x|z): what the decoder's output means                             |
| `priors`      | p(z): where latent vectors come from                                |
| `posteriors`  | q(z|x): what the encoder's output means                             |
| `model`       | `VAE`, which puts them together, and its loss                       |
| `training`    | Keras' methods, with data checked                                   |
| `data`        | images, labels and streams, checked; minibatches                    |
| `callbacks`   | what changes while it trains                                        |
| `evaluation`  | the score, by importance sampling                                   |
| `backend`     | where TensorFlow, JAX and torch differ                              |
| `random`      | random numbers                                                      |
| `speed`       | whether `fast` is there                                             |
| `fast`        | speed and silence alone; may be deleted                             |

`fast.process` says what importing this package changes of the process.
"""

from . import speed  # noqa: F401 (before anything that imports Keras)
from .callbacks import KLWarmUp
from .evaluation import LogLikelihood, active_units, log_likelihood
from .gaussian import gaussian_kl, gaussian_log_prob, reparameterize
from .likelihoods import (
    BasisGaussian,
    Bernoulli,
    Categorical,
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
from .posteriors import DiagonalGaussian, FlowPosterior, FullGaussian, Posterior
from .priors import (
    ConditionalPrior,
    HierarchicalPrior,
    MixturePrior,
    Prior,
    StandardNormal,
    VampPrior,
)

__all__ = [
    "VAE",
    "BasisGaussian",
    "Bernoulli",
    "Categorical",
    "ConditionalPrior",
    "DiagonalGaussian",
    "DiscretizedLogistic",
    "FlowPosterior",
    "FullGaussian",
    "Gaussian",
    "HierarchicalPrior",
    "KLWarmUp",
    "LearnedGaussian",
    "Likelihood",
    "LogLikelihood",
    "MixturePrior",
    "Posterior",
    "PredictedGaussian",
    "Prior",
    "StandardNormal",
    "VampPrior",
    "active_units",
    "bits_per_dim",
    "bounded_log_scale",
    "conv_decoder",
    "conv_encoder",
    "dense_decoder",
    "dense_encoder",
    "gaussian_kl",
    "gaussian_log_prob",
    "log_likelihood",
    "reparameterize",
]
