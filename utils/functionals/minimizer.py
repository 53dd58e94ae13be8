"""The function on a grid at which a functional is least, under integral constraints.

Sources: Gelfand and Fomin (1963), Calculus of Variations, sections 12 and 24 to 29;
Nocedal and Wright (2006), Numerical Optimization, sections 3.4, 16.1 and 18.3.
"""

import dataclasses
import functools
import math

from utils import arguments

import numpy as np
from scipy.linalg import LinAlgError

from .bordered import BorderedSystem
from .functional import (
    EPSILON,
    Functional,
    check_grid,
    check_number,
    discretize,
    node_lengths,
    require,
    sample,
    to_nodes,
)

MAX_HALVINGS = 60
# On grids of fewer cells than this, the error is found on finer ones, not on coarser.
FEW_CELLS = 128
# There, Newton's steps end at this residual, or after so many.
STRICT, MAX_AGAIN = 1e-10, 40
# Values whose differences shrink by less, from grid to grid, have no limit.
SLOWEST = 1.05
# What rounding of y may do to the residual: beyond this, no digit would be left.
MOST_ROUNDING = 1e-3
# Squared sines between constraint gradients below this are rounding errors of zero.
DEPENDENT = 1e-13


@dataclasses.dataclass(frozen=True)
class Extremum:
    """A function at which a functional is stationary, on a grid.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
    value : float
        The discretized F[y].
    error : float
        How far `value` is, by estimate, from where it goes as the grid is refined: the
        same function is found on two grids more, finer ones below 128 cells, else
        coarser ones. Infinite if it is not found there, or if the values settle
        nowhere: then nothing is known. Large if the function jumps within one cell,
        where the scheme's own error draws it (a bead that falls from rest, by its
        depth y): no grid cures that, but another unknown does, as u = sqrt(y), or a
        start without the jump.
    multipliers : ndarray, shape (m,)
        The mu_j of F + sum_j mu_j (G_j - v_j): dF/dv_j = -mu_j.
    residual : float
        Of the discretized Euler-Lagrange equation: the largest sum at a node, over
        the largest sum of absolute values of the terms that cancel there.
    iterations : int
        Newton steps, those for the error not counted.
    kind : {"minimum", "maximum", "saddle", "degenerate"}
        From the signs of the second variation on the discretized directions that keep
        the constraints, to first order: "degenerate" if one is zero, to within the
        error of the discretization.
    path : ndarray, shape (iterations + 1, n), or None
        The function before the first step, and after each, if asked for.
    """

    x: np.ndarray
    y: np.ndarray
    value: float
    error: float
    multipliers: np.ndarray
    residual: float
    iterations: int
    kind: str
    path: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __str__(self):
        return (
            f"{self.kind} {self.value:.6g} ± {self.error:.0e} at {len(self.x):,} "
            f"points, residual {self.residual:.0e} after {self.iterations} Newton steps"
        )


def minimize(
    functional,
    boundary,
    *,
    constraints=(),
    n=201,
    grid=None,
    start=None,
    descend=True,
    rtol=1e-10,
    max_iter=200,
    keep_path=False,
):
    """Find a function at which a functional is least, under integral constraints.

    A minimum among the functions nearby, that is. Where constraints are given, the
    function makes F + sum_j mu_j (G_j - v_j) stationary: mind the plus sign.

    Parameters
    ----------
    functional : Functional
    boundary : tuple
        The values (y(a), y(b)); None leaves an end free (a natural boundary).
    constraints : sequence of (Functional, float)
        Functionals G_j on the same interval, and their values v_j.
    n : int
        Number of points, if `grid` is no array.
    grid : None, "graded" or array-like of shape (n,)
        None is uniform; "graded" has Chebyshev's points, dense at both ends, for
        solutions that are steep there; an array increases from a to b.
    start : SymPy expression in `x`, callable, or array-like of shape (n,), optional
        Where to start; the ends are set to `boundary`. Default: the straight line, or
        for free ends a constant, moved if L or the constraints make that necessary.
    descend : bool
        False follows plain Newton steps to a stationary point nearby, whatever its
        kind: a saddle, say.
    rtol : float
        Largest residual to accept, of the Euler-Lagrange equation (see `Extremum`) and
        of each constraint, relative to the integral of |L| or to v_j. Rounding of y
        is allowed for, up to a residual of 1e-3.
    max_iter : int
        Largest number of Newton steps.
    keep_path : bool
        Whether the result holds the function at every step.

    Returns
    -------
    Extremum

    Raises
    ------
    ValueError
        If an argument makes no sense, L is singular (its ∂²L/∂y'² is zero, though
        there is a y' in it), the start is outside the domain of L, or constraints
        repeat or contradict each other.
    RuntimeError
        If there is no convergence, in Newton's steps or from grid to grid: F may be
        unbounded below, its infimum be reached by no function (a soap film between
        rings too far apart), or the constraints be out of reach.

    Notes
    -----
    Newton's method. The Hessian is tridiagonal, and constraints border it, so that
    time and memory are linear in n. A positive matrix is added to it until it is
    positive on the constraints' null space, as a count of negative eigenvalues tells;
    then steps are halved until they stay in the domain of L, and until an augmented
    Lagrangian falls. The error is Richardson's, its order measured on three grids;
    it takes half as long again to twice as long as the solution.

    Examples
    --------
    >>> from utils.functionals import Functional, x, y
    >>> action = Functional(y(x).diff(x) ** 2 / 2 - y(x) ** 2 / 2, (0, 1))
    >>> found = minimize(action, (0, 1))
    >>> print(found.kind, found.y[100].round(4), np.round(np.sin(0.5) / np.sin(1), 4))
    minimum 0.5697 0.5697
    """
    functionals, targets = _check_constraints(functional, constraints)
    ends = _check_boundary(boundary)
    rtol = check_number("rtol", rtol, above=0)
    max_iter = arguments.integer("max_iter", max_iter)
    descend = arguments.boolean("descend", descend)
    keep_path = arguments.boolean("keep_path", keep_path)
    grid = _make_grid(functional.interval, n, grid)
    problem = _Problem(functionals, targets, grid, ends)
    with np.errstate(all="ignore"):  # outside its domain, L is not a number
        samples = _make_start(start, ends, problem)
        found, sizes = _newton(problem, samples, descend, rtol, max_iter, keep_path)
        error = _find_error(problem, found, sizes, descend, rtol)
        return dataclasses.replace(found, error=error)


def _make_grid(interval, n, grid):
    if grid is not None and not isinstance(grid, str):
        return check_grid(grid, interval)
    require(
        grid in (None, "graded"),
        f"grid is {grid!r}, but must be None, 'graded' or an array.",
    )
    shares = np.linspace(0, 1, arguments.integer("n", n, least=3))
    if grid == "graded":
        shares = np.sin(np.pi / 2 * shares) ** 2
    return interval[0] * (1 - shares) + interval[1] * shares


def _make_start(start, ends, problem):
    """Return the samples to start from, shape (n,)."""
    grid = problem.grid
    if start is None:
        samples = _find_start(ends, problem)
    else:
        samples = sample("start", start, grid)
        for i, end in zip((0, -1), ends, strict=True):
            samples[i] = samples[i] if end is None else end
    require(
        _Point(problem, samples).inside,
        "start is outside the domain of a Lagrangian, which is no number there, or has "
        "no derivative: give a start inside.",
    )
    return samples


def _find_start(ends, problem):
    """Return the straight line, or one with a bump that suits the constraints better.

    Heights of the bump, which ends at the fixed ends, are tried on a coarse grid.
    """
    (a, b), known = problem.grid[[0, -1]], [end for end in ends if end is not None]
    left, right = (known[0], known[-1]) if known else (0.0, 0.0)
    unit = max(b - a, abs(left), abs(right)) if known else 1 / (b - a)

    def bumped(grid, height):
        t = (grid - a) / (b - a)
        bump = (1 if ends[0] is None else 2 * t) * (1 if ends[1] is None else 2 - 2 * t)
        return left * (1 - t) + right * t + height * bump

    grid = np.linspace(a, b, 101)
    coarse = _Problem(problem.functionals, problem.targets, grid, ends)
    found = {}

    def attempt(heights):
        for height in heights:
            point = _Point(coarse, bumped(grid, height))
            if point.inside and not coarse.dependent(point.jacobian):
                missed = np.sum(np.abs(point.gaps) / point.gap_sizes)
                # Rounded, so that of mirror images the first is taken.
                found[height] = round(missed, 6), float(f"{point.value:.6g}")
                if not len(point.gaps):
                    break
        return min(found, key=found.get, default=0.0)

    # From the middle outwards: y may have another unit than x, or another origin.
    powers = sorted(range(-10, 11), key=abs)
    best = attempt([0.0, *(s * unit * 16.0**k for k in powers for s in (1, -1))])
    return bumped(problem.grid, best and attempt(best * 2.0 ** np.arange(-3, 4)))


def _check_boundary(boundary):
    try:
        left, right = (
            None if end is None else check_number("boundary", end) for end in boundary
        )
    except (TypeError, ValueError):
        raise ValueError(
            f"boundary is {boundary!r:.80}, but must be the pair (y(a), y(b)) of "
            "finite numbers, or None for a free end."
        ) from None
    return left, right


def _check_constraints(functional, constraints):
    """Return [F, G_1, ..., G_m] and the values of the G_j, shape (m,)."""
    require(
        isinstance(functional, Functional),
        f"functional is {functional!r:.80}, but must be a Functional.",
    )
    try:
        pairs = [(g, check_number("constraints", value)) for g, value in constraints]
    except (TypeError, ValueError):
        pairs = [(None, math.nan)]
    functionals = [functional, *(g for g, _ in pairs)]
    targets = np.array([value for _, value in pairs])
    require(
        all(isinstance(g, Functional) for g, _ in pairs),
        f"constraints are {constraints!r:.80}, but must be a sequence of pairs "
        "(Functional, finite value).",
    )
    require(
        all(f.interval == functional.interval for f in functionals),
        f"constraints must be on the functional's interval, {functional.interval}.",
    )
    require(
        any(f._bends_by_slope for f in functionals)
        or (functional.is_algebraic and any(f._bends_by_y for f in functionals)),
        f"functional has a singular Lagrangian, {functional.lagrangian}: ∂²L/∂y'² is "
        "zero, so that no function, or any, solves the Euler-Lagrange equation. "
        "Without a y', ∂²L/∂y² must not be zero.",
    )
    return functionals, targets


class _Problem:
    """F and the constraints on a grid, as functions of the values of y that are free.

    There are N of these. A _Problem also says how large a step η is, whose square is
    ∫ η'² + (η / T)² dx, T being b - a, so that long waves and short ones converge alike
    on any grid; or ∫ η² dx, if there is no y'.
    """

    def __init__(self, functionals, targets, grid, ends):
        self.functionals, self.targets = functionals, targets
        self.grid, self.ends = grid, ends
        self.free = slice(int(ends[0] is not None), len(grid) - (ends[1] is not None))
        # Divided by their units, constraints are alike, however they were written.
        self.units = np.ones(1 + len(targets))
        self.lengths = node_lengths(grid)[self.free]
        self.metric = self.lengths, np.zeros(len(self.lengths) - 1)
        if not all(functional.is_algebraic for functional in functionals):
            stiffness = 1 / np.diff(grid)
            diagonal = to_nodes(stiffness, stiffness)[self.free]
            self.metric = (
                diagonal + self.lengths / (grid[-1] - grid[0]) ** 2,
                -stiffness[self.free.start : self.free.stop - 1],
            )
        require(
            len(self.lengths) > len(targets),
            f"n is {len(grid)}, which leaves {len(self.lengths)} values free: more "
            f"points are needed for {len(targets)} constraints.",
        )

    def at_nodes(self, samples):
        """Return x, y and y' beside the free nodes, which must be in the domain too.

        Otherwise a zigzag could leave it whose midpoints are inside.
        """
        h = np.diff(self.grid)
        cells = np.minimum(np.arange(self.free.start, self.free.stop), len(h) - 1)
        slopes, middles = np.diff(samples) / h, self.grid[:-1] + h / 2
        return middles[cells], samples[self.free], slopes[cells]

    def values(self, found):
        """Return F + mu.(G - v) as discretized, along straight lines, and its size.

        That is stationary in y and mu together, so that it is right to second order
        where they are not quite.
        """
        h, rise = np.diff(found.x), np.diff(found.y)
        nodes, weights = np.polynomial.legendre.leggauss(5)
        nodes, weights = (1 + nodes) / 2, weights / 2
        # Crowded at the ends of a cell, where L may be infinite.
        shares, weights = nodes**2 * (3 - 2 * nodes), 6 * nodes * (1 - nodes) * weights
        scheme = lines = size = 0.0
        for functional, mu in zip(
            self.functionals, (1.0, *found.multipliers), strict=True
        ):
            value, terms = discretize(functional, found.y, found.x)[:2]
            scheme, size = scheme + mu * value, size + abs(mu) * terms
            for share, weight in zip(shares, weights, strict=True):
                places = found.x[:-1] + share * h, found.y[:-1] + share * rise
                density = functional._density(*places, rise / h)
                lines += mu * weight * np.sum(h * density)
        fixed = found.multipliers @ self.targets
        return scheme - fixed, lines - fixed, size

    def dependent(self, jacobian):
        """Tell whether gradients of constraints are dependent, or one is zero."""
        rows = jacobian / np.sqrt(self.lengths)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        units = np.where(norms > 0, norms, 1.0)
        rank = np.linalg.matrix_rank(rows / units, tol=math.sqrt(DEPENDENT))
        return rank < len(rows)


class _Point:
    """What is known at one function; in arrays, row 0 is for F, the others for G_j."""

    def __init__(self, problem, samples):
        self.samples, free = samples, problem.free
        forms = (discretize(f, samples, problem.grid) for f in problem.functionals)
        columns = [np.array(column) for column in zip(*forms, strict=True)]
        values, sizes, slopes, terms, diagonals, off_diagonals = (
            (column.T / problem.units).T for column in columns
        )
        # What rounding of the samples does to the values.
        self.noise = 4 * EPSILON * (sizes + terms @ np.abs(samples))
        targets = problem.targets / problem.units[1:]
        self.value, self.gaps = values[0], values[1:] - targets
        sizes = np.maximum(sizes[1:], np.abs(targets))
        self.gap_sizes = np.where(sizes > 0, sizes, 1.0)
        self.slopes, self.terms = slopes[:, free], terms[:, free]
        self.jacobian = self.slopes[1:]
        self.diagonals = diagonals[:, free]
        self.off_diagonals = off_diagonals[:, free.start : free.stop - 1]
        parts = values, self.slopes, self.diagonals, self.off_diagonals
        self.inside = all(np.isfinite(part).all() for part in parts) and all(
            np.isfinite(f._density(*problem.at_nodes(samples))).all()
            for f in problem.functionals
        )

    def merit(self, weights, penalty):
        """Return the augmented Lagrangian F + mu.c + penalty c.c / 2."""
        return self.value + (weights[1:] + penalty / 2 * self.gaps) @ self.gaps


def _newton(
    problem, samples, descend, rtol, max_iter, keep_path=False, sizes=(0.0, 0.0)
):
    """Follow Newton's steps in y and mu together; `weights` are 1 and mu.

    Beside the result, the largest terms that cancelled and the reach of y are returned;
    what is given as such is their least.
    """
    weights, point = _begin(problem, samples)
    path, shift, penalty = [samples], 0.0, 0.0
    for iteration in range(max_iter + 1):
        terms = np.max(np.abs(weights) @ point.terms)
        if iteration == 0:  # what later may vanish is small beside its beginning
            least, first = np.maximum(sizes, (terms, np.ptp(samples))), samples
        # The origin of y is arbitrary: y reaches as far as it varies, and has moved.
        moved = np.max(np.abs(point.samples - first))
        scale, reach = np.maximum(least, (terms, max(moved, np.ptp(point.samples))))
        slopes = weights @ point.slopes
        residual = float(np.max(np.abs(slopes)) / (scale or 1.0))
        hessian = weights @ point.diagonals, weights @ point.off_diagonals
        system = BorderedSystem(hessian, point.jacobian, problem.metric)
        try:
            shift = system.regularize(shift, descend)
            step, change = system.solve(slopes, point.gaps)
        except LinAlgError:
            break
        # Forces that balance to rounding may hide a wave as long as the interval: so
        # the next step must be small as well.
        rounding = system.rounding(point.samples[problem.free])
        allowed = rtol * scale + np.minimum(rounding, MOST_ROUNDING * scale)
        found = (
            np.all(np.abs(slopes) <= allowed)
            and np.all(np.abs(point.gaps) <= rtol * point.gap_sizes + point.noise[1:])
            and np.max(np.abs(step))
            <= 10 * rtol * reach + 64 * EPSILON * np.max(np.abs(point.samples))
        )
        if found:
            kind = system.kind()
            if not (descend and kind in ("maximum", "saddle")):
                extremum = Extremum(
                    x=problem.grid,
                    y=point.samples,
                    value=float(point.value),
                    error=math.inf,
                    multipliers=weights[1:] / problem.units[1:],
                    residual=residual,
                    iterations=iteration,
                    kind=kind,
                    path=np.array(path) if keep_path else None,
                )
                return extremum, (scale, reach)
            step, change = system.lowest(), 0.0 * change
            step *= 0.1 * (reach or np.ptp(problem.grid))
        if iteration == max_iter:
            break
        penalty = _penalize(system.curvature(step), change, point.gaps, penalty)
        ceiling = point.merit(weights, penalty) if descend else math.inf
        if not found:  # away from a saddle, the fall is of second order in the step
            ceiling += np.abs(weights) @ point.noise
        change = np.append(0.0, change)
        for part in 0.5 ** np.arange(MAX_HALVINGS):
            samples = point.samples.copy()
            samples[problem.free] += part * step
            trial, after = _Point(problem, samples), weights + part * change
            if trial.inside and trial.merit(after, penalty) <= ceiling:
                break
        else:
            break
        point, weights = trial, after
        if keep_path:
            path.append(samples)
    gap = np.max(np.abs(point.gaps) / point.gap_sizes, initial=0.0)
    raise RuntimeError(
        f"no convergence: after {iteration} iterations the residual is {residual:.1e}, "
        f"constraints are met to {gap:.1e}, and F is {point.value:.6g}. F may be "
        "unbounded below, or its infimum reached by no function; constraints may be "
        "out of reach; or the start is too far away. Look at F at a few functions, and "
        "give another start."
    )


def _begin(problem, samples):
    """Return 1 and the mu that leave the smallest gradient, and the first point."""
    point = _Point(problem, samples)
    require(
        not problem.dependent(point.jacobian),
        "constraints repeat or contradict each other, or the start is stationary for "
        "one of them: their gradients there are linearly dependent. Drop one, or give "
        "another start.",
    )
    root = np.sqrt(problem.lengths)
    problem.units[1:] = np.linalg.norm(point.jacobian / root, axis=1)
    point = _Point(problem, samples)
    multipliers = np.linalg.lstsq((point.jacobian / root).T, -point.slopes[0] / root)[0]
    return np.append(1.0, multipliers), point


def _penalize(curvature, change, gaps, penalty):
    """Return a penalty for which the step is downhill: the last, or a larger one.

    With H step + Jᵀ change = -slopes and J step = -gaps, the slope of the merit is
    2 change.gaps - step.H step - penalty gaps.gaps.
    """
    excess, square = 2 * change @ gaps - curvature + abs(curvature) / 2, gaps @ gaps
    enough = not square or excess <= penalty * square
    return penalty if enough else 2 * excess / square


def _find_error(problem, found, sizes, descend, rtol):
    """Return how far `value` is from its limit on ever finer grids, by three of them.

    The differences from grid to grid tell the order. They do not betray a jump within
    one cell, where the scheme has another limit than F: where one is, the scheme is
    compared with the integral along straight lines.
    """
    solve = functools.partial(
        _newton, descend=descend, rtol=STRICT, max_iter=MAX_AGAIN, sizes=sizes
    )
    finer, grids = len(found.x) <= FEW_CELLS, [found]
    try:
        if rtol > STRICT:
            grids = [solve(problem, found.y)[0]]
        for _ in range(2):
            grids.append(_solve_again(problem, grids[-1], finer, solve))
    except (RuntimeError, ValueError):
        return math.inf
    grids = grids if finer else grids[::-1]
    values, lines, totals = np.transpose([problem.values(f) for f in grids])
    first, second = np.abs(np.diff(values))
    if second > max(1.4 * first, np.min(totals)):
        raise RuntimeError(
            f"no limit: on three grids, each with twice the cells of the one before, "
            f"F is {values[0]:.6g}, {values[1]:.6g} and {values[2]:.6g}. It is "
            "unbounded below, or infinite at what was found, if only for a jump within "
            "one cell or for leaving the domain there. Give another start."
        )
    limit, doubt = _extrapolate(values, 4 * EPSILON * np.max(totals))
    error = abs(found.value - limit) + doubt
    jumps = [np.max(np.abs(np.diff(f.y))) for f in grids]
    if jumps[2] > 0.9 * jumps[0]:
        error = max(error, abs(lines[2] - values[2]))
    return float(error) if math.isfinite(error) else math.inf


def _solve_again(problem, found, finer, solve):
    """Return the same stationary point on a grid with twice or half the cells."""
    cells = len(found.x) - 1
    places = np.linspace(0, cells, 1 + (2 * cells if finer else (cells + 1) // 2))
    grid, start = (
        np.interp(places, np.arange(cells + 1), v) for v in (found.x, found.y)
    )
    same = _Problem(problem.functionals, problem.targets, grid, problem.ends)
    again, (_, reach) = solve(same, start)
    # A constant moves by rounding, which is small beside the way to it.
    near = 0.2 * np.ptp(found.y) + 1e-6 * reach
    nodes = np.s_[:: 1 + finer]  # a jump does not stay in the middle of its cell
    if np.max(np.abs(again.y - start)[nodes]) > near:
        raise RuntimeError("another stationary point")
    return again


def _extrapolate(values, rounding):
    """Return the limit of values on three grids, each twice as fine, and a doubt."""
    coarse, middle, fine = values
    first, second = middle - coarse, fine - middle
    spread = abs(first) + abs(second) + rounding
    if abs(second) <= 1000 * rounding or first * second < 0:
        return fine, spread
    ratio = first / second  # 2**order
    if ratio < SLOWEST:
        return fine, math.inf
    return fine + second / (min(ratio, 16.0) - 1), rounding
