"""Maximum entropy against closed forms, other solvers and its own optimality."""

import math
import tracemalloc

from utils.entropy import (
    InfeasibleError,
    NoMaximizerError,
    discrete,
    max_entropy,
    max_entropy_density,
)

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

FACES = np.arange(1, 7)
SQUARE = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
SHEAR = np.array([[1, 1], [1, -0.7]])  # leaves no face along an axis
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture
def problem():
    """Two correlated features with a prior, and targets inside the hull."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 2)) @ [[1, 0.4], [0, 2]]
    prior = rng.dirichlet(np.ones(40))
    return features, rng.dirichlet(np.ones(40)) @ features, prior


def tilted(features, multipliers, base_measure=1.0):
    """The exponential family, by SciPy's log-sum-exp: p and log Z."""
    exponents = np.asarray(features) @ multipliers
    log_partition = special.logsumexp(exponents, b=base_measure)
    return base_measure * np.exp(exponents - log_partition), log_partition


# --- closed forms -----------------------------------------------------------


def test_brandeis_dice():
    """Jaynes's numbers for a mean of 4.5; the sign of lambda is ours."""
    die = max_entropy(FACES, 4.5)
    p = [0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749]
    np.testing.assert_allclose(die.probabilities, p, atol=5e-6)
    assert die.multipliers == pytest.approx([0.371049], abs=5e-7)
    assert die.entropy == pytest.approx(stats.entropy(die.probabilities), rel=1e-13)
    assert die.entropy == pytest.approx(1.61358, abs=5e-6)


def test_no_constraint_worth_the_name_leaves_the_base_measure():
    fair = max_entropy(FACES, 3.5)
    np.testing.assert_allclose(fair.probabilities, 1 / 6, rtol=1e-14)
    assert abs(fair.multipliers[0]) < 1e-14
    assert fair.entropy == pytest.approx(math.log(6), rel=1e-14)
    bare = max_entropy(np.empty((3, 0)), [], base_measure=[1, 2, 5])
    np.testing.assert_allclose(bare.probabilities, [1 / 8, 2 / 8, 5 / 8], rtol=1e-14)
    assert bare.entropy == pytest.approx(math.log(8), rel=1e-14)


@pytest.mark.parametrize("ratio", [0.2, 0.9, 1.0, 1.7])
def test_a_mean_makes_a_truncated_geometric(ratio):
    k = np.arange(12)
    p = ratio**k / np.sum(ratio**k)
    found = max_entropy(k, p @ k)
    np.testing.assert_allclose(found.probabilities, p, rtol=1e-9)
    assert found.multipliers[0] == pytest.approx(math.log(ratio), abs=1e-9)


def test_binomial_and_poisson_come_from_their_base_measures():
    n, theta, mu = 10, 0.3, 4.0
    k = np.arange(n + 1)
    found = max_entropy(k, n * theta, base_measure=special.comb(n, k))
    np.testing.assert_allclose(
        found.probabilities, stats.binom.pmf(k, n, theta), rtol=1e-9
    )
    assert found.multipliers[0] == pytest.approx(special.logit(theta), rel=1e-9)
    assert found.log_partition == pytest.approx(-n * math.log(1 - theta), rel=1e-9)
    k = np.arange(60)
    found = max_entropy(k, mu, base_measure=1 / special.factorial(k))
    np.testing.assert_allclose(found.probabilities, stats.poisson.pmf(k, mu), rtol=1e-8)
    assert found.multipliers[0] == pytest.approx(math.log(mu), rel=1e-9)
    assert found.log_partition == pytest.approx(mu, rel=1e-9)


def test_quadrature_weights_make_a_density():
    """A mean on (0, 1) makes a truncated exponential, exp(lambda x) / Z."""
    x, weights = np.polynomial.legendre.leggauss(40)
    x, weights = (x + 1) / 2, weights / 2
    rate = 3.0
    exact = stats.truncexpon(rate, scale=1 / rate)
    found = max_entropy(x, exact.mean(), base_measure=weights)
    assert found.multipliers[0] == pytest.approx(-rate, rel=1e-9)
    assert found.entropy == pytest.approx(exact.entropy(), rel=1e-9)
    assert found.log_partition == pytest.approx(
        math.log((1 - math.exp(-rate)) / rate), rel=1e-9
    )


@pytest.mark.parametrize("origin", [0, 1e15, -1e15])
def test_an_origin_that_the_numbers_carry_changes_nothing(origin):
    """Neighbours at 1e15 are 1/8 apart, so that all these numbers are exact."""
    p = [0.663738, 0.223838, 0.075487, 0.025457, 0.008585, 0.002895]
    die = max_entropy(origin + FACES, origin + 1.5)
    np.testing.assert_allclose(die.probabilities, p, atol=5e-7)
    # The last number before the end is not the end.
    near = max_entropy(origin + FACES, origin + 1.125).probabilities
    np.testing.assert_allclose(near, max_entropy(FACES, 1.125).probabilities, rtol=1e-9)
    with pytest.raises(InfeasibleError, match="outside"):
        max_entropy(origin + FACES, origin + 0.875)
    both = np.column_stack([FACES, FACES**2.0])
    moved = max_entropy(both + np.array([origin, 0]), [origin + 1.5, 3.0])
    plain = max_entropy(both, [1.5, 3.0])
    np.testing.assert_allclose(moved.probabilities, plain.probabilities, rtol=1e-9)


def test_what_an_origin_leaves_too_little_of_is_not_called_infeasible():
    """Rounding of x @ [2, -3] + 1e15 would be told from the other two by nothing."""
    x = 1 + np.arange(6) / 8
    features = np.column_stack([x + 1e15, x**2])
    with pytest.raises(RuntimeError, match="origin"):
        max_entropy(features, [1e15 + 1.25, 1.6])
    assert max_entropy(features - [1e15, 0], [1.25, 1.6]).residual < 1e-10


@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1e12, 1e290])
def test_units_do_not_matter_one_for_each_feature_and_for_the_base(unit):
    features, target = np.column_stack([FACES, FACES**2.0]), np.array([4.5, 22])
    plain = max_entropy(features, target)
    units = np.array([unit, unit**-0.2])
    found = max_entropy(features * units, target * units, base_measure=np.full(6, unit))
    np.testing.assert_allclose(found.probabilities, plain.probabilities, rtol=1e-9)
    np.testing.assert_allclose(found.multipliers * units, plain.multipliers, rtol=1e-8)
    assert found.entropy == pytest.approx(plain.entropy + math.log(unit), rel=1e-12)
    with pytest.raises(InfeasibleError, match="outside the convex hull"):
        max_entropy(features * units, [4.5, 20] * units)


@pytest.mark.parametrize("target", [1e-40, 1e-12, 1 - 1e-12])
def test_a_probability_as_small_as_the_target_says(target):
    found = max_entropy([0, 1], target)
    assert found.probabilities[1] == pytest.approx(target, rel=1e-9)
    assert found.multipliers[0] == pytest.approx(special.logit(target), rel=1e-4)


EDGES = 10.0 ** -np.arange(1, 13)


@pytest.mark.parametrize(
    "mean", [*(1 + EDGES), *np.linspace(1.2, 5.8, 9), *(6 - EDGES)]
)
def test_all_dice_converge(mean):
    die = max_entropy(FACES, mean)
    assert die.residual < 1e-10
    assert np.all(die.probabilities > 0)
    # Distances from the nearer end, so that a small one is compared in full.
    end, sign = (1, 1) if mean < 3.5 else (6, -1)
    distances = sign * (FACES - end)
    p, _ = tilted(FACES[:, None], die.multipliers)
    assert p @ distances == pytest.approx(sign * (mean - end), rel=1e-8)


# --- faces and infeasible targets --------------------------------------------


@pytest.mark.parametrize(
    ("feature", "target", "p", "multiplier", "log_partition"),
    [
        ([1, 2, 2], 1, [1, 0, 0], -math.inf, -math.inf),
        ([1, 2, 2], 2, [0, 0.25, 0.75], math.inf, math.inf),
        ([-1, 0, 0], 0, [0, 0.25, 0.75], math.inf, math.log(8)),
        ([-3, -2, -2], -2, [0, 0.25, 0.75], math.inf, -math.inf),
        ([-1, 0.3, 0.3], 0.1 + 0.2, [0, 0.25, 0.75], math.inf, math.inf),  # an ulp out
    ],
)
def test_an_end_of_the_range_is_answered_exactly(
    feature, target, p, multiplier, log_partition
):
    found = max_entropy(feature, target, base_measure=[5, 2, 6])
    np.testing.assert_allclose(found.probabilities, p, rtol=4e-16)
    assert found.multipliers.tolist() == [multiplier]
    assert found.log_partition == pytest.approx(log_partition, rel=1e-15)
    assert found.entropy == pytest.approx(math.log(5 if p[0] else 8), rel=1e-15)
    assert (found.residual, found.iterations) == (0.0, 0)


@pytest.mark.parametrize(("target", "sign"), [(0.999, 1), (6.001, -1)])
def test_out_of_range_the_error_gives_the_range(target, sign):
    with pytest.raises(InfeasibleError, match=r"outside the range.*1 to 6") as caught:
        max_entropy(FACES, target)
    assert caught.value.possible == (1.0, 6.0)
    assert np.all(caught.value.combination * (FACES - target) > 0)
    assert caught.value.combination.tolist() == [sign]


@pytest.mark.parametrize("matrix", [np.eye(2), SHEAR, 1e6 * SHEAR], ids=str)
@pytest.mark.parametrize(
    ("target", "outside"),
    [
        ([-0.001, 0.5], True),
        ([1.5, -0.5], True),
        ([0.3, 1.00001], True),
        ([0, 0.5], False),
        ([0.75, 1], False),
        ([1, 0], False),
    ],
)
def test_outside_the_hull_or_on_its_boundary(matrix, target, outside):
    features, target = SQUARE @ matrix, np.array(target) @ matrix
    where = "outside" if outside else "boundary|at an end"
    with pytest.raises(InfeasibleError, match=where) as caught:
        max_entropy(features, target)
    margins = (features - target) @ caught.value.combination
    largest = margins.max()
    assert margins.min() > (1e-7 * largest if outside else -1e-9 * largest)
    assert largest > 0
    if not outside:
        assert np.sum(margins < 1e-9 * largest) in (1, 2), "a vertex or an edge"


@pytest.mark.parametrize("matrix", [np.eye(2), SHEAR], ids=str)
@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 1e-11])
def test_just_inside_the_boundary_there_is_a_solution(matrix, distance):
    """The two edges of the square share the mass as the first target says."""
    target = np.array([distance, 0.5])
    found = max_entropy(SQUARE @ matrix, target @ matrix)
    p = found.probabilities
    assert p[2] + p[3] == pytest.approx(distance, rel=1e-3)
    np.testing.assert_allclose(p[:2], 0.5 - distance / 2, rtol=1e-9)


def test_a_far_point_does_not_hide_the_boundary():
    features = np.array([[-1, -1], [1, 1], [0, 1e6]]) @ SHEAR
    with pytest.raises(InfeasibleError, match="boundary"):
        max_entropy(features, [0, 0])
    found = max_entropy(features, np.array([0, 1e-3]) @ SHEAR)
    assert found.probabilities[2] == pytest.approx(1e-9, rel=1e-6)
    features[2] *= 1e6
    with pytest.raises((InfeasibleError, RuntimeError)):
        max_entropy(features, [0, 0])


@pytest.mark.parametrize(("target", "least"), [(-1, 2 / 3), (0, 0), (0.2, None)])
def test_the_linear_programme_finds_the_best_separation(target, least):
    """Of a square and a point left of it, by c with mean one: that of x alone."""
    gaps = ((SQUARE - [target, 0.5]) @ SHEAR).T
    margins = discrete._separate(gaps) @ gaps
    assert margins.mean() == pytest.approx(1, rel=1e-9)
    if least is None:
        assert margins.min() < -1e-3
    else:
        assert margins.min() == pytest.approx(least, abs=1e-9)


def test_feasibility_costs_nothing_unless_newton_fails(problem, monkeypatch):
    def forbidden(*args, **options):
        raise AssertionError("a linear programme was solved")

    monkeypatch.setattr("utils.entropy.discrete.linprog", forbidden)
    features, targets, prior = problem
    assert max_entropy(features, targets, base_measure=prior).residual < 1e-10
    with pytest.raises(InfeasibleError, match="outside"):
        max_entropy(SQUARE @ SHEAR, [-0.1, 0.5] @ SHEAR)
    with pytest.raises(InfeasibleError, match="at an end"):
        max_entropy(SQUARE, [0, 0.5])


# --- redundant constraints ----------------------------------------------------


def test_redundant_constraints_change_nothing(problem):
    features, targets, prior = problem
    alone = max_entropy(features, targets, base_measure=prior)

    def extend(x):
        return np.column_stack([x, x[:, 0], x @ [2, -3] + 1e7, np.full(len(x), 0.3)])

    (more,) = extend(targets[None])
    more[-1] = 0.1 + 0.2  # rounding, here and of 1e7, is not held against them
    found = max_entropy(extend(features), more, base_measure=prior)
    np.testing.assert_allclose(found.probabilities, alone.probabilities, rtol=1e-7)
    assert found.residual < 1e-8
    assert found.entropy == pytest.approx(alone.entropy, rel=1e-7)
    # The multipliers of repeated constraints add up to those of the originals.
    a, b, again, both, constant = found.multipliers
    np.testing.assert_allclose(
        [a + again + 2 * both, b - 3 * both], alone.multipliers, rtol=1e-6
    )
    assert constant == 0


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(3, 6), st.sampled_from([0.0, 1.0, 1e7]))
def test_combinations_of_two_constraints_are_two_constraints(seed, m, shift):
    rng = np.random.default_rng(seed)
    features, p = rng.normal(size=(30, 2)), rng.dirichlet(np.ones(30))
    alone = max_entropy(features, p @ features)
    matrix = rng.normal(size=(2, m))
    found = max_entropy(features @ matrix + shift, p @ features @ matrix + shift)
    rtol = 1e-7 if shift < 1e7 else 1e-4  # rounding is 1e-9 of a feature
    np.testing.assert_allclose(found.probabilities, alone.probabilities, rtol=rtol)
    assert found.iterations <= alone.iterations + 1


@pytest.mark.parametrize("gap", [1e-6, 1.0])
def test_redundant_constraints_that_contradict_are_infeasible(problem, gap):
    features, targets, _ = problem
    features = np.column_stack([features, features @ [2, -3]])
    targets = np.append(targets, targets @ [2, -3] + gap)
    with pytest.raises(InfeasibleError, match="outside") as caught:
        max_entropy(features, targets)
    assert np.all((features - targets) @ caught.value.combination > 0)


def test_a_constant_feature_has_one_target():
    assert max_entropy([2, 2, 2], 2).entropy == pytest.approx(math.log(3))
    with pytest.raises(InfeasibleError) as caught:
        max_entropy([2, 2, 2], 2.001)
    assert caught.value.possible == (2.0, 2.0)


# --- optimality ---------------------------------------------------------------


@st.composite
def feasible(draw):
    """A random problem with targets that a random positive p meets."""
    rng = np.random.default_rng(draw(SEEDS))
    m = draw(st.integers(1, 4))
    n = draw(st.integers(m + 2, 60))
    features = rng.normal(size=(n, m)) * 10.0 ** rng.uniform(-3, 3, m)
    base_measure = rng.lognormal(sigma=draw(st.sampled_from([0.01, 1, 4])), size=n)
    concentration = draw(st.sampled_from([0.3, 1, 10]))
    p = rng.dirichlet(np.full(n, concentration))
    assume(p.min() > 1e-12)
    return features, p @ features, base_measure, rng


@settings(max_examples=150, deadline=None)
@given(feasible())
def test_it_is_feasible_exponential_and_best(problem):
    features, targets, q, rng = problem
    found = max_entropy(features, targets, base_measure=q)
    p = found.probabilities
    assert p.sum() == pytest.approx(1, rel=1e-12)
    gaps = features - targets
    relative = np.abs(p @ gaps) / (p @ np.abs(gaps))
    assert max(found.residual, relative.max()) <= 1.001e-10
    family, log_partition = tilted(features, found.multipliers, q)
    np.testing.assert_allclose(p, family, rtol=1e-8, atol=1e-300)
    assert found.log_partition == pytest.approx(log_partition, abs=1e-9)
    assert found.entropy == pytest.approx(-special.rel_entr(p, q).sum(), abs=1e-9)
    # Any change p (1 + r) that keeps sum and moments loses entropy, about E[r²] / 2.
    kept = np.column_stack([gaps / np.abs(gaps).max(axis=0), np.ones(len(p))])
    r, root = rng.normal(size=len(p)), np.sqrt(p)
    r -= kept @ np.linalg.lstsq(kept * root[:, None], r * root)[0]
    r *= 0.1 / np.abs(r).max()
    other = p * (1 + r)
    np.testing.assert_allclose(other @ kept, p @ kept, atol=1e-12)
    loss = found.entropy + special.rel_entr(other, q).sum()
    assert loss == pytest.approx(p @ r**2 / 2, rel=0.2, abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    feasible(),
    st.sampled_from([1e-6, 1.0, 1e6, -1e6]),
    st.sampled_from([0.0, 1.0, 1e6, -1e6]),
)
def test_units_and_origins_of_features_do_not_matter(problem, scale, shift):
    features, targets, q, _ = problem
    spread = features.std(axis=0)
    features, targets = features / spread, targets / spread
    plain = max_entropy(features, targets, base_measure=q)
    if abs(scale) == 1e-6:
        shift *= 1e-6  # of the order of the feature
    moved = max_entropy(
        features * scale + shift, targets * scale + shift, base_measure=q
    )
    # The sum itself is rounded: to 1e-10 of a feature, where the shift is 1e6 times it.
    rtol = 1e-8 if abs(shift) <= abs(scale) else 1e-5
    np.testing.assert_allclose(moved.probabilities, plain.probabilities, rtol=rtol)
    size = np.abs(plain.multipliers).max()
    np.testing.assert_allclose(
        moved.multipliers * scale, plain.multipliers, rtol=rtol, atol=rtol * size
    )
    assert moved.residual < 1e-10


def test_derivatives_of_log_partition_are_moments(problem):
    """The gradient of log Z is E[f], its Hessian Cov[f]; the entropy's, -lambda."""
    features, targets, prior = problem
    h = 1e-4

    def solved(shift):
        return max_entropy(features, targets + shift, base_measure=prior, rtol=1e-13)

    here = solved(0)
    shifts = h * np.eye(2)
    plus, minus = [solved(s) for s in shifts], [solved(-s) for s in shifts]
    both = list(zip(plus, minus, strict=True))
    rise = np.array([a.multipliers - b.multipliers for a, b in both])
    np.testing.assert_allclose(
        [a.log_partition - b.log_partition for a, b in both],
        rise @ targets,
        rtol=1e-6,
    )
    centred = features - targets
    covariance = here.expectation(
        np.einsum("ij,ik->ijk", centred, centred).reshape(40, 4)
    )
    np.testing.assert_allclose(
        rise @ covariance.reshape(2, 2), 2 * shifts, rtol=1e-6, atol=1e-10
    )
    slope = [(a.entropy - b.entropy) / (2 * h) for a, b in both]
    np.testing.assert_allclose(slope, -here.multipliers, rtol=1e-6)


def test_minimum_relative_entropy_agrees_with_a_direct_solution():
    rng = np.random.default_rng(3)
    features, q = rng.normal(size=(8, 2)), rng.dirichlet(np.ones(8))
    targets = rng.dirichlet(np.ones(8)) @ features
    direct = optimize.minimize(
        lambda p: special.rel_entr(p, q).sum(),
        q,
        jac=lambda p: np.log(p / q) + 1,
        method="SLSQP",
        bounds=[(1e-12, 1)] * 8,
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1},
            {"type": "eq", "fun": lambda p: p @ features - targets},
        ],
        options={"ftol": 1e-15, "maxiter": 500},
    )
    found = max_entropy(features, targets, base_measure=q)
    np.testing.assert_allclose(found.probabilities, direct.x, atol=1e-6)
    assert -found.entropy == pytest.approx(direct.fun, abs=1e-10)
    assert -found.entropy > 0.01, "the prior should not meet the targets already"


# --- the method ---------------------------------------------------------------


def test_newton_converges_quadratically_down_the_dual(problem):
    features, targets, prior = problem
    found = max_entropy(features, targets, base_measure=prior)
    assert found.iterations <= 8
    assert found.path.shape == (found.iterations + 1, 2)
    assert not found.path[0].any()
    np.testing.assert_array_equal(found.path[-1], found.multipliers)
    dual = [tilted(features, x, prior)[1] - x @ targets for x in found.path]
    assert np.all(np.diff(dual) < 1e-12)
    assert dual[-1] == pytest.approx(found.entropy, rel=1e-12)
    errors = np.linalg.norm(found.path[:-1] - found.multipliers, axis=1)
    last = errors[-3:]
    assert last[2] < 10 * last[1] ** 2 / last[0] ** 0.5 and last[1] < last[0] ** 1.5


@pytest.mark.parametrize("mean", [30.0, -39.5])
def test_a_prior_far_from_the_targets_is_no_obstacle(mean):
    """Where whole Newton steps overshoot; the tilted normal is a normal."""
    x = np.linspace(-40, 40, 1601)
    found = max_entropy(x, mean, base_measure=stats.norm.pdf(x, scale=0.5) + 1e-290)
    assert found.residual < 1e-10
    features = np.column_stack([x, x**2])
    narrow = max_entropy(
        features, [30, 30.0**2 + 0.01], base_measure=np.exp(-(x**2) / 9)
    )
    assert narrow.residual < 1e-10
    p = stats.norm.pdf(x, 30, 0.1)
    np.testing.assert_allclose(narrow.probabilities, p / p.sum(), atol=1e-6)


def test_what_newton_cannot_reach_is_a_runtime_error(problem):
    features, targets, _ = problem
    with pytest.raises(RuntimeError, match=r"residual.*rtol 1\.0e-30"):
        max_entropy(features, targets, rtol=1e-30)


def test_arguments_are_left_alone(problem):
    arguments = [np.array(a) for a in problem]
    for a in arguments:
        a.flags.writeable = False
    features, targets, prior = arguments
    found = max_entropy(features, targets, base_measure=prior)
    for a, b in zip(arguments, problem, strict=True):
        np.testing.assert_array_equal(a, b)
    as_lists = max_entropy(
        features.tolist(), targets.tolist(), base_measure=prior.tolist()
    )
    np.testing.assert_array_equal(as_lists.probabilities, found.probabilities)
    fortran = max_entropy(np.asfortranarray(features), targets, base_measure=prior)
    np.testing.assert_allclose(fortran.probabilities, found.probabilities, rtol=1e-9)


def test_one_constraint_may_be_a_vector_or_a_column():
    vector, column = max_entropy(FACES, 4.5), max_entropy(FACES[:, None], [4.5])
    np.testing.assert_array_equal(vector.probabilities, column.probabilities)


def test_memory_is_a_small_multiple_of_the_input():
    features = np.random.default_rng(0).normal(size=(100_000, 4))
    tracemalloc.start()
    found = max_entropy(features, [0.1, 0.5, -0.3, 1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.residual < 1e-10
    assert peak < 4 * features.nbytes


# --- the result ---------------------------------------------------------------


def test_expectation_and_text():
    die = max_entropy(FACES, 4.5)
    assert die.expectation(FACES) == pytest.approx(4.5, rel=1e-12)
    both = die.expectation(np.column_stack([FACES, FACES**2]))
    np.testing.assert_allclose(both, [4.5, die.probabilities @ FACES**2], rtol=1e-12)
    for bad in (FACES[:5], 3.0, np.ones((6, 2, 2))):
        with pytest.raises(ValueError, match=r"f has shape .* must be \(6,\)"):
            die.expectation(bad)
    for bad in (
        1j * FACES,
        np.ma.masked_less(FACES, 3),
        FACES * np.inf,
        "abcdef",
        None,
    ):
        with pytest.raises(ValueError, match=r"^f (must|holds|is)"):
            die.expectation(bad)
    for part in ("1.61358 nats", "6 points", "1 constraint", "4 Newton steps"):
        assert part in str(die)
    with pytest.raises(AttributeError):
        die.entropy = 0.0


def test_samples_have_the_frequencies():
    die = max_entropy(FACES, 4.5)
    draws = die.sample(60_000, np.random.default_rng(5))
    counts = np.bincount(draws, minlength=6)
    assert counts.shape == (6,)
    assert stats.chisquare(counts, 60_000 * die.probabilities).pvalue > 1e-4
    assert stats.chisquare(counts).pvalue < 1e-100, "another distribution would show"
    again = die.sample((2, 3), np.random.default_rng(5))
    np.testing.assert_array_equal(
        again.ravel(), die.sample(6, np.random.default_rng(5))
    )
    np.testing.assert_array_equal(die.sample(6, 5), again.ravel())
    assert die.sample(6).shape == (6,)
    for seed in (np.int64(5), np.random.SeedSequence(5)):
        np.testing.assert_array_equal(die.sample(np.int8(6), seed), again.ravel())
    assert die.sample(2, np.random.RandomState(5)).shape == (2,)
    assert die.sample() in range(6)


@pytest.mark.parametrize("size", [2.0, "2", -1, (2, -1), True, np.nan])
def test_sizes_and_seeds_that_are_none_are_named(size):
    die = max_entropy(FACES, 4.5)
    with pytest.raises(ValueError, match="size is"):
        die.sample(size)
    if size not in ((2, -1), None):
        with pytest.raises(ValueError, match="seed is"):
            die.sample(2, size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": np.ones((2, 2, 2))}, r"features has shape \(2, 2, 2\).*\(n, m\)"),
        ({"features": 3.0}, r"features has shape \(\)"),
        ({"features": np.empty((0, 1))}, r"features has shape \(0, 1\).*at least one"),
        ({"features": []}, r"features has shape \(0, 1\)"),
        ({"features": [1, np.nan, 2]}, "features holds nan.*finite"),
        ({"features": [1, np.inf, 2]}, "features holds inf"),
        ({"features": ["a", "b", "c"]}, "features must be real numbers"),
        ({"features": [[1, 2], [3]]}, "features is no array"),
        ({"features": np.ma.masked_less([1, 2, 3], 2)}, "features is a masked array"),
        ({"features": 10**16 + np.arange(3)}, "features holds 10000000000000001, whi"),
        ({"targets": 10**16 + 1}, "targets holds 10000000000000001, which double"),
        ({"features": [1j, 2, 3]}, "features must be real numbers"),
        ({"targets": [2, 2]}, r"targets has shape \(2,\).*\(1,\)"),
        ({"targets": [[2]]}, r"targets has shape \(1, 1\)"),
        ({"targets": np.nan}, "targets holds nan"),
        ({"targets": None}, "targets must be real numbers"),
        ({"features": np.eye(3), "targets": 0.2}, r"targets has shape \(\).*\(3,\)"),
        ({"base_measure": [1, 2]}, r"base_measure has shape \(2,\).*\(3,\)"),
        ({"base_measure": [1, 0, 2]}, "base_measure holds 0.0.*positive"),
        ({"base_measure": [1, -1, 2]}, "base_measure holds -1.0.*positive"),
        ({"base_measure": [1, np.inf, 2]}, "base_measure holds inf"),
        ({"rtol": 0}, "rtol is 0, but must be .* above 0"),
        ({"rtol": -1e-3}, "rtol is -0.001"),
        ({"rtol": np.nan}, "rtol is nan"),
        ({"rtol": [1e-3, 1e-3]}, "rtol is .* above 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        max_entropy(**{"features": [1, 2, 3], "targets": 2.5} | arguments)
    assert not isinstance(caught.value, InfeasibleError)


# --- densities ----------------------------------------------------------------


def identity(x):
    return x


def square(x):
    return x**2


def log_complement(x):
    return np.log1p(-x)


def _beta(a, b):
    targets = special.psi([a, b]) - special.psi(a + b)
    return [np.log, log_complement], targets, (0, 1), stats.beta(a, b)


def _gamma(a):
    return [identity, np.log], [a, special.psi(a)], (0, np.inf), stats.gamma(a)


def _von_mises(kappa, mu):
    length = special.i1(kappa) / special.i0(kappa)
    targets = [length * math.cos(mu), length * math.sin(mu)]
    return [np.cos, np.sin], targets, (-np.pi, np.pi), stats.vonmises(kappa, mu)


def _normal(mean, deviation):
    targets = [mean, mean**2 + deviation**2]
    return [identity, square], targets, LINE, stats.norm(mean, deviation)


def _centred_normal(mean, deviation):
    """The same by E(x - mean)², which keeps more digits of a small variance."""
    features = [identity, lambda x: (x - mean) ** 2]
    return features, [mean, deviation**2], LINE, stats.norm(mean, deviation)


def _laplace(mean, scale):
    exact = stats.laplace(mean, scale)
    return lambda x: np.abs(x - mean), scale, LINE, exact


LINE, HALF = (-np.inf, np.inf), (0, np.inf)
FAMILIES = {
    "uniform": ([], [], (-2, 5), stats.uniform(-2, 7)),
    "exponential": (identity, 3, HALF, stats.expon(scale=3)),
    "slow exponential": (identity, 1e9, HALF, stats.expon(scale=1e9)),
    "slower": (identity, 1e15, HALF, stats.expon(scale=1e15)),
    "fast exponential": (identity, 4.14e-21, HALF, stats.expon(scale=4.14e-21)),
    "near an end": (identity, 1e-12, (0, 1), stats.expon(scale=1e-12)),
    "reflected": (identity, -3, (-np.inf, 2), stats.expon(scale=5)),
    "normal": _normal(1, 2),
    "tiny normal": _normal(0, 1e-6),
    "narrow normal": _normal(20, 0.1),
    "far normal": _normal(1000, 1),
    "far normal on a half-line": (*_normal(1000, 1)[:2], HALF, stats.norm(1000, 1)),
    "lopsided normal": _normal(-3e8, 4e8),
    "centred normal": _centred_normal(1e4, 0.1),
    "Laplace": _laplace(0, 2),
    "far Laplace": _laplace(-1e5, 1),
    "Rayleigh": (
        [np.log, square],
        [(math.log(2) - np.euler_gamma) / 2, 2],
        HALF,
        stats.rayleigh(),
    ),
    "Weibull": (
        [np.log, lambda x: x**0.7],
        [-np.euler_gamma / 0.7, 1],
        HALF,
        stats.weibull_min(0.7),
    ),
    "logistic": (
        [identity, lambda x: np.logaddexp(0, 1e3 - x)],
        [1e3, 1],
        LINE,
        stats.logistic(1e3),
    ),
    "truncated exponential": (
        identity,
        stats.truncexpon(3).mean(),
        (0, 3),
        stats.truncexpon(3),
    ),
    "half-normal": (square, 1, HALF, stats.halfnorm()),
    "lognormal": (
        [np.log, lambda x: np.log(x) ** 2],
        [0.5, 0.5**2 + 0.8**2],
        HALF,
        stats.lognorm(0.8, scale=math.exp(0.5)),
    ),
    "lognormal in another unit": (
        [np.log, lambda x: (np.log(x) + 20) ** 2],
        [-20, 0.5**2],
        HALF,
        stats.lognorm(0.5, scale=math.exp(-20)),
    ),
    "beta(2, 3)": _beta(2, 3),
    "beta(1/2, 1/2)": _beta(0.5, 0.5),
    "left of zero": (
        [lambda x: np.log(-x), np.log1p],
        special.psi([0.3, 2]) - special.psi(2.3),
        (-1, 0),
        stats.beta(0.3, 2),
    ),
    "gamma(3)": _gamma(3),
    "gamma(1/2)": _gamma(0.5),
    "gamma(1/5)": _gamma(0.2),
    "gamma(1/20)": _gamma(0.05),
    "gamma(1000)": _gamma(1000),
    "von Mises": _von_mises(2.5, 0.8),
    "Pareto": (np.log, 1 / 0.5, (1, np.inf), stats.pareto(0.5)),
    "Cauchy": (lambda x: np.log1p(x**2), math.log(4), LINE, stats.cauchy()),
    "Gumbel": (
        [identity, lambda x: np.exp(-x)],
        [np.euler_gamma, 1],
        LINE,
        stats.gumbel_r(),
    ),
}


def mirrored(family, x):
    return {"reflected": 2 - x, "left of zero": -x}.get(family, x)


def exact_pdf(family, x):
    exact = FAMILIES[family][3]
    return exact.pdf(mirrored(family, x))


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family):
    features, targets, interval, exact = FAMILIES[family]
    density = max_entropy_density(features, targets, interval)
    x = np.quantile(exact.rvs(1000, random_state=0), np.linspace(0.005, 0.995, 101))
    x = mirrored(family, x)
    np.testing.assert_allclose(density.pdf(x), exact_pdf(family, x), rtol=1e-6)
    assert density.error < 3e-7
    assert abs(density.entropy - exact.entropy()) < min(1e-8, density.error)
    change = density.pdf(density.nodes) - exact_pdf(family, density.nodes)
    assert density.weights @ np.abs(change) < density.error
    features = [features] if callable(features) else features
    found = [density.expectation(f) for f in features]
    np.testing.assert_allclose(found, np.ravel(targets), rtol=1e-9, atol=1e-15)
    beyond = np.array([interval[0] - 1, interval[1] + 1])
    assert not density.pdf(beyond[np.isfinite(beyond)]).any()
    assert "nats" in str(density)


def test_multipliers_of_a_density_are_those_of_its_exponential_family():
    normal = max_entropy_density([identity, square], [1, 5], LINE)
    np.testing.assert_allclose(normal.multipliers, [1 / 4, -1 / 8], rtol=1e-8)
    log_partition = math.log(2 * math.sqrt(2 * math.pi)) + 1 / 8
    assert normal.log_partition == pytest.approx(log_partition, rel=1e-8)
    assert normal.pdf(1.0) == pytest.approx(stats.norm.pdf(0) / 2, rel=1e-8)
    assert normal.pdf(np.zeros((2, 3))).shape == (2, 3)
    assert np.isnan(normal.pdf(np.nan))
    for bad in (1j, "1", None, np.ma.masked_less([1.0, 2], 1.5)):
        with pytest.raises(ValueError, match=r"^x (must|is)"):
            normal.pdf(bad)
    for bad in (3, lambda x: x + 0j, lambda x: x[1:]):
        with pytest.raises(ValueError, match=r"^f (must|maps)"):
            normal.expectation(bad)
    low, high = normal.interval
    assert -100 < low < -15 and 17 < high < 100, "eight standard deviations or more"


def test_a_kink_wants_a_break(monkeypatch):
    monkeypatch.setattr("utils.entropy.density.MOST_NODES", 20_000)
    exact = stats.laplace(0.7, 1.3)
    arguments = (lambda x: abs(x - 0.7), 1.3, LINE)
    x = np.linspace(-5, 7, 51)
    with_break = max_entropy_density(*arguments, breaks=(0.7,))
    assert with_break.entropy == pytest.approx(exact.entropy(), abs=1e-9)
    np.testing.assert_allclose(with_break.pdf(x), exact.pdf(x), rtol=1e-9)
    assert with_break.error < 1e-9
    without = max_entropy_density(*arguments)
    assert with_break.error < abs(without.entropy - exact.entropy()) < without.error


@pytest.mark.parametrize(
    ("mean", "scale"),
    [
        (-2.6730927932661285e-11, 1.826640348658602e-09),
        (0.0001704201148966964, 2.1010476862713075e-05),
        (-0.02072412643312095, 0.0014130362850021084),
        (-4.557052542727964e-06, 2.539712001180346e-05),
        (1.2345, 3.3),
    ],
)
def test_a_kink_between_the_nodes_hides_no_error(mean, scale, monkeypatch):
    """In some of these, one change, or two, happened to be a tenth of the error."""
    monkeypatch.setattr("utils.entropy.density.MOST_NODES", 20_000)
    density = max_entropy_density(lambda x: abs(x - mean), scale, LINE)
    true = abs(density.entropy - 1 - math.log(2 * scale))
    assert true < 3 * density.error < 1e3 * true + 1e-9


@pytest.mark.parametrize(
    ("features", "targets", "interval", "exact"),
    [
        (*_centred_normal(-1e6, 1e-3)[:3], stats.norm(0, 1e-3)),
        (*_normal(1e5, 1)[:3], stats.norm()),
        (*_normal(5, 1e-4)[:2], (0, 10), stats.norm(0, 1e-4)),
        (identity, 1e6 + 1e-3, (1e6, np.inf), stats.expon(scale=1e-3)),
        (identity, -1e9 - 1e3, (-np.inf, -1e9), stats.expon(scale=1e3)),
        ([identity, np.log], [1e5, special.psi(1e8) - math.log(1e3)], HALF, None),
        (
            [identity, lambda x: np.log(x - 1e3)],
            [1e3 + 0.5, special.psi(0.5)],
            (1e3, np.inf),
            stats.gamma(0.5),
        ),
        (*_beta(0.5, 0.5)[:3], stats.beta(0.5, 0.5)),
        (*_beta(3, 0.4)[:3], stats.beta(3, 0.4)),
    ],
)
def test_rounding_is_part_of_the_error(features, targets, interval, exact):
    """Of features and targets far out, and of numbers next to an end."""
    density = max_entropy_density(features, targets, interval)
    entropy = (
        stats.gamma(1e8, scale=1e-3).entropy() if exact is None else exact.entropy()
    )
    assert abs(density.entropy - entropy) < 3 * density.error < 1e-3


def test_several_masses_far_apart():
    """Of exp(-lambda P(x)²), a normal about each root r, of weight 1 / |P'(r)|."""
    roots = np.array([1e3, 2e4, -7e3, -1.0, -3e3])
    slopes = np.abs([np.prod(r - roots[roots != r]) for r in roots])
    density = max_entropy_density(
        lambda x: np.prod(np.subtract.outer(x, roots), axis=-1) ** 2, 5e20, LINE
    )
    masses = [density.expectation(lambda x, r=r: np.abs(x - r) < 0.1) for r in roots]
    np.testing.assert_allclose(masses, 1 / slopes / np.sum(1 / slopes), rtol=1e-5)
    entropy = 0.5 + math.log(math.sqrt(2 * math.pi * 5e20) * np.sum(1 / slopes))
    assert density.entropy == pytest.approx(entropy, abs=1e-6)


@pytest.mark.parametrize(
    ("features", "targets", "interval", "message"),
    [
        ([identity, square], [-1e6, 1e12 + 1e-6], LINE, r"\(x - 1e6\)² in the place"),
        ([identity, np.log], [1, 0], HALF, "targets lie so near the boundary"),
        (np.log, 100, (1, np.inf), "no numbers"),  # 1/1000 of it is beyond 1e300
        ([identity, np.log], [0.003, special.psi(0.003)], HALF, "no numbers"),
    ],
)
def test_what_numbers_cannot_carry_is_not_called_infeasible(
    features, targets, interval, message
):
    with pytest.raises(RuntimeError, match=message):
        max_entropy_density(features, targets, interval)


def test_a_feature_may_be_infinite_at_a_node():
    """Here at 1/2, for the density 4 |x - 1/2|."""
    density = max_entropy_density(
        lambda x: np.log(np.abs(x - 0.5)), -0.5 - math.log(2), (0, 1)
    )
    assert density.pdf(0.2) == pytest.approx(1.2, rel=1e-5)
    assert abs(density.entropy - 0.5 + math.log(2)) < density.error < 1e-5


@pytest.mark.parametrize(
    ("features", "targets", "interval", "message"),
    [
        (lambda x: np.abs(x - 0.7), 1.3, LINE, "nodes are too few.*`breaks`"),
        ([identity, square], [1e6, 1e12 + 1], LINE, "rounding.*origin"),
    ],
)
def test_an_error_that_matters_is_warned_of(
    features, targets, interval, message, monkeypatch
):
    monkeypatch.setattr("utils.entropy.density.MOST_NODES", 1_000)
    with pytest.warns(UserWarning, match=message) as caught:
        density = max_entropy_density(features, targets, interval)
    assert caught[0].filename == __file__
    assert density.error > 1e-4


def test_redundant_constraints_on_a_density_change_nothing():
    features = [identity, lambda x: 2 * x + 3, lambda x: 1]
    density = max_entropy_density(features, [4, 11, 1], HALF)
    assert density.entropy == pytest.approx(1 + math.log(4), abs=1e-9)
    # At 1e300, no digits hold the half that is contradicted.
    with pytest.raises((InfeasibleError, RuntimeError)):
        max_entropy_density(features, [4, 11.5, 1], HALF)


def test_draws_from_a_density():
    density = max_entropy_density([identity, square], [1, 5], LINE)
    p, rng = density.probabilities, np.random.default_rng(5)
    draws = np.interp(rng.random(50_000), np.cumsum(p) - p / 2, density.nodes)
    assert stats.kstest(draws, stats.norm(1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("features", "targets", "interval"),
    [
        ((), (), LINE),
        ((), (), HALF),
        (identity, 0, LINE),
        (identity, 3.3, LINE),
        ([identity, square, lambda x: x**3], [0, 1, 0.5], LINE),
        ([identity, square, lambda x: x**3], [0, 1, -0.001], LINE),
        ([identity, square], [1, 2.5], HALF),  # more than the exponential's 2
        (lambda x: np.exp(-x), 0.5, HALF),
        (lambda x: x**-0.5, 3, (0, 1)),  # more than the uniform's 2
    ],
)
def test_without_a_maximiser_it_refuses(features, targets, interval):
    with pytest.raises(NoMaximizerError, match="does not vanish beyond"):
        max_entropy_density(features, targets, interval)


def test_the_third_moment_of_the_normal_is_no_obstacle():
    features = [identity, square, lambda x: x**3]
    density = max_entropy_density(features, [1, 5, 1 + 3 * 4], LINE)
    assert density.entropy == pytest.approx(stats.norm(1, 2).entropy(), abs=1e-9)
    features.append(lambda x: x**4)
    # Whether the last multiplier is below zero, or above, rounding alone decides.
    for mean in (0, 0.5, 10):
        targets = [stats.norm(mean).moment(k) for k in range(1, 5)]
        density = max_entropy_density(features, targets, LINE)
        assert density.entropy == pytest.approx(stats.norm.entropy(), abs=1e-8)
    fourth = max_entropy_density(features, [0, 1, 0.5, 3], LINE)
    assert fourth.entropy < stats.norm.entropy() - 1e-3


@pytest.mark.parametrize(
    ("features", "targets", "interval"),
    [
        ([identity, square], [2, 3], LINE),  # a negative variance
        ([identity, square], [0.5, 0.2], (0, 1)),
        ([identity, np.log], [1, 0.5], HALF),  # against Jensen's inequality
        (identity, 2, (0, 1)),
        (identity, 1, (0, 1)),
        (identity, 7, (3, 7)),
        (lambda x: -x, -3, (3, 7)),
        (identity, -1, HALF),
    ],
)
def test_densities_that_cannot_be(features, targets, interval):
    with pytest.raises(InfeasibleError, match="no density meets") as caught:
        max_entropy_density(features, targets, interval)
    assert not isinstance(caught.value, NoMaximizerError)
    a, b = np.clip(interval, -1e4, 1e4)
    x = np.linspace(a, b, 10_003)[1:-1]
    values = np.array([f(x) for f in np.atleast_1d(features)])
    margins = caught.value.combination @ (values.T - np.atleast_1d(targets)).T
    assert np.all(margins > 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": [3]}, "features must be callables"),
        ({"features": 3}, "features must be callables"),
        ({"features": math.sqrt}, r"features\[0\] has no .* array.*np\.sin"),
        ({"features": lambda x: x[:2]}, r"features\[0\] maps shape"),
        ({"features": np.log, "interval": (-1, 1)}, r"features\[0\] is not a number"),
        ({"targets": [1, 2]}, r"targets has shape \(2,\)"),
        ({"targets": np.inf}, "targets holds inf"),
        ({"interval": (1, 1)}, "interval is .* a below b"),
        ({"interval": (2, 1)}, "interval is"),
        ({"interval": (0, np.nan)}, "interval is"),
        ({"interval": (0, 1, 2)}, "interval is"),
        ({"interval": 5}, "interval is 5"),
        ({"interval": (0,)}, r"interval is \[0\.0\].* must be \(a, b\)"),
        ({"interval": ("0", "1")}, "interval must be real numbers"),
        ({"interval": (0, 1j)}, "interval must be real numbers"),
        ({"interval": (np.inf, np.inf)}, "interval is"),
        ({"interval": (0, 1e300)}, "interval is .*below 1e"),
        ({"interval": None}, "interval must be real numbers"),
        ({"interval": np.ma.masked_less([0, 1], 1)}, "interval is a masked"),
        ({"breaks": None}, "breaks is None"),
        ({"breaks": 0.5}, "breaks is 0.5"),
        ({"breaks": "5"}, "breaks is '5'"),
        ({"breaks": ("0.5",)}, "breaks must be real numbers"),
        ({"breaks": (np.nan,)}, "breaks holds nan"),
        ({"breaks": (1.5,)}, "breaks .* between 0.0 and 1.0"),
        ({"breaks": (0.5, 0.5)}, "different numbers"),
        ({"rtol": 0}, "rtol is 0"),
        ({"features": lambda x: x + 0j}, r"features\[0\] must be real numbers"),
        ({"features": lambda x: np.ma.masked_less(x, 0.5)}, r"features\[0\] is a mas"),
        ({"features": lambda x: None}, r"features\[0\] must be real numbers"),
        ({"targets": np.ma.masked_less([0.5], 1)}, "targets is a masked array"),
    ],
)
def test_bad_arguments_of_a_density_are_named(arguments, message):
    good = {"features": identity, "targets": 0.5, "interval": (0, 1)}
    with pytest.raises(ValueError, match=message) as caught:
        max_entropy_density(**good | arguments)
    assert not isinstance(caught.value, InfeasibleError)
