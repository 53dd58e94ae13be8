"""The Bayesian mixture of Gaussians, by variational Bayes."""

import dataclasses
import math

from utils import arguments
from utils.estimators import all_or_nothing
from utils.mean_field import factors
from utils.mean_field.ascent import arrived, warn_of_convergence

import numpy as np
from scipy import special
from scipy.linalg import lapack
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.cluster import KMeans
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

# Shares of a column's variance, not explained by others, that count as zero.
DEPENDENT = 1e-13


@dataclasses.dataclass(eq=False, repr=False)
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

    n_components: int = 1
    _: dataclasses.KW_ONLY
    tol: float = 1e-6
    reg_covar: float = 0.0
    max_iter: int = 1000
    n_init: int = 1
    init_params: str | np.ndarray = "kmeans"
    weight_concentration_prior: float | None = None
    mean_precision_prior: float | None = None
    mean_prior: np.ndarray | None = None
    degrees_of_freedom_prior: float | None = None
    covariance_prior: np.ndarray | None = None
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0
    learning_decay: float = 0.7
    learning_offset: float = 10.0
    total_samples: float | None = None

    @all_or_nothing
    def fit(self, X, y=None):
        """Fit q by coordinate ascent to `X`, shape (n_samples, n_features)."""
        X = self._check_first(X)
        rng = arguments.random_state("random_state", self.random_state)
        self.lower_bound_, self._blocks, self.n_samples_seen_ = -math.inf, 0, len(X)
        for _ in range(self.n_init if isinstance(self.init_params, str) else 1):
            found, elbo, converged = self._ascend(X, self._start(X, rng))
            if elbo[-1] > self.lower_bound_:
                self._keep(found, elbo, converged, len(elbo) // 3 - 1)
        if self.max_iter and not self.converged_:
            warn_of_convergence(self.max_iter, stacklevel=4)
        return self

    def _ascend(self, X, resp):
        """Return the statistics found last, the ELBO's trace, and if it converged."""
        sweeps, tol = self.max_iter + 1, self.tol * len(X)
        found, elbo, converged = self._climb(X, self._prior, sweeps, tol, resp)
        sweeps -= len(elbo) // 3
        rng = np.random.default_rng(0)
        # Of one component the bound has one maximum, and no plateau.
        while converged and self.n_components > 1:
            away = factors.disturbed(factors.update(found, self._prior), rng)
            other, more, converged = self._climb(X, away, sweeps, tol / 10)
            sweeps -= len(more) // 3
            if not more or more[-1] <= elbo[-1] + tol:
                break
            more = np.reshape(more, (-1, 3))
            found, elbo = other, elbo + more[more[:, 0] > elbo[-1]].ravel().tolist()
        return found, elbo, converged

    def _climb(self, X, q, sweeps, tol, resp=None):
        """Return as `_ascend` does, by iterations alone, the first from `resp`."""
        prior, found, elbo = self._prior, None, []
        bar = {"desc": "coordinate ascent", "unit": "pass"}
        for _ in tqdm(range(sweeps), disable=not self.verbose, **bar):
            found = factors.sweep(X, self._frame, q, resp)
            resp = None
            elbo.append(factors.elbo(found, prior, q))
            q = dataclasses.replace(q, alpha=prior.alpha + found.counts)
            elbo.append(factors.elbo(found, prior, q))
            q = factors.update(found, prior)
            elbo.append(factors.elbo(found, prior, q))
            if arrived(elbo[-7::3], tol):
                return found, elbo, True
        return found, elbo, False

    @all_or_nothing
    def partial_fit(self, X, y=None):
        """Move q towards what a block `X` of the data asks for.

        Stochastic variational inference (Hoffman et al., 2013): natural parameters of
        q(pi) and q(mu_k, Lambda_k) go a share of the way to their optimum for the
        block's responsibilities, repeated until they make `total_samples` points. The
        first block also gives the start, and the priors that are None; `n_components`
        and priors that are set later are not read. After `fit`, it goes on from there,
        with steps counted, and `elbo_` recorded, from the first block.
        """
        if first := not hasattr(self, "means_"):
            X = self._check_first(X)
            self._blocks, self.n_samples_seen_ = 0, 0
        else:
            self._check_settings()
            X = self._check_more(X)
        self._blocks += 1
        self.n_samples_seen_ += len(X)
        repeats = (self.total_samples or self.n_samples_seen_) / len(X)
        prior = self._prior
        if first:
            rng = arguments.random_state("random_state", self.random_state)
            before = factors.sweep(X, self._frame, prior, self._start(X, rng), repeats)
        else:
            before = self._found
        found = factors.sweep(
            X, self._frame, factors.update(before, prior), None, repeats
        )
        # Natural parameters are those of the prior and what the sums add.
        share = (self._blocks + self.learning_offset) ** -self.learning_decay
        sums = before.sums + share * (found.sums - before.sums)
        mixed = dataclasses.replace(before, sums=sums)
        trace = self.elbo_ if self._blocks > 1 else []
        elbo = [*trace, factors.elbo(found, prior, factors.update(mixed, prior))]
        self._keep(mixed, elbo, False, self._blocks)
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
        weights = factors.log_rho(self._q, self._frame)
        blocks = factors.feature_blocks(X, self._frame)
        parts = [factors.responsibilities(weights @ block)[0].T for _, block in blocks]
        return np.concatenate(parts)

    def score_samples(self, X):
        """Return log p(x_n | data), shape (n_samples,), in nats.

        The predictive density under q, a mixture of Student's t distributions, as in
        Bishop (2006), eq. (10.81).
        """
        X, g, d = self._check_more(X), self._q, self.n_features_in_
        nu, shrinkage = g.nu + 1 - d, g.kappa / (1 + g.kappa)
        log_norm = (
            np.log(self.weights_)
            + special.gammaln((nu + d) / 2)
            - special.gammaln(nu / 2)
            + 0.5 * (d * np.log(shrinkage / math.pi) + g.log_det)
            + self._frame.log_jacobian
        )
        distances, scores = shrinkage[:, None] * factors.quadratic_form(g), []
        for _, block in factors.feature_blocks(X, self._frame):
            tails = 0.5 * (nu + d)[:, None] * np.log1p(distances @ block)
            scores.append(special.logsumexp(log_norm[:, None] - tails, axis=0))
        return np.concatenate(scores)

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
        g = self._q
        labels = rng.choice(len(g.nu), n_samples, p=self.weights_)
        X = rng.standard_normal((n_samples, self.n_features_in_))
        chi_squares = rng.chisquare(g.nu[labels] + 1 - self.n_features_in_)
        X *= np.sqrt((1 + 1 / g.kappa[labels]) / chi_squares)[:, None]
        for k, root in enumerate(self._frame.root @ g.root):
            X[labels == k] = self.means_[k] + X[labels == k] @ root.T
        return X, labels

    def _check_settings(self):
        """Check what has a meaning without data."""
        for name, least in (("n_components", 1), ("max_iter", 0), ("n_init", 1)):
            arguments.integer(name, getattr(self, name), least=least)
        for name in ("tol", "reg_covar", "learning_offset"):
            arguments.real(name, getattr(self, name), least=0)
        arguments.real("learning_decay", self.learning_decay, least=0, most=1)
        self._positive("total_samples", None)
        if not isinstance(self.verbose, bool):
            arguments.integer("verbose", self.verbose, least=0)
        if isinstance(self.init_params, str):
            arguments.choice("init_params", self.init_params, ("kmeans", "random"))

    def _positive(self, name, default, above=0):
        value = getattr(self, name)
        return default if value is None else arguments.real(name, value, above=above)

    def _check_first(self, X):
        """Check settings and data, and set the coordinates and the prior."""
        self._check_settings()
        X = self._validated(X, ensure_min_samples=2)
        (n, d), k = X.shape, self.n_components
        if n < k:
            raise ValueError(
                f"n_components is {k}, but must be at most the number of samples, "
                f"n_samples = {n}."
            )
        alpha = self._positive("weight_concentration_prior", 1 / k)
        kappa = self._positive("mean_precision_prior", 1.0)
        nu = self._positive("degrees_of_freedom_prior", d, above=d - 1)
        center = mean = X.mean(axis=0, dtype=float)
        if self.mean_prior is not None:
            mean = arguments.real_array("mean_prior", self.mean_prior, (d,))
        covariance = self.covariance_prior
        if covariance is None:
            names = getattr(self, "feature_names_in_", np.arange(d))
            covariance = _covariance(X, center, names)
        covariance = arguments.real_array("covariance_prior", covariance, (d, d))
        self.weight_concentration_prior_, self.mean_precision_prior_ = alpha, kappa
        self.mean_prior_, self.degrees_of_freedom_prior_ = mean, nu
        self.covariance_prior_ = covariance
        self._frame = factors.Frame(
            center,
            arguments.covariance_root("covariance_prior", covariance),
            self.reg_covar,
        )
        mean = (mean - center) @ self._frame.whitener
        self._prior = factors.Factors(
            alpha=np.full(k, alpha),
            kappa=np.full(k, kappa),
            mean=np.tile(mean, (k, 1)),
            nu=np.full(k, nu),
            root=np.broadcast_to(np.eye(d), (k, d, d)),
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
        shape = len(X), self.n_components
        if not isinstance(self.init_params, str):
            resp = arguments.real_array("init_params", self.init_params, shape)
            wrong = (resp.min(axis=1) < 0) | (np.abs(resp.sum(axis=1) - 1) > 1e-6)
            if wrong.any():
                row = wrong.argmax()
                raise ValueError(
                    "init_params must hold responsibilities, none negative, that sum "
                    f"to one in every row, but row {row} is {resp[row]}."
                )
            return resp
        if self.init_params == "random":
            resp = rng.uniform(size=shape)
            resp /= resp.sum(axis=1, keepdims=True)
            return resp
        kmeans = KMeans(self.n_components, n_init=1, random_state=rng)
        return np.eye(self.n_components)[kmeans.fit(X).labels_]

    def _keep(self, found, elbo, converged, n_iter):
        """Set the fitted attributes, in the coordinates of the data."""
        frame, q = self._frame, factors.update(found, self._prior)
        self._found, self._q = found, q
        scale = np.sqrt(q.nu)[:, None, None]
        self.weight_concentration_, self.weights_ = q.alpha, q.alpha / q.alpha.sum()
        self.mean_precision_, self.degrees_of_freedom_ = q.kappa, q.nu
        self.means_ = frame.center + q.mean @ frame.root.T
        self.covariances_ = factors.gram(frame.root @ q.root / scale)
        self.precisions_cholesky_ = np.triu(frame.whitener @ q.whitener * scale)
        self.elbo_, self.lower_bound_ = np.array(elbo), elbo[-1]
        self.converged_, self.n_iter_ = converged, n_iter


def _covariance(X, center, names):
    """Return the covariance of X, or say which columns make it singular."""
    gaps = (X[block] - center for block in factors.blocks(X))
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = sum(gap.T @ gap for gap in gaps) / (len(X) - 1)
    variances, bad = np.diag(covariance), X.max(axis=0) == X.min(axis=0)
    if not (
        np.isfinite(covariance).all() and (bad | (variances >= factors.TINY)).all()
    ):
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
