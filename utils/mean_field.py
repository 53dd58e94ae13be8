"""Variational Bayes: the best approximation of a posterior among products of factors.

For any q, log p(x) = ELBO(q) + KL(q || p(theta | x)), where ELBO(q) is the expectation
of log p(x, theta) - log q(theta) under q. In a product of factors, the best q_j, given
the others, has log q_j = E_others[log p(x, theta)] + const: to update one after the
other is coordinate ascent, which cannot lower the ELBO.

`NormalGamma` has the exact posterior of a Gaussian's mean and precision beside its
mean-field approximation; `VariationalGaussianMixture` is the Bayesian mixture of
Gaussians with full covariances.

Sources: Bishop (2006), Pattern Recognition and Machine Learning, ch. 10; Murphy (2007),
Conjugate Bayesian analysis of the Gaussian distribution, section 3; Hoffman, Blei, Wang
and Paisley (2013), Stochastic variational inference, JMLR 14.
"""

import dataclasses
import functools
import math
import warnings
from numbers import Integral, Real
from typing import ClassVar

from utils import arguments

import numpy as np
from scipy import special, stats
from scipy.linalg import lapack
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

# Private, but there since 1.2: with these, scikit-learn's estimators name what is bad.
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

LOG_2_PI = math.log(2 * math.pi)
TINY = np.finfo(float).tiny
# Shares of a column's variance, not explained by others, that count as zero.
DEPENDENT = 1e-13
# Coordinates whose squares, times counts, are still finite.
FARTHEST = 1e140
# Numbers in the arrays of a block of rows, 2 MB: products are large enough for BLAS's
# threads to be worth their start, and memory is small beside that of any large data.
BLOCK = 2**18
# How far a fit is moved to see whether it comes back, in standard deviations of its
# components. Less leaves slow escapes below `tol`, more costs passes.
DISTURBANCE = 0.3
COUNT = Interval(Integral, 1, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")


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
        n, gap, scatter = self._summary(x)
        kappa = self.kappa + n
        return NormalGamma(
            mean=self.mean + n / kappa * gap,
            kappa=kappa,
            a=self.a + n / 2,
            b=self.b + 0.5 * (scatter + self.kappa * n / kappa * gap * gap),
        )

    def log_evidence(self, x):
        """Return log p(x) of observations `x`, shape (n,), in nats."""
        after = self.posterior(x)
        return float(
            special.gammaln(after.a)
            - special.gammaln(self.a)
            + self.a * math.log(self.b)
            - after.a * math.log(after.b)
            + 0.5 * math.log(self.kappa / after.kappa)
            - (after.a - self.a) * LOG_2_PI
        )

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
        n, gap, scatter = self._summary(x)
        b = self.b
        if tau is not None:
            b = self.a / arguments.real("tau", tau, above=0)
            if not 0 < b < math.inf:
                raise ValueError(f"tau is {tau}, too far from 1 to divide a by it.")
        tol = arguments.real("tol", tol, least=0)
        max_iter = arguments.integer("max_iter", max_iter)
        mean = self.mean + n / (self.kappa + n) * gap
        about = scatter + self.kappa * n / (self.kappa + n) * gap * gap
        a, trace, converged = self.a, [], False
        for _ in range(max_iter):
            precision = (self.kappa + n) * a / b
            # E[sum (x_i - mu)² + kappa (mu - mean)²] under q(mu)
            squares = about + (self.kappa + n) / precision
            trace.append((precision, a, b, self._elbo(n, squares, precision, a, b)))
            a, b = self.a + (n + 1) / 2, self.b + squares / 2
            trace.append((precision, a, b, self._elbo(n, squares, precision, a, b)))
            if converged := _arrived([row[-1] for row in trace[-5::2]], tol * n):
                break
        else:
            _warn_of_convergence(max_iter)
        trace = np.array(trace).T
        return MeanField(np.full(trace.shape[1], mean), *trace, bool(converged))

    def _summary(self, x):
        """Return n, the mean of `x` less the prior's, and the squares about the former.

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
        return len(x), gap, scatter

    def _elbo(self, n, squares, precision, a, b):
        tau, log_tau = a / b, special.psi(a) - math.log(b)
        log_joint = (
            0.5 * ((n + 1) * (log_tau - LOG_2_PI) + math.log(self.kappa))
            - 0.5 * tau * squares
            + self.a * math.log(self.b)
            - special.gammaln(self.a)
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


def _arrived(elbo, left):
    """Whether at most `left` is left to gain, if gains go on shrinking as they did.

    Then they are a geometric series. Gains that grow, as on leaving a plateau, say
    nothing about what is left, however small they are.
    """
    if len(elbo) < 3:
        return False
    gain, before = elbo[-1] - elbo[-2], elbo[-2] - elbo[-3]
    return bool(gain <= 0 or gain <= left * (before / gain - 1))


def _warn_of_convergence(max_iter, stacklevel=3):
    message = f"no convergence after {max_iter} iterations: raise max_iter or tol."
    warnings.warn(message, ConvergenceWarning, stacklevel=stacklevel)


def _all_or_nothing(method):
    """Whatever stops the method, the estimator is then what it was before."""

    @functools.wraps(method)
    def guarded(self, X, y=None):
        before = dict(vars(self))
        try:
            return method(self, X, y)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return guarded


class VariationalGaussianMixture(DensityMixin, BaseEstimator):
    """Bayesian mixture of Gaussians with full covariances, by variational Bayes.

    The model: pi ~ Dir(alpha_0), Lambda_k ~ Wishart(W_0, nu_0), mu_k | Lambda_k ~
    N(m_0, (kappa_0 Lambda_k)⁻¹), z_n ~ pi, and x_n | z_n = k ~ N(mu_k, Lambda_k⁻¹). The
    approximation: q(z) q(pi) prod_k q(mu_k, Lambda_k), fitted by coordinate ascent.

    Parameters
    ----------
    n_components : int
        K. Components that the data have no use for lose their weight.
    tol : float
        Stop once no more of the ELBO is left to gain, in nats per point, if gains go on
        shrinking as the last two did, and a copy of the fit that is disturbed a little
        comes back to the same bound: from a plateau it climbs away, and is gone on
        with. No unit, origin or number of the data matters. `BayesianGaussianMixture`
        compares the gain of one iteration with its `tol`, 1e-3, in nats for all points
        together, and takes the first plateau.
    reg_covar : float
        A variance, in squared units of the data, that every point is spread by, in all
        directions: scikit-learn adds it, times N_k, to the diagonal of the scatter.
        Here q(z) and the ELBO count it as well, so that the bound, though looser, still
        climbs.
    max_iter : int
        Largest number of iterations, those of disturbed copies among them; a
        `ConvergenceWarning` tells of reaching it. With 0, q is fitted to the start's
        responsibilities, and left there.
    n_init : int
        Number of starts, of which the one with the best bound is kept.
    init_params : {"kmeans", "random"} or array-like, shape (n_samples, n_components)
        Responsibilities to start from: those that scikit-learn's
        `BayesianGaussianMixture` takes under this name and `random_state`, or given.
    weight_concentration_prior : float, optional
        alpha_0. Default: 1 / n_components.
    mean_precision_prior : float, optional
        kappa_0. Default: 1.
    mean_prior : array-like, shape (n_features,), optional
        m_0. Default: the mean of the data.
    degrees_of_freedom_prior : float, optional
        nu_0, above n_features - 1. Default: n_features.
    covariance_prior : array-like, shape (n_features, n_features), optional
        W_0⁻¹. Default: the covariance of the data.
    random_state : int, SeedSequence, generator of `numpy.random` or None
        For the start, and for `sample`.
    verbose : int
        Above 0, show a progress bar.
    learning_decay, learning_offset : float
        Block t = 1, 2, ... given to `partial_fit` moves q by a share of
        (t + learning_offset)^-learning_decay.
    total_samples : float, optional
        Number of points that a block given to `partial_fit` stands for. Default: the
        points seen so far, `n_samples_seen_`. Set it to the size of your data if you
        know that, or if blocks come again.

    Attributes
    ----------
    weight_concentration_, weights_ : ndarray, shape (n_components,)
        alpha of q(pi) = Dir(alpha), and E[pi].
    mean_precision_, means_ : ndarray, shape (n_components,), (n_components, n_features)
        kappa_k and m_k of q(mu_k | Lambda_k).
    degrees_of_freedom_ : ndarray, shape (n_components,)
        nu_k of q(Lambda_k) = Wishart(W_k, nu_k).
    covariances_ : ndarray, shape (n_components, n_features, n_features)
        W_k⁻¹ / nu_k, the inverse of E[Lambda_k].
    precisions_cholesky_ : ndarray, shape (n_components, n_features, n_features)
        Upper triangular P_k with P_k P_kᵀ = E[Lambda_k].
    elbo_ : ndarray, shape (3 + 3 n_iter_,)
        Lower bound of log p(X) after every update, in nats, no constant left out. The
        first three are for the start's responsibilities: all else at the prior; q(pi)
        updated; all q(mu_k, Lambda_k) updated. Then three for every iteration: q(z),
        q(pi), all q(mu_k, Lambda_k). Of a disturbed copy that climbs away it has what
        lies above the plateau, so that it never falls; of others, nothing. After
        `partial_fit`: one for every block, a noisy estimate from that block of the
        bound for `total_samples` points.
    lower_bound_ : float
        The last of `elbo_`.
    n_iter_, converged_ : int, bool
        Of the start that was kept, iterations in `elbo_` only; after `partial_fit`, the
        number of blocks and False.
    n_samples_seen_ : int
        Points given to `fit`, and to `partial_fit` since.
    n_features_in_, feature_names_in_, and the priors, ending in ``prior_``
        As scikit-learn has them.

    Raises
    ------
    ValueError
        If data or parameters are not as above; if columns are constant or dependent
        while `covariance_prior` is None; if a W_k⁻¹ is singular to rounding; if points
        are too far from the others to be squared. What stops `fit` or `partial_fit`
        leaves the estimator as it was.

    Notes
    -----
    Implements Bishop (2006), section 10.2, where nu_k in (10.63) is nu_0 + N_k.

    An iteration is one pass over the data. Of a block of rows it makes features, the
    products of two coordinates, the coordinates and 1; a matrix product of these gives
    the log responsibilities, another the sums for the other factors. That takes time
    O(n_samples n_components n_features²), and no memory that grows with n_samples but
    for the start's responsibilities.

    Coordinates are those in which the data have mean zero and W_0 = 1. So units, origin
    and correlations do not matter, and distances lose to rounding at most about
    n_samples ε for the default `covariance_prior`, or (r/s)² ε for one that is s wide
    where the data are r wide.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(200, 1)) + [[-9], [9]] * 100
    >>> mixture = VariationalGaussianMixture(4, random_state=0).fit(X)
    >>> print(np.sort(mixture.weights_).round(2))
    [0.  0.  0.5 0.5]
    """

    _parameter_constraints: ClassVar = {
        "n_components": [COUNT],
        "tol": [NOT_NEGATIVE],
        "reg_covar": [NOT_NEGATIVE],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [COUNT],
        "init_params": [StrOptions({"kmeans", "random"}), "array-like"],
        "weight_concentration_prior": [POSITIVE, None],
        "mean_precision_prior": [POSITIVE, None],
        "mean_prior": ["array-like", None],
        "degrees_of_freedom_prior": [POSITIVE, None],
        "covariance_prior": ["array-like", None],
        "random_state": "no_validation",
        "verbose": ["verbose"],
        "learning_decay": [Interval(Real, 0, 1, closed="both")],
        "learning_offset": [NOT_NEGATIVE],
        "total_samples": [POSITIVE, None],
    }

    def __init__(
        self,
        n_components=1,
        *,
        tol=1e-6,
        reg_covar=0.0,
        max_iter=1000,
        n_init=1,
        init_params="kmeans",
        weight_concentration_prior=None,
        mean_precision_prior=None,
        mean_prior=None,
        degrees_of_freedom_prior=None,
        covariance_prior=None,
        random_state=None,
        verbose=0,
        learning_decay=0.7,
        learning_offset=10.0,
        total_samples=None,
    ):
        self.n_components = n_components
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.verbose = verbose
        self.learning_decay = learning_decay
        self.learning_offset = learning_offset
        self.total_samples = total_samples

    @_all_or_nothing
    def fit(self, X, y=None):
        """Fit q by coordinate ascent to `X`, shape (n_samples, n_features)."""
        self._validate_params()
        X = self._check_first(X)
        rng = arguments.random_state("random_state", self.random_state)
        self.lower_bound_, self._blocks, self.n_samples_seen_ = -math.inf, 0, len(X)
        for _ in range(self.n_init if isinstance(self.init_params, str) else 1):
            q, elbo, converged = self._ascend(X, self._start(X, rng))
            if elbo[-1] > self.lower_bound_:
                self._keep(*q, elbo, converged, len(elbo) // 3 - 1)
        if self.max_iter and not self.converged_:
            _warn_of_convergence(self.max_iter, stacklevel=4)
        return self

    def _ascend(self, X, resp):
        """Return alpha and the Gaussians, the trace of the ELBO, if it converged."""
        sweeps, tol = self.max_iter + 1, self.tol * len(X)
        nothing = self._prior.factors(self.n_components)
        q, elbo, converged = self._climb(X, *nothing, sweeps, tol, resp)
        sweeps -= len(elbo) // 3
        rng = np.random.default_rng(0)
        # Of one component the bound has one maximum, and no plateau.
        while converged and self.n_components > 1:
            away = _disturbed(*q, rng)
            away, more, converged = self._climb(X, *away, sweeps, tol / 10)
            sweeps -= len(more) // 3
            if not more or more[-1] <= elbo[-1] + tol:
                break
            more = np.reshape(more, (-1, 3))
            q, elbo = away, elbo + more[more[:, 0] > elbo[-1]].ravel().tolist()
        return q, elbo, converged

    def _climb(self, X, alpha, gaussians, sweeps, tol, resp=None):
        """Return as `_ascend` does, by iterations alone, the first from `resp`."""
        prior, elbo, sweeps = self._prior, [], range(sweeps)
        if self.verbose:
            from tqdm import tqdm

            sweeps = tqdm(sweeps, desc="coordinate ascent", unit="pass")
        for _ in sweeps:
            found = _sweep(X, prior, alpha, gaussians, resp)
            resp = None
            elbo.append(_elbo(found, prior, alpha, gaussians))
            alpha = prior.alpha + found.counts
            elbo.append(_elbo(found, prior, alpha, gaussians))
            gaussians = _update(found, prior)
            elbo.append(_elbo(found, prior, alpha, gaussians))
            if _arrived(elbo[-7::3], tol):
                return (alpha, gaussians), elbo, True
        return (alpha, gaussians), elbo, False

    @_all_or_nothing
    def partial_fit(self, X, y=None):
        """Move q towards what a block `X` of the data asks for.

        Stochastic variational inference (Hoffman et al., 2013): natural parameters of
        q(pi) and q(mu_k, Lambda_k) go a share of the way to their optimum for the
        block's responsibilities, repeated until they make `total_samples` points. The
        first block also gives the start, and the priors that are None; `n_components`
        and priors that are set later are not read. After `fit`, it goes on from there,
        with steps counted, and `elbo_` recorded, from the first block.
        """
        self._validate_params()
        first = not hasattr(self, "means_")
        X = self._check_first(X) if first else self._check_more(X)
        seen = len(X) + (0 if first else self.n_samples_seen_)
        prior = self._prior
        repeats = (self.total_samples or seen) / len(X)
        if first:
            self._blocks = 0
            rng = arguments.random_state("random_state", self.random_state)
            alpha, gaussians = prior.factors(self.n_components)
            found = _sweep(X, prior, alpha, gaussians, self._start(X, rng), repeats)
            alpha, gaussians = prior.alpha + found.counts, _update(found, prior)
        else:
            alpha, gaussians = self.weight_concentration_, self._gaussians
        found = _sweep(X, prior, alpha, gaussians, None, repeats)
        self._blocks, self.n_samples_seen_ = self._blocks + 1, seen
        share = (self._blocks + self.learning_offset) ** -self.learning_decay
        alpha = alpha + share * (prior.alpha + found.counts - alpha)
        gaussians = _blend(gaussians, _update(found, prior), share)
        before = self.elbo_ if self._blocks > 1 else []
        elbo = [*before, _elbo(found, prior, alpha, gaussians)]
        self._keep(alpha, gaussians, elbo, False, self._blocks)
        return self

    def fit_predict(self, X, y=None):
        """Fit to `X`, and return the most probable component of each point."""
        return self.fit(X).predict(X)

    def predict(self, X):
        """Return the most probable component of each point, shape (n_samples,)."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X):
        """Return the responsibilities q(z_n = k), shape (n_samples, n_components)."""
        X = self._check_more(X)
        weights = _log_rho(self._prior, self.weight_concentration_, self._gaussians)
        return self._by_blocks(X, lambda f: _responsibilities(weights @ f)[0].T)

    def score_samples(self, X):
        """Return log p(x_n | data), shape (n_samples,), in nats.

        The predictive density under q, a mixture of Student's t distributions, as in
        Bishop (2006), eq. (10.81).
        """
        X, g, d = self._check_more(X), self._gaussians, self.n_features_in_
        nu, shrinkage = g.nu + 1 - d, g.kappa / (1 + g.kappa)
        log_norm = (
            np.log(self.weights_)
            + special.gammaln((nu + d) / 2)
            - special.gammaln(nu / 2)
            + 0.5 * (d * np.log(shrinkage / math.pi) + g.log_det)
            + self._prior.log_jacobian
        )
        distances = shrinkage[:, None] * _quadratic_form(g)

        def log_density(features):
            tails = np.log1p(distances @ features)
            tails *= -0.5 * (nu + d)[:, None]
            return special.logsumexp(tails + log_norm[:, None], axis=0)

        return self._by_blocks(X, log_density)

    def score(self, X, y=None):
        """Return the mean of `score_samples`, in nats per point."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples=1):
        """Draw from the predictive density: points (n_samples, n_features), and labels.

        The labels, shape (n_samples,), are the components that the points came from.
        With an integer as `random_state`, every call draws the same.
        """
        check_is_fitted(self)
        n_samples = arguments.integer("n_samples", n_samples)
        rng = arguments.random_state("random_state", self.random_state)
        g = self._gaussians
        labels = rng.choice(len(g.nu), n_samples, p=self.weights_)
        X = rng.standard_normal((n_samples, self.n_features_in_))
        chi_squares = rng.chisquare(g.nu[labels] + 1 - self.n_features_in_)
        X *= np.sqrt((1 + 1 / g.kappa[labels]) / chi_squares)[:, None]
        for k, root in enumerate(self._prior.root @ g.root):
            X[labels == k] = self.means_[k] + X[labels == k] @ root.T
        return X, labels

    def _by_blocks(self, X, function):
        """Return what `function` makes of the features of every block, joined."""
        blocks = _blocks(X, len(self.weights_))
        return np.concatenate(
            [function(_features(X[block], self._prior)) for block in blocks]
        )

    def _check_first(self, X):
        """Check the data, and set the priors."""
        for name, least in (("n_components", 1), ("max_iter", 0), ("n_init", 1)):
            arguments.integer(name, getattr(self, name), least=least)
        X = self._validated(X, ensure_min_samples=2)
        n, d = X.shape
        nu = self.degrees_of_freedom_prior
        if n < self.n_components:
            raise ValueError(
                f"n_components is {self.n_components}, but must be at most the number "
                f"of samples, n_samples = {n}."
            )
        if nu is not None and nu <= d - 1:
            raise ValueError(
                f"degrees_of_freedom_prior is {nu}, but must be above n_features - 1 = "
                f"{d - 1}."
            )
        alpha, kappa = self.weight_concentration_prior, self.mean_precision_prior
        mean, covariance = self.mean_prior, self.covariance_prior
        center = X.mean(axis=0, dtype=float)
        if covariance is None:
            names = getattr(self, "feature_names_in_", np.arange(d))
            covariance = _covariance(X, center, names)
        self.weight_concentration_prior_ = (
            1 / self.n_components if alpha is None else alpha
        )
        self.mean_precision_prior_ = 1.0 if kappa is None else kappa
        self.mean_prior_ = center
        if mean is not None:
            self.mean_prior_ = arguments.real_array("mean_prior", mean, (d,))
        self.degrees_of_freedom_prior_ = d if nu is None else nu
        self.covariance_prior_ = arguments.real_array(
            "covariance_prior", covariance, (d, d)
        )
        root = _prior_root(self.covariance_prior_)
        whitener = np.linalg.inv(root).T
        self._prior = _Prior(
            center=center,
            root=root,
            whitener=whitener,
            spread=self.reg_covar * whitener.T @ whitener,
            alpha=self.weight_concentration_prior_,
            kappa=self.mean_precision_prior_,
            mean=(self.mean_prior_ - center) @ whitener,
            nu=self.degrees_of_freedom_prior_,
        )
        return X

    def _check_more(self, X):
        check_is_fitted(self)
        return self._validated(X, reset=False)

    def _validated(self, X, **how):
        """Check data as scikit-learn does, whose errors do not always name them."""
        if isinstance(X, (np.ndarray, list, tuple)):
            X = arguments.plain_array("X", X)
            if X.dtype.kind in "US":
                raise ValueError("X must be numbers, but holds strings.")
        try:
            return validate_data(self, X, dtype=[np.float64, np.float32], **how)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"X is refused. {error}") from error

    def _start(self, X, rng):
        """Return responsibilities to start from, shape (n_samples, n_components)."""
        if not isinstance(self.init_params, str):
            shape = len(X), self.n_components
            resp = arguments.real_array("init_params", self.init_params, shape)
            excess = np.abs(resp.sum(axis=1) - 1)
            if resp.min() < 0 or excess.max() > 1e-6:
                row = np.argmax(excess - resp.min(axis=1).clip(max=0))
                raise ValueError(
                    "init_params must hold responsibilities, none negative, that sum "
                    f"to one in every row, but row {row} is {resp[row]}."
                )
            return resp
        if self.init_params == "random":
            resp = rng.uniform(size=(len(X), self.n_components))
            resp /= resp.sum(axis=1, keepdims=True)
            return resp
        kmeans = KMeans(self.n_components, n_init=1, random_state=rng)
        return np.eye(self.n_components)[kmeans.fit(X).labels_]

    def _keep(self, alpha, gaussians, elbo, converged, n_iter):
        """Set the fitted attributes, in the coordinates of the data."""
        prior, self._gaussians = self._prior, gaussians
        scale = np.sqrt(gaussians.nu)[:, None, None]
        self.weight_concentration_, self.weights_ = alpha, alpha / alpha.sum()
        self.mean_precision_, self.degrees_of_freedom_ = gaussians.kappa, gaussians.nu
        self.means_ = prior.center + gaussians.mean @ prior.root.T
        self.covariances_ = _gram(prior.root @ gaussians.root / scale)
        self.precisions_cholesky_ = np.triu(prior.whitener @ gaussians.whitener * scale)
        self.elbo_, self.lower_bound_ = np.array(elbo), elbo[-1]
        self.converged_, self.n_iter_ = converged, n_iter


@dataclasses.dataclass(frozen=True)
class _Prior:
    """The prior in its coordinates, whitenerᵀ (x - center), in which W_0 = 1."""

    center: np.ndarray
    root: np.ndarray
    whitener: np.ndarray
    spread: np.ndarray
    alpha: float
    kappa: float
    mean: np.ndarray
    nu: float

    @property
    def log_jacobian(self):
        return np.log(np.diag(self.whitener)).sum()

    def factors(self, k):
        """Return alpha and the Gaussians, without any data."""
        d = len(self.mean)
        nothing = _Statistics(np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d)), 0.0)
        return self.alpha + nothing.counts, _update(nothing, self)


@dataclasses.dataclass(frozen=True)
class _Gaussians:
    """All q(mu_k, Lambda_k) in the prior's coordinates; root_k root_kᵀ = W_k⁻¹."""

    kappa: np.ndarray
    mean: np.ndarray
    nu: np.ndarray
    root: np.ndarray

    @functools.cached_property
    def whitener(self):
        return np.linalg.inv(self.root).swapaxes(1, 2)

    @functools.cached_property
    def scale(self):
        return _gram(self.whitener)

    @functools.cached_property
    def log_det(self):
        return -2 * np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(axis=1)

    @functools.cached_property
    def expected_log_det(self):
        """E log|Lambda_k|, Bishop's eq. (10.65)."""
        d = self.mean.shape[1]
        halves = (self.nu[:, None] - np.arange(d)) / 2
        return special.psi(halves).sum(axis=1) + d * math.log(2) + self.log_det


@dataclasses.dataclass(frozen=True)
class _Statistics:
    """N_k, means, N_k S_k, Bishop's eqs. (10.51) to (10.53), and q(z)'s entropy."""

    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray
    entropy: float


def _sweep(X, prior, alpha, gaussians, resp=None, repeats=1.0):
    """Return the statistics of the best q(z), or the given, every row counted often."""
    weights, total, entropy = _log_rho(prior, alpha, gaussians), 0.0, 0.0
    for block in _blocks(X, len(alpha)):
        features = _features(X[block], prior)
        if resp is None:
            r, log_r = _responsibilities(weights @ features)
            entropy -= repeats * np.vdot(r, log_r)
        else:
            r = resp[block].T
            entropy += repeats * special.entr(r).sum()
        total += repeats * (r @ features.T)
    k, d = gaussians.mean.shape
    counts, firsts, pairs = total[:, -1], total[:, -1 - d : -1], total[:, : -1 - d]
    # Without points there is no mean; any will do.
    means = firsts / np.maximum(counts, TINY)[:, None]
    scatter = np.empty((k, d, d))
    i, j = np.triu_indices(d)
    scatter[:, i, j] = scatter[:, j, i] = pairs
    scatter -= firsts[:, :, None] * means[:, None]
    scatter += counts[:, None, None] * prior.spread
    return _Statistics(counts, means, scatter, entropy)


def _features(x, prior):
    """Return z_i z_j (i <= j), z_i and 1 of every row, in the prior's coordinates."""
    d = x.shape[1]
    pairs = d * (d + 1) // 2
    features = np.empty((pairs + d + 1, len(x)))
    features[-1] = 1.0
    z = np.matmul(prior.whitener.T, (x - prior.center).T, out=features[pairs:-1])
    if not np.abs(z).max(initial=0) < FARTHEST:
        raise ValueError("X holds points too far from the others to be squared.")
    start = 0
    for i in range(d):
        np.multiply(z[i], z[i:], out=features[start : start + d - i])
        start += d - i
    return features


def _quadratic_form(gaussians):
    """Return the weights of features that give (z - m_k)ᵀ W_k (z - m_k)."""
    scale, mean = gaussians.scale, gaussians.mean
    i, j = np.triu_indices(mean.shape[1])
    pairs = np.where(i == j, 1.0, 2.0) * scale[:, i, j]
    products = (scale @ mean[:, :, None])[:, :, 0]
    constants = np.sum(products * mean, axis=1, keepdims=True)
    return np.hstack([pairs, -2 * products, constants])


def _log_rho(prior, alpha, gaussians):
    """Return the weights of features that give log rho_nk, Bishop's eq. (10.46)."""
    g, d = gaussians, len(prior.mean)
    weights = -0.5 * g.nu[:, None] * _quadratic_form(g)
    spread = _product(g.scale, prior.spread)
    weights[:, -1] += _expected_log(alpha)
    weights[:, -1] += 0.5 * (g.expected_log_det - d / g.kappa - g.nu * spread)
    return weights


def _responsibilities(log_r):
    """Return r and log r, shape (k, n), from log rho, which is overwritten."""
    log_r -= log_r.max(axis=0)
    r = np.exp(log_r)
    total = r.sum(axis=0)
    r /= total
    log_r -= np.log(total)
    return r, log_r


def _update(found, prior):
    """Return the best q(mu_k, Lambda_k), Bishop's eqs. (10.60) to (10.63)."""
    kappa, gap = prior.kappa + found.counts, found.means - prior.mean
    inverse = np.eye(len(prior.mean)) + found.scatter
    inverse += _outer(prior.kappa * found.counts / kappa, gap)
    mean = prior.mean + (found.counts / kappa)[:, None] * gap
    return _Gaussians(kappa, mean, prior.nu + found.counts, _roots(inverse))


def _disturbed(alpha, g, rng):
    """Return alpha and the Gaussians, moved at random by a share of their widths."""
    k, d = g.mean.shape
    gap = DISTURBANCE * g.root @ rng.standard_normal((k, d, 1))
    turn = np.eye(d) + DISTURBANCE * np.tril(rng.uniform(-1, 1, (k, d, d)))
    mean = g.mean + gap[:, :, 0] / np.sqrt(g.nu)[:, None]
    alpha = alpha * (1 + DISTURBANCE * rng.uniform(-1, 1, k))
    return alpha, dataclasses.replace(g, mean=mean, root=g.root @ turn)


def _blend(old, new, share):
    """Go a share of the way in nu, kappa, kappa m, W⁻¹ + kappa m mᵀ."""
    kappa, gap = old.kappa + share * (new.kappa - old.kappa), new.mean - old.mean
    pull = share * new.kappa / kappa
    inverse = (1 - share) * _gram(old.root) + share * _gram(new.root)
    inverse += _outer((1 - share) * old.kappa * pull, gap)
    nu = old.nu + share * (new.nu - old.nu)
    return _Gaussians(kappa, old.mean + pull[:, None] * gap, nu, _roots(inverse))


def _elbo(found, prior, alpha, gaussians):
    """Return E[log p(X, z, pi, mu, Lambda) - log q], in nats."""
    g, d = gaussians, len(prior.mean)
    gap, drift, ratio = found.means - g.mean, g.mean - prior.mean, prior.kappa / g.kappa
    log_likelihoods = 0.5 * found.counts * (
        g.expected_log_det + 2 * prior.log_jacobian - d * (LOG_2_PI + 1 / g.kappa)
    ) - 0.5 * g.nu * _product(g.scale, found.scatter + _outer(found.counts, gap))
    kl_normals = 0.5 * (
        d * (ratio - 1 - np.log(ratio))
        + g.nu * _product(g.scale, _outer(prior.kappa, drift))
    )
    kl_wisharts = (
        special.multigammaln(prior.nu / 2, d)
        - special.multigammaln(g.nu / 2, d)
        + 0.5 * (g.nu - prior.nu) * (g.expected_log_det - d * math.log(2))
        + 0.5 * g.nu * (np.trace(g.scale, axis1=1, axis2=2) - d - g.log_det)
    )
    log_pi = _expected_log(alpha)
    kl_dirichlet = (
        special.gammaln(alpha.sum())
        - special.gammaln(alpha).sum()
        - special.gammaln(prior.alpha * len(alpha))
        + special.gammaln(prior.alpha) * len(alpha)
        + (alpha - prior.alpha) @ log_pi
    )
    expected = log_likelihoods.sum() + found.counts @ log_pi + found.entropy
    return float(expected - kl_dirichlet - (kl_normals + kl_wisharts).sum())


def _expected_log(alpha):
    """E[log pi_k] under Dir(alpha), Bishop's eq. (10.66)."""
    return special.psi(alpha) - special.psi(alpha.sum())


def _product(a, b):
    """Return tr(A_k B_k) of symmetric matrices."""
    return (a * b).sum(axis=(1, 2))


def _outer(weights, vectors):
    return np.reshape(weights, (-1, 1, 1)) * vectors[:, :, None] * vectors[:, None]


def _gram(root):
    return root @ root.swapaxes(1, 2)


def _roots(inverse):
    try:
        return np.linalg.cholesky(inverse)
    except np.linalg.LinAlgError:
        raise ValueError(
            "the covariance of a component is singular to rounding: raise reg_covar or "
            "covariance_prior."
        ) from None


def _blocks(X, components=0):
    """Return slices of rows; a row takes its features, and log rho and r of each."""
    d = X.shape[1]
    rows = max(128, BLOCK // (d * (d + 3) // 2 + 1 + 2 * components))
    return [slice(i, i + rows) for i in range(0, len(X), rows)]


def _covariance(X, center, names):
    """Return the covariance of X, or say which columns make it singular."""
    gaps = (X[block] - center for block in _blocks(X))
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = sum(gap.T @ gap for gap in gaps) / (len(X) - 1)
    variances, bad = np.diag(covariance), X.max(axis=0) == X.min(axis=0)
    if not (np.isfinite(covariance).all() and (bad | (variances >= TINY)).all()):
        raise ValueError("X is too large or too small to be squared: scale it.")
    what = "constant"
    if not bad.any():
        deviations = np.sqrt(variances)
        correlation = covariance / np.outer(deviations, deviations)
        _, pivots, rank, _ = lapack.dpstrf(correlation, tol=DEPENDENT)
        bad[pivots[rank:] - 1], what = True, "linear combinations of the others"
    if bad.any():
        raise ValueError(
            f"columns {names[bad].tolist()} of X, which has {len(X)} rows, are {what}: "
            "drop them or give covariance_prior."
        )
    return covariance


def _prior_root(covariance):
    # To rounding of the products of deviations: an entry may be zero but for that.
    deviations = np.sqrt(np.abs(np.diag(covariance)))
    slack = 1e-8 * np.outer(deviations, deviations)
    if (np.abs(covariance - covariance.T) > slack).any():
        raise ValueError("covariance_prior must be symmetric.")
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(covariance)[0]
        raise ValueError(
            f"covariance_prior must be positive definite, but has the eigenvalue "
            f"{least:.3g}."
        ) from None
