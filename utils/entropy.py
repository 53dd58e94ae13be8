"""Maximum entropy: the least committed distribution that has given expectations.

Among all p on n points with sum_i p_i f_ij = t_j for every constraint j, the largest
entropy relative to base weights q has p_i = q_i exp(sum_j lambda_j f_ij) / Z(lambda).
The multipliers minimise the convex dual D(lambda) = log Z(lambda) - lambda.t: its
gradient is the moment gap E[f] - t, its Hessian the covariance of f under p, and its
least value the entropy sought. Newton's method finds it in a few steps.

Sources: Jaynes (1957), Information theory and statistical mechanics; Cover and Thomas
(2006), Elements of Information Theory, ch. 12; Boyd and Vandenberghe (2004), Convex
Optimization, section 9.5 (damped Newton) and example 5.6 (the dual).
"""

import dataclasses
import itertools
import math
import warnings

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit

EPSILON = np.finfo(float).eps
HUGE = 1e300
MAX_STEPS = 500
LARGEST = 460.0  # exp(1.5 * 460) is not far below the largest number
# Eigenvalues of a correlation matrix below this are rounding errors of zero.
SINGULAR = 1e-13
# Distances from a face of the hull, relative to their mean, that count as zero.
ON_FACE = 1e-9
# More nodes than this a density does not get; nor, then, a smaller error.
MOST_NODES = 100_000
UNRESOLVED = 1e-4  # nats


class InfeasibleError(ValueError):
    """No distribution with positive probabilities meets the targets.

    Attributes
    ----------
    combination : ndarray, shape (m,), or None
        Coefficients c of a sum of constraints that separates: c.(f_i - t) >= 0 at
        every support point. It is above 0 at all of them if the targets lie outside
        the convex hull; if they lie on its boundary, at some.
    possible : tuple of float, or None
        For one constraint, the least and the largest target that can be met.
    """

    def __init__(self, message, combination=None, possible=None):
        super().__init__(message)
        self.combination, self.possible = combination, possible


class NoMaximizerError(InfeasibleError):
    """Densities meet the targets, but none has the largest entropy."""


@dataclasses.dataclass(frozen=True)
class MaxEntropy:
    """The maximum entropy distribution on n points under m constraints.

    Attributes
    ----------
    probabilities : ndarray, shape (n,)
    multipliers : ndarray, shape (m,)
        The lambda of p_i = q_i exp(+lambda.f_i) / Z, in units of 1 / feature.
    log_partition : float
        log Z(lambda), in nats.
    entropy : float
        -sum_i p_i log(p_i / q_i), in nats: Shannon's for q = 1, the differential
        entropy for quadrature weights, and minus the relative entropy D(p || q) for
        a prior that sums to one.
    residual : float
        Largest relative gap |E[f_j] - t_j| / E|f_j - t_j|: between 0 and 1, whatever
        the unit and the origin of a feature.
    path : ndarray, shape (iterations + 1, m)
        Multipliers before the first Newton step (zero), and after each.
    """

    probabilities: np.ndarray
    multipliers: np.ndarray
    log_partition: float
    entropy: float
    residual: float
    path: np.ndarray

    @property
    def iterations(self):
        return len(self.path) - 1

    def expectation(self, f):
        """Expectation of `f`, shape (n,) or (n, k): a number or an array (k,)."""
        f, n = np.asarray(f), len(self.probabilities)
        if f.ndim not in (1, 2) or len(f) != n:
            raise ValueError(f"f has shape {f.shape}, but must be ({n},) or ({n}, k).")
        return self.probabilities @ f

    def sample(self, size, seed=None):
        """Draw indices of support points; `seed` may be a `numpy.random.Generator`."""
        rng = np.random.default_rng(seed)
        return rng.choice(len(self.probabilities), size, p=self.probabilities)

    def __str__(self):
        return (
            f"entropy {self.entropy:.6g} nats on {len(self.probabilities):,} points; "
            f"{len(self.multipliers)} constraint(s) met to {self.residual:.1e} "
            f"in {self.iterations} Newton steps"
        )


@dataclasses.dataclass(frozen=True)
class MaxEntropyDensity:
    """The maximum entropy density on an interval under m constraints.

    Attributes
    ----------
    multipliers : ndarray, shape (m,)
        The lambda of pdf(x) = exp(+lambda.f(x)) / Z, in units of 1 / feature.
    log_partition : float
        log Z(lambda), in nats.
    entropy : float
        Differential entropy, -integral of p log p, in nats.
    error : float
        Quadrature error, estimated: the largest of what a step half as long and a
        wider truncation changed of the entropy, and of the density (the integral of
        the absolute change); and 100 times the mass about the outermost nodes.
    nodes, weights, probabilities : ndarray, shape (n,)
        Of the quadrature; ``probabilities = weights * pdf(nodes)``. With p for these,
        ``np.interp(rng.random(n), np.cumsum(p) - p / 2, nodes)`` draws n points.
    features : tuple of callable
    support : tuple of float
        The interval asked for.
    """

    multipliers: np.ndarray
    log_partition: float
    entropy: float
    nodes: np.ndarray
    weights: np.ndarray
    probabilities: np.ndarray
    features: tuple
    support: tuple
    error: float = math.inf

    @property
    def interval(self):
        """The interval used, infinite ends truncated."""
        return float(self.nodes[0]), float(self.nodes[-1])

    def pdf(self, x):
        """Density at `x`, a number or an array; zero outside the support."""
        x = np.asarray(x, dtype=float)
        inside = (self.support[0] <= x) & (x <= self.support[1])
        density = np.where(np.isnan(x), x, 0.0)
        with np.errstate(all="ignore"):  # features may be infinite at the ends
            exponents = self.multipliers @ _values(self.features, x[inside])
            density[inside] = np.exp(exponents - self.log_partition)
        return density[()]

    def expectation(self, f):
        """Expectation of a function of an array x, over the nodes."""
        return float(
            self.probabilities @ np.broadcast_to(f(self.nodes), len(self.nodes))
        )

    def __str__(self):
        low, high = self.interval
        return (
            f"entropy {self.entropy:.6g} ± {self.error:.0e} nats, "
            f"{len(self.multipliers)} constraint(s), "
            f"{len(self.nodes):,} nodes from {low:.4g} to {high:.4g}"
        )


def max_entropy(features, targets, *, base_measure=None, rtol=1e-10):
    """Find the distribution of largest entropy on n points under m constraints.

    It is p_i = q_i exp(sum_j lambda_j f_ij) / Z(lambda): mind the plus sign.

    Parameters
    ----------
    features : array-like, shape (n, m), or (n,) for one constraint
        Value f_ij of feature j at support point i.
    targets : array-like, shape (m,), or a number for one constraint
        Expectations to meet, in the units of the features.
    base_measure : array-like, shape (n,), optional
        Positive weights q: a prior, for minimum relative entropy, or quadrature
        weights, for a density. Default: ones.
    rtol : float
        Largest `residual` to accept. Rounding sets a limit, near 1e-14, and for
        redundant constraints that of features and targets themselves.

    Returns
    -------
    MaxEntropy
        For one constraint with its target at an end of the feature's range, the
        exact limit: q on the points there, normalised, and an infinite multiplier.

    Raises
    ------
    InfeasibleError
        If the targets lie outside the convex hull of the features, or, with several
        constraints, on its boundary (to rounding). Redundant constraints are no
        obstacle, unless they contradict.
    ValueError
        If an argument has a wrong shape or sign, or is not finite.
    RuntimeError
        If Newton's method cannot reach `rtol` for any other reason.

    Notes
    -----
    Time and memory are linear in n, and little of both is used: two copies of the
    features at most. The sources are those of the module.

    Examples
    --------
    >>> die = max_entropy([1, 2, 3, 4, 5, 6], 4.5)
    >>> print(die.probabilities.round(3), die.multipliers.round(4))
    [0.054 0.079 0.114 0.165 0.24  0.347] [0.371]
    """
    features, targets, log_base = _check_problem(features, targets, base_measure, rtol)
    lower, upper = features.min(axis=0), features.max(axis=0)
    rounding = 4 * EPSILON * np.abs(targets)
    constant = upper - lower <= 2 * rounding
    at_end = np.minimum(targets - lower, upper - targets) <= rounding
    _check_ranges(targets, lower, upper, rounding, at_end & ~constant)
    if len(targets) == 1 and at_end[0] and not constant[0]:
        return _on_face(features[:, 0], targets, log_base, rounding)
    # A row for each constraint, in units of the largest distance from its target.
    scale = np.where(constant, 1.0, np.maximum(targets - lower, upper - targets))
    gaps = np.subtract(features.T, targets[:, None], order="C")
    gaps /= scale[:, None]
    gaps[constant] = 0.0
    return _newton(gaps, log_base, targets, scale, rounding / scale, rtol)


def _newton(gaps, log_base, targets, scale, rounding, rtol):
    """Minimise the dual by Newton's method with backtracking, from lambda = 0.

    In terms of ``gaps = (f - t) / scale``, shape (m, n), the dual is log Z alone.
    """
    m = len(gaps)
    basis = _independent(gaps)
    # Constraints that repeat others agree with them to rounding at best.
    slack = rounding.max() if basis.shape[1] < m else 0.0
    multipliers, path = np.zeros(m), []
    dual, probabilities = _tilt(multipliers, gaps, log_base)
    for _ in range(MAX_STEPS):
        path.append(multipliers / scale)
        mean, distance, second = _moments(gaps, probabilities)
        step, singular = _newton_step(mean, second, basis)
        met = np.all(np.abs(mean) <= rtol * distance + slack)
        # Weak duality: were there a p to meet the targets, the dual could not be
        # below -sum p log(p/q), nor this below log(min q).
        hopeless = dual < np.min(log_base) - 1e-6
        if hopeless or (met and singular):
            break
        # For a target on the boundary, gaps vanish while multipliers run away: each
        # step divides the probabilities off the face by e. At a solution, it rests.
        if met and np.abs(step @ gaps)[probabilities > 1e-30].max() < 0.01:
            return MaxEntropy(
                probabilities=probabilities,
                multipliers=path[-1],
                log_partition=float(dual + path[-1] @ targets),
                entropy=float(dual - multipliers @ mean),
                residual=_residual(mean, distance),
                path=np.array(path),
            )
        # Exponents are sums of terms that may be large and cancel.
        noise = 64 * EPSILON * (1 + abs(dual) + np.abs(multipliers) @ distance)
        point = _backtrack(multipliers, step, dual, mean @ step, noise, gaps, log_base)
        if point is None:
            break
        multipliers, dual, probabilities = point
    _check_hull(gaps, scale, -multipliers if hopeless else _separate(gaps), hopeless)
    raise RuntimeError(
        f"Newton's method stopped after {len(path) - 1} steps at a residual of "
        f"{_residual(mean, distance):.1e}, not {rtol:.1e}, and no combination of "
        "features was found that excludes the targets: the features are nearly "
        "collinear, their ranges too wide, or rtol is below rounding."
    )


def _backtrack(multipliers, step, dual, slope, noise, gaps, log_base):
    """Halve the step until the dual falls by a quarter of what its slope promises.

    Returns the new multipliers, the dual and p there, or None if there is no such step.
    """
    for halvings in range(60):
        fraction = 0.5**halvings
        trial = multipliers + fraction * step
        value, probabilities = _tilt(trial, gaps, log_base)
        # Near the minimum, where whole steps are right, rounding hides the fall.
        fall = dual - value + (noise if halvings == 0 else 0.0)
        if fall >= -0.25 * fraction * slope:
            return trial, value, probabilities
    return None


def _tilt(multipliers, gaps, log_base):
    """Return log sum_i q_i exp(lambda.g_i), which cannot overflow, and p."""
    exponents = multipliers @ gaps
    exponents += log_base
    top = exponents.max()
    exponents -= top
    probabilities = np.exp(exponents, out=exponents)
    total = probabilities.sum()
    probabilities /= total
    return top + math.log(total), probabilities


def _moments(gaps, probabilities):
    """Return E[g], E|g|, shape (m,), and E[g gᵀ], shape (m, m)."""
    weighted = gaps * probabilities
    mean, second = weighted.sum(axis=1), weighted @ gaps.T
    return mean, np.abs(weighted, out=weighted).sum(axis=1), second


def _independent(gaps):
    """Return a basis, shape (m, r), of the combinations of constraints that matter.

    A combination that is zero at every point is redundant, and left out.
    """
    m, n = gaps.shape
    scaled, root = _unit_diagonal(_moments(gaps, np.full(n, 1 / n))[2])
    values, vectors = np.linalg.eigh(scaled)
    kept = values > SINGULAR
    return np.eye(m) if kept.all() else vectors[:, kept] / root[:, None]


def _newton_step(mean, second, basis):
    """Return -H⁻¹ E[g] in the span of `basis`, and whether H is singular there.

    The Hessian H is E[g gᵀ] - E[g] E[g]ᵀ. It is inverted in units that give features
    mean square one under p, since their spreads may differ by powers of ten.
    """
    mean, second = basis.T @ mean, basis.T @ second @ basis
    scaled, root = _unit_diagonal(second)
    mean = mean / root
    values, vectors = np.linalg.eigh(scaled - np.outer(mean, mean))
    step = -(vectors @ (vectors.T @ mean / np.maximum(values, SINGULAR))) / root
    return basis @ step, bool(np.any(values < SINGULAR))


def _unit_diagonal(second):
    root = np.sqrt(np.diag(second))
    root = np.where(root > 0, root, 1.0)
    return second / np.outer(root, root), root


def _residual(mean, distance):
    return float(np.max(np.abs(mean) / np.where(distance > 0, distance, 1), initial=0))


def _on_face(feature, targets, log_base, rounding):
    """Return the limit of an infinite multiplier: q on the points at the target."""
    log_face = np.where(np.abs(feature - targets) <= rounding, log_base, -np.inf)
    log_mass, probabilities = _tilt(np.zeros(1), np.zeros((1, len(feature))), log_face)
    upper = feature.max() - targets <= rounding
    multipliers = np.where(upper, np.inf, -np.inf)
    return MaxEntropy(
        probabilities=probabilities,
        multipliers=multipliers,
        log_partition=float(multipliers[0] * targets[0]) if targets[0] else log_mass,
        entropy=log_mass,
        residual=0.0,
        path=multipliers[None],
    )


def _separate(gaps):
    """Find c with the largest least c.g_i among those whose mean c.g_i is one.

    The least is positive for targets outside the hull, zero on its boundary, negative
    inside; None, if the mean of c.g_i is zero whatever c.
    """
    m, n = gaps.shape
    tolerances = ("primal_feasibility_tolerance", "dual_feasibility_tolerance")
    found = linprog(
        np.append(np.zeros(m), -1),
        A_ub=np.column_stack([-gaps.T, np.ones(n)]),
        b_ub=np.zeros(n),
        A_eq=[[*gaps.mean(axis=1), 0]],
        b_eq=[1],
        bounds=(None, None),
        options=dict.fromkeys(tolerances, 1e-10),
    )
    return None if found.x is None else found.x[:m]


def _check_hull(gaps, scale, combination, outside):
    """Raise InfeasibleError if `combination` separates, or is known to (`outside`)."""
    if combination is None:
        return
    margins = combination @ gaps
    if not outside and margins.min() < -ON_FACE:
        return
    combination = combination / scale
    combination /= np.abs(combination).max()
    rule = f"with c = {combination}, c.(f_i - target)"
    if outside or margins.min() > ON_FACE:
        raise InfeasibleError(
            f"targets lie outside the convex hull of the features: {rule} is positive "
            "at every support point, but would have to average to zero.",
            combination,
        )
    raise InfeasibleError(
        f"targets lie on the boundary of the convex hull of the features: {rule} is "
        f"zero at {np.count_nonzero(margins <= ON_FACE):,} of {len(margins):,} support "
        "points and positive elsewhere: keep only the former, and drop a constraint.",
        combination,
    )


def _check_ranges(targets, lower, upper, rounding, at_end):
    """Raise InfeasibleError if a target is out of its own feature's range."""
    outside = (targets < lower - rounding) | (targets > upper + rounding)
    one = len(targets) == 1
    for j in np.flatnonzero(outside if one else outside | at_end)[:1]:
        possible = float(lower[j]), float(upper[j])
        sign = 1.0 if targets[j] <= lower[j] + rounding[j] else -1.0
        raise InfeasibleError(
            f"targets[{j}] is {targets[j]:.9g}, "
            f"{'outside' if outside[j] else 'at an end of'} the range of its feature, "
            f"{possible[0]:.9g} to {possible[1]:.9g}: choose one inside.",
            np.where(np.arange(len(targets)) == j, sign, 0.0),
            possible if one else None,
        )


def _floats(name, value):
    """Return `value` as an array of finite floats, or say what is wrong with it."""
    try:
        array = np.asarray(value)
        numeric = array.dtype.kind in "biuf"
    except ValueError:  # rows of different lengths
        numeric = False
    if not numeric:
        raise ValueError(f"{name} must be real numbers, got {value!r:.80}.")
    array = array.astype(float, copy=False)
    if not np.all(np.abs(array) < HUGE):
        bad = array[~(np.abs(array) < HUGE)][0]
        raise ValueError(f"{name} holds {bad}, but must be finite, below {HUGE:g}.")
    return array


def _check_problem(features, targets, base_measure, rtol):
    """Return features (n, m), targets (m,) and log q, a number or an array (n,)."""
    features, targets = _floats("features", features), _floats("targets", targets)
    if features.ndim == 1:
        features = features[:, None]
    if features.ndim != 2 or not len(features):
        raise ValueError(
            f"features has shape {features.shape}, but must be (n, m): n support "
            "points, at least one, and m constraints."
        )
    n, m = features.shape
    if targets.ndim == 0 and m == 1:
        targets = targets[None]
    if targets.shape != (m,):
        raise ValueError(
            f"targets has shape {targets.shape}, but must be ({m},): one for each "
            "feature."
        )
    if _floats("rtol", rtol).ndim or rtol <= 0:
        raise ValueError(f"rtol is {rtol!r}, but must be a positive number.")
    if base_measure is None:
        return features, targets, 0.0
    base_measure = _floats("base_measure", base_measure)
    if base_measure.shape != (n,):
        raise ValueError(
            f"base_measure has shape {base_measure.shape}, but must be ({n},)."
        )
    if base_measure.min() <= 0:
        raise ValueError(
            f"base_measure holds {base_measure.min()}, but must be positive: leave out "
            "the points that are to have no probability."
        )
    return features, targets, np.log(base_measure)


def max_entropy_density(features, targets, interval, *, breaks=(), rtol=1e-10):
    """Find the density of largest differential entropy under m constraints.

    It is pdf(x) = exp(sum_j lambda_j f_j(x)) / Z(lambda): mind the plus sign.

    Parameters
    ----------
    features : callable, or sequence of callables
        Each maps an array x to an array of that shape; infinite values at the ends
        are passed over. With none, ``()``, the density is uniform.
    targets : array-like, shape (m,), or a number for one constraint
        Expectations to meet, in the units of the features.
    interval : pair of float
        Its ends, ``-inf`` and ``inf`` among them.
    breaks : sequence of float
        Points inside about which nodes gather: where a feature has a kink, or where
        the mass is, if that is a narrow place.
    rtol : float
        As in `max_entropy`.

    Returns
    -------
    MaxEntropyDensity

    Raises
    ------
    NoMaximizerError
        If mass is missing however far an infinite interval is followed: for a mean
        alone on the whole line, say, or a third moment that is not the normal one.
    InfeasibleError
        If no density meets the targets.
    ValueError, RuntimeError
        As in `max_entropy`; also if a feature is not a number inside the interval.

    Warns
    -----
    UserWarning
        If 100,000 nodes are too few, and leave an `error` above 1e-4 nats: the entropy
        may then be off by more than that.

    Notes
    -----
    `max_entropy` on the nodes of a trapezoidal rule in a variable u, whose weights are
    the base measure: x = a + (b - a) / (1 + exp(-u)) on a finite piece of the interval,
    x = a ± exp(u) on an infinite one. For features that are smooth inside, the error
    falls exponentially with the step, whatever happens at the ends (Trefethen and
    Weideman, 2014, The exponentially convergent trapezoidal rule, section 14).

    Examples
    --------
    >>> exponential = max_entropy_density(lambda x: x, 2, (0, np.inf))
    >>> print(exponential.multipliers.round(9), round(exponential.entropy, 9))
    [-0.5] 1.693147181
    """
    one = callable(features) or not np.iterable(features)
    features = (features,) if one else tuple(features)
    if not all(map(callable, features)):
        raise ValueError(f"features must be callables, got {features!r:.80}.")
    cuts = _check_interval(interval, breaks)

    def tabulate(step, near, far):
        nodes, weights = _quadrature(cuts, step, near, far)
        with np.errstate(all="ignore"):
            values = _values(features, nodes)
        usable = np.all(np.abs(values) < HUGE, axis=0)
        return nodes[usable], weights[usable], values[:, usable]

    def solve(step, near, far):
        nodes, weights, values = tabulate(step, near, far)
        found = max_entropy(values.T, targets, base_measure=weights, rtol=rtol)
        if np.isinf(found.multipliers).any():  # a limit on points, not a density
            raise InfeasibleError(
                f"targets[0] is {np.ravel(targets)[0]:.9g}, at an end of the range of "
                "its feature: choose one inside.",
                -np.sign(found.multipliers),
            )
        return MaxEntropyDensity(
            multipliers=found.multipliers,
            log_partition=found.log_partition,
            entropy=found.entropy,
            nodes=nodes,
            weights=weights,
            probabilities=found.probabilities,
            features=features,
            support=(cuts[0], cuts[-1]),
        )

    def separates(combination):
        values = tabulate(1 / 512, 40, 32)[2]
        return np.min(combination @ values) >= combination @ np.atleast_1d(targets)

    step, near, far = _widen(solve, cuts, *_first(solve, separates))
    fine = solve(step, near, far)
    while True:
        coarse, step = fine, step / 2
        fine = solve(step, near + 8, far + 0.5)
        moved = np.abs(fine.weights * coarse.pdf(fine.nodes) - fine.probabilities)
        change = max(abs(fine.entropy - coarse.entropy), moved.sum())
        # Next to an end other than zero, rounding leaves a gap that has no nodes.
        beyond = 100 * max(fine.probabilities[0], fine.probabilities[-1]) / step
        if change < max(1e-9, beyond) or len(fine.nodes) > MOST_NODES:
            break
    if change > UNRESOLVED:
        warnings.warn(
            f"{len(fine.nodes):,} nodes are too few: half as many change the density "
            f"or its entropy by {change:.0e}. Name where its mass is in `breaks`.",
            stacklevel=2,
        )
    return dataclasses.replace(fine, error=float(max(change, beyond, rtol)))


def _first(solve, separates):
    """Find a step and a truncation for which there is a solution."""
    for step, far in itertools.product((1 / 8, 1 / 64), (2, 4, 8, 16, 32)):
        near = 20 + 10 * far
        try:
            solve(step, near, far)
            return step, near, far
        except InfeasibleError as error:
            # What excludes the targets here need not do so on wider or finer nodes.
            trouble, combination = error, error.combination
            if separates(combination):
                break
            combination = None
    raise InfeasibleError(
        f"no density was found that meets the targets: on the last nodes tried, "
        f"{trouble} If the mass is in a narrow place, name that in `breaks`.",
        combination,
    )


def _widen(solve, cuts, step, near, far):
    """Widen the truncation until no mass is beyond it.

    A density that solves the problem on a truncated interval solves it on the whole
    only if its mass there is one as well. Where there is no maximiser, it has mass
    beyond the truncation, and has it again however far that is put.
    """
    while max(near, far) < LARGEST:
        try:
            density = solve(step, near, far)
        except (InfeasibleError, RuntimeError):  # wider than rounding can bear
            break
        # Beyond means up to exp(14) times, about a million times, as near or as far.
        mass = _mass(density, cuts, step, near, far)
        near_done = _mass(density, cuts, step, near + 14, far) - mass <= 1e-12
        far_done = _mass(density, cuts, step, near, far + 14) - mass <= 1e-12
        if near_done and far_done:
            return step, near, far
        near = near if near_done else 1.5 * near
        far = far if far_done else 1.5 * far
    low, high = density.interval
    raise NoMaximizerError(
        f"no density has the largest entropy: that on {low:.3g} to {high:.3g} has "
        f"about {density.entropy:.3g} nats, but does not vanish beyond. Constrain the "
        "spread (by the mean of x², say), or give a finite interval."
    )


def _mass(density, cuts, step, near, far):
    nodes, weights = _quadrature(cuts, step, near, far)
    with np.errstate(over="ignore"):  # infinite beyond, if there is no maximiser
        return density.pdf(nodes) @ weights


def _quadrature(cuts, step, near, far):
    """Return nodes, inside the pieces between cuts, and weights, shape (n,).

    Nodes reach within a factor of about exp(-near) of a finite end, and exp(far)
    away towards an infinite one.
    """
    pieces = []
    for a, b in itertools.pairwise(cuts):
        finite = math.isfinite(a) and math.isfinite(b)
        last = near if finite else far
        u = step * np.arange(-round(near / step), round(last / step) + 1)
        if finite:
            # From the nearer end, so that no digits are lost.
            away = (b - a) * expit(-np.abs(u))
            nodes = np.where(u < 0, a + away, b - away)
            weights = away * expit(np.abs(u))
        else:
            weights = np.exp(u)
            nodes = a + weights if math.isfinite(a) else b - weights
        inside = (a < nodes) & (nodes < b)
        pieces.append((nodes[inside], step * weights[inside]))
    nodes, weights = np.concatenate(pieces, axis=1)
    order = np.argsort(nodes)
    return nodes[order], weights[order]


def _values(features, x):
    """Return the values of features at an array x, shape (m, *x.shape)."""
    values = np.empty((len(features), *x.shape))
    for j, feature in enumerate(features):
        try:
            value = np.asarray(feature(x), dtype=float)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"features[{j}] fails for an array x: {error}. It must take one, as "
                "np.sqrt does, and math.sqrt does not."
            ) from error
        if value.shape not in ((), x.shape):
            raise ValueError(
                f"features[{j}] maps shape {x.shape} to shape {value.shape}, but must "
                "keep it."
            )
        values[j] = value
        if np.isnan(values[j]).any():
            where = x[np.isnan(values[j])][0]
            raise ValueError(f"features[{j}] is not a number at x = {where:.9g}.")
    return values


def _check_interval(interval, breaks):
    """Return the ends and the breaks between them, in order."""
    try:
        a, b = interval
        cuts = [float(x) for x in (a, *sorted(breaks), b)]
    except (TypeError, ValueError):
        cuts = [math.nan] * 2
    if not all(a < b for a, b in itertools.pairwise(cuts)):
        raise ValueError(
            f"interval is {interval!r} and breaks {breaks!r}, but must be (a, b), a "
            "below b, and a sequence of different numbers between a and b."
        )
    # Half-lines alone have a map; without a break, the whole line is cut at zero.
    return [cuts[0], 0.0, cuts[1]] if cuts == [-math.inf, math.inf] else cuts
