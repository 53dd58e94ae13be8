import warnings

from utils import vae

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats


def by_hand(out):
    """Reconstruction and KL of each image, from SciPy's densities."""
    out = {k: ops.convert_to_numpy(v).astype("float64") for k, v in out.items()}
    probability = 1 / (1 + np.exp(-out["decoded"]))
    reconstruction = -stats.bernoulli.logpmf(out["x"], probability).sum(axis=(1, 2))
    variance = np.exp(out["log_var"])
    kl = 0.5 * (out["mean"] ** 2 + variance - 1 - np.log(variance)).sum(axis=1)
    return reconstruction, kl


def test_the_loss_is_summed_over_pixels_and_latents_and_averaged_over_images(
    model, images
):
    out = model(images)
    reconstruction, kl = by_hand(out)
    loss = float(model.compute_loss(y_pred=out))
    assert loss == pytest.approx((reconstruction + kl).mean(), rel=1e-5)


@pytest.mark.one_backend
def test_loss_reconstruction_and_kl_add_up_also_over_uneven_batches(model, images):
    history = model.fit(
        images,
        validation_data=(images[:40],),
        batch_size=24,
        epochs=2,
        verbose=0,
    ).history
    for prefix in ("", "val_"):
        parts = [np.array(history[prefix + name]) for name in ("reconstruction", "kl")]
        np.testing.assert_allclose(history[prefix + "loss"], sum(parts), rtol=1e-5)


@pytest.mark.one_backend
def test_evaluate_reports_what_the_formula_says(model, images):
    many = np.repeat(images[:1], 20_000, axis=0)
    report = model.evaluate(many, batch_size=20_000, verbose=0, return_dict=True)
    reconstruction, kl = by_hand(model(many))
    error = np.hypot(reconstruction.std(), reconstruction.std()) / np.sqrt(len(many))
    assert abs(report["reconstruction"] - reconstruction.mean()) < 5 * error
    assert report["kl"] == pytest.approx(kl.mean(), abs=5 * kl.std() / 100 + 1e-5)


def test_evaluation_samples_too(model, images):
    reports = [model.evaluate(images, verbose=0, return_dict=True) for _ in range(2)]
    assert reports[0]["reconstruction"] != reports[1]["reconstruction"]
    first, second = (
        ops.convert_to_numpy(model(images, training=False)["z"]) for _ in "ab"
    )
    assert not np.allclose(first, second)


@pytest.mark.one_backend
def test_the_noise_of_the_model_has_the_encoders_standard_deviation(images, make_model):
    model = make_model()
    many = np.repeat(images[:1], 20_000, axis=0)
    model.encoder.get_layer("log_var").kernel.assign(np.zeros((8, 2)))
    model.encoder.get_layer("log_var").bias.assign([-2.0, 1.0])
    out = {k: ops.convert_to_numpy(v) for k, v in model(many).items()}
    noise = out["z"] - out["mean"]
    np.testing.assert_allclose(noise.std(axis=0), np.exp([-1.0, 0.5]), rtol=0.03)


def test_training_raises_the_bound(model, images):
    history = model.fit(images, batch_size=16, epochs=30, verbose=0).history["loss"]
    assert history[-1] < history[0] - 1


def test_the_same_seed_gives_the_same_weights_twice(images, make_model):
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        model = make_model()
        model.fit(images, batch_size=16, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_saved_model_loads_to_the_same_numbers_and_goes_on(model, images, tmp_path):
    model.fit(images, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    both = model, keras.saving.load_model(tmp_path / "model.keras")
    expected, actual = (
        m.evaluate(images, batch_size=16, verbose=0, return_dict=True) for m in both
    )
    assert actual == pytest.approx(expected, rel=1e-6)
    first, second = (
        vae.log_likelihood(m, images, num_samples=5, verbose=0) for m in both
    )
    np.testing.assert_array_equal(first.per_image, second.per_image)
    first, second = (
        m.fit(images, batch_size=16, shuffle=False, verbose=0).history["loss"]
        for m in both
    )
    assert first == pytest.approx(second, rel=1e-6)


def test_regularization_of_layers_is_part_of_the_loss(images):
    encoder = vae.dense_encoder((4, 4), 2, (8,))
    head = keras.layers.Dense(16, kernel_regularizer=keras.regularizers.L2(1.0))
    layers = [keras.Input((2,)), head, keras.layers.Reshape((4, 4))]
    model = vae.VAE(encoder, keras.Sequential(layers), seed=0)
    out = model(images)
    kernel = ops.convert_to_numpy(head.kernel)
    extra = float(model.compute_loss(y_pred=out)) - sum(by_hand(out)).mean()
    assert extra == pytest.approx((kernel**2).sum(), rel=1e-3)


@pytest.mark.one_backend
def test_samples_and_reconstructions(model, images):
    assert model.sample(7, seed=0).shape == (7, 4, 4)
    np.testing.assert_array_equal(model.sample(3, seed=0), model.sample(3, seed=0))
    assert set(np.unique(model.sample(50, draw=True, seed=0))) == {0.0, 1.0}
    rebuilt = model.reconstruct(images)
    assert rebuilt.shape == images.shape
    assert 0 < rebuilt.min() < rebuilt.max() < 1


def small_prior():
    networks = vae.dense_encoder((2,), 1, (4,)), vae.dense_encoder((1,), 2, (4,))
    return vae.HierarchicalPrior(*networks)


IN_BATCHES = {
    "encode": lambda model, images, size: model.encode(images, batch_size=size),
    "sample": lambda model, images, size: model.sample(
        len(images), seed=0, batch_size=size
    ),
    "reconstruct": lambda model, images, size: model.reconstruct(
        images, batch_size=size
    ),
    "interpolate": lambda model, images, size: model.interpolate(
        images[0], images[1], len(images), batch_size=size
    ),
    "predict": lambda model, images, size: model.predict(images, size, verbose=0),
}


@pytest.mark.one_backend
@pytest.mark.parametrize("method", IN_BATCHES)
def test_no_network_is_given_more_than_a_batch(make_model, images, monkeypatch, method):
    """What memory holds beside the result grows with the batch, not the request."""
    model, rows = make_model(prior=small_prior()), []
    model.compile(run_eagerly=True)

    def seen(call):
        def counted(x, *args, **kwargs):
            rows.append(x.shape[0])
            return call(x, *args, **kwargs)

        return counted

    for network in (model.encoder, model.decoder, model.prior.decoder):
        monkeypatch.setattr(network, "call", seen(network.call))
    results = IN_BATCHES[method](model, images[:10], 4)
    assert max(rows) == 4
    assert {len(a) for a in keras.tree.flatten(results)} == {10}


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
@pytest.mark.parametrize("method", IN_BATCHES)
def test_batches_do_not_show_in_a_picture(make_model, images, method):
    models = [make_model(likelihood=vae.Gaussian(0.1)) for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    first, second = (
        keras.tree.flatten(IN_BATCHES[method](model, images[:10], size))
        for model, size in zip(models, (250, 3), strict=True)
    )
    if method == "predict":  # a new draw of z for each batch
        first, second = ([a[:3] for a in arrays] for arrays in (first, second))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_draws_of_a_seed_are_the_same_twice_and_new_in_each_batch(make_model):
    model = make_model(likelihood=vae.Gaussian(0.1))
    draws, again, means = (
        model.sample(9, draw=draw, seed=0, batch_size=3) for draw in (True, True, False)
    )
    np.testing.assert_array_equal(draws, again)
    noise = draws - means
    assert noise.std() == pytest.approx(0.1, rel=0.2)
    assert np.ptp(noise, axis=0).min() > 0.01


@pytest.mark.one_backend
def test_bytes_and_floats_are_the_ends_of_one_line(make_model, images):
    model = make_model(likelihood=vae.Gaussian(0.1))
    first, second = (
        model.interpolate(images[0], end, 3)
        for end in (images[1], images[1] / np.float32(255))
    )
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "num_samples", [pytest.param(1, marks=pytest.mark.one_backend), 3]
)
def test_predict_gives_draws_an_axis_of_their_own(make_model, images, num_samples):
    model = make_model(num_samples=num_samples)
    for name in ("kernel", "bias"):  # so sharp that an image is known by its z
        weights = getattr(model.encoder.get_layer("log_var"), name)
        weights.assign(np.full(weights.shape, -14.0 if name == "bias" else 0.0))
    out = model.predict(images[:10], batch_size=4, verbose=0)
    draws = (num_samples,) * (num_samples > 1)
    assert {name: array.shape for name, array in out.items()} == {
        "x": (10, 4, 4),
        "mean": (10, 2),
        "log_var": (10, 2),
        "z": (*draws, 10, 2),
        "decoded": (*draws, 10, 4, 4),
        "log_prior": (*draws, 10),
        "log_posterior": (*draws, 10),
    }
    means = np.broadcast_to(out["mean"], out["z"].shape)
    assert np.ptp(out["mean"], axis=0).min() > 0.1
    np.testing.assert_allclose(out["z"], means, atol=0.01)
    assert len(np.unique(out["z"])) == out["z"].size, "every draw is another"
    decoded = ops.convert_to_numpy(model.decoder(out["z"].reshape(-1, 2)))
    np.testing.assert_allclose(
        out["decoded"], decoded.reshape(out["decoded"].shape), rtol=1e-4, atol=1e-5
    )
    for out in (
        model.predict_on_batch(images[:10]),
        model.predict(((images[i : i + 5],) for i in (0, 5)), verbose=0),
    ):
        assert out["z"].shape == (*draws, 10, 2)
        assert out["decoded"].shape == (*draws, 10, 4, 4)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_flat_images_are_checked_like_others(images):
    flat = images.reshape(64, 16)
    encoder, decoder = vae.dense_encoder((16,), 2, (8,)), vae.dense_decoder(2, (16,))
    model = vae.VAE(encoder, decoder)
    model.compile("sgd")
    model.fit(flat, verbose=0)
    for wrong in (flat.astype("float32"), flat.astype("int64")):
        for use in (model.fit, model.evaluate, model.encode):
            with pytest.raises(ValueError, match="bytes"):
                use(wrong)
        with pytest.raises(ValueError, match="bytes"):
            vae.log_likelihood(model, wrong)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_validation_is_looked_at_once(model, images, monkeypatch):
    """Not at every epoch: floats are looked through from end to end."""
    names, check = [], model.check_data

    def checked(x, y=None, name="x"):
        names.append(name)
        return check(x, y, name)

    object.__setattr__(model, "check_data", checked)
    model.fit(images, epochs=3, validation_data=(images,), verbose=0)
    assert sorted(names) == ["validation_data", "x"]


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_the_decoder_must_draw_what_the_encoder_sees(images):
    for link, likelihood in (("logit", None), ("identity", vae.Gaussian(0.1))):
        encoder = vae.dense_encoder((4, 4, 3), 2, (8,))
        decoder = vae.dense_decoder(2, (4, 4, 1), (8,), link=link)
        model = vae.VAE(encoder, decoder, likelihood)
        model.compile("sgd")
        with pytest.raises(ValueError, match=r"image_shape=\(4, 4, 3\)"):
            model.fit(np.repeat(images[..., None], 3, axis=-1), verbose=0)


@pytest.mark.one_backend
def test_a_decoder_that_ends_in_a_sigmoid_raises_a_doubt():
    """As keras.io's does: a Bernoulli would take its output for logits."""
    z = keras.Input((2,))
    pixels = keras.layers.Dense(16, "sigmoid")(z)
    with pytest.warns(UserWarning, match="ends in a sigmoid"):
        vae.VAE(vae.dense_encoder((16,), 2, (8,)), keras.Model(z, pixels))


@pytest.mark.parametrize("make", [vae.dense_decoder, vae.conv_decoder])
@pytest.mark.one_backend
def test_a_decoder_of_another_link_raises_a_doubt(make):
    encoder = vae.dense_encoder((4, 4), 2, (8,))
    for likelihood, wrong, right in (
        (vae.Bernoulli(), "identity", "logit"),
        (vae.Gaussian(), "logit", "identity"),
        (vae.LearnedGaussian(), "logit", "identity"),
        (vae.DiscretizedLogistic(), "logit", "identity"),
    ):
        with pytest.warns(UserWarning, match=f"link='{right}'"):
            vae.VAE(encoder, make(2, (4, 4), link=wrong), likelihood)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            vae.VAE(encoder, make(2, (4, 4), link=right), likelihood)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": -5}, "batch_size is -5"),
        ({"validation_split": 1.0}, "validation_split is 1.0"),
        ({"validation_split": 0.999}, "leave some of 64 images"),
        ({"validation_split": -0.5}, "validation_split is -0.5"),
    ],
)
def test_wrong_settings_of_training_are_refused(model, images, settings, message):
    with pytest.raises(ValueError, match=message):
        model.fit(images, verbose=0, **settings)


@pytest.mark.one_backend
@pytest.mark.parametrize("count", [0, 2.5, True, "3", np.nan])
def test_wrong_counts_are_refused(model, images, count):
    with pytest.raises(ValueError, match=r"^num_samples is"):
        model.sample(count)
    with pytest.raises(ValueError, match=r"^num_steps is"):
        model.interpolate(images[0], images[1], count)
    with pytest.raises(ValueError, match=r"^steps is"):
        model.predict(images, steps=count)
    for use in IN_BATCHES.values():
        with pytest.raises(ValueError, match=r"^batch_size is"):
            use(model, images, count)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m, x: m.sample(2, draw="no"), "^draw is 'no'"),
        (lambda m, x: m.reconstruct(x, draw=None), "^draw is None"),
        (lambda m, x: m.sample(2, seed="a"), "seed"),
        (lambda m, x: m.predict(x, verbose="loud"), "^verbose is 'loud'"),
        (lambda m, x: m.predict(x[:, :3]), r"^x has shape \(64, 3, 4\)"),
        (lambda m, x: m.predict(x.astype("float32")), "^x .* bytes"),
        (lambda m, x: m.predict_on_batch(x.astype("int64")), "^x .* bytes"),
        (lambda m, x: m.predict(None), "^x .* array"),
        (lambda m, x: m.reconstruct(x[0]), r"^images has shape \(4, 4\)"),
        (lambda m, x: m.encode(iter([x])), "^images .* array"),
        (lambda m, x: m.interpolate(x[0], x[1, :3]), r"^second has shape \(3, 4\)"),
        (lambda m, x: m.interpolate(x[:1], x[1]), r"^first .* one image"),
        (lambda m, x: m.interpolate(x[0], x[1] * np.nan), "^second .* nan"),
        (
            lambda m, x: m.interpolate(np.ma.masked_less(x[0], 99), x[1]),
            "^first .* mask",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(model, images, use, message):
    with pytest.raises(ValueError, match=message):
        use(model, images)


@pytest.mark.one_backend
def test_sequential_networks_are_taken_and_others_refused_by_name(images):
    encoder, decoder = vae.dense_encoder((4, 4), 2, (8,)), vae.dense_decoder(2, (4, 4))
    layers = keras.layers
    whole = keras.Sequential([keras.Input((4, 4)), encoder])
    model = vae.VAE(whole, keras.Sequential([keras.Input((2,)), decoder]))
    assert model(images)["decoded"].shape == (64, 4, 4)
    heads = [layers.Flatten(), layers.Dense(4)]
    with pytest.raises(ValueError, match=r"^encoder must end in a list of 2 outputs"):
        vae.VAE(keras.Sequential([keras.Input((4, 4)), *heads]), decoder)

    class Subclass(keras.Model):
        def call(self, x):
            return encoder(x)

    called = Subclass()
    called(images)
    cropped = keras.Sequential([keras.Input((None, None, 1)), layers.Flatten()])
    for unknown in (keras.Sequential(heads), called, cropped, "encoder", None):
        with pytest.raises(ValueError, match=r"^encoder is .* input of known shape"):
            vae.VAE(unknown, decoder)
    pixels = vae.dense_encoder((4, 4), 2)
    wide = keras.Model(pixels.input, [layers.Reshape((1, 2))(a) for a in pixels.output])
    with pytest.raises(ValueError, match=r"^decoder .* \(batch, latent_dim\)"):
        vae.VAE(wide, keras.Sequential([keras.Input((1, 2)), layers.Flatten()]))
    with pytest.raises(ValueError, match=r"^decoder must end in one output"):
        vae.VAE(encoder, vae.dense_encoder((2,), 16))


@pytest.mark.one_backend
def test_a_loss_of_ones_own_is_refused(model):
    for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        with pytest.raises(ValueError, match=f"^{name} is .* left out"):
            model.compile("adam", **{name: ["mse"]})


@pytest.mark.one_backend
def test_parts_that_do_not_fit_are_refused():
    encoder = vae.dense_encoder((4, 4), 2)
    with pytest.raises(ValueError, match="one latent_dim for both"):
        vae.VAE(encoder, vae.dense_decoder(3, (4, 4)))
    with pytest.raises(ValueError, match=r"^encoder must end in a list of 2 outputs"):
        vae.VAE(vae.dense_decoder(3, (4, 4)), vae.dense_decoder(3, (4, 4)))
    x, (mean, log_var) = encoder.input, encoder.output
    named = keras.Model(x, {"mean": mean, "log_var": log_var})
    decoder = vae.dense_decoder(2, (4, 4))
    with pytest.raises(ValueError, match="a list of 2 outputs"):
        vae.VAE(named, decoder)
    unknown = keras.Sequential([keras.layers.Dense(16)])
    for parts, name in (
        ((None, decoder), "encoder"),
        ((encoder, unknown), "decoder"),
        ((encoder, keras.Model()), "decoder"),
    ):
        with pytest.raises(ValueError, match=f"^{name} is .* known shape"):
            vae.VAE(*parts)
    for likelihood in (vae.Gaussian, "gaussian"):
        with pytest.raises(ValueError, match=r"^likelihood is .* instance"):
            vae.VAE(encoder, decoder, likelihood)
    with pytest.raises(ValueError, match=r"^prior is Bernoulli\(\)"):
        vae.VAE(encoder, decoder, prior=vae.Bernoulli())
    with pytest.raises(ValueError, match="beta is 'a'"):
        vae.VAE(encoder, decoder, beta="a")


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
def test_dropout_acts_in_training_and_not_in_evaluation(images):
    encoder = vae.dense_encoder((4, 4), 2, (8,))
    z = keras.Input((2,))
    nothing = keras.layers.Dropout(1.0 - 1e-7)(z)  # keeps nothing of z
    logits = keras.layers.Dense(16, kernel_initializer="ones")(nothing)
    decoder = keras.Model(z, keras.layers.Reshape((4, 4))(logits))
    model = vae.VAE(encoder, decoder, seed=0)
    assert not ops.any(model(images, training=True)["decoded"])
    assert ops.all(model(images, training=False)["decoded"])
    model.compile(keras.optimizers.SGD(0.0))
    trained = model.fit(images, epochs=1, verbose=0).history["reconstruction"]
    np.testing.assert_allclose(trained, 16 * np.log(2), rtol=1e-5)
    evaluated = model.evaluate(images, verbose=0, return_dict=True)
    assert abs(evaluated["reconstruction"] - 16 * np.log(2)) > 0.1
