"""Two stochastic layers: against models whose p(z) is known."""

from utils import vae

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special, stats

SLOPE, SPREAD = 1.5, 0.7  # p(z|u) = N(SLOPE * u, SPREAD²), so p(z) is Gaussian too


def linear(inputs, outputs, slope, deviation):
    """A network from v to the mean slope * v and a constant log-variance."""
    network = vae.dense_encoder((inputs,), outputs, ())
    kernel = slope * np.eye(inputs, outputs)
    network.get_layer("mean").set_weights([kernel, np.zeros(outputs)])
    log_var = np.full(outputs, 2 * np.log(deviation))
    network.get_layer("log_var").set_weights([0 * kernel, log_var])
    return network


def make_prior(off=0.0):
    """The prior above, with the exact posterior of u, or one that is off."""
    variance = SLOPE**2 + SPREAD**2
    posterior = SLOPE / variance, SPREAD / variance**0.5 + off
    return vae.HierarchicalPrior(linear(2, 2, *posterior), linear(2, 2, SLOPE, SPREAD))


def draw(*shape):
    return np.random.default_rng(4).normal(size=shape).astype("float32")


def log_marginal(z):
    return stats.norm(0, np.hypot(SLOPE, SPREAD)).logpdf(z).sum(axis=-1)


def test_with_the_exact_posterior_every_draw_gives_the_density():
    z = draw(5, 3, 2)
    found = ops.convert_to_numpy(make_prior().log_prob(z, draw(5, 3, 2)))
    np.testing.assert_allclose(found, log_marginal(z), rtol=1e-4)


def test_with_another_posterior_the_mean_weight_is_unbiased_and_its_log_is_below():
    z = np.tile(np.float32([0.5, -1.0]), (200_000, 1))
    log_w = ops.convert_to_numpy(make_prior(0.3).log_prob(z, draw(*z.shape)))
    exact = log_marginal(z[0])
    weights = np.exp(log_w - exact)
    error = weights.std() / len(z) ** 0.5
    assert error < 0.01
    assert abs(weights.mean() - 1) < 4 * error
    assert log_w.mean() < exact - 10 * log_w.std() / len(z) ** 0.5


def test_it_draws_from_the_density_that_it_scores():
    z = ops.convert_to_numpy(make_prior(0.3).sample(20_000, 5))
    distance = stats.kstest(z.ravel(), stats.norm(0, np.hypot(SLOPE, SPREAD)).cdf)
    assert distance.pvalue > 1e-3


@pytest.fixture
def two_layers(make_model):
    def make(prior=None, **settings):
        model = make_model(prior=prior or make_prior(), **settings)
        model.decoder.get_layer("logits").kernel.assign(draw(8, 16))
        return model

    return make


def test_a_second_layer_that_says_nothing_is_the_first_alone(
    make_model, two_layers, images
):
    idle = vae.HierarchicalPrior(linear(2, 2, 0, 1), linear(2, 2, 0, 1))
    for num_samples in (1, 4):
        plain, double = make_model(), two_layers(idle, num_samples=num_samples)
        out = double(images)
        double_loss = float(double.compute_loss(y_pred=out))
        plain.num_samples = num_samples
        log_ratio = plain.log_density_ratio(out["z"], out["mean"], out["log_var"])
        log_w = ops.convert_to_numpy(
            log_ratio + plain.likelihood.log_prob(out["x"], out["decoded"])
        ).reshape(num_samples, -1)
        expected = np.log(num_samples) - special.logsumexp(log_w, axis=0)
        assert double_loss == pytest.approx(expected.mean(), rel=1e-4)


def test_the_score_agrees_with_integration(two_layers):
    model = two_layers(make_prior(0.2))
    model.encoder.get_layer("log_var").bias.assign([1.5, 1.5])  # no weight too large
    binary = np.random.default_rng(2).integers(0, 2, (3, 4, 4)).astype("float32")
    score = vae.log_likelihood(model, binary, 50_000, verbose=0)
    side = np.linspace(-9, 9, 241, dtype="float32")
    z = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    logits = ops.convert_to_numpy(model.decoder(z)).astype("float64")[:, None]
    log_joint = (binary * logits - np.logaddexp(0, logits)).sum(axis=(2, 3))
    log_joint += log_marginal(z)[:, None] + 2 * np.log(side[1] - side[0])
    exact = special.logsumexp(log_joint, axis=0)
    assert np.all(score.per_image_error < 0.05)
    assert np.all(np.abs(score.per_image - exact) < 5 * score.per_image_error + 1e-3)


@pytest.mark.one_backend
def test_training_raises_the_bound_and_moves_both_layers(two_layers, images):
    model = two_layers(num_samples=2)
    before = [np.copy(w) for w in model.prior.get_weights()]
    history = model.fit(images, batch_size=16, epochs=30, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 1
    for old, new in zip(before, model.prior.get_weights(), strict=True):
        assert not np.allclose(old, new)
    parts = np.add(history["reconstruction"], history["kl"])
    assert np.all(parts > history["loss"])  # several draws tighten the bound


@pytest.mark.one_backend
def test_it_is_saved_with_the_model(two_layers, images, tmp_path):
    model = two_layers()
    model.fit(images, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    first, second = (
        vae.log_likelihood(m, images, 5, verbose=0).per_image for m in (model, loaded)
    )
    np.testing.assert_allclose(first, second, rtol=1e-5)
    pictures = [m.sample(3, seed=1) for m in (model, loaded)]
    np.testing.assert_allclose(*pictures, rtol=1e-5)


@pytest.mark.one_backend
def test_networks_that_do_not_fit_are_named(make_model):
    with pytest.raises(ValueError, match="encoder must end in a mean"):
        vae.HierarchicalPrior(linear(2, 3, 1, 1), linear(2, 2, 1, 1))
    for parts, name in (
        ((None, linear(2, 2, 1, 1)), "encoder"),
        ((linear(2, 2, 1, 1), keras.Sequential()), "decoder"),
    ):
        with pytest.raises(ValueError, match=f"^{name} is .* known shape"):
            vae.HierarchicalPrior(*parts)
    with pytest.raises(ValueError, match="prior is one of vectors"):
        make_model(prior=vae.HierarchicalPrior(linear(3, 2, 1, 1), linear(2, 3, 1, 1)))
