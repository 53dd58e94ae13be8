import math
import warnings

from utils import vae
from utils.vae import evaluation

import keras
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


def log_joint(model, binary, z):
    logits = ops.convert_to_numpy(model.decoder(z[:, None].astype("float32")))
    logits = logits.astype("float64")[:, None]
    log_prob = stats.bernoulli.logpmf(binary, 1 / (1 + np.exp(-logits)))
    return log_prob.sum(axis=(2, 3)) + stats.norm.logpdf(z)[:, None]


def integrated(model, binary):
    """Log p(x) by integration over the one latent variable."""
    z = np.linspace(-8, 8, 2001)
    return np.log(np.trapezoid(np.exp(log_joint(model, binary, z)), z, axis=0))


def weight_ratio(model, binary):
    """E[w²] / E[w]² under q(z|x), by integration over the one latent variable."""
    z = np.linspace(-8, 8, 2001)
    mean, log_var = model.encode(binary)
    log_q = stats.norm.logpdf(z[:, None], mean[:, 0], np.exp(log_var[:, 0] / 2))
    ratio = np.trapezoid(np.exp(2 * log_joint(model, binary, z) - log_q), z, axis=0)
    return ratio / np.exp(2 * integrated(model, binary))


def test_it_agrees_with_integration(narrow, binary):
    score = vae.log_likelihood(narrow, binary, num_samples=20_000, verbose=0)
    exact = integrated(narrow, binary)
    assert np.ptp(exact) > 1, "the images should not be all alike"
    assert np.all(score.per_image_error < 0.05)
    assert np.all(np.abs(score.per_image - exact) < 5 * score.per_image_error + 1e-4)
    effective = 20_000 / weight_ratio(narrow, binary)
    np.testing.assert_allclose(score.effective_sample_size, effective, rtol=0.1)


@pytest.mark.one_backend
def test_with_one_sample_it_is_the_elbo_in_expectation(narrow, binary):
    many = np.repeat(binary[:1], 20_000, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = vae.log_likelihood(
            narrow, many, num_samples=1, batch_size=10_000, verbose=0
        )
    report = narrow.evaluate(many, batch_size=10_000, verbose=0, return_dict=True)
    assert abs(score.mean + report["loss"]) < 8 * score.standard_error
    assert score.mean < integrated(narrow, binary[:1])[0] - 5 * score.standard_error
    unknown = [score.monte_carlo_error, score.shortfall, *score.per_image_error[:3]]
    assert np.isnan(unknown).all(), "one weight does not tell how weights differ"
    assert np.all(score.effective_sample_size == 1)
    assert "1 sample each: the ELBO" in str(score)


class Ramp(vae.Likelihood):
    """Log-likelihoods that are known: 0.01 z - 12,000."""

    def log_prob(self, x, decoded):
        return 0.01 * ops.sum(decoded, axis=(-2, -1)) - 12_000.0


@pytest.mark.one_backend
def test_sums_of_weights_are_exact_far_below_zero(binary):
    """Weights that differ by a hundredth are told apart 12,000 nats below zero."""
    encoder, decoder = vae.dense_encoder((4, 4), 1, ()), vae.dense_decoder(1, (4, 4))
    for name in ("mean", "log_var"):  # q(z|x) is the prior
        encoder.get_layer(name).kernel.assign(np.zeros((16, 1)))
    z = keras.Input((1,))
    decoder = keras.Model(z, keras.layers.Reshape((1, 1))(z))
    model = vae.VAE(encoder, decoder, Ramp(), seed=0)
    score = vae.log_likelihood(model, binary, num_samples=100_000, verbose=0)
    np.testing.assert_allclose(score.per_image, -12_000 + 0.01**2 / 2, rtol=1e-8)
    # E[w²] / E[w]² is exp(0.01²).
    effective = 1e5 / math.exp(0.01**2)
    np.testing.assert_allclose(score.effective_sample_size, effective, rtol=1e-5)
    np.testing.assert_allclose(score.per_image_error, 0.01 / 1e5**0.5, rtol=0.05)


@pytest.mark.one_backend
@pytest.mark.parametrize("num_samples", [20, 500])
def test_an_estimate_that_rests_on_one_draw_is_not_believed(
    narrow, binary, num_samples
):
    narrow.encoder.get_layer("mean").bias.assign([6.0])
    narrow.encoder.get_layer("log_var").bias.assign([-1.0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        score = vae.log_likelihood(narrow, binary, num_samples=num_samples, verbose=0)
    missing = integrated(narrow, binary).mean() - score.mean
    assert missing > 20, "the samples missed the posterior"
    assert score.monte_carlo_error < 1, "and do not know it"
    assert np.median(score.effective_sample_size) < 2
    assert math.isnan(score.shortfall)
    assert "short by an unknown amount" in str(score)
    # Few samples are asked for where the bound itself is wanted.
    messages = [str(w.message) for w in caught if w.category is UserWarning]
    assert len(messages) == (num_samples == 500), messages
    for warning in caught:
        assert warning.filename == __file__
        assert f"num_samples is {num_samples}" in str(warning.message)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_weights_that_are_all_zero_leave_nothing_to_believe(binary, make_model):
    model = make_model()
    model.likelihood = Impossible()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = vae.log_likelihood(model, binary, num_samples=60, verbose=0)
    assert score.mean == -math.inf
    assert math.isnan(score.shortfall)


class Impossible(vae.Bernoulli):
    def log_prob(self, x, decoded):
        return super().log_prob(x, decoded) - math.inf


@pytest.mark.one_backend
def test_the_error_bars_are_honest(narrow, binary):
    repeats = 500
    many = np.repeat(binary, repeats, axis=0)
    score = vae.log_likelihood(narrow, many, num_samples=400, verbose=0)
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
    score = vae.log_likelihood(narrow, many, num_samples=200, verbose=0)
    missing = (np.repeat(integrated(narrow, binary), 500) - score.per_image).mean()
    assert missing > 3 * score.monte_carlo_error, "too small to be seen"
    assert abs(score.shortfall - missing) < 3 * score.monte_carlo_error


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
@pytest.mark.parametrize("num_samples", [7, 5003])
def test_any_number_of_samples_is_that_number(model, binary, num_samples):
    """A decoder that ignores z and an encoder that gives the prior: no noise."""
    model.decoder.get_layer("logits").kernel.assign(np.zeros((8, 16)))
    for name in ("mean", "log_var"):
        model.encoder.get_layer(name).kernel.assign(np.zeros((8, 2)))
    score = vae.log_likelihood(
        model, binary, num_samples=num_samples, batch_size=4, verbose=0
    )
    np.testing.assert_allclose(score.per_image, 16 * math.log(0.5), rtol=1e-5)
    assert score.num_samples == num_samples


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_seed_and_text(model, images, monkeypatch):
    first, other = (
        vae.log_likelihood(model, images, num_samples=3, seed=seed, verbose=0)
        for seed in (1, 2)
    )
    # Where layers are wide, fewer samples are decoded at a time: here one by one.
    monkeypatch.setattr(evaluation, "SLAB_NUMBERS", 64 * 16)
    again = vae.log_likelihood(model, images, num_samples=3, seed=1, verbose=0)
    np.testing.assert_allclose(first.per_image, again.per_image, rtol=1e-6)
    assert not np.allclose(first.per_image, other.per_image)
    assert f"{first.mean:.2f}" in str(first)
    assert "64 images, 3 samples each" in str(first)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_one_image_has_no_spread(model, images):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        score = vae.log_likelihood(model, images[:1], num_samples=3, verbose=0)
        assert "± nan" in str(score)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "^num_samples is 0"),
        ({"num_samples": 2.5}, "^num_samples is 2.5, but must be a positive integer"),
        ({"batch_size": -1}, "^batch_size is -1"),
        ({"verbose": "loud"}, "^verbose is 'loud'"),
        ({"seed": "a"}, "seed"),
        ({"vae": None}, "^vae is None"),
        ({"images": np.full((2, 4, 4), 200.0)}, "^images"),
        ({"images": None}, "^images .* array"),
        ({"images": (batch for batch in [np.ones((2, 4, 4))])}, "^images .* array"),
    ],
)
def test_bad_arguments(model, images, arguments, message):
    with pytest.raises(ValueError, match=message):
        vae.log_likelihood(**{"vae": model, "images": images, **arguments})


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_a_data_set_is_refused_and_a_tensor_or_list_is_not(model, images):
    tf = pytest.importorskip("tensorflow")
    for data in (tf.data.Dataset.from_tensor_slices(images).batch(8), Batches(images)):
        for use in (vae.log_likelihood, vae.active_units):
            with pytest.raises(ValueError, match=r"^images .* array"):
                use(model, data)
    for given in (list(images), ops.convert_to_tensor(images)):
        assert vae.active_units(model, given, threshold=0.0).all()
    assert (
        len(vae.log_likelihood(model, given, num_samples=2, verbose=0).per_image) == 64
    )


class Batches(keras.utils.PyDataset):
    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return (self.images[8 * index : 8 * index + 8],)


@pytest.mark.parametrize("threshold", [np.nan, -1, "0.1", None])
@pytest.mark.one_backend
def test_activity_needs_a_threshold_and_two_images(model, images, threshold):
    with pytest.raises(ValueError, match=r"^threshold is"):
        vae.active_units(model, images, threshold=threshold)
    with pytest.raises(ValueError, match=r"^images has only 1 image"):
        vae.active_units(model, images[:1])
    with pytest.raises(ValueError, match=r"^vae is"):
        vae.active_units(model.encoder, images)


def test_active_units_are_those_whose_mean_moves(model, images):
    for name in ("mean", "log_var"):
        model.encoder.get_layer(name).kernel.assign(np.zeros((8, 2)))
    assert vae.active_units(model, images).tolist() == [False, False]
    kernel = np.zeros((8, 2))
    kernel[:, 1] = np.random.default_rng(0).normal(0, 3, 8)
    model.encoder.get_layer("mean").kernel.assign(kernel)
    assert vae.active_units(model, images).tolist() == [False, True]
    assert vae.active_units(model, images, threshold=1e6).tolist() == [False, False]


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_a_model_with_several_draws_is_scored_like_one_with_one(make_model, binary):
    model, several = make_model(), make_model(num_samples=3)
    several.set_weights(model.get_weights())
    first, second = (
        vae.log_likelihood(m, binary, num_samples=7, verbose=0)
        for m in (model, several)
    )
    np.testing.assert_array_equal(first.per_image, second.per_image)
