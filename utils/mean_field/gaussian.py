"""One Gaussian: its conjugate prior, the exact posterior, and the mean-field one."""

import dataclasses
import math

from utils import arguments
from utils.mean_field.ascent import arrived, warn_of_convergence

import numpy as np
from scipy import special, stats

LOG_2_PI = math.log(2 * math.pi)


@dataclasses.dataclass(frozen=True)
class NormalGamma:
    """N(mu | mean, 1 / (kappa tau)) Gam(tau | a, b): conjugate to N(x | mu, 1 / tau).

    Parameters
    ----------
    mean, kappa : float
        Expectation of mu, and its precision in units of tau: as a prior, the number of
        observations that it counts for.
    a, b : float
        Shape and rate of tau, whose expectation is a / b.

    Raises
    ------
    ValueError
        If a parameter is not finite, or one but the mean not positive; by the methods,
        if observations are not a sequence of finite numbers, or so large that their
        squares are not.

    Examples
    --------
    >>> NormalGamma(mean=0, kappa=1, a=1, b=1).posterior([1, 3, 5])
    NormalGamma(mean=2.25, kappa=4.0, a=2.5, b=8.375)
    """

    mean: float = 0.0
    kappa: float = 1.0
    a: float = 1.0
    b: float = 1.0

    def __post_init__(self):
        for name, value in vars(self).items():
            bounds = {} if name == "mean" else {"above": 0}
            object.__setattr__(self, name, arguments.real(name, value, **bounds))

    @property
    def mu(self):
        """Marginal of mu, a Student t, as a frozen `scipy.stats` distribution."""
        scale = math.sqrt(self.b / self.a) / math.sqrt(self.kappa)
        return stats.t(2 * self.a, loc=self.mean, scale=scale)

    @property
    def tau(self):
        """Marginal of tau, a Gamma, as a frozen `scipy.stats` distribution."""
        return stats.gamma(self.a, scale=1 / self.b)

    def log_prob(self, mu, tau):
        """Log density of (mu, tau), broadcast, in nats; -inf where tau <= 0."""
        return _log_prob(mu, tau, self.mean, self.kappa, self.a, self.b, True)

    def sample(self, num_samples, seed=None):
        """Draw arrays (mu, tau); `seed` is one, or a generator of `numpy.random`."""
        num_samples = arguments.integer("num_samples", num_samples)
        rng = arguments.rng("seed", seed)
        tau = rng.gamma(self.a, 1 / self.b, num_samples)
        return rng.normal(self.mean, 1 / np.sqrt(self.kappa * tau)), tau

    def posterior(self, x):
        """Return the posterior after observations `x`, shape (n,)."""
        n, mean, squares = self._summary(x)
        return NormalGamma(mean, self.kappa + n, self.a + n / 2, self.b + squares / 2)

    def log_evidence(self, x):
        """Return log p(x) of observations `x`, shape (n,), in nats."""
        after = self.posterior(x)
        gained = after._log_normaliser - self._log_normaliser
        return float(gained - (after.a - self.a) * LOG_2_PI)

    def coordinate_ascent(self, x, *, tau=None, tol=1e-14, max_iter=1000):
        """Approximate the posterior, this being the prior, by the best q(mu) q(tau).

        Implements Bishop (2006), eqs. (10.26) to (10.30), where the shape of q(tau) is
        a + (n + 1) / 2: the prior of mu has tau in it as well.

        Parameters
        ----------
        x : array-like, shape (n,)
            Observations.
        tau : float, optional
            E[tau] to start from. Default: the prior's, a / b.
        tol : float
            Stop once no more of the ELBO is left to gain, in nats per observation, if
            gains go on shrinking as the last two did. An iteration is both updates.
        max_iter : int
            Largest number of iterations; a `ConvergenceWarning` tells of reaching it.

        Returns
        -------
        MeanField
        """
        n, mean, about = self._summary(x)
        b = self.b
        if tau is not None:
            b = self.a / arguments.real("tau", tau, above=0)
            if not 0 < b < math.inf:
                raise ValueError(f"tau is {tau}, too far from 1 to divide a by it.")
        tol = arguments.real("tol", tol, least=0)
        max_iter = arguments.integer("max_iter", max_iter)
        a, trace, converged = self.a, [], False
        for _ in range(max_iter):
            precision = (self.kappa + n) * a / b
            # E[sum (x_i - mu)² + kappa (mu - mean)²] under q(mu)
            squares = about + (self.kappa + n) / precision
            trace.append((precision, a, b, self._elbo(n, squares, precision, a, b)))
            a, b = self.a + (n + 1) / 2, self.b + squares / 2
            trace.append((precision, a, b, self._elbo(n, squares, precision, a, b)))
            if converged := arrived([row[-1] for row in trace[-5::2]], tol * n):
                break
        else:
            warn_of_convergence(max_iter)
        trace = np.array(trace).T
        return MeanField(np.full(trace.shape[1], mean), *trace, bool(converged))

    @property
    def _log_normaliser(self):
        scales = self.a * math.log(self.b) + 0.5 * math.log(self.kappa)
        return special.gammaln(self.a) - scales

    def _summary(self, x):
        """Return n, the posterior's mean m, and sum (x_i - m)² + kappa (m - mean)².

        As errors: what is no sequence of finite numbers whose squares are finite.
        """
        x = arguments.real_array("x", x, ("n",))
        if not len(x):
            raise ValueError("x is empty, but must hold an observation or more.")
        with np.errstate(over="ignore", invalid="ignore"):
            mean = x.mean()
            gap, scatter = float(mean - self.mean), float(np.sum((x - mean) ** 2))
        if not math.isfinite(scatter + (self.kappa + len(x)) * gap * gap):
            raise ValueError(
                f"x is as large as {np.abs(x).max():.3g}, too large to be squared: "
                "scale it."
            )
        share = len(x) / (self.kappa + len(x))
        return len(x), self.mean + share * gap, scatter + self.kappa * share * gap * gap

    def _elbo(self, n, squares, precision, a, b):
        tau, log_tau = a / b, special.psi(a) - math.log(b)
        log_joint = (
            0.5 * ((n + 1) * (log_tau - LOG_2_PI) - tau * squares)
            - self._log_normaliser
            + (self.a - 1) * log_tau
            - self.b * tau
        )
        entropy_mu = 0.5 * (1 + LOG_2_PI - math.log(precision))
        entropy_tau = a - math.log(b) + special.gammaln(a) + (1 - a) * special.psi(a)
        return log_joint + entropy_mu + entropy_tau


@dataclasses.dataclass(frozen=True)
class MeanField:
    """q(mu) q(tau) = N(mu | mean, 1 / precision) Gam(tau | a, b), and the way there.

    Attributes
    ----------
    means, precisions, shapes, rates : ndarray, shape (2 * iterations,)
        Parameters after every update: of q(mu), of q(tau), and so on. Until it is
        updated, q(tau) has the prior's shape and the mean of the start.
    elbo : ndarray, shape (2 * iterations,)
        Then the lower bound of log p(x), in nats, no constant left out.
    converged : bool
    mean, precision, a, b : float
        The last of `means`, `precisions`, `shapes` and `rates`.
    """

    means: np.ndarray
    precisions: np.ndarray
    shapes: np.ndarray
    rates: np.ndarray
    elbo: np.ndarray
    converged: bool

    mean = property(lambda self: float(self.means[-1]))
    precision = property(lambda self: float(self.precisions[-1]))
    a = property(lambda self: float(self.shapes[-1]))
    b = property(lambda self: float(self.rates[-1]))

    @property
    def mu(self):
        """The factor q(mu), as a frozen `scipy.stats` distribution."""
        return stats.norm(self.mean, 1 / math.sqrt(self.precision))

    @property
    def tau(self):
        """The factor q(tau), as a frozen `scipy.stats` distribution."""
        return stats.gamma(self.a, scale=1 / self.b)

    def log_prob(self, mu, tau):
        """Log density of (mu, tau), broadcast, in nats; -inf where tau <= 0."""
        return _log_prob(mu, tau, self.mean, self.precision, self.a, self.b, False)


def _log_prob(mu, tau, mean, precision, a, b, times_tau):
    """Log N(mu | mean, 1 / precision) Gam(tau | a, b), or with precision times tau."""
    mu, tau = arguments.real_array("mu", mu), arguments.real_array("tau", tau)
    inside = tau > 0
    safe = np.where(inside, tau, 1.0)
    if times_tau:
        precision = precision * safe
    # What overflows is a square or a product to be subtracted: the answer is -inf.
    with np.errstate(over="ignore"):
        gap = np.sqrt(precision) * (mu - mean)
        log_normal = 0.5 * (np.log(precision) - LOG_2_PI - gap**2)
        log_gamma = a * math.log(b) - special.gammaln(a) - b * safe
        log_gamma += (a - 1) * np.log(safe)
    return np.where(inside, log_normal + log_gamma, -np.inf)[()]
