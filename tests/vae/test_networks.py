from utils import vae

import keras
import numpy as np
import pytest
from keras import ops


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
        (np.full((4, 6), np.nan), "must lie in"),
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


@pytest.mark.parametrize("strides", [(2,), 3, (2, 3)])
def test_strides_that_do_not_fit_are_refused(strides):
    with pytest.raises(ValueError, match="strides is"):
        vae.conv_encoder((8, 8), 2, (4, 4), strides)
    with pytest.raises(ValueError, match="strides is"):
        vae.conv_decoder(2, (8, 8), (4, 4), strides)
