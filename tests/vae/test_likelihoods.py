import warnings

from utils import vae
from utils.vae.data import check_images

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special, stats

bernoulli = vae.Bernoulli()


def test_log_prob_is_scipys_summed_over_pixels():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (5, 4, 3)).astype("float32")
    x = rng.integers(0, 2, (5, 4, 3)).astype("float32")
    expected = stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-logits.astype("float64"))))
    actual = ops.convert_to_numpy(bernoulli.log_prob(x, logits))
    np.testing.assert_allclose(actual, expected.sum(axis=(1, 2)), rtol=1e-5)


def test_log_prob_stays_finite_for_a_decoder_that_is_sure():
    x = np.array([[[1.0, 0.0]]], dtype="float32")
    right, wrong = 1000 * (2 * x - 1), 1000 * (1 - 2 * x)
    assert float(bernoulli.log_prob(x, right)[0]) == 0.0
    assert float(bernoulli.log_prob(x, wrong)[0]) == -2000.0


@pytest.mark.parametrize("shape", [(4, 8), (5, 7), (32, 3, 1)])
def test_the_gradient_of_log_prob_is_x_minus_the_mean(shape):
    """Which Keras' optimizers see, through a formula of our own."""
    rng = np.random.default_rng(0)
    start = rng.normal(0, 3, (2, 6, *shape)).astype("float32")  # two latent draws
    x = rng.integers(0, 2, (6, *shape)).astype("float32")
    layer = keras.layers.Layer()
    logits = layer.add_weight(shape=start.shape, initializer=lambda *a, **k: start)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.only = layer

        def build(self, input_shape):
            self.built = True

        def call(self, weights):
            return ops.sum(weights * bernoulli.log_prob(x, logits * 1.0))

        def compute_loss(self, x=None, y=None, y_pred=None, *_, **__):
            return y_pred

    weights = rng.random((2, 6)).astype("float32")
    model = Model()
    model.compile(keras.optimizers.SGD(1.0))
    model.train_on_batch(weights)
    moved = start - ops.convert_to_numpy(logits)
    expected = weights.reshape(2, 6, *[1] * len(shape)) * (x - 1 / (1 + np.exp(-start)))
    np.testing.assert_allclose(moved, expected, atol=2e-6)


@pytest.mark.parametrize("kind", ["bytes", "floats"])
def test_binarization_is_binary_unbiased_and_anew_at_each_use(kind):
    greys = np.array([0, 51, 128, 255], dtype="uint8")
    images = np.broadcast_to(greys[:, None], (20_000, 4, 1))
    images = ops.convert_to_tensor(
        images if kind == "bytes" else (images / 255).astype("float32")
    )
    seed = keras.random.SeedGenerator(0)
    first, second = (
        ops.convert_to_numpy(bernoulli.observe(images, seed)) for _ in range(2)
    )
    assert set(np.unique(first)) == {0.0, 1.0}
    assert (first != second).any()
    p = greys / 255
    error = np.sqrt(p * (1 - p) / 20_000)
    assert np.all(np.abs(first.mean(axis=(0, 2)) - p) <= 5 * error)


def test_mean_and_samples_agree():
    logits = ops.convert_to_tensor(np.full((20_000, 1, 1), 0.4, dtype="float32"))
    mean = float(bernoulli.mean(logits)[0, 0, 0])
    draws = ops.convert_to_numpy(bernoulli.sample(logits, 1))
    assert mean == pytest.approx(1 / (1 + np.exp(-0.4)), rel=1e-5)
    assert abs(draws.mean() - mean) < 5 * np.sqrt(mean * (1 - mean) / 20_000)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 4, 5), "uint8"), r"\(N, 4, 4\)"),
        (np.zeros((0, 4, 4), "uint8"), "at least 1"),
        (np.full((2, 4, 4), 128.0), r"\[0, 1\]"),
        (np.full((2, 4, 4), np.nan), r"\[0, 1\]"),
        (np.full((2, 4, 4), -1), "bytes"),
        (np.eye(4, dtype="int64")[None], "is of type int64, but must be bytes"),
        (np.eye(4, dtype="int8")[None], "is of type int8"),
        (np.eye(4, dtype="complex64")[None], "is of type complex64"),
        (np.full((2, 4, 4), "a"), "booleans or floats"),
    ],
)
def test_bad_images_are_refused_with_the_remedy(images, message):
    with pytest.raises(ValueError, match=message):
        check_images(images, (4, 4))


def test_gaussian_log_prob_is_scipys_summed_over_pixels_and_channels():
    rng = np.random.default_rng(0)
    x, mean = rng.random((2, 5, 4, 3, 3)).astype("float32")
    draws = np.stack([mean, mean + 0.5])  # two latent draws, in an axis in front
    expected = stats.norm.logpdf(x, draws, 0.3).sum(axis=(2, 3, 4))
    actual = ops.convert_to_numpy(vae.Gaussian(0.3).log_prob(x, draws))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_gaussian_observes_images_as_they_are_and_draws_with_its_scale():
    gaussian = vae.Gaussian(0.2)
    images = ops.convert_to_tensor(np.array([[[0, 51, 255]]], "uint8"))
    seen = ops.convert_to_numpy(gaussian.observe(images, 0))
    np.testing.assert_allclose(seen, [[[0, 0.2, 1]]], rtol=1e-6)
    decoded = np.full((40_000, 1, 1), 0.7, "float32")
    draws = ops.convert_to_numpy(gaussian.sample(decoded, 1))
    assert abs(draws.mean() - 0.7) < 5 * 0.2 / 200
    assert draws.std() == pytest.approx(0.2, rel=0.02)
    assert gaussian.mean(decoded) is decoded


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan, "a", None, [0.1, 0.2]])
def test_a_wrong_scale_is_refused(scale):
    with pytest.raises(ValueError, match="scale is"):
        vae.Gaussian(scale)


def test_dequantized_bytes_fill_their_cells_evenly_and_anew():
    gaussian = vae.Gaussian(0.2, dequantize=True)
    greys = np.array([0, 51, 255], "uint8")
    images = ops.convert_to_tensor(np.broadcast_to(greys, (20_000, 1, 3)))
    seed = keras.random.SeedGenerator(0)
    first, second = (
        ops.convert_to_numpy(gaussian.observe(images, seed)) for _ in range(2)
    )
    assert (first != second).mean() > 0.9
    u = first * 256.0 - greys
    for channel in range(3):
        assert stats.kstest(u[:, 0, channel], "uniform").pvalue > 1e-3
    floats = ops.convert_to_tensor(np.float32([[0.25, 0.5]]))
    np.testing.assert_array_equal(gaussian.observe(floats, seed), floats)
    assert vae.Gaussian.from_config(gaussian.get_config()).dequantize is True
    assert vae.Gaussian.from_config({"scale": 0.3}).dequantize is False


def test_bits_per_dimension_of_densities_and_of_probabilities():
    uniform = vae.bits_per_dim(0.0, 12, of="density")
    assert uniform == 8
    assert vae.bits_per_dim(12 * np.log(1 / 256), 12, of="bytes") == pytest.approx(8)
    scores = vae.bits_per_dim(np.array([12 * np.log(2.0), 0]), 12, of="density")
    np.testing.assert_allclose(scores, [7, 8])


@pytest.mark.one_backend
def test_both_kinds_of_bits_agree_where_the_noise_is_wide():
    """One wide logistic, as the probability of a byte and as a density."""
    images = np.random.default_rng(0).integers(60, 200, (200, 4, 4)).astype("uint8")
    decoded = np.full((200, 4, 4), 0.5, "float32")
    discrete = vae.DiscretizedLogistic(initial=0.08)
    x = discrete.observe(ops.convert_to_tensor(images), 0)
    log_prob = ops.convert_to_numpy(discrete.log_prob(x, decoded)).mean()
    u = np.random.default_rng(1).random(images.shape)
    # The same cells on the scale of (byte + u) / 256, the width of which is 1 / 256.
    density = stats.logistic.logpdf((images + u) / 256, 0.5, 0.08 * 255 / 256)
    log_density = density.sum(axis=(1, 2)).mean()
    assert vae.bits_per_dim(log_prob, 16, of=discrete) == pytest.approx(
        vae.bits_per_dim(log_density, 16, of="density"), abs=2e-3
    )


def test_a_likelihood_knows_which_kind_it_scores():
    dequantized = vae.Gaussian(0.1, dequantize=True)
    assert vae.bits_per_dim(3.0, 4, of=dequantized) == vae.bits_per_dim(
        3.0, 4, of="density"
    )
    assert vae.bits_per_dim(-3.0, 4, of=vae.DiscretizedLogistic()) == vae.bits_per_dim(
        -3.0, 4, of="bytes"
    )
    for neither in (vae.Gaussian(0.1), vae.Bernoulli(), "pixels", None):
        with pytest.raises(ValueError, match="of is"):
            vae.bits_per_dim(3.0, 4, of=neither)
    with pytest.raises(ValueError, match="num_dims is 0"):
        vae.bits_per_dim(3.0, 0, of="bytes")
    for log_prob in (np.nan, [1.0, np.nan], 1j, "a", np.ma.masked_less([1.0, 2], 2)):
        with pytest.raises(ValueError, match=r"^log_prob "):
            vae.bits_per_dim(log_prob, 3, of="bytes")


def test_integers_that_are_no_bytes_are_refused_by_their_type():
    for likelihood in (vae.Gaussian(), vae.Gaussian(dequantize=True), vae.Bernoulli()):
        for kind in ("uint16", "int32", "complex64"):
            images = ops.convert_to_tensor(np.ones((2, 4, 4)).astype(kind))
            with pytest.raises(ValueError, match=f"^images is of type {kind}"):
                likelihood.observe(images, 0)


def test_vectors_may_be_any_finite_floats_where_the_likelihood_says_so():
    vectors = np.float32([[-3.0, 200.0]])
    assert check_images(vectors, (2,), any_vector=True) is vectors
    with pytest.raises(ValueError, match="finite"):
        check_images(np.float32([[np.nan, 0.0]]), (2,), any_vector=True)
    with pytest.raises(ValueError, match=r"from -3.0 to 200.0"):
        check_images(vectors, (2,))
    densities = vae.Gaussian, vae.LearnedGaussian, vae.PredictedGaussian
    assert all(kind().any_vector for kind in densities)
    assert not any(kind(dequantize=True).any_vector for kind in densities)
    assert not vae.Bernoulli().any_vector
    assert not vae.DiscretizedLogistic().any_vector


def test_all_that_is_bytes_or_floats_is_taken_as_it_is():
    for dtype in ("uint8", "bool", "float16", "float32", "float64"):
        images = np.eye(4)[None].astype(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert check_images(images, (4, 4)) is images


def test_bytes_of_zeros_and_ones_raise_a_doubt():
    with pytest.warns(UserWarning, match="turn them into bool or float"):
        check_images(np.eye(4, dtype="uint8")[None], (4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_images(np.zeros((1, 4, 4), "uint8"), (4, 4))
        check_images(2 * np.eye(4, dtype="uint8")[None], (4, 4))
        check_images(np.eye(4, dtype="bool")[None], (4, 4))


@pytest.mark.parametrize(
    "likelihood",
    [
        vae.Bernoulli(),
        vae.Gaussian(),
        vae.LearnedGaussian(),
        vae.DiscretizedLogistic(),
        vae.BasisGaussian(np.eye(48)),
    ],
)
@pytest.mark.parametrize("shape", [(4, 4, 1), (4, 4), (48,), (1, 1, 1), (4, 4, 6)])
def test_a_decoder_of_another_shape_is_refused(likelihood, shape):
    x = np.zeros((2, 4, 4, 3), "float32")
    for draws in ((), (5,)):
        with pytest.raises(ValueError, match=r"must end in \(4, 4, 3\)"):
            likelihood.log_prob(x, np.zeros((*draws, 2, *shape), "float32"))


def test_text_says_which_likelihood_it_is():
    assert repr(vae.Bernoulli()) == "Bernoulli()"
    assert repr(vae.Gaussian(0.1)) == "Gaussian(scale=0.1, dequantize=False)"
    assert len(repr(vae.PredictedGaussian(bounds=(np.ones(999), 3.0)))) < 100


@pytest.mark.parametrize("num_levels", [256, 4])
def test_a_categorical_scores_levels_as_scipy_does(num_levels):
    bytes_ = np.random.default_rng(0).integers(0, 256, (5, 2, 3)).astype("uint8")
    bytes_[0, 0] = 0, 255, 128
    likelihood = vae.Categorical(num_levels)
    logits = np.random.default_rng(1).normal(0, 2, (7, 5, 2, 3, num_levels))
    x = likelihood.observe(bytes_, 0)
    level = bytes_ // (256 // num_levels)
    np.testing.assert_allclose(x, level / (num_levels - 1), rtol=1e-5)
    as_floats = likelihood.observe(bytes_.astype("float32") / 255, 0)
    np.testing.assert_array_equal(x, as_floats)
    found = ops.convert_to_numpy(likelihood.log_prob(x, logits.astype("float32")))
    log_probs = special.log_softmax(logits, axis=-1)
    index = np.broadcast_to(level, logits.shape[:-1])[..., None]
    expected = np.take_along_axis(log_probs, index, axis=-1)[..., 0].sum(axis=(2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    values = np.arange(num_levels) / (num_levels - 1)
    mean = special.softmax(logits, axis=-1) @ values
    np.testing.assert_allclose(
        likelihood.mean(logits.astype("float32")), mean, rtol=1e-4
    )


@pytest.mark.one_backend
def test_a_categorical_draws_in_proportion():
    logits = np.tile(np.float32([0.0, 1.0, -1.0]), (30_000, 1, 1))
    drawn = ops.convert_to_numpy(vae.Categorical(3).sample(logits, 4)).ravel()
    counts = np.bincount((2 * drawn).round().astype(int), minlength=3)
    expected = len(drawn) * special.softmax(logits[0, 0])
    assert stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.one_backend
def test_a_categorical_of_bytes_has_bits_and_its_settings_are_checked():
    assert vae.bits_per_dim(-16 * np.log(256), 16, of=vae.Categorical()) == 8
    with pytest.raises(ValueError, match=r"^of is Categorical"):
        vae.bits_per_dim(-1.0, 16, of=vae.Categorical(4))
    for wrong in (1, 257, 2.5, "a"):
        with pytest.raises(ValueError, match=r"^num_levels is"):
            vae.Categorical(wrong)
    with pytest.raises(ValueError, match=r"^decoded has shape .* \(4, 4, 8\)"):
        vae.Categorical(8).log_prob(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)))


@pytest.mark.one_backend
def test_a_categorical_trains_and_is_saved(images, tmp_path):
    z = keras.Input((2,))
    logits = keras.layers.Reshape((4, 4, 8))(keras.layers.Dense(128)(z))
    encoder = vae.dense_encoder((4, 4), 2, (8,))
    model = vae.VAE(encoder, keras.Model(z, logits), vae.Categorical(8), seed=0)
    model.compile("adam")
    losses = model.fit(images, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 1
    assert model.sample(3).shape == model.sample(3, draw=True).shape == (3, 4, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.likelihood.num_levels == 8
