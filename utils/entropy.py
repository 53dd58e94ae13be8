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
import typing
import warnings

from utils.arguments import integer, real, real_array, rng

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit

EPSILON = np.finfo(float).eps
HUGE = 1e300
MAX_STEPS = 500
# Eigenvalues of a correlation matrix below this are rounding errors of zero.
SINGULAR = 1e-14
# Cosines of angles to a plane that linear programming cannot tell from zero.
ON_FACE = 1e-9
# Of the logarithm of a distance: exp(690) is not far below the largest number.
LARGEST = 690.0
# Of u: how near to finite ends first nodes come, how far out they reach, their step.
NEAR, FAR, STEP = 40.0, 2.0, 1 / 8
MOST_PIECES = 24
# Beyond them, mass is looked for up to exp(14) times as far; as little as this is none.
FARTHER, LEAST_MASS = 14.0, 1e-12
LEAST_LUMP = 1e-6  # mass per unit of u
# More nodes than this a density does not get; nor, then, a smaller error.
MOST_NODES = 100_000
UNRESOLVED = 1e-4  # nats
# Of a gap's mean distance, by which redundant constraints may disagree.
MOST_SLACK = 1e-4


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
        f, n = real_array("f", f), len(self.probabilities)
        if f.ndim not in (1, 2) or len(f) != n:
            raise ValueError(f"f has shape {f.shape}, but must be ({n},) or ({n}, k).")
        return self.probabilities @ f

    def sample(self, size=None, seed=None):
        """Draw indices of support points.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of what is drawn; default: one index.
        seed : None, int, numpy.random.SeedSequence, Generator, BitGenerator or \
                RandomState
        """
        if isinstance(size, (tuple, list)):
            size = tuple(integer("size", length, least=0) for length in size)
        elif size is not None:
            size = integer("size", size, least=0)
        return rng("seed", seed).choice(
            len(self.probabilities), size, p=self.probabilities
        )

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
        Of the entropy, and of the density (the integral of the absolute difference),
        estimated so as to be too large rather than too small: the largest of what a
        step half as long and a wider truncation changed, of what the rounding of
        nodes, features and targets may change, of ten times the mass that is nearer
        to an end than numbers can be told apart, and of `rtol`. Exact expectations
        that were rounded to targets are covered; features are taken to be right to
        the last digit or so.
    nodes, weights, probabilities : ndarray, shape (n,)
        Of the quadrature; ``probabilities = weights * pdf(nodes)``. With p for these,
        ``np.interp(rng.random(n), np.cumsum(p) - p / 2, nodes)`` draws n points.
    features : tuple of callable
    targets : ndarray, shape (m,)
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
    targets: np.ndarray
    support: tuple
    error: float = math.inf

    @property
    def interval(self):
        """The interval used, infinite ends truncated."""
        return float(self.nodes[0]), float(self.nodes[-1])

    def pdf(self, x):
        """Density at `x`, a number or an array; zero outside the support."""
        x = real_array("x", x, finite=False)
        inside = (self.support[0] <= x) & (x <= self.support[1])
        density = np.where(np.isnan(x), x, 0.0)
        with np.errstate(all="ignore"):  # features may be infinite at the ends
            gaps = _values(self.features, x[inside]) - self.targets[:, None]
            density[inside] = np.exp(self.multipliers @ gaps - self.entropy)
        return density[()]

    def expectation(self, f):
        """Expectation of a function of an array x, over the nodes."""
        if not callable(f):
            raise ValueError(f"f must be callable, got {f!r:.80}.")
        return float(self.probabilities @ _values((f,), self.nodes, name="f")[0])

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
        Expectations to meet, in the units of the features. Both are taken as exact,
        however far their origin: only redundant constraints may differ by rounding.
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
        If an argument has a wrong shape or sign, is not finite, or holds integers that
        double precision cannot carry.
    RuntimeError
        If Newton's method cannot reach `rtol` for any other reason: that rounding is
        in the way, most often. It is no verdict on the targets.

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
    features, targets, log_base, rtol = _check_problem(
        features, targets, base_measure, rtol
    )
    if len(targets) == 1:
        feature = features[:, 0]
        low, high = feature.min(), feature.max()
        end = np.clip(targets[0], low, high)
        # A sum that rounding has put beyond the end is at the end.
        near = min(4 * EPSILON * abs(end), ON_FACE * (high - low))
        if low < high and end in (low, high) and abs(targets[0] - end) <= near:
            return _on_face(feature, end, log_base, end == high)
    return _maximize(features.T, targets, log_base, rtol)


def _maximize(values, targets, log_base, rtol, start=None):
    """Solve for features in rows, shape (m, n), and a target inside each one's range.

    `start` are multipliers to set out from; default: zeros.
    """
    lower, upper = values.min(axis=1), values.max(axis=1)
    _check_ranges(targets, lower, upper)
    # A row for each constraint, in units of the largest distance from its target.
    constant = lower == upper
    scale = np.where(constant, 1.0, np.maximum(targets - lower, upper - targets))
    gaps = np.subtract(values, targets[:, None], order="C")
    gaps /= scale[:, None]
    gaps[constant] = 0.0
    start = np.zeros(len(targets)) if start is None else start * scale
    return _newton(gaps, log_base, targets, scale, rtol, start)


def _newton(gaps, log_base, targets, scale, rtol, multipliers):
    """Minimize the dual by Newton's method with backtracking.

    In terms of ``gaps = (f - t) / scale``, shape (m, n), the dual is log Z alone.
    """
    m, path, last = len(gaps), [], math.inf
    rounding = EPSILON * np.abs(targets) / scale
    basis = _independent(gaps, rounding)
    dual, probabilities, top = _tilt(multipliers, gaps, log_base)
    for _ in range(MAX_STEPS):
        path.append(multipliers / scale)
        mean, distance, second = _moments(gaps, probabilities)
        step, least = _newton_step(mean, second, basis)
        allowed = rtol * distance
        if basis.shape[1] < m:
            # Constraints that repeat others agree with them to rounding at best.
            slack = 4 * np.max(rounding + EPSILON * distance)
            allowed += np.minimum(slack, MOST_SLACK * distance)
        met = np.all(np.abs(mean) <= allowed)
        # The dual falls for ever along multipliers that lower every exponent.
        if top < 0 or (met and least < SINGULAR):
            break
        # In units of the spread under p, whatever the features' own.
        decrement = math.sqrt(max(-mean @ step, 0.0))
        floor = 64 * EPSILON / math.sqrt(max(least, SINGULAR))
        near = met and (decrement <= rtol + floor or decrement > last / 2)
        moves = math.inf
        if near or decrement <= floor:
            moves = np.abs(step @ gaps)[probabilities > 0].max()
        # For a target on the boundary, gaps vanish while multipliers run away: each
        # step divides the probabilities off the face by e. At a solution, it rests.
        if near and moves < 0.01:
            return MaxEntropy(
                probabilities=probabilities,
                multipliers=path[-1],
                log_partition=float(dual + path[-1] @ targets),
                entropy=float(dual - multipliers @ mean),
                residual=_residual(mean, distance),
                path=np.array(path),
            )
        if not met and moves < floor:
            break
        last = decrement
        # Exponents are sums of terms that may be large and cancel.
        noise = 64 * EPSILON * (1 + abs(dual) + np.abs(multipliers) @ distance)
        point = _backtrack(multipliers, step, dual, mean @ step, noise, gaps, log_base)
        if point is None:
            break
        multipliers, dual, probabilities, top = point
    sizes = np.linalg.norm(gaps, axis=0)
    sizes[sizes == 0] = 1.0
    _check_hull(
        gaps, scale, rounding, -multipliers if top < 0 else _separate(gaps / sizes)
    )
    raise RuntimeError(
        f"Newton's method stopped after {len(path) - 1} steps at a residual of "
        f"{_residual(mean, distance):.1e}, with rtol {rtol:.1e}, and no combination of "
        "features was found that excludes the targets: rtol is below rounding, or the "
        "features are nearly collinear, or their ranges too wide. An origin and a unit "
        "nearer to where the mass is may help."
    )


def _backtrack(multipliers, step, dual, slope, noise, gaps, log_base):
    """Halve the step until the dual falls by a quarter of what its slope promises.

    Returns the new multipliers and what `_tilt` has there, or None if there is no such
    step.
    """
    for halvings in range(60):
        fraction = 0.5**halvings
        trial = multipliers + fraction * step
        value, *rest = _tilt(trial, gaps, log_base)
        # Near the minimum, where whole steps are right, rounding hides the fall.
        fall = dual - value + (noise if halvings == 0 else 0.0)
        if fall >= -0.25 * fraction * slope:
            return trial, value, *rest
    return None


def _tilt(multipliers, gaps, log_base):
    """Return log sum_i q_i exp(lambda.g_i), p, and the largest lambda.g_i."""
    exponents = multipliers @ gaps
    highest = exponents.max()
    exponents += log_base
    top = exponents.max()
    exponents -= top
    probabilities = np.exp(exponents, out=exponents)
    total = probabilities.sum()
    probabilities /= total
    return top + math.log(total), probabilities, highest


def _moments(gaps, probabilities):
    """Return E[g], E|g|, shape (m,), and E[g gᵀ], shape (m, m)."""
    weighted = gaps * probabilities
    mean, second = weighted.sum(axis=1), weighted @ gaps.T
    return mean, np.abs(weighted, out=weighted).sum(axis=1), second


def _independent(gaps, rounding):
    """Return a basis, shape (m, r), of the combinations of constraints that matter.

    A combination that is zero at every point, to `rounding`, is redundant, and left
    out. One constraint is taken as exact: only a constant feature says nothing.
    """
    m, n = gaps.shape
    scaled, root = _unit_diagonal(_moments(gaps, np.full(n, 1 / n))[2])
    values, vectors = np.linalg.eigh(scaled)
    # Errors of rounding are spread evenly over a digit, of variance 1/12.
    noise = (rounding / root) ** 2 / 12 if m > 1 else np.zeros(m)
    kept = values > np.maximum(SINGULAR, 4 * noise @ vectors**2)
    return np.eye(m) if kept.all() else vectors[:, kept] / root[:, None]


def _newton_step(mean, second, basis):
    """Return -H⁻¹ E[g] in the span of `basis`, and the least eigenvalue of H there.

    The Hessian H is E[g gᵀ] - E[g] E[g]ᵀ. It is inverted in units that give features
    mean square one under p, since their spreads may differ by powers of ten.
    """
    mean, second = basis.T @ mean, basis.T @ second @ basis
    scaled, root = _unit_diagonal(second)
    mean = mean / root
    values, vectors = np.linalg.eigh(scaled - np.outer(mean, mean))
    step = -(vectors @ (vectors.T @ mean / np.maximum(values, SINGULAR))) / root
    return basis @ step, values.min(initial=1.0)


def _unit_diagonal(second):
    root = np.sqrt(np.diag(second))
    root = np.where(root > 0, root, 1.0)
    return second / np.outer(root, root), root


def _residual(mean, distance):
    return float(np.max(np.abs(mean) / np.where(distance > 0, distance, 1), initial=0))


def _on_face(feature, target, log_base, upper):
    """Return the limit of an infinite multiplier: q on the points at the target."""
    log_face = np.where(feature == target, log_base, -np.inf)
    log_mass, probabilities, _ = _tilt(
        np.zeros(1), np.zeros((1, len(feature))), log_face
    )
    multiplier = math.inf if upper else -math.inf
    return MaxEntropy(
        probabilities=probabilities,
        multipliers=np.array([multiplier]),
        log_partition=float(multiplier * target) if target else log_mass,
        entropy=log_mass,
        residual=0.0,
        path=np.array([[multiplier]]),
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


def _check_hull(gaps, scale, rounding, combination):
    """Raise an error that says what `combination` proves, if anything."""
    if combination is None:
        return
    margins = combination @ gaps
    sizes = np.abs(combination) @ np.abs(gaps)
    if margins.min() < -ON_FACE * sizes[margins.argmin()]:
        return
    if margins.max() <= 4 * np.abs(combination) @ rounding:
        raise RuntimeError(_too_close(combination / scale))
    outside = np.all(margins > 4 * len(gaps) * EPSILON * sizes)
    combination = combination / scale
    combination /= np.abs(combination).max()
    rule = f"with c = {combination}, c.(f_i - target)"
    if outside:
        raise InfeasibleError(
            f"targets lie outside the convex hull of the features: {rule} is positive "
            "at every support point, but would have to average to zero.",
            combination,
        )
    raise InfeasibleError(
        f"targets lie on the boundary of the convex hull of the features: {rule} is "
        f"zero at {np.count_nonzero(margins <= ON_FACE * sizes):,} of "
        f"{len(margins):,} support points and positive elsewhere: keep only the "
        "former, and drop a constraint.",
        combination,
    )


def _too_close(combination):
    combination = combination / np.abs(combination).max()
    return (
        "targets lie so near the boundary of what can be met, or beyond it, that "
        f"double precision cannot carry the difference: with c = {combination}, "
        "c.(f(x) - target) is lost in the rounding of features and targets. State "
        "them from an origin and in a unit nearer to where the mass is: (x - 1e6)² in "
        "the place of x², say."
    )


def _check_ranges(targets, lower, upper):
    """Raise InfeasibleError if a target is not inside its own feature's range."""
    constant = lower == upper
    one = len(targets) == 1
    # A constant may have been rounded otherwise than its target.
    outside = np.where(
        constant,
        np.abs(targets - lower) > 4 * EPSILON * np.abs(targets),
        (targets < lower) | (targets > upper),
    )
    at_end = ~constant & ((targets == lower) | (targets == upper))
    for j in np.flatnonzero(outside | at_end)[:1]:
        possible = float(lower[j]), float(upper[j])
        sign = 1.0 if targets[j] <= lower[j] else -1.0
        raise InfeasibleError(
            f"targets[{j}] is {targets[j]:.9g}, "
            f"{'outside' if outside[j] else 'at an end of'} the range of its feature, "
            f"{possible[0]:.9g} to {possible[1]:.9g}: choose one inside.",
            np.where(np.arange(len(targets)) == j, sign, 0.0),
            possible if one else None,
        )


def _finite(name, value):
    """Return `value` as an array of floats whose differences are finite."""
    array = real_array(name, value)
    if np.any(np.abs(array) >= HUGE):
        bad = array[np.abs(array) >= HUGE][0]
        raise ValueError(f"{name} holds {bad}, but must be finite, below {HUGE:g}.")
    given = np.asarray(value)
    if given.dtype.kind in "iuO" and np.any(array.astype(object) != given):
        bad = given[array.astype(object) != given][0]
        raise ValueError(
            f"{name} holds {bad}, which double precision cannot tell from "
            f"{float(bad):.17g}: subtract an origin near it first."
        )
    return array


def _check_problem(features, targets, base_measure, rtol):
    """Return features (n, m), targets (m,), log q, a number or an array (n,), rtol."""
    features = _finite("features", features)
    if features.ndim == 1:
        features = features[:, None]
    if features.ndim != 2 or not len(features):
        raise ValueError(
            f"features has shape {features.shape}, but must be (n, m): n support "
            "points, at least one, and m constraints."
        )
    n, m = features.shape
    targets = _check_targets(targets, m)
    rtol = real("rtol", rtol, above=0)
    if base_measure is None:
        return features, targets, 0.0, rtol
    base_measure = real_array("base_measure", base_measure, (n,))
    if base_measure.min() <= 0:
        raise ValueError(
            f"base_measure holds {base_measure.min()}, but must be positive: leave out "
            "the points that are to have no probability."
        )
    return features, targets, np.log(base_measure), rtol


def _check_targets(targets, m):
    targets = _finite("targets", targets)
    if targets.ndim == 0 and m == 1:
        targets = targets[None]
    if targets.shape != (m,):
        raise ValueError(
            f"targets has shape {targets.shape}, but must be ({m},): one for each "
            "feature."
        )
    return targets


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
        Points inside about which nodes gather: where a feature has a kink or a jump.
        Narrow places that hold mass are found without.
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
        If no density meets the targets, because a sum of features, `combination`, is
        above (or never below) its target all over the interval.
    ValueError
        As in `max_entropy`; also if a feature is not a number inside the interval.
    RuntimeError
        If double precision cannot carry the problem, whether it has a solution or not:
        the targets -1e6 and 1e12 + 1e-6 for x and x² are -1e6 and 1e12 to it. Features
        of an origin and a unit near the mass, x and (x + 1e6)², keep the digits.

    Warns
    -----
    UserWarning
        If `error` is above 1e-4 nats, because 100,000 nodes are too few, or because of
        rounding.

    Notes
    -----
    `max_entropy` on the nodes of a trapezoidal rule in a variable u, whose weights are
    the base measure: x = a + (b - a) / (1 + exp(-u)) on a finite piece of the interval,
    x = a ± exp(u) on an infinite one. For features that are smooth inside, the error
    falls exponentially with the step, whatever happens at the ends (Trefethen and
    Weideman, 2014, The exponentially convergent trapezoidal rule, section 14).

    Where the nodes must be is found as columns of a semi-infinite linear programme
    are: while a combination of features is above its target at every node, nodes are
    put where it is not; then, where the density found has peaks that they miss.

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
    targets = _check_targets(targets, len(features))
    rtol = real("rtol", rtol, above=0)
    problem = _Problem(features, targets, _check_interval(interval, breaks), rtol)
    coarse, pieces, step = *_place(problem), STEP
    try:
        coarser = problem.solve(pieces, 2 * step, coarse.multipliers)
        changes = [_change(coarser, coarse)]
    except (InfeasibleError, RuntimeError):
        changes = [math.inf]
    kinked = False
    while True:
        pieces, step = [_widened(piece, 8, 0.5) for piece in pieces], step / 2
        fine = problem.solve(pieces, step, coarse.multipliers)
        changes = [_change(coarse, fine), *changes[:2]]
        # Half a step squares the error, but quarters that of a kink; there a change
        # may be small by chance, but not three in a row.
        kinked |= changes[0] > max(100 * changes[1] ** 2, rtol)
        change = max(c / 4**i for i, c in enumerate(changes[: 3 if kinked else 1]))
        rest, rounding = _rest(problem, fine, pieces), _rounding(problem, fine)
        if change < max(1e-9, rest, rounding) or len(fine.nodes) > MOST_NODES:
            break
        coarse = fine
    error = float(max(change, rest, rtol, rounding))
    if error > UNRESOLVED:
        why = f"the rounding of numbers may change it by {error:.0e}: give features of "
        why += "an origin nearer to where the mass is"
        if change > max(rest, rounding):
            why = f"{len(fine.nodes):,} nodes are too few, and half as many change it "
            why += f"by {change:.0e}: name where its mass is in `breaks`"
        warnings.warn(f"The density or its entropy is rough: {why}.", stacklevel=2)
    return dataclasses.replace(fine, error=error)


def _change(coarse, fine):
    """Return the difference in entropy, or the integral of that in the density."""
    moved = np.abs(fine.weights * coarse.pdf(fine.nodes) - fine.probabilities)
    return max(abs(fine.entropy - coarse.entropy), moved.sum())


class _Piece(typing.NamedTuple):
    """An interval (a, b), and the range of u for nodes x(u), which rise with u.

    With both ends finite, x = a + (b - a) / (1 + exp(-u)); with one, x = a + exp(u) or
    x = b - exp(-u). So every scale near a finite end is resolved alike.
    """

    a: float
    b: float
    low: float = -LARGEST
    high: float = LARGEST

    @property
    def log_length(self):
        length = self.b - self.a
        return math.log(length) if math.isfinite(length) else 0.0

    def map(self, u):
        """Return x(u) and dx/du."""
        a, b = self.a, self.b
        if math.isfinite(b - a):
            # From the nearer end, so that no digits are lost.
            away = (b - a) * expit(-np.abs(u))
            nodes = np.where(u < 0, a + away, b - away)
            slopes = away * expit(np.abs(u))
        elif math.isfinite(a):
            slopes = np.exp(u)
            nodes = a + slopes
        else:
            slopes = np.exp(-u)
            nodes = b - slopes
        # Rounding puts no node on an end, where features may be infinite.
        return np.clip(nodes, np.nextafter(a, b), np.nextafter(b, a)), slopes

    def grid(self, step):
        return step * np.arange(round(self.low / step), round(self.high / step) + 1)


def _widened(piece, near, far, ends=(True, True)):
    """Go nearer to finite ends, by exp(near), and farther out, by exp(far)."""
    low, high = (near if math.isfinite(end) else far for end in piece[:2])
    low, high = piece.low - low * ends[0], piece.high + high * ends[1]
    return piece._replace(low=max(low, -LARGEST), high=min(high, LARGEST))


def _cut(piece, x, gap):
    """Cut a piece at x, to which nodes come nearer than `gap` by exp(NEAR)."""
    left, right = piece._replace(b=x), piece._replace(a=x)
    near, low, high = math.log(gap) - NEAR, piece.low, piece.high
    if math.isfinite(piece.a):
        low += piece.log_length - left.log_length
    if math.isfinite(piece.b):
        high += right.log_length - piece.log_length
    return [
        left._replace(low=low, high=left.log_length - near),
        right._replace(low=near - right.log_length, high=high),
    ]


@dataclasses.dataclass(frozen=True)
class _Problem:
    """What `max_entropy_density` was asked, checked."""

    features: tuple
    targets: np.ndarray
    cuts: list
    rtol: float

    def solve(self, pieces, step, start=None):
        mapped = [piece.map(piece.grid(step)) for piece in pieces]
        nodes, weights = np.concatenate(mapped, axis=1)
        with np.errstate(all="ignore"):
            values = _values(self.features, nodes)
        usable = np.all(np.abs(values) < HUGE, axis=0) & (weights > 0)
        nodes, weights, values = nodes[usable], weights[usable], values[:, usable]
        weights *= step
        found = _maximize(values, self.targets, np.log(weights), self.rtol, start)
        mean = (values - self.targets[:, None]) @ found.probabilities
        return MaxEntropyDensity(
            multipliers=found.multipliers,
            log_partition=found.log_partition,
            # The dual: its error is of second order in that of the multipliers.
            entropy=float(found.entropy + found.multipliers @ mean),
            nodes=nodes,
            weights=weights,
            probabilities=found.probabilities,
            features=self.features,
            targets=self.targets,
            support=(self.cuts[0], self.cuts[-1]),
        )

    def gaps(self, x):
        """Return f(x) - t, shape (m, n), not a number where it has no finite value."""
        with np.errstate(all="ignore"):
            values = _values(self.features, x, strict=False)
        values[~(np.abs(values) < HUGE)] = np.nan
        return values - self.targets[:, None]

    def margins(self, combination, x):
        """Return c.(f(x) - t), its size, and how much of it may be rounding."""
        gaps, c = self.gaps(x), np.abs(combination)
        sizes, margins = c @ np.abs(gaps), combination @ gaps
        # The sign of one difference is never wrong.
        several = np.count_nonzero(c) > 1
        doubt = several * 4 * EPSILON * (sizes + 2 * c @ np.abs(self.targets))
        good = ~np.isnan(margins)
        return np.where(good, margins, np.inf), sizes, np.where(good, doubt, 0.0)

    def log_masses(self, density, piece, u):
        """Return the logarithm of the mass of a density per unit of u."""
        x, slopes = piece.map(u)
        exponents = density.multipliers @ self.gaps(x) - density.entropy
        with np.errstate(divide="ignore"):
            exponents += np.log(slopes)
        return np.where(np.isnan(exponents), -np.inf, exponents)

    def masses(self, density, piece, u):
        with np.errstate(over="ignore"):  # infinite, if there is no maximizer
            return np.exp(self.log_masses(density, piece, u))

    def doubt(self, density):
        """Return a matrix D, shape (m, m): |D (f(x) - t)| of the exponent is unknown.

        Multipliers are known to `rtol`, in units of the features' spread.
        """
        gaps = self.gaps(density.nodes)
        scale = np.abs(gaps).max(axis=1)
        scale[scale == 0] = 1.0
        second = _moments(gaps / scale[:, None], density.probabilities)[2]
        scaled, root = _unit_diagonal(second)
        values, vectors = np.linalg.eigh(scaled)
        values = np.maximum(values, SINGULAR)
        known = 10 * (self.rtol + 64 * EPSILON / math.sqrt(values.min(initial=1.0)))
        return known * (vectors / np.sqrt(values)).T / (root * scale)


def _place(problem):
    """Find pieces on whose coarse nodes there is a solution that leaves no mass out.

    Returns the solution on them, and the pieces.
    """
    pieces = [
        _Piece(
            a, b, -NEAR if math.isfinite(a) else -FAR, NEAR if math.isfinite(b) else FAR
        )
        for a, b in itertools.pairwise(problem.cuts)
    ]
    density, start, grow, lost, last = None, None, 1.0, False, pieces
    while True:
        try:
            density = problem.solve(pieces, STEP, start)
        except (InfeasibleError, RuntimeError) as error:
            if lost:  # wider than rounding can bear
                _refuse(problem, density, last)
            if not isinstance(error, InfeasibleError):
                raise
            pieces = _admit(problem, pieces, error.combination)
            continue
        start, last = density.multipliers, pieces
        # A density that solves the problem on a truncated interval solves it on the
        # whole only if its mass there is one as well. Where there is no maximizer, it
        # has mass beyond, and has it again however far the truncation is put.
        doubt = problem.doubt(density)
        beyond = [_mass_beyond(problem, density, p, FARTHER, doubt) for p in pieces]
        lost = np.max(beyond) > LEAST_MASS
        if not lost:
            cut = [_cut_lumps(problem, density, piece) for piece in pieces]
            pieces = list(itertools.chain(*cut))
            if not len(last) < len(pieces) <= MOST_PIECES:
                return density, last
            continue
        pieces = [
            _widened(piece, 20 * grow, grow, np.array(masses) > LEAST_MASS)
            for piece, masses in zip(pieces, beyond, strict=True)
        ]
        if pieces == last:
            _refuse(problem, density, last)
        grow *= 1.5


def _mass_beyond(problem, density, piece, reach, doubt):
    """Return the masses beyond the first and last u, as far as `reach`, at the least.

    If that is negative, those inside are meant.
    """
    masses = []
    for end, out in ((piece.low, -reach), (piece.high, reach)):
        u = piece._replace(low=min(end, end + out), high=max(end, end + out)).grid(STEP)
        with np.errstate(over="ignore"):  # infinite, if there is no maximizer
            unknown = np.linalg.norm(doubt @ problem.gaps(piece.map(u)[0]), axis=0)
            logs = problem.log_masses(density, piece, u) - np.nan_to_num(unknown)
            masses.append(STEP * np.exp(logs).sum())
    return masses


def _refuse(problem, density, pieces):
    """Raise an error that says why mass is missing beyond the nodes."""
    (low, high), doubt = density.interval, problem.doubt(density)
    beyond, inside = (
        np.array([_mass_beyond(problem, density, p, reach, doubt) for p in pieces])
        for reach in (FARTHER, -FARTHER)
    )
    if np.any((beyond > LEAST_MASS) & (beyond >= inside)):
        raise NoMaximizerError(
            f"no density has the largest entropy: that on {low:.3g} to {high:.3g} has "
            f"about {density.entropy:.3g} nats, but does not vanish beyond. Constrain "
            "the spread (by the mean of x², say), or give a finite interval."
        )
    raise RuntimeError(
        "targets put mass where double precision has no numbers, or none that can be "
        f"told apart: the density on {low:.3g} to {high:.3g} leaves some out."
    )


def _admit(problem, pieces, combination):
    """Give nodes to places that `combination`, which excludes the targets, overlooks.

    Where c.(f(x) - t) is positive at every node, mass must be where it is negative: at
    a scale beyond the nodes, or between two of them. Where there is no such place, no
    density meets the targets.
    """
    for step in (STEP / 2, STEP / 16):
        found, least = [], []
        for piece in pieces:
            u = piece._replace(low=-LARGEST, high=LARGEST).grid(step)
            margins, _, doubt = problem.margins(combination, piece.map(u)[0])
            least.append(np.min(margins - doubt))
            missed = margins < -doubt
            below, above = u[missed & (u < piece.low)], u[missed & (u > piece.high)]
            if below.size or above.size:
                low = below.max() - 3 if below.size else piece.low
                high = above.min() + 3 if above.size else piece.high
                found.append(_widened(piece._replace(low=low, high=high), 0, 0))
                continue
            places, lowest = _overlooked(problem, combination, piece, u)
            least.append(lowest)
            found += _cut_at(piece, places)
        if found != pieces:
            # The whole line is not a half-line: both its ends reach as far.
            far = max(-found[0].low, found[-1].high)
            if math.isinf(found[0].a) and math.isinf(found[-1].b):
                found[0] = found[0]._replace(low=-far)
                found[-1] = found[-1]._replace(high=far)
            if len(found) <= MOST_PIECES:
                return found
            break
    if min(least) < 0:
        raise RuntimeError(_too_close(combination))
    c = combination / np.abs(combination).max()
    where = "positive" if min(least) > 0 else "nowhere negative"
    low, high = problem.cuts[0], problem.cuts[-1]
    raise InfeasibleError(
        f"no density meets the targets: with c = {c}, c.(f(x) - target) is {where} on "
        f"{low:.9g} to {high:.9g}, as far as was tried, but would have to average to "
        "zero.",
        c,
    )


def _minima(function, u):
    """Find local minima of a function between the points u.

    Returns the index of the point next to each, and where it is.
    """
    values = function(u)
    lower = (values[1:-1] <= values[:-2]) & (values[1:-1] < values[2:])
    i = 1 + np.flatnonzero(lower)
    i = i[np.argsort(values[i])[:MOST_PIECES]]
    left, right, columns = u[i - 1], u[i + 1], np.arange(len(i))
    for _ in range(12):
        grid = np.linspace(left, right, 33)
        j = function(grid.ravel()).reshape(grid.shape).argmin(axis=0)
        j = np.clip(j, 1, len(grid) - 2)
        left, right = grid[j - 1, columns], grid[j + 1, columns]
    return i, (left + right) / 2


def _overlooked(problem, combination, piece, u):
    """Find where a sum of features is negative between the points u of a piece.

    Returns the places, each with the distance to its neighbours among u, and the least
    value, less what may be rounding.
    """

    def look(u):
        return problem.margins(combination, piece.map(u)[0])

    i, least = _minima(lambda u: look(u)[0], u)
    margins, sizes, doubt = look(least)
    gaps = piece.map(u[i + 1])[0] - piece.map(u[i - 1])[0]
    order = np.argsort(margins / sizes)
    deepest = order[(margins < -doubt)[order]][:3]
    places = zip(piece.map(least)[0][deepest], gaps[deepest], strict=True)
    return list(places), np.min(margins - doubt, initial=math.inf)


def _cut_lumps(problem, density, piece):
    """Cut a piece where the density has peaks too narrow for its nodes, or beyond."""

    def depth(u):
        return -problem.log_masses(density, piece, u)

    wider = piece._replace(low=piece.low - FARTHER, high=piece.high + FARTHER)
    u = wider.grid(STEP)
    i, peaks = _minima(depth, u)
    heights = depth(peaks)
    # Within a step, a normal falls by a half if that is its deviation.
    narrow = (depth(u[i - 1]) + depth(u[i + 1])) / 2 > 0.5 + heights
    narrow &= heights < -math.log(LEAST_LUMP)
    x, slopes = piece.map(peaks[narrow])
    return _cut_at(piece, zip(x, STEP * slopes, strict=True))


def _cut_at(piece, places):
    """Cut a piece at places, each with a distance that its nodes are to resolve."""
    parts = [piece]
    for x, gap in sorted(places):
        # Between numbers that can be told apart.
        if parts[-1].a < x < parts[-1].b and gap > 16 * np.spacing(abs(x)):
            parts[-1:] = _cut(parts[-1], float(x), gap)
    return parts


def _rest(problem, density, pieces):
    """Estimate the mass beyond the outermost nodes, or rounded onto an end."""
    total = 0.0
    for piece, end, u, inwards in (
        (pieces[0], pieces[0].a, pieces[0].low, 1),
        (pieces[-1], pieces[-1].b, pieces[-1].high, -1),
    ):
        # Nearer than this to an end other than zero, numbers cannot be told apart.
        blurred = -math.inf
        if math.isfinite(end):
            blurred = math.log(4 * np.spacing(abs(end))) - piece.log_length
        u = inwards * max(inwards * u, blurred)
        edge, inner = problem.masses(density, piece, u + np.array([0, inwards]))
        # Masses fall outwards as exp(-slope u); where numbers blur, as exp(-u).
        slope = math.log(inner / edge) if 0 < edge < inner else 1.0
        total += 10 * abs(edge / slope - (edge if inwards * u == blurred else 0.0))
    return total


def _rounding(problem, density):
    """Estimate what the rounding of nodes, features and targets changes of entropy."""
    slopes, p = np.abs(density.multipliers), density.probabilities
    gaps = problem.gaps(density.nodes)
    nearby = problem.gaps(np.nextafter(density.nodes, 0))
    moved = np.abs(density.multipliers @ (nearby - gaps)) @ p / 4
    sizes = np.abs(gaps) @ p + 2 * np.abs(problem.targets)
    return np.nan_to_num(moved) + EPSILON * (1 + abs(density.entropy) + slopes @ sizes)


def _values(features, x, strict=True, name="features[{}]"):
    """Return the values of features at an array x, shape (m, *x.shape).

    `strict` says whether a value that is not a number is an error; `name` is that of
    the features in errors.
    """
    values = np.empty((len(features), *x.shape))
    for j, feature in enumerate(features):
        called = name.format(j)
        try:
            value = feature(x)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{called} fails for an array x: {error}. It must take one, as "
                "np.sqrt does, and math.sqrt does not."
            ) from error
        value = real_array(called, value, finite=False)
        if value.shape not in ((), x.shape):
            raise ValueError(
                f"{called} maps shape {x.shape} to shape {value.shape}, but must "
                "keep it."
            )
        values[j] = value
        if strict and np.isnan(values[j]).any():
            where = x[np.isnan(values[j])][0]
            raise ValueError(f"{called} is not a number at x = {where:.9g}.")
    return values


def _check_interval(interval, breaks):
    """Return the ends and the breaks between them, in order."""
    interval = real_array("interval", interval, finite=False)
    if interval.shape != (2,) or not interval[0] < interval[1]:
        raise ValueError(
            f"interval is {interval.tolist()}, but must be (a, b), a below b."
        )
    a, b = interval.tolist()
    far = [end for end in (a, b) if math.isfinite(end) and abs(end) >= HUGE]
    if far or a == math.inf or b == -math.inf:
        raise ValueError(
            f"interval is {(a, b)}, but its ends must be below {HUGE:g}, or infinite."
        )
    if not np.iterable(breaks) or isinstance(breaks, (str, bytes)):
        raise ValueError(f"breaks is {breaks!r}, but must be a sequence of numbers.")
    if not isinstance(breaks, np.ndarray):
        breaks = list(breaks)
    breaks = np.sort(real_array("breaks", breaks, ("n",))).tolist()
    cuts = [a, *breaks, b]
    if not all(a < b for a, b in itertools.pairwise(cuts)):
        raise ValueError(
            f"breaks is {breaks}, but must be different numbers between {a} and {b}."
        )
    # Half-lines alone have a map; without a break, the whole line is cut at zero.
    return [a, 0.0, b] if cuts == [-math.inf, math.inf] else cuts
