"""The distribution of largest entropy on a finite set of points.

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
import math

from utils.arguments import integer, real, real_array, rng

import numpy as np
from scipy.optimize import linprog
from scipy.special import logsumexp, softmax

EPSILON = np.finfo(float).eps
HUGE = 1e300
MAX_STEPS = 500
# Eigenvalues of a correlation matrix below this are rounding errors of zero.
SINGULAR = 1e-14
# Cosines of angles to a plane that linear programming cannot tell from zero.
ON_FACE = 1e-9
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
    return maximize(features.T, targets, log_base, rtol)


def maximize(values, targets, log_base, rtol, start=None):
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
    m, path = len(gaps), []
    rounding = EPSILON * np.abs(targets) / scale
    basis = _independent(gaps, rounding)
    dual, probabilities, top = _tilt(multipliers, gaps, log_base)
    for _ in range(MAX_STEPS):
        path.append(multipliers / scale)
        mean, distance, second = moments(gaps, probabilities)
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
        near = met and decrement <= rtol + floor
        # For a target on the boundary, gaps vanish while multipliers run away: each
        # step divides the probabilities off the face by e. At a solution, it rests.
        if near and np.abs(step @ gaps)[probabilities > 0].max() < 0.01:
            return MaxEntropy(
                probabilities=probabilities,
                multipliers=path[-1],
                log_partition=float(dual + path[-1] @ targets),
                entropy=float(dual - multipliers @ mean),
                residual=_residual(mean, distance),
                path=np.array(path),
            )
        # Exponents are sums of terms that may be large and cancel: near the minimum,
        # rounding hides the fall.
        noise = 64 * EPSILON * (1 + abs(dual) + np.abs(multipliers) @ distance)
        point = _backtrack(multipliers, step, dual + noise, mean @ step, gaps, log_base)
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


def _backtrack(multipliers, step, ceiling, slope, gaps, log_base):
    """Halve the step until the dual has fallen enough.

    That is from `ceiling` by a quarter of what its slope promises.

    Returns the new multipliers and what `_tilt` has there, or None if there is no such
    step.
    """
    for fraction in 0.5 ** np.arange(60):
        trial = multipliers + fraction * step
        value, *rest = _tilt(trial, gaps, log_base)
        if value <= ceiling + 0.25 * fraction * slope:
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


def moments(gaps, probabilities):
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
    scaled, root = unit_diagonal(moments(gaps, np.full(n, 1 / n))[2])
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
    scaled, root = unit_diagonal(second)
    mean = mean / root
    values, vectors = np.linalg.eigh(scaled - np.outer(mean, mean))
    step = -(vectors @ (vectors.T @ mean / np.maximum(values, SINGULAR))) / root
    return basis @ step, values.min(initial=1.0)


def unit_diagonal(second):
    """Return a matrix in units that make its diagonal 1, and these units."""
    root = np.sqrt(np.diag(second))
    root = np.where(root > 0, root, 1.0)
    return second / np.outer(root, root), root


def _residual(mean, distance):
    return float(np.max(np.abs(mean) / np.where(distance > 0, distance, 1), initial=0))


def _on_face(feature, target, log_base, upper):
    """Return the limit of an infinite multiplier: q on the points at the target."""
    log_face = np.where(feature == target, log_base, -np.inf)
    log_mass = float(logsumexp(log_face))
    multiplier = math.inf if upper else -math.inf
    return MaxEntropy(
        probabilities=softmax(log_face),
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
        raise RuntimeError(too_close(combination / scale))
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


def too_close(combination):
    """Return the message that rounding hides what a combination of features says."""
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
    targets = check_targets(targets, m)
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


def check_targets(targets, m):
    """Return targets as an array, shape (m,)."""
    targets = _finite("targets", targets)
    if targets.ndim == 0 and m == 1:
        targets = targets[None]
    if targets.shape != (m,):
        raise ValueError(
            f"targets has shape {targets.shape}, but must be ({m},): one for each "
            "feature."
        )
    return targets
