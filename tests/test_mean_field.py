"""Variational Bayes against closed forms, integration, Monte Carlo and scikit-learn."""

import itertools
import math
import tracemalloc
import warnings

from utils.mean_field import NormalGamma, VariationalGaussianMixture, factors
from utils.mean_field.ascent import arrived
from utils.mean_field.mixture import _covariance

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import BayesianGaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_info, threadpool_limits

SEEDS = st.integers(0, 2**32 - 1)
PRIOR = NormalGamma(mean=1.0, kappa=0.7, a=2.5, b=3.0)


# --- one Gaussian -------------------------------------------------------------


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(3, 2, 12)


def log_likelihood(x, mu, tau):
    """Shape of mu and tau, broadcast."""
    scale = np.asarray(tau)[..., None] ** -0.5
    return stats.norm.logpdf(x, np.asarray(mu)[..., None], scale).sum(axis=-1)


def integral(log_f, about):
    """Integrate exp(log_f(mu, tau)) by the trapezoidal rule, nodes as `about` is."""
    u, v = np.linspace(-14, 14, 301)[:, None], np.linspace(-16, 4, 301)
    scale = about.mu.std()
    mu, tau = about.mu.mean() + scale * np.sinh(u), about.tau.mean() * np.exp(v)
    values = np.exp(log_f(mu, tau)) * scale * np.cosh(u) * tau
    return values.sum() * (u[1, 0] - u[0, 0]) * (v[1] - v[0])


def test_density_and_marginals(x):
    q = PRIOR.posterior(x)
    assert integral(q.log_prob, q) == pytest.approx(1, rel=1e-9)
    mu, tau = np.linspace(0, 6, 7), np.array([0.1, 0.3, 1.0])
    steps = np.exp(np.linspace(-30, 5, 2001))
    given_mu = np.exp(q.log_prob(mu[:, None], steps)) @ steps * 35 / 2000
    np.testing.assert_allclose(given_mu, q.mu.pdf(mu), rtol=1e-9)
    line = np.linspace(-40, 40, 20001)
    given_tau = np.exp(q.log_prob(line, tau[:, None])).sum(axis=1) * 80 / 20000
    np.testing.assert_allclose(given_tau, q.tau.pdf(tau), rtol=1e-9)
    assert q.log_prob(1.0, -1.0) == q.log_prob(1.0, 0.0) == -math.inf
    assert q.log_prob([1, 2], 3).shape == (2,)


def test_evidence_is_the_integral_of_likelihood_times_prior(x):
    found = integral(
        lambda mu, tau: log_likelihood(x, mu, tau) + PRIOR.log_prob(mu, tau),
        PRIOR.posterior(x),
    )
    assert PRIOR.log_evidence(x) == pytest.approx(math.log(found), abs=1e-9)
    for n in range(1, len(x)):
        chain = PRIOR.log_evidence(x[:n]) + PRIOR.posterior(x[:n]).log_evidence(x[n:])
        assert PRIOR.log_evidence(x) == pytest.approx(chain, abs=1e-10)


def test_posterior_is_that_of_bayes(x):
    mu, tau = np.linspace(-3, 8, 9)[:, None], np.array([0.05, 0.4, 2.0])
    bayes = log_likelihood(x, mu, tau) + PRIOR.log_prob(mu, tau) - PRIOR.log_evidence(x)
    np.testing.assert_allclose(PRIOR.posterior(x).log_prob(mu, tau), bayes, atol=1e-10)


def test_large_means_cost_no_digits(x):
    plain, far = PRIOR, NormalGamma(PRIOR.mean + 1e8, PRIOR.kappa, PRIOR.a, PRIOR.b)
    assert far.posterior(x + 1e8).b == pytest.approx(plain.posterior(x).b, rel=1e-7)
    assert far.log_evidence(x + 1e8) == pytest.approx(plain.log_evidence(x), rel=1e-7)


def test_samples_follow_the_marginals():
    q = NormalGamma(1, 2, 3, 4)
    mu, tau = q.sample(20_000, 3)
    assert stats.kstest(mu, q.mu.cdf).pvalue > 1e-3
    assert stats.kstest(tau, q.tau.cdf).pvalue > 1e-3
    # Given tau, the standardised mean is normal whatever tau.
    z = (mu - 1) * np.sqrt(2 * tau)
    assert stats.kstest(z[tau > 1], "norm").pvalue > 1e-3
    again = q.sample(20_000, np.random.default_rng(3))
    np.testing.assert_array_equal(again, [mu, tau])


def test_mean_field_closed_forms(x):
    exact, q = PRIOR.posterior(x), PRIOR.coordinate_ascent(x, tol=0)
    assert q.converged
    assert q.mean == pytest.approx(exact.mean, rel=1e-14)
    assert q.a == PRIOR.a + (len(x) + 1) / 2
    assert q.b == pytest.approx(exact.b * q.a / (q.a - 0.5), rel=1e-7)
    assert q.tau.mean() == pytest.approx(exact.tau.mean(), rel=1e-7)
    a = exact.a
    assert q.mu.var() == pytest.approx(exact.mu.var() * (a - 1) / a, rel=1e-7)
    assert q.tau.var() == pytest.approx(exact.tau.var() * a / (a + 0.5), rel=1e-7)
    default = PRIOR.coordinate_ascent(x)
    assert default.b == pytest.approx(q.b, rel=1e-5)
    assert len(default.elbo) <= len(q.elbo)


def test_the_bound_misses_the_evidence_by_the_divergence(x):
    exact, q = PRIOR.posterior(x), PRIOR.coordinate_ascent(x, tau=5.0)
    assert q.shapes[0] / q.rates[0] == pytest.approx(5.0)
    assert q.precisions[0] == pytest.approx(5.0 * exact.kappa)
    assert len(q.means) == len(q.precisions) == len(q.rates) == len(q.elbo)
    for i in (0, 1, 2, 3, len(q.elbo) - 1):
        mu = stats.norm(q.means[i], q.precisions[i] ** -0.5)
        tau = stats.gamma(q.shapes[i], scale=1 / q.rates[i])
        m, t = np.meshgrid(
            mu.mean() + mu.std() * np.linspace(-9, 9, 201),
            tau.mean() * np.exp(np.linspace(-14, 3.5, 801)),
        )
        log_q = mu.logpdf(m) + tau.logpdf(t)
        weights = np.exp(log_q) * t * mu.std() * (18 / 200) * (17.5 / 800)
        assert weights.sum() == pytest.approx(1, rel=1e-8)
        divergence = np.sum(weights * (log_q - exact.log_prob(m, t)))
        bound = PRIOR.log_evidence(x) - divergence
        assert q.elbo[i] == pytest.approx(bound, abs=1e-7)
    np.testing.assert_allclose(q.log_prob(m, t), log_q, rtol=1e-12, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 40), st.floats(-5, 5), st.booleans())
def test_coordinate_ascent_climbs_below_the_evidence(seed, n, log_tau, far):
    rng = np.random.default_rng(seed)
    kappa, a, b, start = np.exp([*rng.uniform(-2, 2, 3), log_tau])
    prior = NormalGamma(rng.normal(), kappa, a, b)
    x = rng.normal(100 * far, np.exp(rng.normal()), n)
    q = prior.coordinate_ascent(x, tau=start)
    assert np.diff(q.elbo).min() >= -1e-12 * np.abs(q.elbo).max()
    assert q.elbo[-1] <= prior.log_evidence(x) + 1e-10
    assert q.tau.mean() == pytest.approx(prior.posterior(x).tau.mean(), rel=1e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mean": math.nan}, "mean is nan.*finite"),
        ({"mean": "a"}, "mean is 'a'"),
        ({"kappa": 0}, "kappa is 0, but must be .* above 0"),
        ({"a": -1.0}, "a is -1.0"),
        ({"b": math.inf}, "b is inf"),
    ],
)
def test_bad_parameters_of_a_normal_gamma_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        NormalGamma(**parameters)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": []}, "x is empty, but must hold"),
        ({"x": [[1.0, 2.0]]}, r"x has shape \(1, 2\)"),
        ({"x": [1, math.nan]}, "x holds nan, but must be finite"),
        ({"x": ["a"]}, "x must be real numbers"),
        ({"x": [1.0, 1j]}, "x must be real numbers"),
        ({"x": np.ma.array([1.0, 2.0], mask=[0, 1])}, "x is a masked array"),
        ({"x": [1e160, 2e160]}, "x is as large as 2e.160, too large to be squared"),
        ({"x": [1e160] * 2}, "x is as large as 1e.160, too large to be squared"),
        ({"x": [1.7e308, -1.7e308]}, "x is as large as 1.7e.308"),
        ({"tau": 0}, "tau is 0, but must be .* above 0"),
        ({"tau": 1e-309}, "tau is 1e-309, too far from 1"),
        ({"tol": -1}, "tol is -1"),
        ({"tol": math.nan}, "tol is nan"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"max_iter": 2.5}, "max_iter is 2.5"),
    ],
)
def test_bad_arguments_of_coordinate_ascent_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PRIOR.coordinate_ascent(**{"x": [1.0, 2.0]} | arguments)


@pytest.mark.parametrize("method", ["posterior", "log_evidence"])
def test_too_large_observations_are_named(method):
    with pytest.raises(ValueError, match=r"x is as large as 1e\+160"):
        getattr(PRIOR, method)([1e160, 1.0])
    assert math.isfinite(PRIOR.log_evidence([1e150, 1.0]))


@pytest.mark.parametrize("q", [PRIOR, PRIOR.coordinate_ascent([1.0, 2.5])])
def test_log_densities_far_away_are_numbers_and_nan_is_refused(q):
    """All that NormalGamma and MeanField share: the limits by hand are -inf."""
    far = [(1e200, 1.0), (1e308, 1e308), (0.0, 0.0), (0.0, -1.0)]
    assert all(q.log_prob(*point) == -math.inf for point in far)
    assert math.isfinite(q.log_prob(0.0, 1e-300))
    for name, point in {"mu": (math.nan, 1.0), "tau": (0.0, math.nan)}.items():
        with pytest.raises(ValueError, match=f"{name} holds nan"):
            q.log_prob(*point)


def test_units_do_not_change_the_ascent():
    """Nor a bound of about 0, by which nothing can be divided."""
    x = np.random.default_rng(1).normal(3, 2, 12)
    plain = PRIOR.coordinate_ascent(x)
    unit = math.exp(plain.elbo[-1] / len(x))  # in it, the bound is 0
    for s in (unit, 1e6, 1e-6):
        prior = NormalGamma(s * PRIOR.mean, PRIOR.kappa, PRIOR.a, s**2 * PRIOR.b)
        other = prior.coordinate_ascent(s * x)
        assert len(other.elbo) == len(plain.elbo) and other.converged
        assert other.b == pytest.approx(s**2 * plain.b, rel=1e-9)
        if s == unit:
            assert abs(other.elbo[-1]) < 1e-9


def test_ascent_from_a_bad_guess_does_not_stop_half_way(x):
    """Gains are equal while the rate comes down by decades."""
    for tau in (1e-290, 1e290):
        q = PRIOR.coordinate_ascent(x, tau=tau)
        assert q.tau.mean() == pytest.approx(PRIOR.posterior(x).tau.mean(), rel=1e-5)


def test_coordinate_ascent_warns_if_it_is_stopped(x):
    with pytest.warns(ConvergenceWarning, match="after 2 iterations"):
        q = PRIOR.coordinate_ascent(x, max_iter=2)
    assert (len(q.elbo), q.converged) == (4, False)


# --- mixture: the bound ---------------------------------------------------------


def fitted(X, **parameters):
    """Fit, whether it converges or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return VariationalGaussianMixture(**parameters).fit(X)


def clusters(rng, n, d, k, spread=4.0):
    means, shapes = spread * rng.normal(size=(k, d)), rng.normal(size=(k, d, d))
    labels = rng.integers(k, size=n)
    return means[labels] + np.einsum(
        "nij,nj->ni", shapes[labels], rng.normal(size=(n, d))
    )


def priors(rng, d):
    """Nothing at its default."""
    root = rng.normal(size=(d, d)) + 2 * np.eye(d)
    return {
        "weight_concentration_prior": rng.uniform(0.1, 3),
        "mean_precision_prior": rng.uniform(0.1, 3),
        "mean_prior": rng.normal(size=d),
        "degrees_of_freedom_prior": d - 1 + rng.uniform(0.2, 5),
        "covariance_prior": root @ root.T,
    }


def log_evidence_of_one(X, kappa, mean, nu, inverse):
    """Log p(X) for one Gaussian with a Normal-Wishart prior (Murphy, 2007, eq. 266)."""
    n, d = X.shape
    if not n:
        return 0.0
    center = X.mean(axis=0)
    gap = center - mean
    after = inverse + (X - center).T @ (X - center)
    after = after + kappa * n / (kappa + n) * np.outer(gap, gap)
    return (
        -0.5 * n * d * math.log(math.pi)
        + special.multigammaln((nu + n) / 2, d)
        - special.multigammaln(nu / 2, d)
        + 0.5 * nu * np.linalg.slogdet(inverse)[1]
        - 0.5 * (nu + n) * np.linalg.slogdet(after)[1]
        + 0.5 * d * math.log(kappa / (kappa + n))
    )


def gaussian_prior(p):
    names = "mean_precision", "mean", "degrees_of_freedom", "covariance"
    return [p[f"{name}_prior"] for name in names]


@pytest.mark.parametrize("d", [1, 2, 5])
def test_of_one_component_the_bound_is_the_evidence(d):
    rng = np.random.default_rng(d)
    X, prior = clusters(rng, 30, d, 1), priors(rng, d)
    found = fitted(X, n_components=1, **prior)
    exact = log_evidence_of_one(X, *gaussian_prior(prior))
    assert found.lower_bound_ == pytest.approx(exact, rel=1e-12)
    assert found.weights_.tolist() == [1.0]


def test_of_one_component_in_one_dimension_it_is_that_of_the_normal_gamma(x):
    found = fitted(
        x[:, None],
        mean_precision_prior=PRIOR.kappa,
        mean_prior=[PRIOR.mean],
        degrees_of_freedom_prior=2 * PRIOR.a,
        covariance_prior=[[2 * PRIOR.b]],
    )
    after = PRIOR.posterior(x)
    assert found.lower_bound_ == pytest.approx(PRIOR.log_evidence(x), rel=1e-12)
    assert found.means_[0, 0] == pytest.approx(after.mean, rel=1e-12)
    assert 1 / found.covariances_[0, 0, 0] == pytest.approx(after.tau.mean(), rel=1e-12)


def test_it_is_a_lower_bound_of_the_exact_evidence():
    """The sum over all assignments, for few points; two labellings cost log 2."""
    rng = np.random.default_rng(1)
    X, prior = rng.normal(size=(9, 2)), priors(rng, 2)
    X[:4] += 25
    alpha = prior["weight_concentration_prior"]
    terms = []
    for z in itertools.product([0, 1], repeat=len(X)):
        counts = np.bincount(z, minlength=2)
        log_p = special.gammaln(alpha + counts).sum() - special.gammaln(alpha) * 2
        log_p += special.gammaln(2 * alpha) - special.gammaln(2 * alpha + len(X))
        members = (X[np.array(z) == k] for k in range(2))
        gaussian = gaussian_prior(prior)
        terms.append(log_p + sum(log_evidence_of_one(m, *gaussian) for m in members))
    exact = special.logsumexp(terms)
    found = fitted(X, n_components=2, random_state=0, **prior)
    assert np.all(found.elbo_ < exact)
    assert found.lower_bound_ == pytest.approx(exact - math.log(2), abs=0.3)


def log_wishart(precision, nu, inverse):
    """SciPy's logpdf for scale inverse⁻¹, but for all draws at once."""
    d = len(inverse)
    log_det = np.linalg.slogdet(precision)[1]
    squares = np.sum(precision * inverse, axis=(1, 2))
    constant = nu * (np.linalg.slogdet(inverse)[1] - d * math.log(2)) / 2
    constant -= special.multigammaln(nu / 2, d)
    return constant + ((nu - d - 1) * log_det - squares) / 2


def monte_carlo(X, r, q, pi_of, model, reg_covar, rng, size=4000):
    """Average and standard error of log p(X, z, pi, mu, Lambda) - log q, over q.

    The sum over z is exact. q(pi) is that of `pi_of`, the Gaussians those of `q`.
    """
    d, k = X.shape[1], r.shape[1]
    alpha, alpha_0 = pi_of.weight_concentration_, model["weight_concentration_prior"]
    kappa_0, m_0, nu_0, inverse_0 = gaussian_prior(model)
    pi = rng.dirichlet(alpha, size)
    values = np.log(pi) @ r.sum(axis=0) + special.entr(r).sum()
    values += stats.dirichlet(np.full(k, alpha_0)).logpdf(pi.T)
    values -= stats.dirichlet(alpha).logpdf(pi.T)
    for j in range(k):
        nu, kappa, m = q.degrees_of_freedom_[j], q.mean_precision_[j], q.means_[j]
        wishart = stats.wishart(nu, np.linalg.inv(q.covariances_[j] * nu))
        precision = wishart.rvs(size, random_state=rng).reshape(size, d, d)
        roots = np.linalg.cholesky(precision)
        noise = rng.normal(size=(size, d, 1))
        mu = m + np.linalg.solve(roots.swapaxes(1, 2), noise)[:, :, 0] / math.sqrt(
            kappa
        )
        log_det = np.linalg.slogdet(precision)[1]

        def log_normal(gaps, factor, precision=precision, log_det=log_det):
            squares = np.einsum("sni,sij,snj->sn", gaps, precision, gaps)
            constant = d * math.log(factor / (2 * math.pi))
            return 0.5 * (constant + log_det[:, None] - factor * squares)

        spread = 0.5 * reg_covar * np.trace(precision, axis1=1, axis2=2)
        gaps = X - mu[:, None]
        values += (log_normal(gaps, 1.0) - spread[:, None]) @ r[:, j]
        values += log_normal((mu - m_0)[:, None], kappa_0)[:, 0]
        values -= log_normal((mu - m)[:, None], kappa)[:, 0]
        values += log_wishart(precision, nu_0, inverse_0)
        of_q = log_wishart(precision, nu, q.covariances_[j] * nu)
        few = np.moveaxis(precision[:5], 0, -1)
        np.testing.assert_allclose(of_q[:5], wishart.logpdf(few), rtol=1e-9)
        values -= of_q
    return values.mean(), values.std() / math.sqrt(size)


@pytest.mark.parametrize(
    ("d", "k", "reg_covar"), [(1, 2, 0.0), (2, 3, 0.0), (3, 2, 0.0), (2, 2, 0.4)]
)
def test_the_bound_is_its_monte_carlo_estimate(d, k, reg_covar):
    rng = np.random.default_rng(10 * d + k)
    X, prior = clusters(rng, 25, d, k, spread=1.5), priors(rng, d)
    start = rng.dirichlet(np.ones(k), len(X))
    settings = dict(n_components=k, init_params=start, reg_covar=reg_covar, tol=0)
    one = fitted(X, max_iter=1, **settings, **prior)
    two = fitted(X, max_iter=2, **settings, **prior)
    np.testing.assert_allclose(two.elbo_[:6], one.elbo_, rtol=1e-14)
    # After q(z), that is, the factors of `one`; after q(pi); and after the others.
    for i, (q, pi_of) in enumerate([(one, one), (one, two), (two, two)]):
        r = one.predict_proba(X)
        mean, error = monte_carlo(X, r, q, pi_of, prior, reg_covar, rng)
        # Where all but q(z) has just been updated, nothing is left to vary.
        assert error < (1e-12 if i == 2 and not reg_covar else 0.1)
        assert two.elbo_[6 + i] == pytest.approx(mean, abs=5 * error + 1e-9)


def test_the_first_bounds_are_those_of_the_start():
    """Given responsibilities, with all else at the prior: E[log p(X | z)] by hand."""
    rng = np.random.default_rng(3)
    X, prior = rng.normal(size=(20, 1)), priors(rng, 1)
    alpha = prior["weight_concentration_prior"]
    kappa, (m,), nu, ((inverse,),) = gaussian_prior(prior)
    r = rng.dirichlet(np.ones(3), len(X))
    found = fitted(X, n_components=3, init_params=r, **prior)
    precision, log_precision = nu / inverse, special.psi(nu / 2) + math.log(2 / inverse)
    squares = precision * (X - m) ** 2 + 1 / kappa
    log_likelihood = 0.5 * np.sum(log_precision - math.log(2 * math.pi) - squares)
    log_pi = special.psi(alpha) - special.psi(3 * alpha)
    exact = log_likelihood + len(X) * log_pi + special.entr(r).sum()
    assert found.elbo_[0] == pytest.approx(exact, rel=1e-12)
    assert len(found.elbo_) == 3 + 3 * found.n_iter_


def rises(elbo, rtol=1e-13):
    return np.diff(elbo).min() >= -rtol * np.abs(elbo).max()


@st.composite
def problems(draw):
    """Data of many kinds, with a model and a start."""
    rng = np.random.default_rng(draw(SEEDS))
    d, k, n = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(8, 60))
    X = clusters(rng, n, d, draw(st.integers(1, 4)), draw(st.sampled_from([0, 2, 50])))
    kind = draw(st.sampled_from(["plain", "heavy tails", "repeated", "float32"]))
    if kind == "heavy tails":
        X *= rng.standard_t(2, size=(n, 1)) ** 2 + 0.1
    elif kind == "repeated":
        X = np.concatenate([X, X[:5], X[:5]])
    elif kind == "float32":
        X = X.astype(np.float32)
    X *= X.dtype.type(10.0 ** draw(st.integers(-3, 3)))
    start = draw(st.sampled_from(["kmeans", "random", "hard", "soft"]))
    if start == "hard":
        start = np.eye(k)[rng.integers(k, size=len(X))]
    elif start == "soft":
        start = rng.dirichlet(np.full(k, 0.3), len(X))
    model = {"n_components": k, "init_params": start, "random_state": 0}
    if draw(st.booleans()):
        model |= priors(rng, d)
    if draw(st.booleans()):
        model["reg_covar"] = 10.0 ** draw(st.integers(-6, 1))
    return X, model


@settings(max_examples=120, deadline=None)
@given(problems())
def test_the_bound_never_falls(problem):
    X, model = problem
    found = fitted(X, max_iter=15, tol=0, **model)
    assert np.isfinite(found.elbo_).all()
    assert rises(found.elbo_)
    assert found.lower_bound_ == found.elbo_[-1]
    r = found.predict_proba(X)
    np.testing.assert_allclose(r.sum(axis=1), 1, rtol=1e-12)
    assert np.isfinite(found.score(X))


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 4), st.sampled_from([0.0, 1e4]))
def test_units_origin_and_correlations_do_not_matter(seed, d, shift):
    """Under x -> A x + b: the same responsibilities, and the bound less N log|A|."""
    rng = np.random.default_rng(seed)
    X, r = clusters(rng, 60, d, 3), rng.dirichlet(np.ones(3), 60)
    left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
    A = left * 10.0 ** rng.uniform(-2, 2, size=d) @ right
    moved = (X + shift * rng.normal(size=d)) @ A.T
    model = {"n_components": 3, "init_params": r, "max_iter": 5, "tol": 0}
    plain, other = fitted(X, **model), fitted(moved, **model)
    log_det = np.linalg.slogdet(A)[1]
    np.testing.assert_allclose(
        other.predict_proba(moved), plain.predict_proba(X), atol=1e-5
    )
    elbo = plain.elbo_ - 60 * log_det
    np.testing.assert_allclose(other.elbo_, elbo, rtol=1e-6, atol=1e-4)
    density = plain.score_samples(X) - log_det
    np.testing.assert_allclose(other.score_samples(moved), density, atol=1e-4)


# --- mixture: scikit-learn's ----------------------------------------------------


def constants_that_scikit_learn_drops(model, n):
    """The logarithms of the prior's normalisers, and powers of pi and 2 pi."""
    k, d = model.means_.shape
    alpha, kappa = model.weight_concentration_prior_, model.mean_precision_prior_
    nu, inverse = model.degrees_of_freedom_prior_, model.covariance_prior_
    log_b = k * special.gammaln(alpha) - special.gammaln(k * alpha)
    normal_wishart = (
        0.5 * d * math.log(2 * math.pi / kappa)
        + 0.5 * nu * (d * math.log(2) - np.linalg.slogdet(inverse)[1])
        + special.multigammaln(nu / 2, d)
    )
    of_each = 0.5 * d * math.log(2 * math.pi) + d * (d - 1) / 4 * math.log(math.pi)
    return -log_b + k * (of_each - normal_wishart) - 0.5 * n * d * math.log(2 * math.pi)


@pytest.mark.parametrize("init_params", ["kmeans", "random"])
@pytest.mark.parametrize(("d", "k"), [(1, 3), (3, 6)])
def test_it_agrees_with_scikit_learn(init_params, d, k):
    rng = np.random.default_rng(d)
    X = clusters(rng, 400, d, 4)
    same = {
        "n_components": k,
        "init_params": init_params,
        "random_state": 1,
        "max_iter": 8,
        "tol": 0,
    }
    model = {} if init_params == "kmeans" else priors(rng, d)
    theirs = BayesianGaussianMixture(
        weight_concentration_prior_type="dirichlet_distribution",
        reg_covar=0,
        **same,
        **model,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X)
    ours = fitted(X, **same, **model)
    assert ours.n_iter_ == theirs.n_iter_ == 8
    for name in (
        "weight_concentration_",
        "weights_",
        "mean_precision_",
        "means_",
        "degrees_of_freedom_",
        "covariances_",
        "precisions_cholesky_",
        "weight_concentration_prior_",
        "mean_precision_prior_",
        "mean_prior_",
        "degrees_of_freedom_prior_",
        "covariance_prior_",
    ):
        expected, found = getattr(theirs, name), getattr(ours, name)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10, err_msg=name)
    r = theirs.predict_proba(X)
    np.testing.assert_allclose(ours.predict_proba(X), r, atol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    bounds = theirs.lower_bounds_ + constants_that_scikit_learn_drops(ours, len(X))
    np.testing.assert_allclose(ours.elbo_[5::3], bounds, rtol=1e-10)


@pytest.mark.parametrize("reg_covar", [0.0, 0.5])
def test_the_start_is_scikit_learns(reg_covar):
    """Spread or not; from the next iteration on, q(z) counts the spread as well."""
    X = clusters(np.random.default_rng(0), 200, 2, 3)
    same = {"n_components": 3, "random_state": 0, "max_iter": 0, "reg_covar": reg_covar}
    theirs = BayesianGaussianMixture(
        weight_concentration_prior_type="dirichlet_distribution", **same
    ).fit(X)
    ours = VariationalGaussianMixture(**same).fit(X)
    assert (ours.n_iter_, ours.converged_, len(ours.elbo_)) == (0, False, 3)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-10)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=1e-10)


@parametrize_with_checks(
    [
        VariationalGaussianMixture(),
        VariationalGaussianMixture(n_components=2, init_params="random", max_iter=20),
    ]
)
def test_scikit_learn_accepts_the_estimator(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


# --- mixture: predictions -------------------------------------------------------


@pytest.fixture(scope="module")
def mixture():
    """Few points, so that the posterior is wide, and Student's t not a Gaussian."""
    rng = np.random.default_rng(5)
    X = np.concatenate([rng.normal(-2, 1, (7, 1)), rng.normal(3, 0.5, (5, 1))])
    return fitted(X, n_components=3, random_state=0, **priors(rng, 1))


def line(points=40_001):
    """Points on the whole line, and weights of the trapezoidal rule."""
    u = np.linspace(-25, 25, points)
    return np.sinh(u), np.cosh(u) * (u[1] - u[0])


def test_the_predictive_density_sums_to_one(mixture):
    x, weights = line()
    density = np.exp(mixture.score_samples(x[:, None]))
    assert density @ weights == pytest.approx(1, rel=1e-6)
    score = mixture.score(x[:50, None])
    assert score == pytest.approx(mixture.score_samples(x[:50, None]).mean())


@pytest.mark.parametrize("d", [1, 3])
def test_the_predictive_density_averages_the_likelihood_over_q(d):
    rng = np.random.default_rng(d)
    X = clusters(rng, 20, d, 2)
    q = fitted(X, n_components=2, random_state=0, **priors(rng, d))
    points, size = q.sample(6)[0], 20_000
    density = np.zeros((size, len(points)))
    pi = rng.dirichlet(q.weight_concentration_, size)
    for k in range(2):
        nu, kappa = q.degrees_of_freedom_[k], q.mean_precision_[k]
        wishart = stats.wishart(nu, np.linalg.inv(nu * q.covariances_[k]))
        precision = wishart.rvs(size, random_state=rng).reshape(size, d, d)
        roots = np.linalg.cholesky(precision).swapaxes(1, 2)
        noise = np.linalg.solve(roots, rng.normal(size=(size, d, 1)))[:, :, 0]
        gaps = points - (q.means_[k] + noise / math.sqrt(kappa))[:, None]
        squares = np.einsum("sni,sij,snj->sn", gaps, precision, gaps)
        log_det = np.linalg.slogdet(precision / (2 * math.pi))[1]
        density += pi[:, k, None] * np.exp(0.5 * (log_det[:, None] - squares))
    error = density.std(axis=0) / math.sqrt(size)
    gap = np.exp(q.score_samples(points)) - density.mean(axis=0)
    assert np.all(np.abs(gap) < 5 * error)
    assert np.all(error < 0.05 * density.mean(axis=0))


def test_samples_follow_the_predictive_density(mixture):
    X, labels = mixture.sample(20_000)
    assert X.shape == (20_000, 1) and labels.shape == (20_000,)
    x, weights = line()
    cdf = np.cumsum(np.exp(mixture.score_samples(x[:, None])) * weights)
    assert stats.kstest(X[:, 0], lambda t: np.interp(t, x, cdf)).pvalue > 1e-3
    counts = np.bincount(labels, minlength=3)
    assert stats.chisquare(counts, 20_000 * mixture.weights_).pvalue > 1e-3
    np.testing.assert_array_equal(X, mixture.sample(20_000)[0])


def test_samples_in_two_dimensions_have_the_right_covariances():
    rng = np.random.default_rng(6)
    found = fitted(clusters(rng, 300, 2, 2, 9), n_components=2, random_state=0)
    X, labels = found.sample(100_000)
    for k in range(2):
        nu = found.degrees_of_freedom_[k]
        # Of the Student t, (1 + kappa) / kappa W⁻¹ / (nu - 1 - d)
        wider = (1 + 1 / found.mean_precision_[k]) * nu / (nu - 3)
        of_k = X[labels == k]
        exact = wider * found.covariances_[k]
        np.testing.assert_allclose(
            np.cov(of_k.T) / np.trace(exact), exact / np.trace(exact), atol=0.02
        )
        error = np.sqrt(np.diag(exact) / len(of_k))
        assert np.all(np.abs(of_k.mean(axis=0) - found.means_[k]) < 5 * error)


# --- mixture: hard data ---------------------------------------------------------


def test_a_shift_by_a_million_changes_nothing():
    X = clusters(np.random.default_rng(2), 500, 3, 3)
    near = fitted(X, n_components=4, random_state=0)
    far = fitted(X + 1e6, n_components=4, random_state=0)
    assert far.n_iter_ == near.n_iter_
    r = near.predict_proba(X)
    np.testing.assert_allclose(far.predict_proba(X + 1e6), r, atol=1e-6)
    np.testing.assert_allclose(far.elbo_, near.elbo_, rtol=1e-8)
    np.testing.assert_allclose(
        far.score_samples(X + 1e6), near.score_samples(X), atol=1e-6
    )
    np.testing.assert_allclose(far.means_ - 1e6, near.means_, atol=1e-6)


@pytest.mark.parametrize("covariance_prior", [None, np.eye(2)])
def test_tight_clusters_far_apart(covariance_prior):
    """1e4 standard deviations, for a wide prior and one as tight as the clusters."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    X = rng.normal(size=(400, 2)) + 1e4 * labels[:, None]
    found = fitted(
        X, n_components=2, random_state=0, covariance_prior=covariance_prior, tol=1e-12
    )
    assert rises(found.elbo_, 1e-9)
    order = np.argsort(found.means_[:, 0])
    r = found.predict_proba(X)[:, order]
    np.testing.assert_allclose(r, np.eye(2)[labels], atol=1e-6)
    for k, component in enumerate(order):
        members = X[labels == k]
        gaps = members - members.mean(axis=0)
        inverse = found.covariance_prior_ + gaps.T @ gaps
        shift = members.mean(axis=0) - found.mean_prior_
        inverse = inverse + 200 / 201 * np.outer(shift, shift)
        expected = inverse / (200 + found.degrees_of_freedom_prior_)
        np.testing.assert_allclose(found.covariances_[component], expected, rtol=1e-7)


def test_tight_clusters_under_weak_priors_keep_their_own_covariances():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    X = rng.normal(size=(400, 2)) + 1e4 * labels[:, None]
    found = fitted(
        X,
        n_components=2,
        random_state=0,
        covariance_prior=np.eye(2),
        mean_precision_prior=1e-12,
    )
    for k in range(2):
        members = X[found.predict(X) == k]
        assert len(members) == 200
        np.testing.assert_allclose(found.means_[k], members.mean(axis=0), atol=1e-9)
        gaps = members - members.mean(axis=0)
        expected = (np.eye(2) + gaps.T @ gaps) / 202
        np.testing.assert_allclose(
            found.covariances_[k], expected, rtol=1e-5, atol=1e-5
        )


def test_components_without_points_return_to_the_prior():
    rng = np.random.default_rng(0)
    X = clusters(rng, 300, 2, 2, spread=20)
    prior = priors(rng, 2) | {"weight_concentration_prior": 1e-9}
    start = np.zeros((300, 5))
    start[:, 3:] = fitted(X, n_components=2, random_state=0).predict_proba(X)
    found = fitted(X, n_components=5, init_params=start, **prior)
    assert rises(found.elbo_)
    np.testing.assert_allclose(found.weights_[:3], 0, atol=1e-11)
    np.testing.assert_allclose(found.means_[:3], [prior["mean_prior"]] * 3, rtol=1e-12)
    covariance = prior["covariance_prior"] / prior["degrees_of_freedom_prior"]
    np.testing.assert_allclose(found.covariances_[:3], [covariance] * 3, rtol=1e-12)
    assert np.isfinite(found.score_samples(X)).all()
    # The others do not notice.
    two = fitted(X, n_components=2, init_params=start[:, 3:], **prior)
    np.testing.assert_allclose(found.means_[3:], two.means_, rtol=1e-9)


def test_surplus_components_die():
    X = clusters(np.random.default_rng(8), 600, 2, 2, spread=10)
    found = fitted(
        X,
        n_components=8,
        weight_concentration_prior=1e-3,
        random_state=0,
        max_iter=2000,
        tol=1e-9,
    )
    assert np.sum(found.weights_ > 0.01) < 5
    assert rises(found.elbo_)


def test_single_precision_is_enough_for_the_data():
    X = clusters(np.random.default_rng(3), 200, 2, 3).astype(np.float32)
    single = fitted(X, n_components=3, random_state=0)
    double = fitted(X.astype(float), n_components=3, random_state=0)
    assert single.means_.dtype == single.predict_proba(X).dtype == float
    np.testing.assert_allclose(single.elbo_, double.elbo_, rtol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    X = clusters(rng, 2_000, 3, 3)
    start = rng.dirichlet(np.ones(3), len(X))
    model = {"n_components": 3, "init_params": start, "max_iter": 3, "tol": 0}
    whole = fitted(X, **model)
    monkeypatch.setattr(factors, "BLOCK", 1)
    several = fitted(X, **model)
    np.testing.assert_allclose(whole.elbo_, several.elbo_, rtol=1e-12)
    np.testing.assert_allclose(
        whole.predict_proba(X), several.predict_proba(X), atol=1e-12
    )


def test_threads_are_left_alone(monkeypatch):
    """What BLAS is set to is the whole process's affair, while a fit runs as well."""
    during = []
    sweep = factors.sweep
    monkeypatch.setattr(
        factors, "sweep", lambda *a: during.append(blas_threads()) or sweep(*a)
    )
    with threadpool_limits(2):
        before = blas_threads()
        fitted(np.random.default_rng(0).normal(size=(20, 2)), max_iter=1)
    assert during and all(threads == before for threads in during)


def blas_threads():
    return [
        lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"
    ]


def test_memory_is_that_of_blocks():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60_000, 8))
    start = np.eye(8)[rng.integers(8, size=len(X))]
    tracemalloc.start()
    fitted(X, n_components=8, init_params=start, max_iter=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The data take 3.8 MB, a distance of every point from every mean 31 MB.
    assert peak < 2 * X.nbytes


# --- mixture: starts, stops, blocks of a stream -----------------------------------


def test_the_best_of_several_starts_is_kept():
    X = clusters(np.random.default_rng(7), 150, 2, 5)
    model = {"n_components": 5, "init_params": "random", "max_iter": 60}
    rng = np.random.RandomState(3)
    bounds = [fitted(X, random_state=rng, **model).elbo_ for _ in range(6)]
    lasts = [elbo[-1] for elbo in bounds]
    found = fitted(X, random_state=3, n_init=6, **model)
    assert np.argmax(lasts) not in (0, 5), "another seed, or this proves little"
    np.testing.assert_array_equal(found.elbo_, bounds[np.argmax(lasts)])
    assert found.lower_bound_ == max(lasts)


def two_clusters(seed, n=150):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2 * n, 4)) + 3 * np.repeat([0, 1], n)[:, None]


MOVES = {
    "1e6": lambda X: 1e6 * X,
    "1e-6": lambda X: 1e-6 * X,
    "shift": lambda X: X + 1e6,
    "both": lambda X: 1e6 * (X + 1e6),
}


@pytest.mark.parametrize("init_params", ["kmeans", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_units_and_origin_do_not_change_the_verdict(seed, init_params):
    X = two_clusters(seed)
    model = {"n_components": 6, "init_params": init_params, "random_state": seed}
    plain = VariationalGaussianMixture(**model).fit(X)
    assert plain.converged_
    # Where all components are alike, each has a sixth of the points.
    assert plain.weights_.max() > 0.4
    moved = VariationalGaussianMixture(**model).fit(list(MOVES.values())[seed % 4](X))
    assert moved.converged_ and abs(moved.n_iter_ - plain.n_iter_) <= 3
    np.testing.assert_allclose(moved.weights_, plain.weights_, atol=1e-4)


def test_the_number_of_points_does_not_change_the_verdict():
    X, fits = two_clusters(0, 50), []
    start = np.random.default_rng(0).dirichlet(np.ones(3), len(X))
    for times in (50, 200):  # so that the prior weighs 1/50 of a point, or less
        model = VariationalGaussianMixture(3, init_params=np.tile(start, (times, 1)))
        fits.append(model.fit(np.tile(X, (times, 1))))
    assert all(fit.converged_ for fit in fits)
    assert abs(fits[0].n_iter_ - fits[1].n_iter_) <= 3
    np.testing.assert_allclose(fits[0].weights_, fits[1].weights_, atol=2e-3)


@pytest.mark.parametrize("start", ["even", "random"])
def test_no_plateau_is_an_end(start):
    """Two clusters that overlap: components alike part after hundreds of iterations."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1)) + 2.5 * np.repeat([0, 1], 200)[:, None]
    model = {"n_components": 3, "random_state": 0}
    even = np.full((len(X), 3), 1 / 3)
    found = VariationalGaussianMixture(
        init_params=even if start == "even" else start, max_iter=2_000, **model
    ).fit(X)
    assert found.converged_ and rises(found.elbo_)
    assert len(found.elbo_) == 3 + 3 * found.n_iter_
    # Any other disturbance comes back as well, or climbs no higher.
    Z = (X - X.mean()) / X.std()
    tilt = 0.3 * np.hstack([Z, Z**2]) @ rng.normal(size=(2, 3))
    away = found.predict_proba(X) * np.exp(tilt)
    away /= away.sum(axis=1, keepdims=True)
    again = fitted(X, init_params=away, max_iter=500, **model)
    assert again.lower_bound_ - found.lower_bound_ < 1e-5 * len(X)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.99])
def test_gains_are_summed_as_a_geometric_series(ratio):
    elbo = -(ratio ** np.arange(2_000))
    steps = range(2, len(elbo))
    last = next(t for t in steps if arrived(elbo[t - 2 : t + 1], 1e-3))
    assert -elbo[last] <= 1.001e-3 and (last == 2 or -elbo[last - 1] > 0.999e-3)
    assert not arrived([0.0, 1e-9, 3e-9], 1e-3), "it grows"


def test_tol_is_what_is_left_to_gain_in_nats_per_point():
    """Past a plateau: without a disturbance, the fourth iteration was the last."""
    X = clusters(np.random.default_rng(7), 200, 2, 3)
    best = fitted(X, n_components=3, random_state=0, tol=1e-12)
    for tol in (1e-4, 1e-6):
        found = VariationalGaussianMixture(3, random_state=0, tol=tol).fit(X)
        assert found.converged_ and found.n_iter_ < best.n_iter_
        assert 0 <= best.lower_bound_ - found.lower_bound_ < 2 * tol * len(X)
    with pytest.warns(ConvergenceWarning, match="after 1 iterations: raise") as caught:
        found = VariationalGaussianMixture(3, random_state=0, max_iter=1).fit(X)
    assert not found.converged_ and caught[0].filename == __file__
    model = VariationalGaussianMixture(3, random_state=0, tol=1e-4)
    np.testing.assert_array_equal(model.fit_predict(X), model.predict(X))


def test_progress_is_shown_on_request(capsys):
    X = clusters(np.random.default_rng(7), 50, 2, 2)
    VariationalGaussianMixture(2, random_state=0).fit(X)
    assert capsys.readouterr().err == ""
    VariationalGaussianMixture(2, random_state=0, verbose=1).fit(X)
    assert "coordinate ascent" in capsys.readouterr().err


def test_a_block_that_is_all_the_data_is_an_iteration():
    rng = np.random.default_rng(9)
    X = clusters(rng, 100, 2, 3)
    start = rng.dirichlet(np.ones(3), 100)
    model = {"n_components": 3, "init_params": start, "tol": 0}
    stream = VariationalGaussianMixture(total_samples=100, learning_offset=0, **model)
    once = fitted(X, max_iter=1, **model)
    stream.partial_fit(X)
    assert stream.elbo_ == pytest.approx(once.elbo_[-1:], rel=1e-12)
    np.testing.assert_allclose(stream.means_, once.means_, rtol=1e-10)
    np.testing.assert_allclose(stream.covariances_, once.covariances_, rtol=1e-10)
    # With rate one, so is every other block.
    stream.set_params(learning_decay=0.0).partial_fit(X)
    twice = fitted(X, max_iter=2, **model)
    np.testing.assert_allclose(stream.means_, twice.means_, rtol=1e-9)
    np.testing.assert_allclose(stream.elbo_, twice.elbo_[5::3], rtol=1e-12)
    assert (stream.n_iter_, stream.converged_) == (2, False)


def test_a_stream_goes_on_from_a_fit_and_reads_the_start_once():
    X = clusters(np.random.default_rng(9), 100, 2, 3)
    model = {"n_components": 3, "total_samples": 100, "random_state": 0}
    fit = fitted(X, **model)
    stream = fitted(X, **model)
    stream.set_params(n_components=5, weight_concentration_prior=9.0).partial_fit(X)
    np.testing.assert_allclose(stream.means_, fit.means_, rtol=1e-3)
    assert stream.elbo_ == pytest.approx(fit.elbo_[-1:], rel=1e-5)
    assert stream.n_iter_ == 1


def test_a_step_goes_its_share_in_natural_parameters():
    rng = np.random.default_rng(9)
    X = clusters(rng, 100, 2, 3)
    start = rng.dirichlet(np.ones(3), 100)
    model = {"n_components": 3, "init_params": start, "total_samples": 700.0}
    block = VariationalGaussianMixture(
        learning_offset=3.0, learning_decay=0.6, **model
    ).partial_fit(X)
    whole = VariationalGaussianMixture(learning_offset=0.0, **model).partial_fit(X)
    before = fitted(
        np.concatenate([X] * 7),
        n_components=3,
        init_params=np.concatenate([start] * 7),
        covariance_prior=block.covariance_prior_,
        max_iter=0,
    )

    def natural(q):
        m, kappa, nu = q.means_, q.mean_precision_[:, None], q.degrees_of_freedom_
        inverse = q.covariances_ * nu[:, None, None]
        inverse = inverse + np.einsum("k,ki,kj->kij", kappa[:, 0], m, m)
        return q.weight_concentration_, nu, kappa, kappa * m, inverse

    share = (1 + 3.0) ** -0.6
    for old, new, mixed in zip(
        natural(before), natural(whole), natural(block), strict=True
    ):
        np.testing.assert_allclose(mixed, (1 - share) * old + share * new, rtol=1e-9)


def test_a_stream_of_blocks_approaches_the_fit():
    rng = np.random.default_rng(12)
    X = clusters(rng, 6_000, 2, 3, spread=5)
    X, held_out = X[:5_000], X[5_000:]
    batch = fitted(X, n_components=3, random_state=0, tol=1e-9)
    stream = VariationalGaussianMixture(3, total_samples=len(X), random_state=0)
    scores = []
    for _ in range(4):
        for block in np.array_split(rng.permutation(X), 25):
            stream.partial_fit(block)
        scores.append(stream.score(held_out))
    assert scores[-1] == pytest.approx(batch.score(held_out), abs=1e-3)
    assert scores[0] < scores[-1] - 1e-3
    assert len(stream.elbo_) == stream.n_iter_ == 100
    error = stream.elbo_[-25:].std() / 5
    assert error < 0.01 * abs(batch.lower_bound_)
    assert stream.elbo_[-25:].mean() == pytest.approx(batch.lower_bound_, abs=5 * error)
    # A fit can be gone on with, and a fit starts afresh.
    went_on = clone(batch).set_params(total_samples=len(X)).fit(X).partial_fit(X[:200])
    assert len(went_on.elbo_) == 1
    assert went_on.score(held_out) == pytest.approx(batch.score(held_out), abs=0.05)
    np.testing.assert_array_equal(went_on.fit(X).means_, batch.means_)
    stream.partial_fit(X[:1])


# --- mixture: refusals ------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components is 0, but must be a positive integer"),
        ({"n_components": 21}, "n_components is 21, .*n_samples = 20"),
        ({"tol": -1.0}, "tol is -1.0, but must be a finite number, at least 0"),
        ({"reg_covar": -1.0}, "reg_covar is -1.0, .* at least 0"),
        ({"max_iter": -1}, "max_iter is -1, .* 0 or above"),
        ({"n_init": 0}, "n_init is 0, .* positive"),
        ({"init_params": "best"}, "init_params is 'best', .*'kmeans'"),
        ({"init_params": np.ones((20, 3)) / 3}, r"init_params has shape \(20, 3\)"),
        ({"init_params": np.full((20, 2), 0.6)}, "sum to one.*row 0"),
        ({"init_params": [[0.5, 0.5]] * 19 + [[2, -1]]}, "none negative.*row 19"),
        ({"init_params": np.full((20, 2), np.nan)}, "init_params holds nan"),
        (
            {"weight_concentration_prior": 0.0},
            "weight_concentration_prior is 0.0, .*above 0",
        ),
        ({"weight_concentration_prior": np.inf}, "weight_concentration_prior is inf"),
        ({"mean_precision_prior": -2.0}, "mean_precision_prior is -2.0, .*above 0"),
        (
            {"mean_prior": [0.0, 1.0]},
            r"mean_prior has shape \(2,\), but must have \(3,\)",
        ),
        (
            {"degrees_of_freedom_prior": 2.0},
            "degrees_of_freedom_prior is 2.0, .*above 2",
        ),
        ({"covariance_prior": np.eye(2)}, r"covariance_prior has shape \(2, 2\)"),
        ({"covariance_prior": np.eye(3) + np.eye(3, k=1)}, "must be symmetric"),
        ({"covariance_prior": [["a"]]}, "covariance_prior must be real numbers"),
        ({"mean_prior": [[1], [2, 3]]}, "mean_prior is no array"),
        ({"mean_prior": np.ma.array([1.0, 2, 3], mask=[0, 0, 1])}, "mean_prior is a m"),
        ({"random_state": 1.5}, "random_state is 1.5"),
        ({"covariance_prior": np.diag([1, 1, -2])}, "positive definite.*eigenvalue -2"),
        ({"covariance_prior": np.full((3, 3), np.nan)}, "covariance_prior holds nan"),
        ({"learning_decay": 1.5}, "learning_decay is 1.5, .*at most 1"),
        ({"learning_offset": -1.0}, "learning_offset is -1.0, .*at least 0"),
        ({"total_samples": 0}, "total_samples is 0, .*above 0"),
        ({"total_samples": np.nan}, "total_samples is nan"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_parameters_are_named(parameters, message, method):
    X = np.random.default_rng(0).normal(size=(20, 3))
    model = VariationalGaussianMixture(**{"n_components": 2} | parameters)
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(X)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X: X * [1, 0, 1], r"columns \[1\] of X.*constant: drop them or give"),
        (lambda X: X * 0 + 0.1, r"columns \[0, 1, 2\] of X.*constant"),
        (lambda X: X @ [[1, 0, 1], [0, 1, 2], [0, 0, 0]], "linear combinations"),
        (lambda X: X[:3], "which has 3 rows, are linear combinations"),
        (lambda X: X[:1], r"1 sample\(s\)"),
        (lambda X: np.where(X > 1, np.nan, X), "NaN"),
        (lambda X: np.where(X > 1, np.inf, X), "infinity"),
        (lambda X: 1e200 * X, "X is too large"),
        (lambda X: 1e-200 * X, "X is too .*small to be squared"),
        (lambda X: X + 1j, "X is refused. Complex"),
        (lambda X: np.ma.array(X, mask=X > 1), "X is a masked array"),
    ],
)
def test_bad_data_are_refused(spoil, message):
    X = np.random.default_rng(0).normal(size=(20, 3))
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=message):
        VariationalGaussianMixture().fit(spoil(X))


def test_degenerate_columns_are_no_obstacle_to_a_given_prior():
    X = np.random.default_rng(0).normal(size=(40, 3)) @ np.diag([1, 0, 1])
    X[:, 2] = X[:, 0]
    found = fitted(X, n_components=2, covariance_prior=np.eye(3), random_state=0)
    assert rises(found.elbo_)


def test_one_dependent_column_is_named_and_nearly_dependent_ones_are_not():
    X = np.random.default_rng(0).normal(size=(50, 3))
    X[:, 1] = 3 * X[:, 0] - 2 * X[:, 2] + 1e5
    with pytest.raises(ValueError, match=r"columns \[\d\] of X"):
        VariationalGaussianMixture().fit(X)
    X[:, 1] += 1e-4 * np.random.default_rng(1).normal(size=50)
    assert rises(fitted(X, n_components=2, random_state=0).elbo_)


def test_points_on_a_line_need_a_wider_prior():
    X = np.repeat(np.random.default_rng(0).normal(size=(30, 1)), 2, axis=1)
    X[:15] += 1e9
    model = VariationalGaussianMixture(2, covariance_prior=1e-12 * np.eye(2))
    with pytest.raises(
        ValueError, match="singular to rounding: raise reg_covar or cov"
    ):
        model.fit(X)


def test_columns_have_the_names_of_the_frame():
    X, names = np.array([[1.0, 3], [2, 3], [4, 3]]), np.array(["height", "planet"])
    with pytest.raises(ValueError, match=r"columns \['planet'\] of X"):
        _covariance(X, X.mean(axis=0), names)


def test_methods_refuse_to_guess():
    X = np.random.default_rng(0).normal(size=(20, 3))
    for method in ("predict", "predict_proba", "score_samples", "score"):
        with pytest.raises(NotFittedError):
            getattr(VariationalGaussianMixture(), method)(X)
    with pytest.raises(NotFittedError):
        VariationalGaussianMixture().sample()
    found = fitted(X)
    with pytest.raises(ValueError, match=r"2 features, but .* expecting 3"):
        found.predict(X[:, :2])
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match=f"n_samples is {wrong}"):
            found.sample(wrong)


def test_a_given_prior_does_not_let_rows_pass_that_cannot_be_squared():
    """They were NaN, whose largest is the first; and NaN was kept as the bound."""
    X = np.random.default_rng(0).normal(size=(20, 2))
    model = VariationalGaussianMixture(2, covariance_prior=np.eye(2)).fit(X)
    for far in (1e155, -1e308):
        rows = np.concatenate([X, [[far, far]]])
        for method in ("fit", "partial_fit", "predict", "predict_proba", "score"):
            with pytest.raises(ValueError, match="X holds points too far from the"):
                getattr(model, method)(rows)
    np.testing.assert_array_equal(model.predict_proba([[1e99, 0]]).max(), 1.0)
    assert np.isfinite(model.score_samples([[1e130, -1e130]])).all()


def test_a_covariance_prior_may_be_symmetric_to_rounding():
    X = np.random.default_rng(0).normal(size=(20, 2))
    prior = np.array([[1e6, 1e-11], [0.0, 1e-6]])
    fitted(X, covariance_prior=prior)
    with pytest.raises(ValueError, match="must be symmetric"):
        fitted(X, covariance_prior=prior * [[1, 1e6], [1, 1]])


@pytest.mark.parametrize("seed", [np.int8(3), np.random.SeedSequence(3), "generator"])
def test_any_seed_of_numpy_will_do(seed):
    X = two_clusters(0, 20)
    fits = [
        VariationalGaussianMixture(
            2, random_state=np.random.default_rng(3) if seed == "generator" else seed
        ).fit(X)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(fits[0].means_, fits[1].means_)
    assert fits[0].sample(np.int64(2))[0].shape == (2, 4)


def test_points_are_those_seen_unless_more_are_claimed():
    blocks = np.array_split(np.random.default_rng(0).normal(size=(120, 2)), 2)
    model = {"n_components": 2, "random_state": 0, "learning_offset": 0.0}
    stream = VariationalGaussianMixture(**model)
    for block, seen in zip(blocks, (60, 120), strict=True):
        stream.partial_fit(block)
        assert stream.n_samples_seen_ == seen
        share = stream.n_iter_**-0.7
        # alpha sums to alpha_0 K = 1 and what the points add; block 1 has share 1.
        total = 1 + (60 if seen == 60 else (1 - share) * 60 + share * 120)
        assert stream.weight_concentration_.sum() == pytest.approx(total)
    claims = VariationalGaussianMixture(total_samples=1e6, **model)
    claims.partial_fit(blocks[0])
    assert claims.weight_concentration_.sum() == pytest.approx(1 + 1e6)
    fit = fitted(blocks[0], **model).partial_fit(blocks[1])
    assert fit.n_samples_seen_ == 120


STEPS = ["mixture._covariance", "mixture.KMeans"]
STEPS += [f"factors.{name}" for name in ("Frame", "sweep", "elbo", "update")]
BREAKS = [
    *({"step": step, "error": KeyboardInterrupt} for step in STEPS),
    {"X": [[1.0, np.nan]] * 20},
    {"X": [[1.0, 2.0]] * 20},
    {"X": [[1e200, 2.0], [3.0, 1.0]] * 20},
    {"X": np.ones((20, 5))},
    {"parameters": {"covariance_prior": -np.eye(2)}},
    {"parameters": {"n_components": 0}},
    {"parameters": {"n_components": 50}},
    {"parameters": {"random_state": "x"}},
    {"parameters": {"init_params": np.ones((1, 1))}},
    {"parameters": {"covariance_prior": 1e-12 * np.eye(2)}, "X": "line"},
]


@pytest.mark.parametrize("before", ["nothing", "fit", "partial_fit"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("fault", BREAKS)
def test_what_fails_changes_nothing(fault, method, before, monkeypatch):
    X = np.random.default_rng(0).normal(size=(20, 2))
    good = VariationalGaussianMixture(2, random_state=0, init_params="kmeans")
    if before != "nothing":
        getattr(good, before)(X)
    rows = fault.get("X", X)
    if isinstance(rows, str):
        rows = np.repeat(X[:, :1], 2, axis=1) + 1e9 * np.repeat([[0], [1]], 10, axis=0)
    good.set_params(**fault.get("parameters", {}))
    state = dict(vars(good))
    if "step" in fault:

        def stopped(*args, **how):
            raise fault["error"]

        monkeypatch.setattr(f"utils.mean_field.{fault['step']}", stopped)
    try:
        getattr(good, method)(rows)
    except (ValueError, TypeError, KeyboardInterrupt):
        pass
    else:  # what a stream that has begun does not read, cannot stop it
        assert method == "partial_fit" and before != "nothing"
        return
    monkeypatch.undo()
    assert vars(good).keys() == state.keys()
    assert all(value is state[name] for name, value in vars(good).items())
    good.set_params(random_state=0)
    calls = [lambda: good.predict(X), lambda: good.score(X), lambda: good.sample()[0]]
    for call in calls:
        if before == "nothing":
            with pytest.raises(NotFittedError):
                call()
        else:
            assert np.isfinite(call()).all()
