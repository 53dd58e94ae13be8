"""Encoders and decoders, as functional Keras models."""

import math

import keras
import numpy as np
from keras import layers


def dense_encoder(image_shape, latent_dim, hidden_units=(512, 512), activation="silu"):
    """Encoder q(z|x): dense layers, then mean and log-variance of z.

    Parameters
    ----------
    image_shape : tuple of int
        Shape of one image, (28, 28) for MNIST.
    latent_dim : int
        Number of latent variables.
    hidden_units : sequence of int
        Units of each hidden layer, from the image inwards.
    activation : str or callable
        Activation of the hidden layers.

    Returns
    -------
    keras.Model
        From (batch, *image_shape) to a pair of (batch, latent_dim).
    """
    x = inputs = keras.Input(image_shape, name="x")
    x = layers.Flatten()(x)
    for units in hidden_units:
        x = layers.Dense(units, activation=activation)(x)
    mean = layers.Dense(latent_dim, name="mean")(x)
    log_var = layers.Dense(latent_dim, name="log_var")(x)
    return keras.Model(inputs, (mean, log_var), name="encoder")


def dense_decoder(
    latent_dim,
    image_shape,
    hidden_units=(512, 512),
    activation="silu",
    mean_image=None,
):
    """Decoder p(x|z): dense layers, then one logit a pixel.

    Parameters
    ----------
    latent_dim, image_shape, activation
        As for `dense_encoder`.
    hidden_units : sequence of int
        Units of each hidden layer, from the latent vector outwards.
    mean_image : array-like, shape `image_shape`, optional
        Mean of the training images, in [0, 1]. The output bias starts at its
        logit, so that the untrained decoder already draws the average image.

    Returns
    -------
    keras.Model
        From (batch, latent_dim) to (batch, *image_shape).

    Raises
    ------
    ValueError
        If `mean_image` has another shape or leaves [0, 1].
    """
    x = inputs = keras.Input((latent_dim,), name="z")
    for units in hidden_units:
        x = layers.Dense(units, activation=activation)(x)
    head = layers.Dense(math.prod(image_shape), name="logits")
    outputs = layers.Reshape(image_shape)(head(x))
    if mean_image is not None:
        head.bias.assign(_logit(_checked_mean(mean_image, image_shape)).ravel())
    return keras.Model(inputs, outputs, name="decoder")


def _checked_mean(mean_image, image_shape):
    mean_image = np.asarray(mean_image, dtype="float64")
    if mean_image.shape != tuple(image_shape):
        raise ValueError(
            f"mean_image has shape {mean_image.shape}, but the decoder draws "
            f"images of shape {tuple(image_shape)}."
        )
    if not (mean_image.min() >= 0 and mean_image.max() <= 1):
        raise ValueError(
            f"mean_image must lie in [0, 1], but runs from {mean_image.min():.3g} "
            f"to {mean_image.max():.3g}: divide bytes by 255."
        )
    return mean_image


def _logit(probability, smallest=1e-3):
    # Pixels that are always black would need a bias of minus infinity.
    probability = np.clip(probability, smallest, 1 - smallest)
    return np.log(probability) - np.log1p(-probability)
