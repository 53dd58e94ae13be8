"""Maximum entropy: the least committed distribution that has given expectations.

Over a finite set of points, `max_entropy` in `discrete`; on an interval,
`max_entropy_density` in `density`. Lesson 1 explains both.
"""

from .density import MaxEntropyDensity, NoMaximizerError, max_entropy_density
from .discrete import InfeasibleError, MaxEntropy, max_entropy

__all__ = [
    "InfeasibleError",
    "MaxEntropy",
    "MaxEntropyDensity",
    "NoMaximizerError",
    "max_entropy",
    "max_entropy_density",
]
