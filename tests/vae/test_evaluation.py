import math
import warnings

from utils import vae

import numpy as np
import pytest
from keras import ops
from scipy import stats


@pytest.fixture
def binary():
    return np.random.default_rng(2).integers(0, 2, (6, 4, 4)).astype("float32")


@pytest.fixture
def narrow(make_model):
    """A model whose one latent variable matters, and whose encoder is off."""
    model = make_model(latent_dim=1)
    model.decoder.get_layer("logits").kernel.assign(
        np.random.default_rng(0).normal(0, 3, (8, 16))
    )
    model.encoder.get_layer("mean").bias.assign([0.5])
    model.encoder.get_layer("log_var").bias.assign([-0.5])
    return model


def integrated(model, binary):
    """Log p(x) by integration over the one latent variable."""
    z = np.linspace(-8, 8, 2001)
    logits = ops.convert_to_numpy(model.decoder(z[:, None].astype("float32")))
    logits = logits.astype("float64")[:, None]
    log_joint = stats.bernoulli.logpmf(binary, 1 / (1 + np.exp(-logits)))
    log_joint = log_joint.sum(axis=(2, 3)) + stats.norm.logpdf(z)[:, None]
    return np.log(np.trapezoid(np.exp(log_joint), z, axis=0))


def test_it_agrees_with_integration(narrow, binary):
    score = vae.log_likelihood(narrow, binary, 20_000, verbose=0)
    exact = integrated(narrow, binary)
    assert np.ptp(exact) > 1, "the images should not be all alike"
    assert np.all(score.per_image_error < 0.05)
    assert np.all(np.abs(score.per_image - exact) < 5 * score.per_image_error + 1e-4)


def test_with_one_sample_it_is_the_elbo_in_expectation(narrow, binary):
    many = np.repeat(binary[:1], 20_000, axis=0)
    score = vae.log_likelihood(narrow, many, 1, batch_size=10_000, verbose=0)
    report = narrow.evaluate(many, batch_size=10_000, verbose=0, return_dict=True)
    assert abs(score.mean + report["loss"]) < 8 * score.standard_error
    assert score.mean < integrated(narrow, binary[:1])[0] - 5 * score.standard_error


@pytest.mark.one_backend
def test_the_error_bars_are_honest(narrow, binary):
    repeats = 500
    many = np.repeat(binary, repeats, axis=0)
    score = vae.log_likelihood(narrow, many, 400, verbose=0)
    spread = score.per_image.reshape(6, repeats).std(axis=1, ddof=1)
    claimed = score.per_image_error.reshape(6, repeats).mean(axis=1)
    # 500 repeats give the spread to about 3 %, the delta method a little less.
    np.testing.assert_allclose(claimed, spread, rtol=0.15)
    total = math.sqrt((score.per_image_error**2).sum()) / len(many)
    assert score.monte_carlo_error == pytest.approx(total)
    error = score.per_image.std(ddof=1) / len(many) ** 0.5
    assert score.standard_error == pytest.approx(error)


@pytest.mark.one_backend
def test_the_shortfall_is_foretold(narrow, binary):
    """The log of an average of 200 weights is too small, and by how much."""
    many = np.repeat(binary, 500, axis=0)
    score = vae.log_likelihood(narrow, many, 200, verbose=0)
    missing = (np.repeat(integrated(narrow, binary), 500) - score.per_image).mean()
    assert missing > 3 * score.monte_carlo_error, "too small to be seen"
    assert abs(score.shortfall - missing) < 3 * score.monte_carlo_error


@pytest.mark.parametrize("num_samples", [1, 7, 5003])
def test_any_number_of_samples_is_that_number(model, binary, num_samples):
    """A decoder that ignores z and an encoder that gives the prior: no noise."""
    model.decoder.get_layer("logits").kernel.assign(np.zeros((8, 16)))
    for name in ("mean", "log_var"):
        model.encoder.get_layer(name).kernel.assign(np.zeros((8, 2)))
    score = vae.log_likelihood(model, binary, num_samples, batch_size=4, verbose=0)
    np.testing.assert_allclose(score.per_image, 16 * math.log(0.5), rtol=1e-5)
    assert score.num_samples == num_samples


def test_seed_and_text(model, images):
    first, again, other = (
        vae.log_likelihood(model, images, 3, seed=seed, verbose=0) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.per_image, again.per_image)
    assert not np.allclose(first.per_image, other.per_image)
    assert f"{first.mean:.2f}" in str(first)
    assert "64 images, 3 samples each" in str(first)


def test_one_image_has_no_spread(model, images):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        score = vae.log_likelihood(model, images[:1], 3, verbose=0)
        assert "± nan" in str(score)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"num_samples": 2.5}, "positive integer"),
        ({"batch_size": -1}, "batch_size is -1"),
    ],
)
def test_bad_arguments(model, images, arguments, message):
    with pytest.raises(ValueError, match=message):
        vae.log_likelihood(model, images, **arguments)


def test_bad_images(model):
    with pytest.raises(ValueError, match="images"):
        vae.log_likelihood(model, np.full((2, 4, 4), 200.0))


def test_active_units_are_those_whose_mean_moves(model, images):
    for name in ("mean", "log_var"):
        model.encoder.get_layer(name).kernel.assign(np.zeros((8, 2)))
    assert vae.active_units(model, images).tolist() == [False, False]
    kernel = np.zeros((8, 2))
    kernel[:, 1] = np.random.default_rng(0).normal(0, 3, 8)
    model.encoder.get_layer("mean").kernel.assign(kernel)
    assert vae.active_units(model, images).tolist() == [False, True]
    assert vae.active_units(model, images, threshold=1e6).tolist() == [False, False]


def test_a_model_with_several_draws_is_scored_like_one_with_one(make_model, binary):
    model, several = make_model(), make_model(num_samples=3)
    several.set_weights(model.get_weights())
    first, second = (
        vae.log_likelihood(m, binary, 7, verbose=0) for m in (model, several)
    )
    np.testing.assert_array_equal(first.per_image, second.per_image)
