from utils import vae

import keras
import numpy as np
import pytest
from keras import ops

# These networks are Keras' own layers, and others build them on JAX as well.
pytestmark = pytest.mark.one_backend


def test_shapes():
    encoder = vae.dense_encoder((4, 6), 3, (8, 7))
    mean, log_var = encoder(np.zeros((5, 4, 6), "float32"))
    assert mean.shape == log_var.shape == (5, 3)
    decoder = vae.dense_decoder(3, (4, 6), (7, 8))
    assert decoder(np.zeros((5, 3), "float32")).shape == (5, 4, 6)


def test_the_output_bias_starts_at_the_logit_of_the_mean_image():
    mean_image = np.linspace(0.01, 0.99, 24).reshape(4, 6)
    decoder = vae.dense_decoder(3, (4, 6), (8,), "tanh", mean_image=mean_image)
    # tanh of nothing is nothing: what remains is the bias.
    drawn = ops.convert_to_numpy(ops.sigmoid(decoder(np.zeros((1, 3), "float32"))))
    np.testing.assert_allclose(drawn[0], mean_image, rtol=1e-5)


def test_pixels_that_are_always_black_or_white_keep_a_finite_bias():
    mean_image = np.array([[0.0, 1.0]])
    decoder = vae.dense_decoder(2, (1, 2), (3,), mean_image=mean_image)
    bias = ops.convert_to_numpy(decoder.get_layer("logits").bias)
    assert np.all(np.isfinite(bias))
    assert bias[0] < -5 < 5 < bias[1]


@pytest.mark.parametrize(
    ("mean_image", "message"),
    [
        (np.zeros((2, 2)), "shape"),
        (np.full((4, 6), 33.0), "divide bytes by 255"),
        (np.full((4, 6), np.nan), "^mean_image holds nan"),
        (np.full((4, 6), 0.5 + 0.1j), "^mean_image must be real"),
        (np.ma.masked_less(np.eye(4, 6), 1), "^mean_image is a masked"),
    ],
)
def test_a_wrong_mean_image_is_refused(mean_image, message):
    with pytest.raises(ValueError, match=message):
        vae.dense_decoder(3, (4, 6), mean_image=mean_image)


@pytest.mark.parametrize("image_shape", [(8, 12), (8, 8, 3)])
def test_convolutional_shapes(image_shape):
    encoder = vae.conv_encoder(image_shape, 3, (4, 5), (2, 1), (6,))
    mean, log_var = encoder(np.zeros((2, *image_shape), "float32"))
    assert mean.shape == log_var.shape == (2, 3)
    decoder = vae.conv_decoder(3, image_shape, (5, 4), (1, 2), (6,))
    assert decoder(np.zeros((2, 3), "float32")).shape == (2, *image_shape)


@pytest.mark.parametrize("strides", [2, (1, 2), (3, 2)])
def test_transposed_convolutions_cover_every_pixel_equally_often(strides):
    decoder = vae.conv_decoder(1, (36, 36), (2, 2), strides, (), "linear")
    for layer in decoder.layers:
        for variable in layer.trainable_variables:
            variable.assign(np.full(variable.shape, "bias" not in variable.path))
    drawn = ops.convert_to_numpy(decoder(np.ones((1, 1), "float32")))[0]
    interior = drawn[12:-12, 12:-12]
    np.testing.assert_allclose(interior, interior[0, 0], rtol=1e-5)
    assert interior[0, 0] > 0


@pytest.mark.parametrize("outputs", [1, 2])
def test_three_steps_to_a_colour_image_leave_no_checkerboard(outputs):
    decoder = vae.conv_decoder(
        1, (64, 64, 3), (4, 3, 2), 2, (), "linear", outputs_per_pixel=outputs
    )
    for layer in decoder.layers:
        for variable in layer.trainable_variables:
            variable.assign(np.full(variable.shape, "bias" not in variable.path))
    drawn = ops.convert_to_numpy(decoder(np.ones((1, 1), "float32")))[0]
    assert drawn.shape == (64, 64, 3 * outputs)
    interior = drawn[24:-24, 24:-24]
    np.testing.assert_allclose(interior, interior[0, 0, 0] + 0 * interior, rtol=1e-5)
    assert interior[0, 0, 0] > 0


def test_the_convolutional_pair_learns_small_colour_images():
    """Three steps of stride 2, at ten times the usual learning rate."""
    rng = np.random.default_rng(0)
    colours = rng.uniform(0.2, 0.8, (64, 1, 1, 3)) + np.zeros((64, 16, 16, 3))
    images = np.uint8(255 * (colours + rng.normal(0, 0.02, colours.shape)).clip(0, 1))
    model = vae.VAE(
        vae.conv_encoder((16, 16, 3), 3, (4, 8, 8), 2, (16,)),
        vae.conv_decoder(
            3,
            (16, 16, 3),
            (8, 8, 4),
            2,
            (16,),
            mean_image=images.mean(axis=0) / 255,
            link="identity",
        ),
        vae.LearnedGaussian(dequantize=True),
        seed=0,
    )
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(images, batch_size=16, epochs=30, verbose=0).history["loss"]
    assert np.all(np.isfinite(history))
    spread = float(images.std() / 255)
    # What the best that cannot tell the colours apart would score.
    blind = 16 * 16 * 3 * (0.5 * np.log(2 * np.pi * np.e) + np.log(spread))
    assert history[-1] < blind - 100


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(
    ("kind", "image_shape"), [("dense", (8, 8)), ("conv", (8, 8)), ("conv", (8, 8, 3))]
)
def test_means_come_first_and_start_at_the_mean_image(image_shape, kind, outputs):
    mean_image = np.linspace(0, 1, int(np.prod(image_shape))).reshape(image_shape)
    make = getattr(vae, f"{kind}_decoder")
    settings = {"link": "identity", "outputs_per_pixel": outputs}
    decoder = make(3, image_shape, (4,), mean_image=mean_image, **settings)
    z = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    drawn = ops.convert_to_numpy(decoder(z))
    halves = np.split(drawn, outputs, axis=-1)
    for half, start in zip(halves, (mean_image, 0 * mean_image), strict=False):
        assert half.shape == (2, *image_shape)
        np.testing.assert_allclose(half, start[None].repeat(2, 0), atol=1e-6)


@pytest.mark.parametrize("image_shape", [(4, 6), (4, 6, 3)])
def test_each_half_of_a_convolutional_output_has_channels_of_its_own(image_shape):
    decoder = vae.conv_decoder(2, image_shape, (4,), 2, (), outputs_per_pixel=2)
    kernel, bias = decoder.layers[-2 - (len(image_shape) == 2)].weights
    kernel.assign(0 * kernel)
    bias.assign(np.arange(bias.shape[0], dtype="float32"))
    drawn = ops.convert_to_numpy(decoder(np.ones((1, 2), "float32")))[0]
    channels = bias.shape[0] // 2
    for half, first in zip(np.split(drawn, 2, axis=-1), (0, channels), strict=True):
        expected = first + np.arange(channels) + np.zeros((4, 6, channels))
        np.testing.assert_array_equal(half.reshape(4, 6, channels), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"link": "log"}, "link is 'log'"), ({"outputs_per_pixel": 3}, "is 3, but")],
)
def test_wrong_outputs_are_refused(settings, message):
    for make in (vae.dense_decoder, vae.conv_decoder):
        with pytest.raises(ValueError, match=message):
            make(2, (8, 8), **settings)


def test_the_convolutional_decoder_starts_at_the_mean_image_and_is_saved(tmp_path):
    mean_image = np.linspace(0.01, 0.99, 64).reshape(8, 8)
    decoder = vae.conv_decoder(3, (8, 8), mean_image=mean_image)
    z = np.zeros((1, 3), "float32")
    drawn = ops.convert_to_numpy(ops.sigmoid(decoder(z)))
    np.testing.assert_allclose(drawn[0], mean_image, rtol=1e-4)
    decoder.save(tmp_path / "decoder.keras")
    loaded = keras.saving.load_model(tmp_path / "decoder.keras")
    z = np.ones((1, 3), "float32")
    np.testing.assert_allclose(loaded(z), decoder(z), rtol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_shape": 784}, "image_shape is 784, but must be"),
        ({"image_shape": ()}, r"image_shape is \(\)"),
        ({"image_shape": (8, 0)}, r"image_shape is \(8, 0\)"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"latent_dim": (8, 8)}, r"latent_dim is \(8, 8\)"),
        ({"hidden_units": 512}, r"hidden_units is 512, but must be .* \(32,\)"),
        ({"hidden_units": (8, 2.5)}, "hidden_units is"),
        ({"hidden_units": "ab"}, "hidden_units is 'ab'"),
        ({"latent_dim": True}, "latent_dim is True"),
        ({"activation": "siluu"}, "activation is 'siluu'"),
        ({"activation": 3}, "activation is 3"),
    ],
)
def test_wrong_sizes_are_refused_by_name(kind, settings, message):
    sizes = {"latent_dim": 2, "image_shape": (8, 8), **settings}
    for part in ("encoder", "decoder"):
        with pytest.raises(ValueError, match=message):
            getattr(vae, f"{kind}_{part}")(**sizes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_shape": (784,)}, r"must be \(height, width\)"),
        ({"image_shape": (8, 8, 8, 3)}, r"must be \(height, width\)"),
        ({"filters": 32}, "filters is 32"),
        ({"filters": ()}, r"filters is \(\)"),
        ({"strides": 0}, "strides is"),
        ({"strides": 2.5}, "strides is 2.5"),
        ({"strides": True}, "strides is True"),
        ({"activation": "siluu", "hidden_units": ()}, "activation is 'siluu'"),
    ],
)
def test_wrong_convolutions_are_refused_by_name(settings, message):
    sizes = {"latent_dim": 2, "image_shape": (8, 8), **settings}
    for make in (vae.conv_encoder, vae.conv_decoder):
        with pytest.raises(ValueError, match=message):
            make(**sizes)


def test_numpys_integers_are_sizes_too():
    two = np.int64(2)
    encoder = vae.conv_encoder((two, two), two, (two,), two, (two,))
    assert encoder.output_shape[0] == (None, 2)
    decoder = vae.conv_decoder(two, (two, two), (two,), two, (two,))
    assert decoder.output_shape == (None, 2, 2)


@pytest.mark.parametrize("strides", [(2,), 3, (2, 3)])
def test_strides_that_do_not_fit_are_refused(strides):
    with pytest.raises(ValueError, match="strides is"):
        vae.conv_encoder((8, 8), 2, (4, 4), strides)
    with pytest.raises(ValueError, match="strides is"):
        vae.conv_decoder(2, (8, 8), (4, 4), strides)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_channels_are_last_whatever_keras_is_set_to(kind):
    x, z = np.random.default_rng(0).random((2, 8, 4, 3)), np.ones((2, 2))
    usual, found = keras.config.image_data_format(), []
    for order in ("channels_last", "channels_first"):
        keras.utils.set_random_seed(0)
        keras.config.set_image_data_format(order)
        try:
            encoder = getattr(vae, f"{kind}_encoder")((8, 4, 3), 2)
            decoder = getattr(vae, f"{kind}_decoder")(2, (8, 4, 3), mean_image=x[0])
            found.append([*encoder(x), decoder(z)])
        finally:
            keras.config.set_image_data_format(usual)
    for last, first in zip(*found, strict=True):
        np.testing.assert_allclose(first, last, rtol=1e-6)
