"""The factors of a mixture's approximate posterior, and what the data say to them."""

import dataclasses
import functools
import math

import numpy as np
from scipy import special

TINY = np.finfo(float).tiny
# Coordinates whose squares, times counts, are still finite.
FARTHEST = 1e140
# Numbers in the features of a block of rows, 2 MB: products are large enough for BLAS,
# and memory is small beside that of any large data.
BLOCK = 2**18
# How far a fit is moved to see whether it comes back, in standard deviations of its
# components. Less leaves slow escapes below `tol`, more costs passes.
DISTURBANCE = 0.3


@dataclasses.dataclass(frozen=True)
class Frame:
    """The coordinates whitenerᵀ (x - center), in which W_0 = 1."""

    center: np.ndarray
    root: np.ndarray
    reg_covar: float

    @functools.cached_property
    def whitener(self):
        return np.linalg.inv(self.root).T

    @functools.cached_property
    def spread(self):
        return self.reg_covar * self.whitener.T @ self.whitener

    @property
    def log_jacobian(self):
        return np.log(np.diag(self.whitener)).sum()


@dataclasses.dataclass(frozen=True)
class Factors:
    """q(pi) and all q(mu_k, Lambda_k), or the prior; root_k root_kᵀ = W_k⁻¹."""

    alpha: np.ndarray
    kappa: np.ndarray
    mean: np.ndarray
    nu: np.ndarray
    root: np.ndarray

    @functools.cached_property
    def whitener(self):
        return np.linalg.inv(self.root).swapaxes(1, 2)

    @functools.cached_property
    def scale(self):
        return gram(self.whitener)

    @functools.cached_property
    def log_det(self):
        return -2 * np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(axis=1)

    @functools.cached_property
    def expected_log_det(self):
        """E log|Lambda_k|, Bishop's eq. (10.65)."""
        d = self.mean.shape[1]
        halves = (self.nu[:, None] - np.arange(d)) / 2
        return special.psi(halves).sum(axis=1) + d * math.log(2) + self.log_det

    @property
    def expected_log_weights(self):
        """E[log pi_k], Bishop's eq. (10.66)."""
        return special.psi(self.alpha) - special.psi(self.alpha.sum())

    @property
    def log_normaliser(self):
        """Of the density as an exponential family, but for constants of k and d."""
        d = self.mean.shape[1]
        of_each = special.gammaln(self.alpha) + special.multigammaln(self.nu / 2, d)
        of_each += 0.5 * self.nu * (d * math.log(2) + self.log_det)
        of_each -= 0.5 * d * np.log(self.kappa)
        return of_each.sum() - special.gammaln(self.alpha.sum())


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Sums of r_nk times features, and what else q(z) and the points give the ELBO."""

    sums: np.ndarray
    constant: float
    spread: np.ndarray

    @property
    def counts(self):
        """N_k, Bishop's eq. (10.51)."""
        return self.sums[:, -1]

    @functools.cached_property
    def means(self):
        """Bishop's eq. (10.52); of no points there is no mean, and any will do."""
        firsts = self.sums[:, -1 - len(self.spread) : -1]
        return firsts / np.maximum(self.counts, TINY)[:, None]

    @functools.cached_property
    def scatter(self):
        """N_k S_k, Bishop's eq. (10.53), of points that are spread."""
        spread = self.counts[:, None, None] * self.spread
        squares = np.empty_like(spread)
        i, j = np.triu_indices(len(self.spread))
        squares[:, i, j] = squares[:, j, i] = self.sums[:, : len(i)]
        return squares - _outer(self.counts, self.means) + spread


def sweep(X, frame, q, resp=None, repeats=1.0):
    """Return the statistics of the best q(z), or the given, every row counted often."""
    weights, sums, entropy = log_rho(q, frame), 0.0, 0.0
    for rows, block in feature_blocks(X, frame):
        if resp is None:
            r, log_r = responsibilities(weights @ block)
            entropy -= np.vdot(r, log_r)
        else:
            r = resp[rows].T
            entropy += special.entr(r).sum()
        sums += repeats * (r @ block.T)
    log_volume = frame.log_jacobian - 0.5 * X.shape[1] * math.log(2 * math.pi)
    return Statistics(sums, repeats * (entropy + len(X) * log_volume), frame.spread)


def feature_blocks(X, frame):
    """Yield slices of rows, and their features."""
    for rows in blocks(X):
        yield rows, _features(X[rows], frame)


def _features(x, frame):
    """Return z_i z_j (i <= j), z_i and 1 of every row, in the prior's coordinates."""
    d = x.shape[1]
    pairs = d * (d + 1) // 2
    rows = np.empty((pairs + d + 1, len(x)))
    rows[-1] = 1.0
    z = np.matmul(frame.whitener.T, (x - frame.center).T, out=rows[pairs:-1])
    if not np.abs(z).max(initial=0) < FARTHEST:
        raise ValueError("X holds points too far from the others to be squared.")
    start = 0
    for i in range(d):  # without copies, which cost a tenth of a pass
        np.multiply(z[i], z[i:], out=rows[start : start + d - i])
        start += d - i
    return rows


def quadratic_form(q):
    """Return the weights of features that give (z - m_k)ᵀ W_k (z - m_k)."""
    i, j = np.triu_indices(q.mean.shape[1])
    pairs = np.where(i == j, 1.0, 2.0) * q.scale[:, i, j]
    products = (q.scale @ q.mean[:, :, None])[:, :, 0]
    constants = np.sum(products * q.mean, axis=1, keepdims=True)
    return np.hstack([pairs, -2 * products, constants])


def log_rho(g, frame):
    """Return the weights of features that give log rho_nk, Bishop's eq. (10.46)."""
    d = g.mean.shape[1]
    weights = -0.5 * g.nu[:, None] * quadratic_form(g)
    spread = _product(g.scale, frame.spread)
    weights[:, -1] += g.expected_log_weights
    weights[:, -1] += 0.5 * (g.expected_log_det - d / g.kappa - g.nu * spread)
    return weights


def responsibilities(log_r):
    """Return r and log r, shape (k, n), from log rho, which is overwritten."""
    log_r -= log_r.max(axis=0)
    r = np.exp(log_r)
    total = r.sum(axis=0)
    r /= total
    log_r -= np.log(total)
    return r, log_r


def update(found, prior):
    """Return the best q(pi) and q(mu_k, Lambda_k), eqs. (10.57) to (10.63)."""
    kappa, gap = prior.kappa + found.counts, found.means - prior.mean
    inverse = np.eye(gap.shape[1]) + found.scatter
    inverse += _outer(prior.kappa * found.counts / kappa, gap)
    try:
        root = np.linalg.cholesky(inverse)
    except np.linalg.LinAlgError:
        raise ValueError(
            "the covariance of a component is singular to rounding: raise reg_covar or "
            "covariance_prior."
        ) from None
    return Factors(
        alpha=prior.alpha + found.counts,
        kappa=kappa,
        mean=prior.mean + (found.counts / kappa)[:, None] * gap,
        nu=prior.nu + found.counts,
        root=root,
    )


def disturbed(q, rng):
    """Return factors moved at random by a share of their widths."""
    k, d = q.mean.shape
    gap = DISTURBANCE * q.root @ rng.standard_normal((k, d, 1))
    turn = np.eye(d) + DISTURBANCE * np.tril(rng.uniform(-1, 1, (k, d, d)))
    mean = q.mean + gap[:, :, 0] / np.sqrt(q.nu)[:, None]
    alpha = q.alpha * (1 + DISTURBANCE * rng.uniform(-1, 1, k))
    return dataclasses.replace(q, alpha=alpha, mean=mean, root=q.root @ turn)


def elbo(found, prior, q):
    """Return E[log p(X, z, pi, mu, Lambda) - log q], in nats.

    All factors are exponential families: the bound is what their log normalisers have
    gained, and a term of first order in what natural parameters still have to go.
    """
    d, counts = q.mean.shape[1], found.counts
    inverse = np.eye(d) + found.scatter
    inverse += _outer(prior.kappa, prior.mean - q.mean)
    inverse += _outer(counts, found.means - q.mean)
    squares = q.nu * (_product(q.scale, inverse) - d)
    squares += d * ((prior.kappa + counts) / q.kappa - 1)
    to_go = (prior.alpha + counts - q.alpha) @ q.expected_log_weights
    to_go += 0.5 * (prior.nu + counts - q.nu) @ q.expected_log_det
    to_go -= 0.5 * squares.sum()
    return float(found.constant + q.log_normaliser - prior.log_normaliser + to_go)


def _product(a, b):
    """Return tr(A_k B_k) of symmetric matrices."""
    return (a * b).sum(axis=(1, 2))


def _outer(weights, vectors):
    return weights[:, None, None] * vectors[:, :, None] * vectors[:, None]


def gram(root):
    """Return root_k root_kᵀ."""
    return root @ root.swapaxes(1, 2)


def blocks(X):
    """Return slices of rows, whose features make a block."""
    # Two more: of 16 features, blocks of 1,024 rows collide in the processor's cache.
    rows = max(128, BLOCK // (X.shape[1] + 2) ** 2)
    return [slice(i, i + rows) for i in range(0, len(X), rows)]
