"""The calculus of variations against SymPy, finite differences and closed forms."""

import math
import tracemalloc

from utils.functionals import Functional, minimize, x, y

import numpy as np
import pytest
import sympy
from scipy.optimize import brentq
from sympy.calculus.euler import euler_equations

Y, P = y(x), y(x).diff(x)
UNIT = (0, 1)
LENGTH = Functional(sympy.sqrt(1 + P**2), UNIT)
WEIGHT = Functional(Y * sympy.sqrt(1 + P**2), UNIT)
ENERGY = Functional(P**2 / 2, UNIT)
LAGRANGIANS = [
    x**3 * sympy.exp(-Y),
    x**2 * Y**3 * P**4,
    sympy.sqrt(1 + P**2) / sympy.sqrt(Y),
    P**2 / 2 - sympy.cos(Y) + x * Y * P,
    Y * sympy.log(Y),
]


def action(end):
    """The harmonic oscillator's, until time `end`."""
    return Functional(P**2 / 2 - Y**2 / 2, (0, end))


def moments(interval, values):
    return [(Functional(x**k * Y, interval), v) for k, v in enumerate(values)]


def catenary(length):
    """The chain from (0, 1) to (1, 1), and its multiplier."""
    c = brentq(lambda c: 2 * c * math.sinh(0.5 / c) - length, 0.05, 9)
    mu = c * math.cosh(0.5 / c) - 1
    return (lambda t: c * np.cosh((t - 0.5) / c) - mu), mu


def chord(angle):
    """A rope over a chord from -1 to 1, and the largest area under it, negative."""
    r = 1 / math.sin(angle)
    rope = Functional(sympy.sqrt(1 + P**2), (-1, 1))
    area = r**2 * (angle - math.sin(2 * angle) / 2)
    return [(rope, 2 * r * angle)], -area


def cycloid():
    """The time from rest at (0, 0) to (1, 1), if 2 g = 1."""
    angle = brentq(lambda t: t - math.sin(t) - 1 + math.cos(t), 1, 6)
    return angle * math.sqrt(2 / (1 - math.cos(angle)))


def catenoid(between):
    """The neck of a film between rings at ±0.6, and its area over 2π."""
    c = brentq(lambda c: c * math.cosh(0.6 / c) - 1, *between)
    return c, c * (0.6 + c / 2 * math.sinh(1.2 / c))


def orders(errors):
    return np.log2(np.divide(errors[:-1], errors[1:]))


# --- in symbols -------------------------------------------------------------


@pytest.mark.parametrize("lagrangian", LAGRANGIANS, ids=str)
def test_the_derivative_is_sympys_own(lagrangian):
    expected = euler_equations(lagrangian, y(x), x)[0].lhs
    found = Functional(lagrangian, UNIT).derivative()
    assert sympy.simplify(found - expected.doit()) == 0


def test_solutions_are_stationary_and_others_are_not():
    assert LENGTH.euler_lagrange(3 * x - 1) == 0
    assert LENGTH.euler_lagrange(x**2) != 0
    assert WEIGHT.euler_lagrange(2 * sympy.cosh(x / 2 - 1)) == 0
    assert sympy.simplify(action(1).euler_lagrange(x**2) + 2 + x**2) == 0


def test_beltrami():
    expected = -Y / sympy.sqrt(1 + P**2)
    assert sympy.simplify(WEIGHT.beltrami() - expected) == 0
    with pytest.raises(ValueError, match="depends on x itself"):
        Functional(x * P**2, UNIT).beltrami()


def test_value_of_expressions_callables_and_samples():
    exact = math.sqrt(5) / 2 + math.asinh(2) / 4
    assert LENGTH.value(x**2) == pytest.approx(exact, rel=1e-10)
    parabola, slope = (lambda t: t**2), (lambda t: 2 * t)
    assert LENGTH.value(parabola, derivative=slope) == pytest.approx(exact, rel=1e-10)
    assert ENERGY.value(7) == 0
    assert Functional(Y**2, UNIT).value(np.exp) == pytest.approx((math.e**2 - 1) / 2)
    fall = Functional(sympy.sqrt((1 + P**2) / Y), UNIT)  # infinite at x = 0
    assert fall.value(x) == pytest.approx(math.sqrt(8), rel=1e-9)

    grids = [np.linspace(0, 1, n) for n in (41, 81, 161)]
    errors = [abs(LENGTH.value(g**2, g) - exact) for g in grids]
    np.testing.assert_allclose(orders(errors), 2, atol=0.05)


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (x**2, np.square),
        (np.square, np.square),
        (0.25, lambda t: 0.25 + 0 * t),
        (sympy.Rational(1, 4), lambda t: 0.25 + 0 * t),
    ],
)
def test_on_a_grid_a_function_is_its_samples(function, values):
    grid = np.linspace(0, 1, 11)
    samples = values(grid)
    assert LENGTH.value(function, grid) == LENGTH.value(samples, grid)
    found = minimize(LENGTH, (0, 1), n=11, start=function, keep_path=True)
    np.testing.assert_array_equal(found.path[0][1:-1], samples[1:-1])


@pytest.mark.parametrize("lagrangian", LAGRANGIANS, ids=str)
def test_directional_derivative(lagrangian):
    """Against a difference quotient, and against the integral of δF/δy η."""
    functional = Functional(lagrangian, UNIT)
    function, bump = 1 + x + x**2, x * (1 - x) * sympy.exp(x)
    change = functional.directional(function, bump)
    up, down = (functional.value(function + e * bump) for e in (1e-4, -1e-4))
    assert change == pytest.approx((up - down) / 2e-4, rel=1e-6)
    slope = functional.euler_lagrange(function)
    paired = Functional(slope * Y, UNIT).value(bump)
    assert change == pytest.approx(paired, rel=1e-9)
    # Where the ends move, they count.
    moved = ENERGY.directional(x**2, sympy.Integer(1) + x)
    assert moved == pytest.approx(1.0)


# --- on a grid --------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stretched", [False, True])
def test_the_gradient_is_the_derivative_to_second_order(seed, stretched):
    rng = np.random.default_rng(seed)
    powers = [(i, j, k) for i in range(3) for j in range(3) for k in range(1, 4)]
    lagrangian = sum(
        int(rng.integers(-5, 6)) * x**i * Y**j * P**k for i, j, k in powers
    )
    functional = Functional(lagrangian, UNIT)
    function = sympy.sin(3 * x) + x**2
    # Not euler_lagrange, which simplifies: slow for such as these.
    symbolic = functional.derivative().subs(y(x), function).doit()
    exact = sympy.lambdify(x, symbolic)
    errors = []
    for n in (201, 401, 801):
        t = np.linspace(0, 1, n)
        grid = (t + t**2) / 2 if stretched else t
        samples = np.sin(3 * grid) + grid**2
        error = functional.gradient(samples, grid) - exact(grid)
        errors.append(np.abs(error[1:-1]).max() / np.abs(exact(grid)).max())
    assert errors[-1] < 1e-3
    np.testing.assert_allclose(orders(errors), 2, atol=0.1)


@pytest.mark.parametrize("lagrangian", [*LAGRANGIANS, Y**2 * x], ids=str)
def test_gradient_and_hessian_are_those_of_the_discretized_value(lagrangian):
    functional = Functional(lagrangian, UNIT)
    grid = np.array([0, 0.1, 0.25, 0.5, 0.6, 1])
    samples = 2 + np.sin(5 * grid)
    lengths = np.convolve(np.diff(grid), [0.5, 0.5])
    step = 1e-5 * np.eye(len(grid))
    value = [
        (functional.value(samples + e, grid) - functional.value(samples - e, grid))
        / 2e-5
        for e in step
    ]
    gradient = functional.gradient(samples, grid)
    np.testing.assert_allclose(gradient * lengths, value, rtol=1e-6, atol=1e-8)
    dense = np.array(
        [
            (functional.gradient(samples + e, grid) * lengths)
            - functional.gradient(samples - e, grid) * lengths
            for e in step
        ]
    )
    diagonal, off_diagonal = functional.hessian(samples, grid)
    banded = np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)
    np.testing.assert_allclose(banded, dense / 2e-5, rtol=1e-6, atol=1e-6)


# --- known minimizers -------------------------------------------------------


@pytest.mark.parametrize("start", [None, lambda t: np.sin(9 * t)])
@pytest.mark.parametrize("grid", [None, "graded", [0, 0.1, 0.5, 0.7, 1]])
def test_the_shortest_path_is_straight(start, grid):
    path = minimize(LENGTH, (1, 3), start=start, grid=grid)
    np.testing.assert_allclose(path.y, 1 + 2 * path.x, rtol=1e-10)
    assert path.kind == "minimum"
    assert path.value == pytest.approx(math.sqrt(5), rel=1e-13)
    assert path.residual < 1e-10


def test_the_hanging_chain_is_a_catenary():
    shape, mu = catenary(1.5)
    chains = [
        minimize(WEIGHT, (1, 1), constraints=[(LENGTH, 1.5)], n=n)
        for n in (51, 101, 201)
    ]
    assert all(chain.kind == "minimum" for chain in chains)
    errors = [np.abs(chain.y - shape(chain.x)).max() for chain in chains]
    assert errors[-1] < 1e-5
    np.testing.assert_allclose(orders(errors), 2, atol=0.05)
    np.testing.assert_allclose(
        orders([abs(chain.multipliers[0] - mu) for chain in chains]),
        2,
        atol=0.05,
    )


def test_an_arch_is_the_highest_chain_and_is_left_if_one_may_descend():
    shape, _ = catenary(1.5)
    settings = {"constraints": [(LENGTH, 1.5)], "start": lambda t: 1 + 2 * t * (1 - t)}
    arch = minimize(WEIGHT, (1, 1), descend=False, **settings)
    assert arch.kind == "maximum"
    np.testing.assert_allclose(arch.y, 2 - shape(arch.x), atol=1e-5)
    chain = minimize(WEIGHT, (1, 1), **settings)
    assert chain.kind == "minimum"
    np.testing.assert_allclose(chain.y, shape(chain.x), atol=1e-5)


def test_the_brachistochrone_is_a_cycloid():
    """From rest a height of 0.05 above: x = r (θ - sin θ) - c, y = r (1 - cos θ)."""
    g, high, low = 9.81, 0.05, 1.0

    def angles(r):
        return math.acos(1 - high / r), math.acos(1 - low / r)

    def width(r):
        first, last = angles(r)
        return r * (last - math.sin(last) - first + math.sin(first)) - 0.8

    r = brentq(width, 0.5 * low + 1e-9, 50)
    first, last = angles(r)
    time = (last - first) * math.sqrt(r / g)
    fall = Functional(sympy.sqrt((1 + P**2) / (2 * g * Y)), (0, 0.8))
    coarse, fine = (
        minimize(fall, (high, low), n=n, grid="graded") for n in (1001, 2001)
    )
    assert fine.kind == "minimum"
    assert fine.value == pytest.approx(time, rel=1e-6)
    richardson = (4 * fine.value - coarse.value) / 3
    assert richardson == pytest.approx(time, rel=1e-8)
    theta = np.linspace(first, last, 9)
    across = r * (theta - np.sin(theta) - first + math.sin(first))
    depth = np.interp(across, fine.x, fine.y)
    np.testing.assert_allclose(depth, r * (1 - np.cos(theta)), atol=1e-5)


FALL = Functional(sympy.sqrt((1 + P**2) / Y), UNIT)
FILM = Functional(Y * sympy.sqrt(1 + P**2), (-0.6, 0.6))
NORM = [(Functional(Y**2, UNIT), 1)]
ROPE, AREA = chord(1.2)
NARROW, NARROW_AREA = catenoid((0.1, 0.5))


def long_chain():
    """The chain of length 12 from (0, 1) to (10, 1), and its least weight."""
    c = brentq(lambda c: 2 * c * math.sinh(5 / c) - 12, 1, 50)
    weight = c * (5 + c / 2 * math.sinh(10 / c)) + (1 - c * math.cosh(5 / c)) * 12
    weigh, measure = (Functional(f.lagrangian, (0, 10)) for f in (WEIGHT, LENGTH))
    return weigh, (1, 1), {"constraints": [(measure, 12)]}, weight


@pytest.mark.parametrize(
    ("functional", "boundary", "settings", "exact"),
    [
        long_chain(),
        (Functional(-Y, (-1, 1)), (0, 0), {"constraints": ROPE}, AREA),
        (FILM, (1, 1), {}, catenoid((0.6, 1))[1]),
        (Functional(P**2, UNIT), (0, 0), {"constraints": NORM}, math.pi**2),
        (FALL, (0, 1), {}, cycloid()),  # with a jump, in the first cell
        (
            Functional(sympy.sqrt(1 / Y**2 + 4 * P**2), UNIT),
            (0, 1),
            {"start": lambda t: t**0.4},
            cycloid(),
        ),
        (Functional(P**2 / Y, UNIT), (0, 1), {"start": x**2}, 4),
        (Functional(x * P**2, UNIT), (1, None), {}, 0),
        (Functional(P**2 / 2 - Y, UNIT), (1, None), {}, -7 / 6),
        (
            Functional(Y**2 / 2 - sympy.exp(x) * Y, UNIT),
            (None, None),
            {},
            (1 - math.e**2) / 4,
        ),
        # Saddles.
        (
            Functional(P**2, UNIT),
            (0, 0),
            {
                "constraints": NORM,
                "descend": False,
                "start": lambda t: np.sin(2 * np.pi * t),
            },
            4 * math.pi**2,
        ),
        (action(5), (0, math.sin(5)), {"descend": False}, math.sin(10) / 4),
        (
            FILM,
            (1, 1),
            {"descend": False, "start": lambda t: NARROW * np.cosh(t / NARROW)},
            NARROW_AREA,
        ),
        # Exact on any grid.
        (LENGTH, (1, 3), {}, math.sqrt(5)),
    ],
    ids=lambda value: getattr(value, "lagrangian", None),
)
def test_the_error_covers_the_truth(functional, boundary, settings, exact):
    rng = np.random.default_rng(1)
    a, b = functional.interval
    cells = 0.5 + rng.random(21)
    nodes = a + (b - a) * np.append(0.0, np.cumsum(cells)) / cells.sum()
    nodes[-1] = b
    grids = [{"n": n} for n in (21, 101, 200, 501)]
    grids += [{"n": 101, "grid": "graded"}, {"grid": nodes}]
    for grid in grids:
        found = minimize(functional, boundary, **grid, **settings)
        truth, rounding = abs(found.value - exact), 1e-14 * abs(exact)
        assert truth / 3 - rounding <= found.error <= 3 * truth + rounding


@pytest.mark.parametrize("n", [41, 301])  # compared with finer grids, with coarser
def test_where_the_solution_is_smooth_the_error_is_the_truth(n):
    weigh, ends, settings, exact = long_chain()
    chain = minimize(weigh, ends, n=n, **settings)
    assert chain.error == pytest.approx(abs(chain.value - exact), rel=0.02)


def test_the_error_is_infinite_where_finer_grids_have_no_such_solution():
    """The zigzags of Bolza's problem are those of one grid."""
    zigzag = minimize(Functional((P**2 - 1) ** 2 + Y**2, UNIT), (0, 0), n=129)
    assert zigzag.kind == "minimum"
    assert zigzag.error == math.inf
    assert "± inf" in str(zigzag)


def test_a_jump_that_the_scheme_cannot_see_is_told_by_the_error():
    """Within one cell, the midpoint rule falls faster than Galileo."""
    jump = minimize(FALL, (0.001, 1))
    assert np.diff(jump.y)[0] > 0.1
    assert jump.error > 0.1 * jump.value


@pytest.mark.parametrize(
    ("lagrangian", "boundary", "constraints"),
    [
        (P**2 / Y, (0, 1), []),
        (P**2 * Y, (-1, 1), []),
        (-(P**2), (0, 0), []),
        (P**2 - 10 * Y**2, (0, 1), []),
        (-sympy.sqrt(1 + P**2), (0, 1), []),
        (sympy.exp(Y), (None, None), []),
        (P**2, (0, 0), [(NORM[0][0], -1)]),
        (WEIGHT.lagrangian, (1, 1), [(LENGTH, 0.5)]),
    ],
    ids=str,
)
def test_what_has_no_minimum_is_not_returned(lagrangian, boundary, constraints):
    functional = Functional(lagrangian, UNIT)
    settings = {"constraints": constraints, "n": 21, "max_iter": 60}
    with pytest.raises(RuntimeError, match=r"no convergence|no limit"):
        minimize(functional, boundary, **settings)


def test_dido_gets_an_arc_of_a_circle():
    """The largest area under a rope of length 2 r φ over a chord of 2 r sin φ."""
    angle = 1.2
    r = 1 / math.sin(angle)
    field = minimize(
        Functional(-Y, (-1, 1)),
        (0, 0),
        constraints=ROPE,
        n=2001,
        grid="graded",
    )
    assert field.kind == "minimum"
    np.testing.assert_allclose(
        field.y, np.sqrt(r**2 - field.x**2) - r * math.cos(angle), atol=1e-5
    )
    assert field.multipliers[0] == pytest.approx(r, rel=1e-5)
    assert field.value == pytest.approx(AREA, rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_maximum_entropy(sign):
    """The uniform density, and the normal one; of -y log y they are maxima."""
    interval, mean, variance = (-9, 9), 0.5, 1.44
    entropy = Functional(sign * Y * sympy.log(Y), interval)
    settings = {"descend": sign > 0, "n": 181}
    kind = "minimum" if sign > 0 else "maximum"
    free = (None, None)
    uniform = minimize(
        entropy, free, constraints=moments(interval, [1]), start=0.3, **settings
    )
    np.testing.assert_allclose(uniform.y, 1 / 18, rtol=1e-12)
    assert uniform.kind == kind
    assert uniform.multipliers[0] == pytest.approx(sign * (math.log(18) - 1))
    targets = [1, mean, variance + mean**2]
    normal = minimize(entropy, free, constraints=moments(interval, targets), **settings)
    density = np.exp(-((normal.x - mean) ** 2) / (2 * variance))
    density /= math.sqrt(2 * math.pi * variance)
    np.testing.assert_allclose(normal.y, density, atol=1e-9)
    assert normal.kind == kind
    assert sign * normal.multipliers[2] == pytest.approx(1 / (2 * variance), rel=1e-7)
    nats = 0.5 * math.log(2 * math.pi * math.e * variance)
    assert -sign * normal.value == pytest.approx(nats, rel=1e-9)


def test_a_soap_film_holds_or_collapses():
    """Between rings of radius 1 it is a catenoid up to a distance of 1.3255."""
    c, _ = catenoid((0.6, 1))
    found = minimize(FILM, (1, 1))
    np.testing.assert_allclose(found.y, c * np.cosh(found.x / c), atol=1e-5)
    assert found.kind == "minimum"
    # The other catenoid is stationary too, but no minimum.
    other = minimize(
        FILM,
        (1, 1),
        start=lambda t: NARROW * np.cosh(t / NARROW) + 0.1 * (0.36 - t**2),
        descend=False,
        n=801,
    )
    np.testing.assert_allclose(other.y, NARROW * np.cosh(other.x / NARROW), atol=1e-4)
    assert other.kind == "saddle"
    far = Functional(FILM.lagrangian, (-0.7, 0.7))
    with pytest.raises(RuntimeError, match="unbounded below"):
        minimize(far, (1, 1))


@pytest.mark.parametrize(
    ("end", "kind"),
    [(3.0, "minimum"), (math.pi, "degenerate"), (3.3, "saddle"), (7.0, "saddle")],
)
def test_the_harmonic_action_is_least_up_to_the_conjugate_point(end, kind):
    rest = minimize(action(end), (0, 0), descend=False)
    assert rest.kind == kind
    np.testing.assert_array_equal(rest.y, 0)
    if kind == "saddle":
        with pytest.raises(RuntimeError, match="unbounded below"):
            minimize(action(end), (0, 0))


def test_newton_passes_the_conjugate_point():
    ends = (0, math.sin(5.0))
    errors = []
    for n in (101, 201, 401):
        swing = minimize(action(5.0), ends, n=n, descend=False)
        assert (swing.kind, swing.iterations) == ("saddle", 1)
        errors.append(np.abs(swing.y - np.sin(swing.x)).max())
    np.testing.assert_allclose(orders(errors), 2, atol=0.05)


def test_the_first_mode_is_least_and_the_second_a_saddle():
    """Energy at unit norm: sqrt(2) sin(kπx), of which -2 mu = (kπ)²."""
    norm = [(Functional(Y**2, UNIT), 1)]
    first = minimize(ENERGY, (0, 0), constraints=norm)
    assert first.kind == "minimum"
    assert first.multipliers[0] == pytest.approx(-(math.pi**2) / 2, rel=1e-4)
    start = {"start": lambda t: np.sin(2 * np.pi * t)}
    second = minimize(ENERGY, (0, 0), constraints=norm, descend=False, **start)
    assert second.kind == "saddle"
    assert second.multipliers[0] == pytest.approx(-2 * math.pi**2, rel=1e-3)
    left = minimize(ENERGY, (0, 0), constraints=norm, **start)
    assert left.kind == "minimum"
    assert left.value == pytest.approx(first.value, rel=1e-10)


def test_free_ends():
    tilted = Functional(P**2 / 2 - Y, UNIT)  # y'' = -1, and y' = 0 at a free end
    for boundary, exact in [
        ((1, None), lambda t: 1 + t - t**2 / 2),
        ((None, 1), lambda t: 1 + (1 - t**2) / 2),
    ]:
        found = minimize(tilted, boundary)
        np.testing.assert_allclose(found.y, exact(found.x), rtol=1e-10)
    assert minimize(ENERGY, (None, None)).kind == "degenerate"
    # H alone is singular here; the constraint settles the constant.
    level = minimize(
        Functional(P**2 / 2 + x * P, UNIT),
        (None, None),
        constraints=moments(UNIT, [2]),
    )
    assert level.kind == "minimum"
    exact = 2 + 1 / 6 - level.x**2 / 2
    np.testing.assert_allclose(level.y, exact, atol=1e-4)


def test_multipliers_are_sensitivities():
    """dF/dv = -mu, for the chain's length and for the moments of a density."""
    interval, step = (-6, 6), 1e-4
    entropy = Functional(Y * sympy.log(Y), interval)

    def density(targets):
        constraints = moments(interval, targets)
        return minimize(entropy, (None, None), constraints=constraints, n=101)

    def chain(targets):
        return minimize(WEIGHT, (1, 1), constraints=[(LENGTH, targets[0])])

    for solve, targets in ((chain, [1.5]), (density, [1, 0.5, 1.5])):
        slopes = []
        for change in step * np.eye(len(targets)):
            up, down = solve(targets + change), solve(targets - change)
            slopes.append((up.value - down.value) / (2 * step))
        mu = solve(targets).multipliers
        np.testing.assert_allclose(slopes, -mu, rtol=1e-5)


def catenary_in(width, height, weight, origin):
    """The chain in units of x, y and F, and with another origin of y."""
    up, slope = (Y - origin) / height, P * width / height
    arc = sympy.sqrt(1 + slope**2) / width
    ends = (origin + height,) * 2
    constraints = [(Functional(arc, (0, width)), 1.5)]
    return Functional(weight * up * arc, (0, width)), ends, constraints


def first_mode_in(width, height, weight, origin):
    norm = Functional(((Y - origin) / height) ** 2 / width, (0, width))
    energy = Functional(weight * (P * width / height) ** 2 / width, (0, width))
    return energy, (origin, origin), [(norm, 1)]


@pytest.mark.parametrize("problem", [catenary_in, first_mode_in])
@pytest.mark.parametrize(
    "units",
    [
        (1e-6, 1, 1, 0),
        (1e6, 1, 1, 0),
        (1, 1e-6, 1, 0),
        (1, 1e6, 1, 0),
        (1e6, 1e-6, 1, 0),
        (1e-6, 1e6, 1, 0),
        (1e6, 1e6, 1e-9, 0),
        (1e-6, 1e-6, 1e9, 0),
        (1, 1, 1, 1e6),
        (1, 1e-3, 1, -1e3),
    ],
)
def test_units_and_the_origin_do_not_matter(problem, units):
    _, height, weight, origin = units
    found, plain = (
        minimize(functional, ends, constraints=constraints, n=51)
        for functional, ends, constraints in (problem(*units), problem(1, 1, 1, 0))
    )
    assert (found.kind, found.iterations) == (plain.kind, plain.iterations)
    # Next to an origin 1e6 away, y is rounded to 1e-10 of its range.
    np.testing.assert_allclose((found.y - origin) / height, plain.y, atol=1e-9)
    for name in ("value", "error", "multipliers"):
        there, here = getattr(found, name), getattr(plain, name)
        np.testing.assert_allclose(there / weight, here, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_units_of_constraints_do_not_matter(unit):
    shape, mu = catenary(1.5)
    length = Functional(LENGTH.lagrangian / unit, UNIT)
    settings = {"start": lambda t: 1 + 3 * t * (1 - t)}
    chain = minimize(WEIGHT, (1, 1), constraints=[(length, 1.5 / unit)], **settings)
    np.testing.assert_allclose(chain.y, shape(chain.x), atol=1e-5)
    assert chain.multipliers[0] == pytest.approx(mu * unit, rel=1e-4)
    assert chain.iterations < 30


def test_the_path_goes_from_start_to_end():
    found = minimize(LENGTH, (0, 2), start=lambda t: 2 * t**2, keep_path=True)
    assert found.path.shape == (found.iterations + 1, 201)
    np.testing.assert_array_equal(found.path[0], 2 * found.x**2)
    np.testing.assert_array_equal(found.path[-1], found.y)
    lengths = [LENGTH.value(samples, found.x) for samples in found.path]
    assert np.all(np.diff(lengths) < 1e-12)
    assert minimize(LENGTH, (0, 2)).path is None


def test_a_long_wave_does_not_hide_behind_rounding():
    """Its forces on the nodes are 1e-10 of the terms that cancel there."""
    start = {"start": lambda t: t + 1e-6 * np.sin(np.pi * t)}
    found = minimize(ENERGY, (0, 1), n=100_001, **start)
    np.testing.assert_allclose(found.y, found.x, atol=1e-11)


def test_rounding_on_a_fine_grid_is_allowed_for():
    coarse, fine = (
        minimize(FALL, (0.1, 1), n=n, grid="graded") for n in (4_001, 100_001)
    )
    assert fine.iterations < 12
    assert fine.value == pytest.approx(coarse.value, rel=1e-6)


def test_nodes_stay_in_the_domain_not_midpoints_alone():
    functional = Functional(P**2 / 1000 - sympy.log(Y) + 30 * x * Y, UNIT)
    zigzag = 1 + 1.5 * np.cos(np.pi * np.arange(201))
    with pytest.raises(ValueError, match="outside the domain"):
        minimize(functional, (1, 1), start=zigzag)
    found = minimize(functional, (0.01, 0.01), keep_path=True)
    assert found.iterations > 3
    assert found.path.min() >= 0.01 - 1e-9


def test_time_and_memory_are_linear():
    n = 100_000
    tracemalloc.start()
    chain = minimize(WEIGHT, (1, 1), constraints=[(LENGTH, 1.5)], n=n)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    shape, _ = catenary(1.5)
    np.testing.assert_allclose(chain.y, shape(chain.x), atol=1e-9)
    assert chain.iterations < 12
    assert peak < 80 * 8 * n


# --- bad input --------------------------------------------------------------


@pytest.mark.parametrize(
    ("lagrangian", "interval", "message"),
    [
        (P**2 * sympy.Symbol("mass"), UNIT, "has mass in it"),
        (P**2 + sympy.Symbol("x"), UNIT, "of utils.functionals, .* imported"),
        (None, UNIT, "lagrangian is None, but must be a SymPy"),
        (np.sin, UNIT, "lagrangian is .*, but must be a SymPy"),
        (P**2 * sympy.Function("z")(x), UNIT, r"has z\(x\) in it"),
        (y(0) * P**2, UNIT, r"has y\(0\) in it"),
        (P * P.diff(x), UNIT, "higher derivative"),
        (sympy.Abs(P), UNIT, "has a kink"),
        (sympy.Eq(P, 1), UNIT, "must be a SymPy expression"),
        ("x**2", UNIT, "lagrangian is 'x.*must be a SymPy expression"),
        (sympy.I * P**2, UNIT, "lagrangian is .* has I in it"),
        (P**2 * sympy.cbrt(-1), UNIT, r"has \(-1\)\*\*\(1/3\) in it"),
        (P**2 * 1j, UNIT, "has I in it"),
        (P**2 + sympy.oo, UNIT, "has oo in it"),
        (math.nan, UNIT, "has nan in it"),
        (sympy.Matrix([P**2]), UNIT, "no matrix"),
        (np.ma.array([1.0], mask=[True]), UNIT, "lagrangian is a masked array"),
        (P**2 + sympy.expint(1, Y), UNIT, r"lagrangian has expint\(1, y\(x\)\) in it"),
        (P**2 + sympy.LambertW(Y), UNIT, r"has LambertW\(y\(x\)\) in it"),
        (P**2 + sympy.zeta(Y), UNIT, r"has .*zeta\(y\(x\)\)"),
        (sympy.Integral(sympy.exp(-(x**4) * Y), (x, 0, Y)), UNIT, "has Integral"),
        (P**2, "01", "interval is '01'"),
        (P**2, (0, 1j), "interval is"),
        (P**2, (1, 1), "must be two finite numbers"),
        (P**2, (0, math.inf), "must be two finite numbers"),
        (P**2, 3, "must be two finite numbers"),
        (P**2, (0, 1, 2), "must be two finite numbers"),
    ],
)
def test_bad_functionals(lagrangian, interval, message):
    with pytest.raises(ValueError, match=message):
        Functional(lagrangian, interval)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LENGTH.value(np.sin), "derivative is missing"),
        (lambda: LENGTH.value(np.sin, derivative=3), "derivative is .* no callable"),
        (lambda: LENGTH.value(np.sin, derivative=lambda t: 1j), "derivative is 1j"),
        (
            lambda: LENGTH.value(lambda t: [t], derivative=np.cos),
            "function is .np.float64",
        ),
        (lambda: LENGTH.value(sympy.LambertW(x)), r"function has LambertW\(x\)"),
        (lambda: LENGTH.value(sympy.I * x), "function is I.x, which has I"),
        (lambda: LENGTH.euler_lagrange("x"), "expression is 'x'"),
        (lambda: LENGTH.directional(x, 1j), "direction is 1j"),
        (lambda: LENGTH.gradient([0, 1j, 2], [0, 0.5, 1]), "samples must be real"),
        (lambda: LENGTH.gradient([0, 1, 2], [0, 0.5j, 1]), "grid must be real"),
        (
            lambda: LENGTH.value(np.ma.array([0, 1, 2], mask=[0, 1, 0]), [0, 0.5, 1]),
            "function is a masked array",
        ),
        (lambda: LENGTH.value(np.ones(3)), "samples need their grid"),
        (lambda: LENGTH.value(sympy.Symbol("t")), "expression in the x"),
        (lambda: LENGTH.directional(x, Y), "direction is"),
        (lambda: Functional(sympy.log(Y), UNIT).value(-x), "leaves the domain"),
        (lambda: LENGTH.euler_lagrange(np.sin), "expression is .* in the x"),
        (lambda: LENGTH.value([1, 2], [0, 0.5, 1]), "one value at each"),
        (lambda: LENGTH.value(Y, [0, 0.5, 1]), "function is y.* in the x"),
        (lambda: LENGTH.value(math.sin, [0, 0.5, 1]), "function has no .* np.sin"),
        (lambda: LENGTH.value([1, math.nan, 2], [0, 0.5, 1]), "function holds nan"),
        (lambda: LENGTH.gradient([1, math.nan, 2], [0, 0.5, 1]), "samples holds nan"),
        (lambda: LENGTH.hessian([1, math.inf, 2], [0, 0.5, 1]), "samples holds inf"),
        (lambda: LENGTH.gradient([1, 2], [0, 1]), "3 points or more"),
        (lambda: LENGTH.gradient([1, 2, 3], [0, 0, 1]), "must increase"),
        (lambda: LENGTH.gradient([1, 2, 3], [0, 0.5, 2]), "spans 0 to 2"),
        (lambda: LENGTH.gradient([1, 2, 3], [0, math.nan, 1]), "grid holds nan"),
    ],
)
def test_bad_functions(call, message):
    with pytest.raises(ValueError, match=message):
        call()


ONE, TWO = moments(UNIT, [1])[0], moments(UNIT, [2])[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boundary": 3}, "boundary is 3"),
        ({"boundary": (0, 1, 2)}, "must be the pair"),
        ({"boundary": (0, math.nan)}, "finite"),
        ({"boundary": (0, "b")}, "boundary is"),
        ({"boundary": (0, 1j)}, "boundary is"),
        ({"boundary": (0, sympy.I)}, "boundary is"),
        ({"boundary": "01"}, "boundary is '01'"),
        ({"n": 2}, "n is 2"),
        ({"n": 10.0}, "n is 10.0"),
        ({"n": 3, "constraints": [ONE]}, "more points"),
        ({"grid": "fine"}, "grid is 'fine'"),
        ({"grid": [0, 1]}, "3 points or more"),
        ({"grid": [0, 0.6, 0.5, 1]}, "must increase"),
        ({"grid": [0, 0.5, 0.9]}, "spans 0 to 0.9"),
        ({"start": np.ones(7)}, "start has shape .* of the 201 points"),
        ({"start": lambda t: t + math.inf}, "start holds inf"),
        ({"start": "line"}, "start must be real"),
        ({"start": lambda t: 1j * t}, "start must be real"),
        ({"start": sympy.I * x}, "start is I.x, which has I in it"),
        ({"start": np.ma.array(np.ones(201), mask=True)}, "start is a masked"),
        ({"grid": np.ma.array([0, 0.5, 1], mask=[0, 1, 0])}, "grid is a masked"),
        ({"rtol": 1j}, "rtol is 1j"),
        ({"rtol": math.nan}, "rtol is nan"),
        ({"descend": "no"}, "descend is 'no'"),
        ({"constraints": [(ENERGY, 1j)]}, "sequence of pairs"),
        ({"rtol": 0.0}, "rtol is 0.0"),
        ({"rtol": "a"}, "rtol is 'a'"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"max_iter": 2.5}, "max_iter is 2.5"),
        ({"constraints": ONE}, "sequence of pairs"),
        ({"constraints": [(ENERGY, math.inf)]}, "sequence of pairs"),
        ({"constraints": [(P**2, 1)]}, "sequence of pairs"),
        ({"constraints": [(action(2), 1)]}, "functional's interval"),
        ({"constraints": [ONE, TWO]}, "repeat or contradict"),
        ({"functional": P**2}, "functional is .* must be a Functional"),
        ({"functional": Functional(x * P + Y**2, UNIT)}, "singular Lagrangian"),
        ({"functional": Functional(x * Y, UNIT)}, "singular Lagrangian"),
        (
            {"functional": Functional(sympy.sqrt(Y) + P**2, UNIT), "start": -1.0},
            "outside the domain",
        ),
        (
            {"functional": Functional(sympy.log(Y), UNIT), "boundary": (0, 1)},
            "outside the domain",
        ),
    ],
)
def test_bad_problems(arguments, message):
    with pytest.raises(ValueError, match=message):
        minimize(**{"functional": ENERGY, "boundary": (0, 1), **arguments})


def test_numbers_of_numpy_and_sympy_count_and_an_extremum_has_one_line():
    length = Functional(LENGTH.lagrangian, (np.int8(0), sympy.pi))
    settings = {"n": np.int64(11), "max_iter": np.int64(9), "rtol": np.float32(1e-9)}
    found = minimize(length, (sympy.pi, 2 * sympy.pi), **settings)
    assert str(found).startswith("minimum 4.44288 ± ")  # π √2
    assert "at 11 points" in str(found) and "\n" not in str(found)


@pytest.mark.parametrize(
    ("lagrangian", "lowest"),
    [
        (Y**2 + sympy.erf(Y), -0.4575991),
        (sympy.gamma(Y), 1.4616321),
        (sympy.besselj(0, Y), 3.8317060),
    ],
    ids=str,
)
def test_functions_that_scipy_has_can_be_minimized(lagrangian, lowest):
    functional = Functional(P**2 + lagrangian, UNIT)
    found = minimize(functional, (None, None), start=lowest + 0.2 * x, n=11)
    np.testing.assert_allclose(found.y, lowest, atol=1e-7)


@pytest.mark.filterwarnings("error")
def test_an_integral_that_is_zero_needs_no_relative_accuracy():
    assert abs(Functional(Y, (0, 2 * sympy.pi)).value(sympy.sin(x))) < 1e-12


def test_no_convergence_is_reported():
    with pytest.raises(RuntimeError, match="after 2 iterations the residual is"):
        minimize(LENGTH, (0, 1), start=lambda t: np.sin(9 * t), max_iter=2)
    with pytest.raises(RuntimeError, match="out of reach"):
        minimize(LENGTH, (0, 1), constraints=[(LENGTH, 1.2)])
    with pytest.raises(RuntimeError, match="constraints are met to"):
        minimize(WEIGHT, (1, 1), constraints=[(LENGTH, 0.5)])
