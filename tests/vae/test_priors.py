"""Priors: against densities that are known."""

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


@pytest.mark.one_backend
def test_with_the_exact_posterior_every_draw_gives_the_density():
    z = draw(5, 3, 2)
    found = ops.convert_to_numpy(make_prior().log_prob(z, draw(5, 3, 2)))
    np.testing.assert_allclose(found, log_marginal(z), rtol=1e-4)


@pytest.mark.one_backend
def test_with_another_posterior_the_mean_weight_is_unbiased_and_its_log_is_below():
    z = np.tile(np.float32([0.5, -1.0]), (200_000, 1))
    log_w = ops.convert_to_numpy(make_prior(0.3).log_prob(z, draw(*z.shape)))
    exact = log_marginal(z[0])
    weights = np.exp(log_w - exact)
    error = weights.std() / len(z) ** 0.5
    assert error < 0.01
    assert abs(weights.mean() - 1) < 4 * error
    assert log_w.mean() < exact - 10 * log_w.std() / len(z) ** 0.5


MEANS = np.float32([[-2.0, 1.0], [0.0, -1.0], [2.0, 2.0]])
LOG_VARS = np.float32([[-1.0, 0.5], [0.0, -2.0], [1.0, 0.0]])
LOGITS = np.float32([0.0, 1.0, -1.0])


def mixture():
    prior = vae.MixturePrior(3)
    prior.join(2, None, None)
    for name, value in (("means", MEANS), ("log_vars", LOG_VARS), ("logits", LOGITS)):
        getattr(prior, name).assign(value)
    return prior


def vamp():
    """Of an encoder that doubles and of known widths; pseudo-inputs in [0, 1]."""
    prior = vae.VampPrior(np.float32([[0.1, 0.8], [0.7, 0.3], [0.5, 0.5]]))
    prior.join(2, linear(2, 2, 2.0, 0.4), vae.DiagonalGaussian())
    return prior


def three_layers():
    """Each layer linear, so that p(z) is Gaussian."""
    middle = make_prior(0.2)  # of variance SLOPE² + SPREAD²
    variance = 0.25 * (SLOPE**2 + SPREAD**2) + 0.36
    posterior = linear(2, 2, 0.5 * (SLOPE**2 + SPREAD**2) / variance, 1.0)
    return vae.HierarchicalPrior(posterior, linear(2, 2, 0.5, 0.6), middle)


def conditional():
    return vae.ConditionalPrior(linear(2, 2, -1.5, 0.8))


def standard():
    prior = vae.StandardNormal()
    prior.join(2, None, None)
    return prior


CONDITION = np.float32([[0.5, -1.0]])
# Each as means, deviations and weights of the components along each axis.
KNOWN = {
    "standard": (standard, [[0.0, 0.0]], [[1.0, 1.0]], [1.0]),
    "mixture": (mixture, MEANS, np.exp(LOG_VARS / 2), special.softmax(LOGITS)),
    "vamp": (
        vamp,
        2 * np.array([[0.1, 0.8], [0.7, 0.3], [0.5, 0.5]]),
        np.full((3, 2), 0.4),
        np.full(3, 1 / 3),
    ),
    "two layers": (
        lambda: make_prior(0.3),
        [[0.0, 0.0]],
        [[np.hypot(SLOPE, SPREAD)] * 2],
        [1.0],
    ),
    "three layers": (
        three_layers,
        [[0.0, 0.0]],
        [[np.hypot(0.5 * np.hypot(SLOPE, SPREAD), 0.6)] * 2],
        [1.0],
    ),
    "conditional": (conditional, -1.5 * CONDITION, [[0.8, 0.8]], [1.0]),
}


# What is trained, and tried on the second backend: one of each kind.
KINDS = ["mixture", "vamp", "three layers", "conditional"]


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.one_backend] * (name not in KINDS))
        for name in KNOWN
    ]
)
def known(request):
    """A prior, and its log density and marginal distributions by SciPy."""
    make, means, deviations, weights = KNOWN[request.param]
    laws = stats.norm(np.asarray(means), np.asarray(deviations))

    def log_density(z):
        terms = laws.logpdf(z[..., None, :]).sum(axis=-1)
        return special.logsumexp(terms, axis=-1, b=weights)

    def cdf(axis):
        return lambda z: laws.cdf(z[:, None, None])[..., axis] @ np.asarray(weights)

    return make(), log_density, cdf


def test_it_scores_as_scipy_has_it(known):
    prior, log_density, _ = known
    for point in ([0.5, -1.0], [3.0, 2.0]):
        z = np.tile(np.float32(point), (100_000 if prior.noise_dim else 3, 1))
        noise = draw(len(z), prior.noise_dim) if prior.noise_dim else None
        condition = np.repeat(CONDITION, len(z), axis=0)
        log_w = ops.convert_to_numpy(prior.log_prob(z, noise, condition))
        exact = log_density(z[0])
        if not prior.noise_dim:
            np.testing.assert_allclose(log_w, exact, rtol=1e-4)
            continue
        weights = np.exp(log_w - exact)
        error = weights.std() / len(z) ** 0.5
        assert error < 0.02
        assert abs(weights.mean() - 1) < 4 * error


def test_it_draws_from_the_density_that_it_scores(known):
    prior, log_density, cdf = known
    condition = np.repeat(CONDITION, 20_000, axis=0)
    z = ops.convert_to_numpy(prior.sample(20_000, 5, condition))
    again = ops.convert_to_numpy(prior.sample(20_000, 5, condition))
    np.testing.assert_array_equal(z, again)
    for axis in (0, 1):
        assert stats.kstest(z[:, axis], cdf(axis)).pvalue > 1e-3
    # Both axes together: by how often they lie on one side of the middle.
    grid = np.stack(np.meshgrid(*[np.linspace(-12, 12, 401)] * 2), axis=-1)
    density = np.exp(log_density(grid)) * (24 / 400) ** 2
    upper = density[grid.sum(axis=-1) > 0].sum() / density.sum()
    found = (z.sum(axis=1) > 0).mean()
    assert abs(found - upper) < 5 * (upper * (1 - upper) / len(z)) ** 0.5 + 0.01


def integrated(model, log_density, binary):
    """Log p(x) on a grid of the two latent variables."""
    side = np.linspace(-9, 9, 241, dtype="float32")
    z = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    logits = ops.convert_to_numpy(model.decoder(z)).astype("float64")[:, None]
    log_joint = (binary * logits - np.logaddexp(0, logits)).sum(axis=(2, 3))
    log_joint += log_density(z)[:, None] + 2 * np.log(side[1] - side[0])
    return special.logsumexp(log_joint, axis=0)


@pytest.mark.one_backend
@pytest.mark.parametrize("known", KINDS, indirect=True)
def test_the_score_agrees_with_integration(make_model, known):
    prior, log_density, _ = known
    binary = np.random.default_rng(2).integers(0, 2, (3, 4, 4)).astype("float32")
    if isinstance(prior, vae.VampPrior):  # of the model that it is the prior of
        prior = vae.VampPrior(np.tile(np.float32([[[0.2]], [[0.9]]]), (1, 4, 4)))
    model = make_model(prior=prior)
    model.decoder.get_layer("logits").kernel.assign(draw(8, 16))
    model.encoder.get_layer("log_var").bias.assign([1.5, 1.5])  # no weight too large
    kernel = model.encoder.get_layer("mean").kernel
    kernel.assign(0.3 * kernel)
    if isinstance(prior, vae.VampPrior):
        mean, log_var = model.encoder(np.array(prior.pseudo_inputs))
        laws = stats.norm(np.array(mean), np.exp(np.array(log_var) / 2))

        def log_density(z):
            terms = laws.logpdf(z[:, None]).sum(axis=-1)
            return special.logsumexp(terms, axis=-1, b=1 / 2)

    labels = None if prior.condition_shape is None else np.repeat(CONDITION, 3, axis=0)
    score = vae.log_likelihood(model, binary, labels, num_samples=50_000, verbose=0)
    exact = integrated(model, log_density, binary)
    assert np.all(score.per_image_error < 0.05)
    assert np.all(np.abs(score.per_image - exact) < 5 * score.per_image_error + 1e-3)


@pytest.mark.parametrize("known", KINDS, indirect=True)
def test_training_moves_all_of_it_and_it_is_saved(make_model, known, images, tmp_path):
    prior, *_ = known
    if isinstance(prior, vae.VampPrior):
        prior = vae.VampPrior(images[:5])
    model = make_model(prior=prior)
    labels = None
    if prior.condition_shape is not None:
        labels = np.random.default_rng(0).normal(size=(len(images), 2))
    model.decoder.get_layer("logits").kernel.assign(draw(8, 16))
    before = [np.array(v) for v in prior.trainable_variables]
    history = model.fit(images, labels, batch_size=16, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.5
    for old, variable in zip(before, prior.trainable_variables, strict=True):
        assert not np.allclose(old, np.array(variable)), variable.path
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = images if labels is None else (images, labels)
    first, second = (m(inputs)["log_prior"] for m in (model, loaded))
    np.testing.assert_allclose(first, second, rtol=1e-5)
    condition = None if labels is None else labels[0]
    pictures = [m.sample(3, condition=condition, seed=1) for m in (model, loaded)]
    np.testing.assert_allclose(*pictures, rtol=1e-5)


@pytest.mark.one_backend
def test_a_mixture_without_components_apart_is_one_gaussian(make_model, images):
    """So that a VAE with it has the bound of the usual one, up to the draws."""
    prior = vae.MixturePrior(4)
    plain, mixed = make_model(), make_model(prior=prior)
    mixed.set_weights([*plain.get_weights(), *map(np.array, prior.variables)])
    prior.means.assign(np.zeros((4, 2)))
    out = mixed(images)
    expected = stats.norm.logpdf(ops.convert_to_numpy(out["z"])).sum(axis=-1)
    np.testing.assert_allclose(out["log_prior"], expected, rtol=1e-4)


@pytest.fixture
def two_layers(make_model):
    def make(prior=None, **settings):
        model = make_model(prior=prior or make_prior(), **settings)
        model.decoder.get_layer("logits").kernel.assign(draw(8, 16))
        return model

    return make


@pytest.mark.one_backend
def test_a_second_layer_that_says_nothing_is_the_first_alone(
    make_model, two_layers, images
):
    idle = vae.HierarchicalPrior(linear(2, 2, 0, 1), linear(2, 2, 0, 1))
    for num_samples in (1, 4):
        plain, double = make_model(), two_layers(idle, num_samples=num_samples)
        out = double(images)
        double_loss = float(double.compute_loss(y_pred=out))
        plain.num_samples = num_samples
        parameters = [out["mean"], out["log_var"]]
        log_ratio = plain.prior.log_prob(out["z"]) - plain.posterior.log_prob(
            out["z"], parameters
        )
        log_w = ops.convert_to_numpy(
            log_ratio + plain.likelihood.log_prob(out["x"], out["decoded"])
        ).reshape(num_samples, -1)
        expected = np.log(num_samples) - special.logsumexp(log_w, axis=0)
        assert double_loss == pytest.approx(expected.mean(), rel=1e-4)


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
    with pytest.raises(ValueError, match=r"^prior is one of 3 latent"):
        make_model(prior=vae.HierarchicalPrior(linear(3, 2, 1, 1), linear(2, 3, 1, 1)))


@pytest.mark.one_backend
def test_what_is_no_prior_of_this_model_is_refused_by_name(make_model, images):
    for wrong in (vae.MixturePrior, "vamp"):
        with pytest.raises(ValueError, match=r"^prior is .* instance"):
            make_model(prior=wrong)
    with pytest.raises(ValueError, match=r"^prior is .* instance"):
        vae.HierarchicalPrior(linear(2, 2, 1, 1), linear(2, 2, 1, 1), prior="deep")
    with pytest.raises(ValueError, match=r"^prior is one of 2 latent variables"):
        make_model(3, prior=make_prior())
    for wrong in (images[0, 0], np.zeros((0, 4, 4)), "images"):
        with pytest.raises(ValueError, match=r"^pseudo_inputs "):
            vae.VampPrior(wrong)
    with pytest.raises(ValueError, match=r"^pseudo_inputs .* \(4, 3\)"):
        make_model(prior=vae.VampPrior(images[:5, :, :3]))
    prior = vae.VampPrior(images[:5])
    model = make_model(prior=prior)
    vae.VAE(model.encoder, model.decoder, prior=prior)  # the same encoder will do
    with pytest.raises(ValueError, match=r"^prior is a VampPrior of another model"):
        make_model(prior=prior)
    flows = [vae.FlowPosterior(2) for _ in range(2)]
    encoder = vae.dense_encoder((4, 4), 2, (8,), posterior=flows[0])
    prior = vae.VampPrior(images[:5])
    vae.VAE(encoder, model.decoder, posterior=flows[0], prior=prior)
    with pytest.raises(ValueError, match=r"^prior is a VampPrior of another model"):
        vae.VAE(encoder, model.decoder, posterior=flows[1], prior=prior)
    bright = images[:5].astype("float32")
    with pytest.raises(ValueError, match=r"^pseudo_inputs runs from"):
        vae.VampPrior(bright)
    deep = vae.VampPrior(np.float32([[0.1, 0.2], [0.3, 0.4]]))  # of u, with its encoder
    prior = vae.HierarchicalPrior(linear(2, 2, 1, 1), linear(2, 2, 1, 1), deep)
    assert make_model(prior=prior)(images)["log_prior"].shape == (64,)
    for prior in (vae.StandardNormal(), vae.MixturePrior(), vae.VampPrior(images)):
        with pytest.raises(ValueError, match=r"has no latent_dim yet"):
            prior.sample(3)
    for noise in (None, np.zeros((3, 1))):
        with pytest.raises(ValueError, match=r"^noise has shape"):
            make_prior().log_prob(np.zeros((3, 2)), noise)
    with pytest.raises(ValueError, match=r"^num_components is 0"):
        vae.MixturePrior(0)
    with pytest.raises(ValueError, match=r"^network must end in a mean"):
        vae.ConditionalPrior(vae.dense_decoder(2, (4,)))
