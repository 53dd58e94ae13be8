"""Likelihoods that learn their noise: against SciPy, at the extremes, in training."""

from utils import vae
from utils.vae import likelihoods

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

SHAPE, DIMS = (2, 3, 2), 12
LEAST, MOST = likelihoods.BOUNDS


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def orthonormal(dims, seed=0):
    return np.linalg.qr(draw(dims, dims, seed=seed))[0]


def numbers(tensor):
    return ops.convert_to_numpy(tensor)


def raised(likelihood, seed=5):
    """Give every scale a value of its own, away from where it starts."""
    raw = likelihood.raw
    raw.assign(np.random.default_rng(seed).uniform(-3, 1, raw.shape))
    return likelihood


MAKERS = {
    "shared": lambda: vae.LearnedGaussian(),
    "per channel": lambda: vae.LearnedGaussian((2,)),
    "per dimension": lambda: vae.LearnedGaussian(SHAPE),
    "predicted": lambda: vae.PredictedGaussian(),
    "basis": lambda: vae.BasisGaussian(orthonormal(DIMS)),
    "logistic": lambda: vae.DiscretizedLogistic((2,)),
}
LEARNED = [name for name in MAKERS if name != "predicted"]
ONE_BACKEND = pytest.mark.one_backend


def make_vae(likelihood, rate=0.01):
    outputs = 2 if isinstance(likelihood, vae.PredictedGaussian) else 1
    settings = {"link": "identity", "outputs_per_pixel": outputs}
    encoder = vae.dense_encoder(SHAPE, 2, (8,))
    decoder = vae.dense_decoder(2, SHAPE, (8,), **settings)
    model = vae.VAE(encoder, decoder, likelihood, seed=3)
    model.compile(keras.optimizers.Adam(rate))
    return model


@pytest.fixture
def pictures():
    mean = np.linspace(30, 220, DIMS).reshape(SHAPE)
    noise = np.random.default_rng(1).normal(0, 20, (64, *SHAPE))
    return (mean + noise).clip(0, 255).astype("uint8")


def gradient(function, start=0.0):
    """Derivative of a function of one array, by what plain SGD subtracts.

    From a start at zero, so that the smallest of gradients is not rounded away.
    """

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.shift = self.add_weight(shape=np.shape(start), initializer="zeros")

        def build(self, input_shape):
            self.built = True

        def call(self, x):
            return function(ops.convert_to_tensor(np.float32(start)) + self.shift * 1.0)

        def compute_loss(self, x=None, y=None, y_pred=None, *_, **__):
            return ops.sum(y_pred)

    model = Model()
    model.compile(keras.optimizers.SGD(1.0))
    model.train_on_batch(np.zeros((1, 1), "float32"))
    return -numbers(model.shift)


@pytest.mark.one_backend
def test_the_scale_is_bounded_and_the_bounds_are_within_reach():
    raw = np.float32([-1e30, -1e4, -1, 0, 1, 1e4, 1e30])
    log_scale = numbers(vae.bounded_log_scale(raw, (0.01, 4.0)))
    assert np.all(np.diff(log_scale) >= 0)
    np.testing.assert_allclose(np.exp(log_scale[[0, -1]]), [0.01, 4.0], rtol=1e-5)
    np.testing.assert_allclose(np.exp(log_scale[3]), 0.2, rtol=1e-6)
    w = np.log(400) / 2
    expected = np.log(0.2) + raw[2:5] / np.sqrt(1 + (raw[2:5] / w) ** 2)
    np.testing.assert_allclose(log_scale[2:5], expected, rtol=1e-5)


@pytest.mark.one_backend
def test_each_dimension_may_have_bounds_of_its_own():
    """Whitening moves a floor along, so that the density only changes by volume."""
    deviations = np.array([0.5, 2.0, 8.0])
    bounds = 0.1 * np.ones(3), 5.0 * np.ones(3)
    plain = vae.LearnedGaussian((3,), bounds=bounds, initial=[0.1, 0.3, 5])
    white = vae.LearnedGaussian(
        (3,), bounds=[b / deviations for b in bounds], initial=plain.scale / deviations
    )
    x, decoded = draw(4, 3), draw(2, 4, 3, seed=1)
    expected = numbers(plain.log_prob(x, decoded)) + np.log(deviations).sum()
    actual = white.log_prob(
        np.float32(x / deviations), np.float32(decoded / deviations)
    )
    np.testing.assert_allclose(actual, expected, rtol=2e-4)
    raw = np.float32([-1e4, 0, 1e4])
    pair = vae.PredictedGaussian(bounds=white.bounds)
    scale = numbers(pair.scale(np.concatenate([raw, raw])[None]))[0] * deviations
    np.testing.assert_allclose(scale, [0.1, np.sqrt(0.5), 5.0], rtol=1e-5)
    copy = vae.PredictedGaussian.from_config(pair.get_config())
    assert copy.bounds == pair.bounds


@pytest.mark.one_backend
def test_the_scale_goes_on_learning_at_the_extremes():
    raw = np.float32([-1e4, -50, 0, 50, 1e4])
    slope = gradient(lambda r: vae.bounded_log_scale(r, (0.01, 4.0)), raw)
    w = np.log(400) / 2
    np.testing.assert_allclose(slope, (1 + (raw / w) ** 2) ** -1.5, rtol=1e-3)
    assert np.all(slope > 0)


@pytest.mark.one_backend
@pytest.mark.parametrize("scale", [0.002, 0.1, 3.0])
def test_it_starts_at_the_initial_scale(scale):
    likelihood = vae.LearnedGaussian((3,), initial=[scale, 0.2, 0.0])
    np.testing.assert_allclose(likelihood.scale[:2], [scale, 0.2], rtol=1e-4)
    assert likelihood.scale[2] == pytest.approx(LEAST, rel=2e-3)
    assert vae.LearnedGaussian().scale == pytest.approx(np.sqrt(LEAST * MOST))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("shared", marks=ONE_BACKEND),
        "per channel",
        pytest.param("per dimension", marks=ONE_BACKEND),
    ],
)
def test_learned_log_prob_is_scipys(name):
    likelihood = raised(MAKERS[name]())
    x, decoded = draw(5, *SHAPE), draw(3, 5, *SHAPE, seed=1)  # three latent draws
    expected = stats.norm.logpdf(x, decoded, likelihood.scale).sum(axis=(2, 3, 4))
    actual = numbers(likelihood.log_prob(x, decoded))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_predicted_log_prob_is_scipys():
    likelihood = vae.PredictedGaussian(bounds=(0.05, 2.0))
    x, mean = draw(5, *SHAPE), draw(3, 5, *SHAPE, seed=1)
    raw = draw(3, 5, *SHAPE, seed=2)
    decoded = np.concatenate([mean, raw], axis=-1)
    scale = np.exp(numbers(vae.bounded_log_scale(raw, (0.05, 2.0))))
    expected = stats.norm.logpdf(x, mean, scale).sum(axis=(2, 3, 4))
    np.testing.assert_allclose(likelihood.log_prob(x, decoded), expected, rtol=1e-5)
    np.testing.assert_array_equal(likelihood.mean(decoded), mean)
    np.testing.assert_allclose(likelihood.scale(decoded), scale, rtol=1e-6)


def test_basis_log_prob_is_that_of_correlated_pixels():
    basis = orthonormal(DIMS)
    likelihood = raised(vae.BasisGaussian(basis))
    x, decoded = draw(5, *SHAPE), draw(3, 5, *SHAPE, seed=1)
    covariance = basis * likelihood.scale**2 @ basis.T
    density = stats.multivariate_normal(cov=covariance.astype("float64"))
    expected = density.logpdf((x - decoded).reshape(3, 5, -1))
    actual = numbers(likelihood.log_prob(x, decoded))
    np.testing.assert_allclose(actual, expected, rtol=2e-4)


def logistic_of_bytes(likelihood, decoded):
    """Log-probability of every byte for one image of one pixel of two channels."""
    images = np.arange(256, dtype="uint8")[:, None, None, None].repeat(2, axis=-1)
    x = likelihood.observe(ops.convert_to_tensor(images), 0)
    decoded = np.broadcast_to(np.float32(decoded), (256, 1, 1, 2))
    return numbers(likelihood.log_prob(x, decoded)).astype("float64")


@pytest.mark.parametrize("mean", [-3.0, 0.0, 0.3, 0.998, 1.0, 40.0])
@pytest.mark.parametrize("scale", [LEAST, 0.02, 0.7, MOST])
def test_the_probabilities_of_all_bytes_sum_to_one(mean, scale):
    likelihood = vae.DiscretizedLogistic(initial=scale)
    log_p = logistic_of_bytes(likelihood, mean) / 2  # both channels are alike
    assert np.all(np.isfinite(log_p))
    assert np.exp(log_p).sum() == pytest.approx(1, rel=2e-5)


def test_the_logistic_is_scipys_cut_into_bytes():
    likelihood = vae.DiscretizedLogistic((2,), initial=[0.02, 0.1])
    density = stats.logistic([0.3, 0.9], likelihood.scale)
    ends = (np.arange(257)[:, None] - 0.5) / 255
    ends[0], ends[-1] = -np.inf, np.inf
    # From the nearer tail: from the other, the difference cancels.
    below = ends[1:] < [0.3, 0.9]
    cdf, sf = (np.diff(f(ends), axis=0) for f in (density.cdf, density.sf))
    p = np.where(below, cdf, -sf)
    expected = np.log(p).sum(axis=1)
    actual = logistic_of_bytes(likelihood, [0.3, 0.9])
    np.testing.assert_allclose(actual, expected, rtol=2e-4)


def test_the_logistic_counts_latent_draws_in_front():
    likelihood = raised(MAKERS["logistic"]())
    x = np.round(255 * draw(5, *SHAPE).clip(0, 1)) / 255
    decoded = draw(3, 5, *SHAPE, seed=1)
    together = numbers(likelihood.log_prob(x, decoded))
    apart = [numbers(likelihood.log_prob(x, d)) for d in decoded]
    np.testing.assert_allclose(together, apart, rtol=1e-6)


def test_floats_are_brought_to_the_nearest_byte():
    x = vae.DiscretizedLogistic().observe(np.float32([[0, 0.0021, 0.5, 0.9999]]), 0)
    np.testing.assert_allclose(x, [[0, 1 / 255, 128 / 255, 1]], rtol=1e-6)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[ONE_BACKEND] * n.startswith("per")) for n in MAKERS]
)
@pytest.mark.parametrize("raw", [1e4, pytest.param(-1e4, marks=ONE_BACKEND)])
@pytest.mark.parametrize(
    "far", [0.0, *(pytest.param(n, marks=ONE_BACKEND) for n in (-1e4, 1e4))]
)
def test_values_and_gradients_stay_finite_at_the_extremes(name, raw, far):
    likelihood = MAKERS[name]()
    x = np.zeros((1, *SHAPE), "float32")
    decoded = np.full((1, *SHAPE), far, "float32")
    if name == "predicted":
        decoded = np.concatenate([decoded, np.full_like(decoded, raw)], axis=-1)
        found = gradient(lambda d: likelihood.log_prob(x, d), decoded)
        assert np.all(found[..., 2:] != 0), "no variance is dead"
    else:
        likelihood.raw.assign(np.full(likelihood.raw.shape, raw))
        found = gradient(lambda d: likelihood.log_prob(x, d), decoded)
    assert np.all(np.isfinite(found))
    assert np.all(np.isfinite(numbers(likelihood.log_prob(x, decoded))))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="long without the device loop, and the same operations",
)
@pytest.mark.parametrize("name", ["predicted", "basis", "logistic"])
def test_a_thousand_steps_ten_times_too_long_end_in_numbers(name):
    """Images without any noise, so that every scale is driven to its end."""
    images = np.zeros((1600, *SHAPE), "uint8")  # few epochs, which cost more than steps
    images[:, 1] = 255
    model = make_vae(MAKERS[name](), rate=0.01)
    # Twice 500, which XLA is not worth compiling for.
    losses = [
        model.fit(images, batch_size=16, epochs=5, verbose=0).history["loss"]
        for _ in range(2)
    ]
    assert np.all(np.isfinite(losses))
    assert losses[1][-1] < losses[0][0]
    assert all(np.all(np.isfinite(w)) for w in model.get_weights())
    assert np.all(np.isfinite(model.sample(5, draw=True, seed=0)))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("shared", marks=ONE_BACKEND),
        pytest.param("predicted", marks=ONE_BACKEND),
        "basis",
        pytest.param("logistic", marks=ONE_BACKEND),
    ],
)
def test_it_is_trained_and_saved_with_the_model(name, pictures, tmp_path):
    likelihood = MAKERS[name]()
    model = make_vae(likelihood)
    if name in LEARNED:
        assert any(v is likelihood.raw for v in model.trainable_variables)
        before = likelihood.scale
    history = model.fit(pictures, batch_size=16, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 5
    parts = np.add(history["reconstruction"], history["kl"])
    np.testing.assert_allclose(history["loss"], parts, rtol=1e-4)
    if name in LEARNED:
        assert np.all(likelihood.scale != before)
        raised(likelihood)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    first, second = (float(m.compute_loss(y_pred=m(pictures))) for m in (model, loaded))
    assert first == pytest.approx(second, rel=1e-5)
    drawn = [m.sample(3, draw=True, seed=1) for m in (model, loaded)]
    np.testing.assert_allclose(*drawn, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_settings_are_saved(name):
    likelihood = MAKERS[name]()
    likelihood.bounds, likelihood.dequantize = (0.01, 2.0), True
    config = keras.saving.serialize_keras_object(likelihood)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.bounds == (0.01, 2.0)
    if name != "logistic":
        assert copy.dequantize is True
    if name in LEARNED:
        assert copy.raw.shape == likelihood.raw.shape


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["shared", "per channel", "per dimension", "basis"])
def test_the_fitted_scale_is_where_the_bound_is_largest(name, pictures):
    model = make_vae(MAKERS[name]())
    # No noise in z, so that every evaluation is of the same latent draws.
    model.encoder.get_layer("log_var").kernel.assign(np.zeros((8, 2)))
    model.encoder.get_layer("log_var").bias.assign([-60.0, -60.0])
    likelihood = model.likelihood
    fitted = likelihood.fit_scale(model, pictures, batch_size=24)  # an uneven division
    np.testing.assert_array_equal(fitted, likelihood.scale)

    def loss():
        return model.evaluate(pictures, verbose=0, return_dict=True)["loss"]

    best = loss()
    at_best = numbers(likelihood.raw)
    for direction in [1.0, np.where(draw(*fitted.shape) > 0, 1.0, -1.0)]:
        for step in (-0.1, 0.1):
            likelihood.raw.assign(at_best + step * direction)
            assert best + 0.01 < loss() < best + 100


@pytest.mark.one_backend
def test_the_fitted_scale_is_the_root_of_the_mean_squared_residual(pictures):
    model = make_vae(vae.LearnedGaussian(SHAPE))
    model.decoder.set_weights([w * 0 for w in model.decoder.get_weights()])
    fitted = model.likelihood.fit_scale(model, pictures, batch_size=10)
    expected = np.sqrt(((pictures / 255) ** 2).mean(axis=0))
    np.testing.assert_allclose(fitted, expected, rtol=1e-4)
    model.likelihood = vae.LearnedGaussian()
    fitted = model.likelihood.fit_scale(model, pictures, batch_size=10)
    np.testing.assert_allclose(fitted, np.sqrt((expected**2).mean()), rtol=1e-4)
    with pytest.raises(ValueError, match="images has shape"):
        model.likelihood.fit_scale(model, pictures[0])


def test_a_basis_from_the_data_starts_as_the_gaussian_of_the_data(pictures):
    flat = pictures.reshape(64, -1) / 255
    variances, basis = np.linalg.eigh(np.cov(flat.T))
    likelihood = vae.BasisGaussian(basis, initial=np.sqrt(variances))
    mean = np.broadcast_to(np.float32(flat.mean(axis=0)), flat.shape)
    actual = likelihood.log_prob(np.float32(flat), mean)
    density = stats.multivariate_normal(flat.mean(axis=0), np.cov(flat.T))
    np.testing.assert_allclose(actual, density.logpdf(flat), rtol=1e-3)


@pytest.mark.one_backend
def test_samples_have_the_mean_and_the_spread_of_the_density():
    count, decoded = 20_000, draw(*SHAPE).clip(0.3, 0.7)
    many = np.broadcast_to(decoded, (count, *SHAPE))
    for name in MAKERS:
        likelihood = MAKERS[name]()
        outputs = many
        if name == "predicted":
            raw = np.broadcast_to(draw(*SHAPE, seed=3), many.shape)
            outputs = np.concatenate([many, raw], axis=-1)
            covariance = np.diag(numbers(likelihood.scale(outputs[:1])).ravel() ** 2)
        else:
            likelihood.raw.assign(likelihood.raw - 1.0)  # too narrow for the ends
            scale = np.broadcast_to(
                likelihood.scale, SHAPE if name != "basis" else DIMS
            )
            covariance = np.diag(scale.ravel() ** 2)
        if name == "basis":
            raised(likelihood)
            v = numbers(likelihood.basis)
            covariance = v * likelihood.scale**2 @ v.T
        if name == "logistic":
            covariance = covariance * np.pi**2 / 3
        drawn = numbers(likelihood.sample(outputs, keras.random.SeedGenerator(1)))
        assert drawn.shape == many.shape
        flat = drawn.reshape(count, -1).astype("float64")
        error = np.sqrt(np.diag(covariance) / count)
        bias = np.abs(flat.mean(axis=0) - decoded.ravel())
        widest = 0.02 if name == "logistic" else 0.0  # what the ends cut off
        assert np.all(bias < 5 * error + widest), name
        found = np.cov(flat.T)
        largest = np.abs(covariance).max()
        room = 0.25 if name == "logistic" else 0.06
        np.testing.assert_allclose(found, covariance, atol=room * largest, err_msg=name)


@pytest.mark.one_backend
def test_draws_of_the_logistic_are_bytes():
    likelihood = vae.DiscretizedLogistic(initial=0.3)
    drawn = 255 * numbers(likelihood.sample(np.full((500, *SHAPE), 0.5, "float32"), 0))
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-4)
    assert drawn.min() == 0
    assert drawn.max() == 255
    values = logistic_of_bytes(likelihood, 0.5) / 2
    share = (np.abs(drawn) < 0.5).mean()
    p = np.exp(values[0])
    assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / drawn.size)
    np.testing.assert_array_equal(
        likelihood.mean(np.float32([-1, 0.5, 2])), [0, 0.5, 1]
    )


@pytest.mark.parametrize("name", ["shared", "basis", "logistic", "predicted"])
def test_sums_are_in_full_precision_under_a_mixed_policy(name):
    """As in the importance sampler, whose policy casts what it calls."""
    likelihood = MAKERS[name]()
    x, decoded = draw(5, *SHAPE), draw(5, *SHAPE, seed=1)
    if name == "predicted":
        decoded = np.concatenate([decoded, draw(5, *SHAPE, seed=2)], axis=-1)
    else:
        raised(likelihood)
    expected = numbers(likelihood.log_prob(x, decoded))

    class Probe(keras.Model):
        def call(self, rows):
            return likelihood.log_prob(ops.convert_to_tensor(x), decoded)

    actual = Probe(dtype="mixed_float16")(np.zeros((5, 1), "float32"))
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["predicted", "basis"])
def test_what_is_dequantized_is_a_density_of_bytes(name, pictures):
    likelihood = MAKERS[name]()
    assert likelihood.scores is None
    likelihood.dequantize = True
    assert likelihood.scores == "density"
    model = make_vae(likelihood)
    x = numbers(model(pictures)["x"])
    assert np.all(np.floor(x * 256) == pictures)


@pytest.mark.parametrize(
    "bounds",
    [
        (0.0, 1.0),
        (2.0, 1.0),
        (1.0, np.inf),
        (1.0, 1.0),
        ([0.1, 2.0], 1.0),
        1,
        (1.0,),
        "ab",
        (0.1, 1 + 1j),
        (0.5, 0.5 + 1e-9),  # of one logarithm, in single precision
        (np.ma.masked_less([0.1, 0.2], 0.2), 1.0),
    ],
)
def test_wrong_bounds_are_refused(bounds):
    for kind in (vae.LearnedGaussian, vae.PredictedGaussian, vae.DiscretizedLogistic):
        with pytest.raises(ValueError, match="bounds is"):
            kind(bounds=bounds)
    with pytest.raises(ValueError, match="bounds is"):
        vae.bounded_log_scale(0.5, bounds)


def test_a_wrong_initial_scale_is_refused():
    for initial in (-1.0, np.nan, [1.0, np.inf]):
        with pytest.raises(ValueError, match=r"^initial holds"):
            vae.LearnedGaussian((2,), initial=initial)
    for initial in (1j, "a"):
        with pytest.raises(ValueError, match=r"^initial must be real"):
            vae.LearnedGaussian((2,), initial=initial)
    with pytest.raises(ValueError, match=r"^bounds has .*\(3,\).* not suit \(2,\)"):
        vae.LearnedGaussian((2,), bounds=(np.ones(3), 2.0))
    for kind in (vae.LearnedGaussian, vae.PredictedGaussian, vae.Gaussian):
        with pytest.raises(ValueError, match=r"^dequantize is 'yes'"):
            kind(dequantize="yes")
    with pytest.raises(ValueError, match=r"initial has shape \(2,\)"):
        vae.LearnedGaussian((3,), initial=[0.1, 0.2])


def test_a_wrong_shape_of_scales_is_refused():
    with pytest.raises(ValueError, match="shape is 3, but must be a sequence"):
        vae.LearnedGaussian(3)
    for kind in (vae.LearnedGaussian, vae.DiscretizedLogistic):
        with pytest.raises(ValueError, match=r"shape is \(5,\), but must be"):
            kind((5,)).log_prob(draw(4, *SHAPE), draw(4, *SHAPE))


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (np.eye(4)[:3], "must be square"),
        (np.zeros(4), "must be square"),
        (1.001 * np.eye(4), "must be orthonormal"),
        (np.eye(4) + np.eye(4, k=1), "must be orthonormal"),
        (np.full((4, 4), np.nan), "must be orthonormal"),
        (np.eye(4) * (1 + 0j), "^basis must be real"),
        (None, "^basis must be real"),
    ],
)
def test_a_basis_that_is_not_orthonormal_is_refused(basis, message):
    with pytest.raises(ValueError, match=message):
        vae.BasisGaussian(basis)


def test_a_decoder_without_variances_is_refused():
    with pytest.raises(ValueError, match="outputs_per_pixel=2"):
        vae.PredictedGaussian().log_prob(draw(5, *SHAPE), draw(5, *SHAPE))
    with pytest.raises(ValueError, match=r"must end in \(2, 3, 4\)"):
        vae.PredictedGaussian().log_prob(draw(5, *SHAPE), draw(5, 1, 1, 4))


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_vectors_of_any_floats_are_trained_on_scored_and_encoded():
    vectors = 3 * draw(64, 5)
    encoder = vae.dense_encoder((5,), 2, (8,))
    decoder = vae.dense_decoder(2, (5,), (8,), link="identity", outputs_per_pixel=2)
    model = vae.VAE(encoder, decoder, vae.PredictedGaussian(bounds=(0.1, 99.0)))
    model.compile("sgd")
    model.fit(vectors, validation_data=(vectors[:9],), verbose=0)
    assert np.isfinite(
        vae.log_likelihood(model, vectors, num_samples=3, verbose=0).mean
    )
    assert model.encode(vectors)[0].shape == (64, 2)
    with pytest.raises(ValueError, match="finite"):
        model.evaluate(vectors * np.float32(np.nan), verbose=0)
