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


@pytest.mark.parametrize("batch_size", [64, 24])
def test_loss_reconstruction_and_kl_add_up_also_over_uneven_batches(
    model, images, batch_size
):
    history = model.fit(
        images,
        validation_data=(images[:40],),
        batch_size=batch_size,
        epochs=2,
        verbose=0,
    ).history
    for prefix in ("", "val_"):
        parts = [np.array(history[prefix + name]) for name in ("reconstruction", "kl")]
        np.testing.assert_allclose(history[prefix + "loss"], sum(parts), rtol=1e-5)


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


def test_a_saved_model_loads_to_the_same_numbers(model, images, tmp_path):
    model.fit(images, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected, actual = (
        m.evaluate(images, batch_size=16, verbose=0, return_dict=True)
        for m in (model, loaded)
    )
    assert actual == pytest.approx(expected, rel=1e-6)
    first, second = (
        vae.log_likelihood(m, images, 5, verbose=0) for m in (model, loaded)
    )
    np.testing.assert_array_equal(first.per_image, second.per_image)


def test_a_loaded_model_goes_on_training(model, images, tmp_path):
    model.fit(images, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    first, second = (
        m.fit(images, batch_size=16, shuffle=False, verbose=0).history["loss"]
        for m in (model, loaded)
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


def test_samples_and_reconstructions(model, images):
    assert model.sample(7, seed=0).shape == (7, 4, 4)
    np.testing.assert_array_equal(model.sample(3, seed=0), model.sample(3, seed=0))
    assert set(np.unique(model.sample(50, draw=True, seed=0))) == {0.0, 1.0}
    rebuilt = model.reconstruct(images)
    assert rebuilt.shape == images.shape
    assert 0 < rebuilt.min() < rebuilt.max() < 1


def test_flat_images_are_checked_like_others(images):
    flat = images.reshape(64, 16)
    encoder, decoder = vae.dense_encoder((16,), 2, (8,)), vae.dense_decoder(2, (16,))
    model = vae.VAE(encoder, decoder)
    model.compile("adam")
    model.fit(flat, verbose=0)
    for wrong in (flat.astype("float32"), flat.astype("int64")):
        for use in (model.fit, model.evaluate, model.encode):
            with pytest.raises(ValueError, match="bytes"):
                use(wrong)
        with pytest.raises(ValueError, match="bytes"):
            vae.log_likelihood(model, wrong)


def test_validation_is_looked_at_once(model, images, monkeypatch):
    """Not at every epoch: floats are looked through from end to end."""
    names, check = [], model.check_data

    def checked(x, name="x"):
        names.append(name)
        return check(x, name)

    object.__setattr__(model, "check_data", checked)
    model.fit(images, epochs=3, validation_data=(images,), verbose=0)
    assert sorted(names) == ["validation_data", "x"]


def test_the_decoder_must_draw_what_the_encoder_sees(images):
    for link, likelihood in (("logit", None), ("identity", vae.Gaussian(0.1))):
        encoder = vae.dense_encoder((4, 4, 3), 2, (8,))
        decoder = vae.dense_decoder(2, (4, 4, 1), (8,), link=link)
        model = vae.VAE(encoder, decoder, likelihood)
        model.compile("adam")
        with pytest.raises(ValueError, match=r"image_shape=\(4, 4, 3\)"):
            model.fit(np.repeat(images[..., None], 3, axis=-1), verbose=0)


@pytest.mark.parametrize("make", [vae.dense_decoder, vae.conv_decoder])
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


def test_wrong_counts_are_refused(model, images):
    for count in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="num_samples is"):
            model.sample(count)
        with pytest.raises(ValueError, match="num_steps is"):
            model.interpolate(images[0], images[1], count)
        with pytest.raises(ValueError, match="batch_size is"):
            model.encode(images, batch_size=count)
    with pytest.raises(ValueError, match=r"^second has shape"):
        model.interpolate(images[0], images[1, :3])


@pytest.mark.one_backend
def test_sequential_networks_are_taken_and_others_refused_by_name(images):
    encoder, decoder = vae.dense_encoder((4, 4), 2, (8,)), vae.dense_decoder(2, (4, 4))
    layers = keras.layers
    whole = keras.Sequential([keras.Input((4, 4)), encoder])
    model = vae.VAE(whole, keras.Sequential([keras.Input((2,)), decoder]))
    assert model(images)["decoded"].shape == (64, 4, 4)
    heads = [layers.Flatten(), layers.Dense(4)]
    with pytest.raises(ValueError, match=r"^encoder must end in a list of two outputs"):
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
    with pytest.raises(ValueError, match=r"^encoder must .* \(batch, latent_dim\)"):
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
    with pytest.raises(ValueError, match="two outputs"):
        vae.VAE(vae.dense_decoder(3, (4, 4)), vae.dense_decoder(3, (4, 4)))
    x, (mean, log_var) = encoder.input, encoder.output
    named = keras.Model(x, {"mean": mean, "log_var": log_var})
    decoder = vae.dense_decoder(2, (4, 4))
    with pytest.raises(ValueError, match="a list of two outputs"):
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
    with pytest.raises(ValueError, match="kl_weight is 'a'"):
        vae.VAE(encoder, decoder, kl_weight="a")


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
