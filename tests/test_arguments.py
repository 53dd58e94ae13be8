"""Arguments are what they seem, or an error names them."""

import math
from fractions import Fraction

from utils import arguments

import numpy as np
import pytest

SEEDS = [3, np.int64(3), np.random.SeedSequence(3)]


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_integers_of_any_kind(value):
    found = arguments.integer("n", value)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize(
    "value", [0, -1, True, np.True_, 2.0, np.float32(2), "2", None, [2], np.ma.masked]
)
def test_what_is_no_positive_integer_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^how_many is .*must be a positive integer"):
        arguments.integer("how_many", value)


@pytest.mark.parametrize("value", [True, np.True_, np.array(True)])
def test_truth_values(value):
    assert arguments.boolean("whiten", value) is True


@pytest.mark.parametrize("value", [1, "True", None, np.nan, [True], np.ma.masked])
def test_what_is_no_truth_value_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^whiten is .*must be True or False"):
        arguments.boolean("whiten", value)


@pytest.mark.parametrize("value", [2, np.float32(2), Fraction(4, 2), np.array(2.0)])
def test_real_numbers_of_any_kind(value):
    found = arguments.real("scale", value, above=0, most=2)
    assert found == 2.0
    assert type(found) is float


@pytest.mark.parametrize(
    "value", [0, 2.1, np.nan, np.inf, 10**400, 1j, "1", True, None, [1], np.ma.masked]
)
def test_what_is_no_such_number_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^scale is .*above 0 and at most 2"):
        arguments.real("scale", value, above=0, most=2)


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2]],
        np.array([[1, 2]], "float16"),
        [[Fraction(1), 2]],
        np.ma.array([[1, 2]]),  # nothing is masked in it
        [[np.float32(1), True + 1]],
    ],
)
def test_arrays_of_real_numbers(value):
    found = arguments.real_array("z", value, ("n", 2))
    assert type(found) is np.ndarray
    assert found.dtype == float
    assert np.array_equal(found, [[1, 2]])


def test_integers_beyond_64_bits_are_numbers_and_beyond_floats_infinite():
    assert arguments.real_array("z", [2**70])[0] == 2.0**70
    with pytest.raises(ValueError, match="z holds inf"):
        arguments.real_array("z", [10**400])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1j, 2], "real numbers"),
        (["1", "2"], "real numbers"),
        ([None, 1.0], "real numbers"),
        (np.array(["2026-11-26"], "datetime64[D]"), "real numbers"),
        ([[1], [2, 3]], "no array"),
        (np.ma.masked_less([1.0, 2.0], 1.5), "masked"),
        ([np.ma.masked_less([1.0, 2.0], 1.5), [3.0, 4.0]], "masked"),
        ([np.ma.masked, 2.0], "masked"),
        ([np.nan, 1], "holds nan"),
        ([1, -np.inf], "holds -inf"),
        ([1, 2, 3], r"has shape \(3,\), but must have \(2,\)"),
    ],
)
def test_arrays_that_are_not_what_they_seem_are_refused_by_name(value, message):
    with pytest.raises(ValueError, match=rf"^targets .*{message}"):
        arguments.real_array("targets", value, (2,))


@pytest.mark.parametrize("value", [1, True, np.True_, np.int8(1), np.array(True)])
def test_a_switch_is_on(value):
    assert arguments.choice("draw", value, (False, True)) is True


@pytest.mark.parametrize("value", ["yes", None, 2, np.nan, np.ones(2), np.ma.masked])
def test_what_is_no_choice_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^verbose is .* 'auto', 0 or 1\.$"):
        arguments.choice("verbose", value, ("auto", 0, 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_of_any_kind_give_the_same_numbers_twice(seed):
    for make in (arguments.rng, arguments.random_state):
        first, second = (make("seed", seed).normal(size=3) for _ in range(2))
        assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "make_generator",
    [
        np.random.default_rng,
        np.random.RandomState,
        np.random.PCG64,
    ],
)
def test_generators_are_used_as_they_are_and_move_on(make_generator):
    for make in (arguments.rng, arguments.random_state):
        generator = make_generator(3)
        drawn = [make("seed", generator).normal() for _ in range(2)]
        assert drawn[0] != drawn[1]


def test_an_integer_gives_the_numbers_of_the_generator_it_stands_for():
    assert arguments.rng("s", 3).normal() == np.random.default_rng(3).normal()
    old = np.random.RandomState(3).normal()
    assert arguments.random_state("s", 3).normal() == old


@pytest.mark.parametrize("seed", [-1, 2.5, True, "3", np.nan, [1.5]])
def test_what_is_no_seed_is_refused_by_name(seed):
    for make in (arguments.rng, arguments.random_state):
        with pytest.raises(ValueError, match=r"^random_state is .*SeedSequence"):
            make("random_state", seed)


def test_what_takes_no_array_is_refused_by_name():
    with pytest.raises(ValueError, match=r"f has no values for an array.* np\.sin"):
        arguments.called("f", math.sin, np.arange(3.0))
    np.testing.assert_array_equal(arguments.called("f", np.sqrt, np.ones(3)), 1.0)
