"""The importance-weighted objective, the KL warm-up, and training that resumes."""

from utils import vae
from utils.vae.data import Minibatches

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special, stats


def log_weights(out):
    """Log p(x, z) / q(z|x) of each draw and image, from SciPy's densities."""
    out = {k: ops.convert_to_numpy(v).astype("float64") for k, v in out.items()}
    probability = special.expit(out["decoded"])
    log_w = stats.bernoulli.logpmf(out["x"], probability).sum(axis=(-2, -1))
    log_w += stats.norm.logpdf(out["z"]).sum(axis=-1)
    scale = np.exp(out["log_var"] / 2)
    return log_w - stats.norm.logpdf(out["z"], out["mean"], scale).sum(axis=-1)


def test_the_importance_weighted_loss_by_hand(make_model, images):
    model = make_model(num_samples=4)
    out = model(images)
    assert out["z"].shape == (4, 64, 2)
    assert out["decoded"].shape == (4, 64, 4, 4)
    expected = -special.logsumexp(log_weights(out), axis=0, b=1 / 4).mean()
    assert float(model.compute_loss(y_pred=out)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_several_draws_differ_and_tighten_the_bound(make_model, images):
    reports, weights = [], make_model().get_weights()
    for k in (1, 50):
        model = make_model(num_samples=k)
        model.set_weights(weights)
        for variable in model.encoder.get_layer("mean").variables:
            variable.assign(variable + 1.0)  # an encoder that is off
        z = ops.convert_to_numpy(model(images)["z"]).reshape(k, 64, 2)
        assert len(np.unique(z[:, 0, 0])) == k
        reports.append(model.evaluate(images, verbose=0, return_dict=True))
    assert reports[1]["loss"] < reports[0]["loss"] - 0.1
    assert reports[1]["loss"] < reports[1]["reconstruction"] + reports[1]["kl"]


@pytest.mark.one_backend
def test_training_on_the_importance_weighted_bound_raises_it(make_model, images):
    model = make_model(num_samples=5)
    history = model.fit(images, batch_size=16, epochs=30, verbose=0).history["loss"]
    assert history[-1] < history[0] - 1


@pytest.mark.parametrize("k", [1, pytest.param(3, marks=pytest.mark.one_backend)])
def test_the_beta_counts_in_training_and_not_in_evaluation(make_model, images, k):
    plain, free = make_model(num_samples=k), make_model(num_samples=k)
    free.kl_share.assign(0.0)
    out = plain(images)
    plain_loss, free_loss, evaluated = (
        float(model.compute_loss(y_pred=out, training=training))
        for model, training in ((plain, True), (free, True), (free, False))
    )
    assert evaluated == pytest.approx(plain_loss, rel=1e-6)
    reconstruction = -free.likelihood.log_prob(out["x"], out["decoded"])
    reconstruction = ops.convert_to_numpy(reconstruction).reshape(k, -1)
    expected = -special.logsumexp(-reconstruction, axis=0, b=1 / k).mean()
    assert free_loss == pytest.approx(expected, rel=1e-5)


def test_what_training_reports_is_the_bound_whatever_the_weight(make_model, images):
    """The first epoch at a rate of zero, so that both models are the same."""
    reports = []
    for beta in (1.0, 20.0):
        keras.utils.set_random_seed(1)
        model = make_model(beta=beta)
        model.compile(keras.optimizers.SGD(0.0))
        reports.append(model.fit(images, batch_size=16, verbose=0).history)
    for name, values in reports[0].items():
        assert values == pytest.approx(reports[1][name], rel=1e-5)


def test_free_bits_by_hand(make_model, images):
    """Each latent variable counts as so much at least, as a mean over the minibatch."""
    model = make_model(free_bits=0.5, beta=3.0)
    variables = model.encoder.get_layer("mean"), model.encoder.get_layer("log_var")
    for layer in variables:  # the first says nothing, the second much
        layer.kernel.assign(np.array(layer.kernel) * [0.0, 1.0])
    variables[0].bias.assign([0.0, 2.0])
    out = model(images)
    mean, log_var = (np.array(out[name]) for name in ("mean", "log_var"))
    terms = (mean**2 + np.exp(log_var) - 1 - log_var).mean(axis=0) / 2
    free = 0.5 * np.log(2)
    assert terms[0] < free < terms[1], "both cases"
    reconstruction = -np.array(model.likelihood.log_prob(out["x"], out["decoded"]))
    for training, kl in ((True, 3 * (free + terms[1])), (False, terms.sum())):
        loss = float(model.compute_loss(y_pred=out, training=training))
        assert loss == pytest.approx(reconstruction.mean() + kl, rel=1e-5)


def test_free_bits_without_a_closed_form_are_for_all_variables_together(
    make_model, images
):
    prior = vae.MixturePrior(2)
    model = make_model(free_bits=4.0, prior=prior)
    out = model(images)
    kl = np.array(out["log_posterior"] - out["log_prior"]).mean()
    assert kl < 2 * 4.0 * np.log(2)
    reconstruction = -np.array(model.likelihood.log_prob(out["x"], out["decoded"]))
    loss = float(model.compute_loss(y_pred=out))
    expected = reconstruction.mean() + 2 * 4.0 * np.log(2)
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("own", [pytest.param(1.0, marks=pytest.mark.one_backend), 4.0])
def test_the_warm_up_climbs_to_the_weight_of_the_model(make_model, images, own):
    model = make_model(beta=own)

    def weights(epochs, *callbacks):
        """The weights that the objective was made with; the bound is what is told."""
        objectives = []
        look = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: objectives.append(
                float(model._loss_tracker.result())
            )
        )
        settings = {"batch_size": 64, "epochs": epochs, "callbacks": [look, *callbacks]}
        history = model.fit(images, verbose=0, **settings).history
        found = {name: np.array(values) for name, values in history.items()}
        bound = found["reconstruction"] + found["kl"]
        np.testing.assert_allclose(found["loss"], bound, rtol=1e-5)
        return (np.array(objectives) - found["reconstruction"]) / found["kl"]

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    climb = own * np.array([0.2, 0.4, 0.6, 0.8, 1, 1])
    found = weights(6, vae.KLWarmUp(4, start=0.2))
    np.testing.assert_allclose(found, climb, rtol=1e-4)
    with pytest.raises(KeyboardInterrupt):
        weights(6, vae.KLWarmUp(np.int64(4)), Interrupt())
    assert model.get_config()["beta"] == own
    np.testing.assert_allclose(weights(1), own, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "epochs is 0"),
        ((2.5,), "epochs is"),
        ((True,), "epochs is True"),
        ((3, 1.5), "start is 1.5"),
        ((3, np.nan), "start is nan"),
        ((3, "a"), "start is 'a'"),
    ],
)
def test_a_wrong_warm_up_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        vae.KLWarmUp(*arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"num_samples": 1.5}, "num_samples is 1.5"),
        ({"beta": -1.0}, "beta is -1"),
        ({"beta": True}, "beta is True"),
        ({"beta": 1j}, "beta is 1j"),
        ({"seed": 2.5}, "seed is 2.5"),
        ({"free_bits": -1.0}, "free_bits is -1"),
        ({"free_bits": "a"}, "free_bits is 'a'"),
        ({"free_bits": 0.5, "num_samples": 2}, "free_bits is 0.5, but must be 0"),
        ({"beta": 4.0, "num_samples": 2}, "beta is 4.0, but must be 1 if num_samples"),
    ],
)
def test_wrong_settings_are_refused(make_model, settings, message):
    with pytest.raises(ValueError, match=message):
        make_model(**settings)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_settings_are_saved(make_model, images, tmp_path):
    model = make_model(num_samples=3, likelihood=vae.Gaussian(0.3))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.num_samples == 3
    spared = make_model(free_bits=0.25, beta=0.5)
    twin = vae.VAE.from_config(spared.get_config())
    assert (twin.free_bits, float(twin.beta)) == (0.25, 0.5)
    assert loaded.likelihood.scale == 0.3
    assert loaded.evaluate(images, verbose=0) == pytest.approx(
        model.evaluate(images, verbose=0), rel=1e-6
    )


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(model):
    images, orders = np.arange(10), []
    data = Minibatches((images,), 4, model)
    for steps in (0, 3, 0):
        model.optimizer.iterations.assign(steps)
        data.on_epoch_begin()
        assert [len(data[i][0]) for i in range(data.num_batches)] == [4, 4, 2]
        orders.append([n for i in range(data.num_batches) for n in data[i][0]])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]


@pytest.mark.parametrize("seed", [None, np.int64(-(2**40))])
@pytest.mark.one_backend
def test_any_seed_and_none_can_train_be_saved_and_go_on(
    make_model, images, tmp_path, seed
):
    model = make_model(seed=seed)
    model.fit(images, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    losses = [
        m.fit(images, batch_size=16, epochs=2, verbose=0).history["loss"]
        for m in (model, loaded)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert model.sample(2, seed=seed).shape == (2, 4, 4)
    vae.log_likelihood(
        model, images, num_samples=2, seed=0 if seed is None else seed, verbose=0
    )


def test_models_without_a_seed_differ_in_all_that_is_drawn(make_model):
    orders = []
    for _ in range(2):
        data = Minibatches((np.arange(100),), 100, make_model(seed=None))
        data.on_epoch_begin()
        orders.append(data.order)
    assert (orders[0] != orders[1]).any()


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_a_split_holds_out_the_last_images_as_keras_does(make_model, images):
    histories, weights = [], []
    for x, settings in (
        (images, {"validation_split": 0.25}),
        (images[:48], {"validation_data": (images[48:],)}),
    ):
        keras.utils.set_random_seed(0)
        model = make_model()
        histories.append(model.fit(x, epochs=2, verbose=0, **settings).history)
        weights.append(model.get_weights())
    assert histories[0] == histories[1]
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("with_and_without_fast")
def test_killed_and_resumed_training_ends_where_uninterrupted_training_does(
    make_model, images, tmp_path
):
    class Kill(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if self.model.optimizer.iterations >= 10 and batch == 2:
                raise KeyboardInterrupt

    schedule = keras.optimizers.schedules.CosineDecay(0.003, 24)

    def train(*extra):
        keras.utils.set_random_seed(len(extra))  # a process of its own
        model = make_model()
        model.compile(keras.optimizers.SGD(schedule, momentum=0.9))
        model.set_weights(start)
        model.fit(
            images,
            batch_size=16,
            epochs=6,
            validation_data=(images[:20],),
            callbacks=[vae.KLWarmUp(5), *extra],
            verbose=0,
        )
        return model.get_weights()

    start = make_model().get_weights()
    expected = train()
    backup = str(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        train(keras.callbacks.BackupAndRestore(backup, delete_checkpoint=False), Kill())
    actual = train(keras.callbacks.BackupAndRestore(backup))
    for first, second in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.one_backend
def test_mixed_precision_trains_and_scores_almost_the_same(make_model, images):
    losses, scores = [], []
    policy = keras.config.dtype_policy()
    for name in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(name)
        try:
            keras.utils.set_random_seed(1)
            model = make_model()
            model.fit(images, batch_size=16, epochs=20, verbose=0)
            assert model.encoder.layers[2].compute_dtype == name.split("_")[-1]
            scores.append(
                vae.log_likelihood(model, images, num_samples=100, verbose=0).mean
            )
            losses.append(model.evaluate(images, verbose=0, return_dict=True))
        finally:
            keras.config.set_dtype_policy(policy)
    assert losses[1]["loss"] == pytest.approx(
        losses[1]["reconstruction"] + losses[1]["kl"], rel=1e-5
    )
    assert scores[1] == pytest.approx(scores[0], abs=0.2)


@pytest.mark.one_backend
def test_mixed_precision_rounds_no_image_and_no_weight_of_a_prior(make_model):
    """Dequantized floats rounded to half would be bytes again, and no density."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make_model(prior=Shifted(), likelihood=vae.Gaussian(0.1))
        exact = np.float32(np.random.default_rng(0).uniform(size=(8, 4, 4)))
        out = model(exact)
        np.testing.assert_array_equal(out["x"], exact)
        assert model.prior.seen == "float32"
        assert model.encoder.layers[2].compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy(policy)


class Shifted(vae.Prior):
    """With a weight, as the docstring says to make one."""

    def __init__(self):
        super().__init__()
        self.shift = self.add_weight(shape=(), initializer="ones")

    def log_prob(self, z, noise=None, condition=None):
        self.seen = keras.backend.standardize_dtype((z * self.shift).dtype)
        return ops.sum(z * self.shift, axis=-1)


@pytest.mark.one_backend
def test_encodings_and_the_line_between_two(model, images):
    mean, log_var = model.encode(images, batch_size=10)
    assert mean.shape == log_var.shape == (64, 2)
    black_or_white = (images > 100).astype("float32")  # nothing left to chance
    direct, _ = model.encoder(black_or_white)
    np.testing.assert_allclose(
        model.encode(black_or_white, batch_size=7)[0], direct, rtol=1e-5
    )
    line = model.interpolate(black_or_white[0], black_or_white[1], 5)
    assert line.shape == (5, 4, 4)
    ends = ops.sigmoid(model.decoder(direct[:2]))
    np.testing.assert_allclose(line[[0, -1]], ends, rtol=1e-4)
