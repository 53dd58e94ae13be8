from utils import vae

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import stats


def draw(mean, log_var, size=40_000, seed=0):
    shape = (size, len(mean))
    parameters = [np.broadcast_to(a, shape).astype("float32") for a in (mean, log_var)]
    return ops.convert_to_numpy(vae.Sampling(seed)(parameters))


def test_draws_follow_the_gaussian_they_should():
    z = draw([1.0, -2.0], [-2.0, 1.0])
    for j, (mean, log_var) in enumerate([(1.0, -2.0), (-2.0, 1.0)]):
        law = stats.norm(mean, np.exp(log_var / 2))
        assert stats.kstest(z[:, j], law.cdf).pvalue > 1e-3


def test_latent_variables_are_drawn_independently():
    z = draw([0.0, 0.0], [0.0, 0.0])
    assert abs(np.corrcoef(z.T)[0, 1]) < 5 / np.sqrt(len(z))


def test_each_call_draws_anew_and_each_seed_repeats():
    layer, pair = vae.Sampling(7), (ops.zeros((3, 2)), ops.zeros((3, 2)))
    first, second = (ops.convert_to_numpy(layer(pair)) for _ in range(2))
    assert not np.allclose(first, second)
    again = ops.convert_to_numpy(vae.Sampling(7)(pair))
    np.testing.assert_array_equal(first, again)


def test_sampling_survives_serialization():
    layer = vae.Sampling(7)
    config = keras.saving.serialize_keras_object(layer)
    twin = keras.saving.deserialize_keras_object(config)
    pair = (ops.zeros((3, 2)), ops.zeros((3, 2)))
    np.testing.assert_array_equal(
        *(ops.convert_to_numpy(s(pair)) for s in (layer, twin))
    )


numbers = st.floats(-3, 3, width=32)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_kl_is_the_sum_of_one_dimensional_integrals(pairs):
    mean, log_var = np.array(pairs).T
    grid = np.linspace(-40, 40, 20_001)
    expected = 0.0
    for m, v in pairs:
        q = stats.norm(m, np.exp(v / 2))
        ratio = q.logpdf(grid) - stats.norm.logpdf(grid)
        expected += np.trapezoid(q.pdf(grid) * ratio, grid)
    actual = float(vae.gaussian_kl(mean[None], log_var[None])[0])
    assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_kl_of_the_prior_is_zero_and_a_batch_keeps_its_images_apart():
    mean = np.array([[0.0, 0.0], [1.0, 2.0]])
    kl = ops.convert_to_numpy(vae.gaussian_kl(mean, np.zeros((2, 2))))
    np.testing.assert_allclose(kl, [0.0, 2.5])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1j, "a", None])
def test_kl_of_what_are_no_numbers_is_refused_by_name(wrong):
    right, wrong = [[0.0]], [[wrong]]
    with pytest.raises(ValueError, match=r"^mean "):
        vae.gaussian_kl(wrong, right)
    with pytest.raises(ValueError, match=r"^log_var "):
        vae.gaussian_kl(right, wrong)
    masked = np.ma.masked_equal([[0.0]], 0)
    with pytest.raises(ValueError, match=r"^log_var is a masked array"):
        vae.gaussian_kl([[0.0]], masked)
    with pytest.raises(ValueError, match=r"^raw is a masked array"):
        vae.bounded_log_scale(masked)
