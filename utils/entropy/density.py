"""The density of largest entropy on an interval: nodes, placed where its mass is.

Sources: those of `discrete`; Trefethen and Weideman (2014), The exponentially
convergent trapezoidal rule, section 14.
"""

import dataclasses
import itertools
import math
import typing
import warnings

from utils.arguments import called, real, real_array

import numpy as np
from scipy.special import expit

from .discrete import (
    EPSILON,
    HUGE,
    SINGULAR,
    InfeasibleError,
    check_targets,
    maximize,
    moments,
    too_close,
    unit_diagonal,
)

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


class NoMaximizerError(InfeasibleError):
    """Densities meet the targets, but none has the largest entropy."""


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
    targets = check_targets(targets, len(features))
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
        found = maximize(values, self.targets, np.log(weights), self.rtol, start)
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

    def doubt(self, density):
        """Return a matrix D, shape (m, m): |D (f(x) - t)| of the exponent is unknown.

        Multipliers are known to `rtol`, in units of the features' spread.
        """
        gaps = self.gaps(density.nodes)
        scale = np.abs(gaps).max(axis=1)
        scale[scale == 0] = 1.0
        second = moments(gaps / scale[:, None], density.probabilities)[2]
        scaled, root = unit_diagonal(second)
        values, vectors = np.linalg.eigh(scaled)
        values = np.maximum(values, SINGULAR)
        known = 10 * (self.rtol + 64 * EPSILON / math.sqrt(values.min(initial=1.0)))
        return known * (vectors / np.sqrt(values)).T / (root * scale)


def _values(features, x, strict=True, name="features[{}]"):
    """Return the values of features at an array x, shape (m, *x.shape).

    `strict` says whether a value that is not a number is an error; `name` is that of
    the features in errors.
    """
    values = np.empty((len(features), *x.shape))
    for j, feature in enumerate(features):
        label = name.format(j)
        value = real_array(label, called(label, feature, x), finite=False)
        if value.shape not in ((), x.shape):
            raise ValueError(
                f"{label} maps shape {x.shape} to shape {value.shape}, but must "
                "keep it."
            )
        values[j] = value
        if strict and np.isnan(values[j]).any():
            where = x[np.isnan(values[j])][0]
            raise ValueError(f"{label} is not a number at x = {where:.9g}.")
    return values


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
        logs = problem.log_masses(density, piece, np.array([u, u + inwards]))
        edge, inner = np.exp(np.minimum(logs, LARGEST))
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


def _cut_at(piece, places):
    """Cut a piece at places, each with a distance that its nodes are to resolve."""
    parts = [piece]
    for x, gap in sorted(places):
        # Between numbers that can be told apart.
        if parts[-1].a < x < parts[-1].b and gap > 16 * np.spacing(abs(x)):
            parts[-1:] = _cut(parts[-1], float(x), gap)
    return parts


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
        raise RuntimeError(too_close(combination))
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
