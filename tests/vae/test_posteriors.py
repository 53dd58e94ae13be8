"""Approximate posteriors: against SciPy, numerical derivatives and Monte Carlo."""

from utils import vae

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special, stats

DIM = 3


class Unlike(vae.DiagonalGaussian):
    """A researcher's own: nothing is known of it but how to draw."""

    def log_prob(self, z, parameters):
        raise NotImplementedError

    def mean(self, parameters):
        return None

    def kl_terms(self, parameters, prior):
        return None


def bent():
    """A flow that does something: its heads are not zero."""
    flow = vae.FlowPosterior(DIM, num_couplings=3, hidden_units=(8,), context_dim=2)
    rng = np.random.default_rng(7)
    for network in flow.networks:
        network.set_weights(
            [rng.normal(0, 0.4, w.shape) for w in network.get_weights()]
        )
    return flow


MAKE = {"diagonal": vae.DiagonalGaussian, "full": vae.FullGaussian, "flow": bent}


@pytest.fixture(params=MAKE)
def posterior(request):
    return MAKE[request.param]()


def parameters_of(posterior, batch=2):
    """For each image of a batch, others."""
    rng = np.random.default_rng(3)
    return [
        ops.convert_to_tensor(rng.normal(0, 0.7, (batch, units)).astype("float32"))
        for units in posterior.sizes(DIM).values()
    ]


def draw(posterior, parameters, count=20_000):
    shape = (count, parameters[0].shape[0], DIM)
    noise = np.random.default_rng(5).normal(size=shape).astype("float32")
    return map(ops.convert_to_numpy, posterior.draw(parameters, noise))


def gaussians(parameters):
    """The mean and the covariance of each image's Gaussian, as SciPy wants them."""
    mean, log_var, *below = map(ops.convert_to_numpy, parameters)
    roots = np.stack([np.diag(np.exp(row / 2)) for row in log_var])
    if below:
        roots[:, *np.tril_indices(DIM, -1)] = below[0]
    return [(m, root @ root.T) for m, root in zip(mean, roots, strict=True)]


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_gaussians_draw_and_score_as_scipy_has_it(name):
    posterior = MAKE[name]()
    parameters = parameters_of(posterior)
    z, log_prob = draw(posterior, parameters)
    by_z = ops.convert_to_numpy(posterior.log_prob(z, parameters))
    for i, (mean, covariance) in enumerate(gaussians(parameters)):
        law = stats.multivariate_normal(mean, covariance)
        np.testing.assert_allclose(log_prob[:, i], law.logpdf(z[:, i]), atol=2e-3)
        np.testing.assert_allclose(by_z[:, i], law.logpdf(z[:, i]), atol=2e-3)
        np.testing.assert_allclose(z[:, i].mean(axis=0), mean, atol=0.06)
        np.testing.assert_allclose(np.cov(z[:, i].T), covariance, atol=0.2, rtol=0.05)
        found = ops.convert_to_numpy(posterior.mean(parameters))[i]
        np.testing.assert_allclose(found, mean, rtol=1e-6)


def test_the_density_is_that_of_the_noise_over_the_volume(posterior):
    """Log q of a draw, by the determinant of a numerical derivative."""
    parameters = parameters_of(posterior, batch=1)
    noise, step = np.float32([[0.3, -0.8, 0.5]]), np.float32(1e-2)
    _, log_prob = posterior.draw(parameters, noise)
    moved = [
        ops.convert_to_numpy(posterior.draw(parameters, noise + sign * step * unit)[0])
        for unit in np.eye(DIM, dtype="float32")
        for sign in (1, -1)
    ]
    jacobian = (np.concatenate(moved[::2]) - np.concatenate(moved[1::2])) / (2 * step)
    expected = stats.norm.logpdf(noise).sum() - np.linalg.slogdet(jacobian)[1]
    assert float(log_prob[0]) == pytest.approx(expected, abs=2e-3)


@pytest.mark.one_backend
def test_any_z_is_scored_as_a_draw_is(posterior):
    parameters = parameters_of(posterior)
    z, log_prob = draw(posterior, parameters, 50)
    by_z = ops.convert_to_numpy(posterior.log_prob(z, parameters))
    np.testing.assert_allclose(by_z, log_prob, rtol=1e-4, atol=1e-4)


@pytest.mark.one_backend
def test_each_z_is_scored_under_each_of_several(posterior):
    """As a VampPrior does: z has shape (..., 1, dim), and parameters (K, units)."""
    parameters = parameters_of(posterior, batch=4)
    z = np.random.default_rng(1).normal(size=(6, 3, 1, DIM)).astype("float32")
    found = ops.convert_to_numpy(posterior.log_prob(z, parameters))
    assert found.shape == (6, 3, 4)
    for k in range(4):
        one = [a[k : k + 1] for a in parameters]
        expected = ops.convert_to_numpy(posterior.log_prob(z[:, :, 0], one))
        np.testing.assert_allclose(found[..., k], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_a_vamp_prior_of_flows_trains_and_is_drawn_from(images):
    model = build(bent(), prior=vae.VampPrior(images[:5]))
    before = [np.array(v) for v in model.trainable_variables]
    model.fit(images, batch_size=32, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(old, np.array(new)), new.path
    assert np.isfinite(vae.log_likelihood(model, images, num_samples=7, verbose=0).mean)
    assert model.sample(4, seed=0).shape == (4, 4, 4)


def test_the_kl_in_closed_form_is_that_of_the_draws(posterior):
    parameters = parameters_of(posterior)
    prior = vae.StandardNormal()
    terms = posterior.kl_terms(parameters, prior)
    if isinstance(posterior, vae.FlowPosterior):
        assert terms is None
        return
    z, log_prob = draw(posterior, parameters, 100_000)
    log_ratio = log_prob - stats.norm.logpdf(z).sum(axis=-1)
    error = log_ratio.std(axis=0) / len(z) ** 0.5
    assert error.max() < 0.03
    kl = ops.convert_to_numpy(ops.sum(terms, axis=-1))
    assert np.all(abs(kl - log_ratio.mean(axis=0)) < 4 * error)
    assert terms.shape == (2, DIM)
    assert np.all(ops.convert_to_numpy(terms) >= 0)
    assert posterior.kl_terms(parameters, vae.MixturePrior(2)) is None


@pytest.mark.one_backend
def test_a_flow_begins_as_its_gaussian():
    flow, gaussian = vae.FlowPosterior(DIM), vae.DiagonalGaussian()
    parameters = parameters_of(flow)
    for found, expected in zip(
        draw(flow, parameters, 9), draw(gaussian, parameters[:2], 9), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.one_backend
def test_a_flow_can_bend():
    """No Gaussian has the mean of its draws elsewhere than the draw of noise zero."""
    flow = bent()
    parameters = parameters_of(flow)
    z, _ = draw(flow, parameters)
    center, _ = flow.draw(parameters, np.zeros((1, 2, DIM), "float32"))
    error = z.std(axis=0) / len(z) ** 0.5
    gap = abs(z.mean(axis=0) - ops.convert_to_numpy(center)[0])
    assert (gap / error).max() > 20


def build(posterior, **settings):
    """A model of 4x4 pixels with this posterior, whose z matter."""
    encoder = vae.dense_encoder((4, 4), DIM, (8,), posterior=posterior)
    decoder = vae.dense_decoder(DIM, (4, 4), (8,))
    decoder.get_layer("logits").kernel.assign(
        np.random.default_rng(0).normal(0, 0.5, (8, 16))
    )
    model = vae.VAE(encoder, decoder, posterior=posterior, seed=3, **settings)
    model.compile(keras.optimizers.SGD(0.003, momentum=0.9))
    return model


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["full", "flow"])
def test_every_posterior_scores_a_model_alike(name):
    """Log p(x) is the model's: two agree with the usual one, each with its error."""
    binary = np.random.default_rng(2).integers(0, 2, (3, 4, 4)).astype("float32")
    model, plain = build(MAKE[name]()), build(None)
    plain.decoder.set_weights(model.decoder.get_weights())
    for m in (model, plain):  # wide, so that no weight is too large
        for head in ("mean", "log_var"):
            layer = m.encoder.get_layer(head)
            layer.kernel.assign(0.2 * layer.kernel)
        layer.bias.assign([0.6] * DIM)
    scores = [
        vae.log_likelihood(m, binary, num_samples=20_000, verbose=0)
        for m in (model, plain)
    ]
    error = np.hypot(*(score.per_image_error for score in scores))
    assert error.max() < 0.1
    assert np.all(abs(scores[0].per_image - scores[1].per_image) < 4 * error)


@pytest.mark.parametrize(
    "name", [pytest.param("diagonal", marks=pytest.mark.one_backend), "full", "flow"]
)
def test_training_raises_the_bound_and_all_is_saved(name, images, tmp_path):
    posterior = MAKE[name]()
    model = build(posterior)
    before = [np.array(v) for v in model.trainable_variables]
    losses = model.fit(images, batch_size=16, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.5
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert not np.allclose(old, np.array(new)), new.path
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.posterior) is type(posterior)
    first, second = (m(images) for m in (model, loaded))
    for name in ("z", "decoded", "log_posterior"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_looking_at_it_works_or_is_refused(posterior, images):
    model = build(posterior)
    encoded = model.encode(images)
    assert [a.shape[1] for a in encoded] == list(posterior.sizes(DIM).values())
    assert model.reconstruct(images).shape == images.shape
    line = model.interpolate(images[0], images[1], 5)
    assert line.shape == (5, 4, 4)
    assert set(model.predict(images, verbose=0)) > set(posterior.sizes(DIM))
    if isinstance(posterior, vae.FlowPosterior):
        with pytest.raises(ValueError, match=r"^vae has a FlowPosterior"):
            vae.active_units(model, images)
    else:
        assert vae.active_units(model, images, threshold=0.0).all()


@pytest.mark.one_backend
@pytest.mark.filterwarnings("ignore:decoder ends in logits")
def test_the_ends_of_a_line_are_draws_of_no_noise(posterior, images):
    model = build(posterior, likelihood=vae.Gaussian(0.1))
    parameters = list(map(ops.convert_to_tensor, model.encode(images[:1])))
    z, _ = posterior.draw(parameters, np.zeros((1, DIM), "float32"))
    start = ops.convert_to_numpy(model.decoder(z))[0]
    found = model.interpolate(images[0], images[1], 3)[0]
    np.testing.assert_allclose(found, start, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_an_own_posterior_has_the_kl_of_its_draws(images):
    """Without a closed form, and the bound is the same."""
    own, usual = build(Unlike()), build(None)
    usual.set_weights(own.get_weights())
    many = np.repeat(images[:1], 20_000, axis=0)
    reports = [
        m.evaluate(many, batch_size=20_000, verbose=0, return_dict=True)
        for m in (own, usual)
    ]
    out = {k: ops.convert_to_numpy(v) for k, v in own(many).items()}
    error = (out["log_posterior"] - out["log_prior"]).std() / len(many) ** 0.5
    assert abs(reports[0]["kl"] - reports[1]["kl"]) < 5 * error < 0.2
    assert reports[0]["loss"] == pytest.approx(
        reports[0]["reconstruction"] + reports[0]["kl"], rel=1e-5
    )
    with pytest.raises(ValueError, match=r"^vae has a Unlike"):
        vae.active_units(own, images)
    with pytest.raises(ValueError, match=r"^prior is a VampPrior, .* Unlike"):
        build(Unlike(), prior=vae.VampPrior(images[:3]))


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["full", "flow"])
def test_several_draws_by_hand(images, name):
    """The importance-weighted bound from z alone, by `log_prob` and SciPy."""
    model = build(MAKE[name](), num_samples=4)
    out = model(images)
    parameters = [out[n] for n in model.parameter_names]
    log_q = ops.convert_to_numpy(model.posterior.log_prob(out["z"], parameters))
    out = {k: ops.convert_to_numpy(v).astype("float64") for k, v in out.items()}
    probability = special.expit(out["decoded"])
    log_w = stats.bernoulli.logpmf(out["x"], probability).sum(axis=(-2, -1))
    log_w += stats.norm.logpdf(out["z"]).sum(axis=-1) - log_q
    expected = -special.logsumexp(log_w, axis=0, b=1 / 4).mean()
    loss = float(model.compute_loss(y_pred=model_output(out)))
    assert loss == pytest.approx(expected, rel=1e-4)


def model_output(out):
    return {k: ops.convert_to_tensor(v.astype("float32")) for k, v in out.items()}


class Fixed(vae.Posterior):
    """One output of the encoder, and a layer that Keras builds when it is called."""

    def __init__(self):
        super().__init__()
        self.net = keras.layers.Dense(DIM, kernel_initializer="identity")

    def sizes(self, latent_dim):
        return {"mean": latent_dim}

    def draw(self, parameters, noise):
        log_prob = -0.5 * ops.sum(ops.square(noise) + np.log(2 * np.pi), axis=-1)
        return self.net(parameters[0]) + noise, log_prob


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_a_posterior_of_one_output_and_of_lazy_layers_trains(images):
    model = build(Fixed())
    before = np.array(model.posterior.net.kernel)
    model.fit(images, batch_size=16, epochs=2, verbose=0)
    assert abs(np.array(model.posterior.net.kernel) - before).max() > 1e-4
    assert np.isfinite(vae.log_likelihood(model, images, num_samples=3, verbose=0).mean)


@pytest.mark.one_backend
def test_each_term_of_a_full_kl_is_of_a_variable_given_those_before_it():
    """The expected KL of q(z_i|z_<i) to N(0, 1), by regression in closed form."""
    posterior = vae.FullGaussian()
    parameters = parameters_of(posterior)
    terms = ops.convert_to_numpy(posterior.kl_terms(parameters, vae.StandardNormal()))
    for i, (mean, covariance) in enumerate(gaussians(parameters)):
        for j in range(DIM):
            before = covariance[:j, :j]
            slope = np.linalg.solve(before, covariance[:j, j]) if j else np.zeros(0)
            explained = slope @ covariance[:j, j]
            left = covariance[j, j] - explained
            expected = (left + explained + mean[j] ** 2 - 1 - np.log(left)) / 2
            assert terms[i, j] == pytest.approx(expected, abs=1e-3)


@pytest.mark.one_backend
def test_another_draw_takes_no_closed_form_of_its_base():
    class Wide(vae.DiagonalGaussian):
        def draw(self, parameters, noise):
            mean, log_var = parameters
            return super().draw([mean, log_var + 1.0], noise)

    parameters, prior = parameters_of(vae.DiagonalGaussian()), vae.StandardNormal()
    assert vae.DiagonalGaussian().kl_terms(parameters, prior) is not None
    assert Wide().kl_terms(parameters, prior) is None


@pytest.mark.one_backend
def test_log_densities_of_another_shape_are_refused_by_name(make_model, images):
    class Scalar(vae.Bernoulli):
        def log_prob(self, x, decoded):
            return ops.sum(super().log_prob(x, decoded))

    class ScalarPrior(vae.Prior):
        def log_prob(self, z, noise=None, condition=None):
            return ops.sum(z)

    for settings, name in (
        ({"likelihood": Scalar()}, "likelihood"),
        ({"prior": ScalarPrior()}, "prior"),
    ):
        model = make_model(**settings)
        for use in (
            lambda m: m.evaluate(images, verbose=0),
            lambda m: vae.log_likelihood(m, images, num_samples=3, verbose=0),
        ):
            with pytest.raises(ValueError, match=f"{name} gives log densities of"):
                use(model)

    class Weighty(vae.Bernoulli):
        def __init__(self):
            self.scale = keras.Variable(1.0)

    with pytest.raises(ValueError, match=r"^likelihood has a \w*Variable, scale"):
        make_model(likelihood=Weighty())

    class Named(vae.DiagonalGaussian):
        def sizes(self, latent_dim):
            return {"x": latent_dim, "z": latent_dim}

    with pytest.raises(ValueError, match=r"^posterior names its parameters"):
        make_model(posterior=Named())


@pytest.mark.one_backend
def test_what_does_not_fit_is_refused_by_name(images):
    for wrong in ("full", vae.FullGaussian):
        with pytest.raises(ValueError, match=r"^posterior is"):
            vae.dense_encoder((4, 4), 2, posterior=wrong)
        encoder, decoder = vae.dense_encoder((4, 4), 2), vae.dense_decoder(2, (4, 4))
        with pytest.raises(ValueError, match=r"^posterior is"):
            vae.VAE(encoder, decoder, posterior=wrong)
    with pytest.raises(ValueError, match=r"^encoder must end in a list of 3 .*below"):
        vae.VAE(encoder, decoder, posterior=vae.FullGaussian())
    with pytest.raises(ValueError, match=r"^posterior is a flow of 3 latent variables"):
        vae.VAE(encoder, decoder, posterior=vae.FlowPosterior(3))
    with pytest.raises(ValueError, match=r"^latent_dim is 1"):
        vae.FlowPosterior(1)
    with pytest.raises(ValueError, match=r"^latent_dim is 1"):
        vae.FullGaussian().sizes(1)


def test_draws_of_the_usual_posterior_are_independent_and_of_its_width():
    """Reparameterization, eq. (4.7): exp(log_var / 2), and one number for each."""
    parameters = [np.float32([[1.0, -2.0]]), np.float32([[-2.0, 1.0]])]
    noise = np.random.default_rng(0).normal(size=(40_000, 1, 2)).astype("float32")
    z, _ = vae.DiagonalGaussian().draw(parameters, noise)
    z = ops.convert_to_numpy(z)[:, 0]
    for j, (mean, log_var) in enumerate([(1.0, -2.0), (-2.0, 1.0)]):
        law = stats.norm(mean, np.exp(log_var / 2))
        assert stats.kstest(z[:, j], law.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(z.T)[0, 1]) < 5 / np.sqrt(len(z))
