"""Random numbers from whatever is a seed to Keras or NumPy."""

from utils.vae import random

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

pytestmark = pytest.mark.usefixtures("with_and_without_fast")


def uniform(shape, seed):
    return ops.convert_to_numpy(random.uniform(shape, seed))


def test_an_int_is_a_generator_not_used_yet():
    for seed in (5, 2**31 + 5, -1):
        np.testing.assert_array_equal(uniform((9,), seed), uniform((9,), seed % 2**32))
    np.testing.assert_array_equal(
        uniform((9,), 5), uniform((9,), keras.random.SeedGenerator(5))
    )


@pytest.mark.parametrize(
    "kind",
    [
        np.random.default_rng,
        np.random.SeedSequence,
        np.random.RandomState,
        np.random.PCG64,
        keras.random.SeedGenerator,
        np.int64,
    ],
)
def test_whatever_is_a_seed_to_numpy_is_one_here(kind):
    first, second = (uniform((9,), kind(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != uniform((9,), kind(6))).any()
    generators = [random.generator(kind(5)) for _ in range(2)]
    np.testing.assert_array_equal(*(uniform((9,), g) for g in generators))
    if kind is np.random.default_rng:
        seed = kind(5)
        assert (uniform((9,), seed) != uniform((9,), seed)).any(), "it moves on"


def test_no_seed_is_fresh_entropy():
    assert (uniform((9,), None) != uniform((9,), None)).any()


@pytest.mark.parametrize("seed", [2.5, True, "a", np.nan, 1j, object()])
def test_what_is_no_seed_is_refused_by_name(seed):
    for use in (random.generator, lambda seed: random.normal((2,), seed)):
        with pytest.raises(ValueError, match=r"^seed is"):
            use(seed)


@pytest.mark.parametrize("law", ["uniform", "norm"])
def test_numbers_follow_their_law(law):
    draw = {"uniform": random.uniform, "norm": random.normal}[law]
    numbers = ops.convert_to_numpy(draw((2**14,), 3))
    assert stats.kstest(numbers, law).pvalue > 1e-3
