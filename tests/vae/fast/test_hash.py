from utils.vae import random
from utils.vae.fast import random as fast_random

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="torch draws with its own generator"
)


def pcg3d(x, y, z):
    """Jarzynski and Olano's listing, in integers that do not wrap by themselves."""
    v = [(int(a) * 1664525 + 1013904223) % 2**32 for a in (x, y, z)]
    for mix in (lambda a: a ^ (a >> 16), lambda a: a):
        v[0] = (v[0] + v[1] * v[2]) % 2**32
        v[1] = (v[1] + v[2] * v[0]) % 2**32
        v[2] = (v[2] + v[0] * v[1]) % 2**32
        v = [mix(a) for a in v]
    return v[0]


def uniform(shape, seed):
    return ops.convert_to_numpy(random.uniform(shape, seed))


def used(seed, times):
    generator = keras.random.SeedGenerator(seed)
    for _ in range(times):
        generator.next()
    return generator


@pytest.mark.parametrize(("seed", "times"), [(0, 0), (1, 0), (0, 1), (123_456_789, 70)])
def test_the_words_are_those_of_the_paper(seed, times):
    expected = [pcg3d(n, seed, times) >> 8 for n in range(60)]
    actual = uniform((3, 4, 5), used(seed, times)).ravel()
    np.testing.assert_array_equal(actual * 2**24, expected)


# About 200 tests share one per cent of false alarms; the seeds are fixed. What depends
# on the words alone is tested on one backend: above, they are the same on each.
LEAST = 1e-2 / 200
STREAMS = [(0, 0), (1, 0), (123_456_789, 3)]


@pytest.mark.one_backend
@pytest.mark.parametrize("stream", STREAMS)
def test_numbers_are_uniform_to_the_last_bit(stream):
    u = uniform((2**18,), used(*stream))
    assert stats.kstest(u, "uniform").pvalue > LEAST
    words = (u * 2**24).astype(int)
    for bit in range(24):
        ones = int((words >> bit & 1).sum())
        assert stats.binomtest(ones, len(u)).pvalue > LEAST, bit


def pairs(first, second):
    """P-value for the independence of two sets of numbers, on a 64 by 64 grid."""
    cells = (first * 64).astype(int) * 64 + (second * 64).astype(int)
    return stats.chisquare(np.bincount(cells.ravel(), minlength=64**2)).pvalue


@pytest.mark.one_backend
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("lag", [1, 2, 28, 784, 4096, 128 * 784])
def test_near_and_far_pixels_are_independent(stream, lag):
    u = uniform((2**18,), used(*stream))
    assert pairs(u[:-lag], u[lag:]) > LEAST


@pytest.mark.one_backend
def test_minibatches_and_seeds_are_independent():
    generator = used(3, 0)
    batches = np.stack([uniform((1024,), generator) for _ in range(300)])
    seeds = np.stack([uniform((1024,), seed) for seed in range(300)])
    for table in (batches, seeds):
        assert pairs(table[:-1], table[1:]) > LEAST
        for rows in (table, table.T):  # every row against every other
            r = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
            r *= rows.shape[1] ** 0.5
            assert abs(r).max() < stats.norm.isf(LEAST / len(r) / 2)
            assert r.std() == pytest.approx(1, abs=0.03)


@pytest.mark.one_backend
def test_spacings_between_birthdays_coincide_as_often_as_they_should():
    """Marsaglia's test, which generators with too much structure fail."""
    birthdays, years = 512, 2**22
    expected = repeats = 0
    generator = used(1, 0)
    for _ in range(100):
        days = np.sort((uniform((birthdays,), generator) * years).astype(int))
        gaps = np.sort(np.diff(days))
        repeats += int((np.diff(gaps) == 0).sum())
        expected += birthdays**3 / (4 * years)
    assert stats.poisson.sf(repeats - 1, expected) > LEAST
    assert stats.poisson.cdf(repeats, expected) > LEAST


def test_normal_numbers_are_normal_and_independent():
    z = ops.convert_to_numpy(random.normal((2**18,), used(2, 1)))
    assert stats.kstest(z, "norm").pvalue > LEAST
    assert pairs(stats.norm.cdf(z[:-1]), stats.norm.cdf(z[1:])) > LEAST
    tails = int((abs(z) > 4).sum())
    assert stats.binomtest(tails, len(z), 2 * stats.norm.sf(4)).pvalue > LEAST


@pytest.mark.parametrize("jit", [False, True])
def test_the_rarest_words_give_finite_normal_numbers(monkeypatch, jit):
    """On TensorFlow, erfinv(1 - 2^-24) is infinite: by way of (1 + x) / 2."""
    words = np.array([0, 2**32 - 1, 2**31], "uint32")
    monkeypatch.setattr(fast_random, "_hash", lambda *_: ops.convert_to_tensor(words))

    class Draw(keras.Model):
        def call(self, x):
            return x + random.normal((3,), 0)

    model = Draw()
    model.compile(jit_compile=jit)
    z = model.predict_on_batch(np.zeros(3, "float32"))
    np.testing.assert_allclose(z[:2], [-5.294, 5.294], atol=2e-3)
    assert abs(z[2]) < 1e-6
