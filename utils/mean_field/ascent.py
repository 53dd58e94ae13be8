"""When coordinate ascent has arrived, and the warning where it has not."""

import warnings

from sklearn.exceptions import ConvergenceWarning


def arrived(elbo, left):
    """Whether at most `left` is left to gain, if gains go on shrinking as they did.

    Then they are a geometric series. Gains that grow, as on leaving a plateau, say
    nothing about what is left, however small they are.
    """
    if len(elbo) < 3:
        return False
    gain, before = elbo[-1] - elbo[-2], elbo[-2] - elbo[-3]
    return bool(gain <= 0 or gain <= left * (before / gain - 1))


def warn_of_convergence(max_iter, stacklevel=3):
    """Tell the caller of the caller that `max_iter` was reached."""
    message = f"no convergence after {max_iter} iterations: raise max_iter or tol."
    warnings.warn(message, ConvergenceWarning, stacklevel=stacklevel)
