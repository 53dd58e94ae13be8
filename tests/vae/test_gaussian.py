"""The Gaussian with independent coordinates, against SciPy's."""

from utils import vae
from utils.vae.gaussian import gaussian_log_prob

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import stats


@pytest.mark.parametrize("axis", [-1, (0, 2)])
def test_log_prob_is_scipys_summed_over_the_coordinates(axis):
    x, mean, log_var = np.random.default_rng(0).normal(size=(3, 4, 3, 2))
    log_var[0, 0, 0] = -12.0
    expected = stats.norm.logpdf(x, mean, np.exp(log_var / 2)).sum(axis=axis)
    given = (ops.convert_to_tensor(a, "float32") for a in (x, mean, log_var))
    np.testing.assert_allclose(gaussian_log_prob(*given, axis), expected, rtol=1e-5)
    of_prior = gaussian_log_prob(ops.convert_to_tensor(x, "float32"), 0.0, 0.0)
    np.testing.assert_allclose(of_prior, stats.norm.logpdf(x).sum(axis=-1), rtol=1e-5)


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
