"""Encoders and decoders, as functional Keras models."""

import math

import keras
import numpy as np
from keras import layers

from ..arguments import choice, integer, real_array
from .likelihoods import check_sizes

INITIALIZER = "he_normal"  # of hidden layers: keeps the scale of half-open activations
HEADS = {"logit": "glorot_uniform", "identity": "zeros"}  # of decoders, by their link
# Wherever Keras is told to expect the channels: images here have them last.
LAST = {"data_format": "channels_last"}
HEAD_NAMES = {"logit": "logits", "identity": "means"}  # by which a VAE knows them


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

    Raises
    ------
    ValueError
        If `image_shape` or `hidden_units` is no sequence of positive integers,
        `latent_dim` no positive integer, or `activation` none that Keras knows.
    """
    image_shape = check_sizes("image_shape", image_shape, at_least=1)
    inputs = keras.Input(image_shape, name="x")
    x = _dense(layers.Flatten(**LAST)(inputs), hidden_units, activation)
    return _encoder(inputs, x, latent_dim)


def dense_decoder(
    latent_dim,
    image_shape,
    hidden_units=(512, 512),
    activation="silu",
    mean_image=None,
    link="logit",
    outputs_per_pixel=1,
):
    """Decoder p(x|z): dense layers, then one number a pixel, a logit usually.

    Parameters
    ----------
    latent_dim, image_shape, activation
        As for `dense_encoder`.
    hidden_units : sequence of int
        Units of each hidden layer, from the latent vector outwards.
    mean_image : array-like, shape `image_shape`, optional
        Mean of the training images, in [0, 1]. The output bias starts at its
        link, so that the untrained decoder already draws the average image.
    link : {"logit", "identity"}
        What the output is of the mean: its logit, as for a Bernoulli, or the
        mean itself, as for every other likelihood here. With "identity" the
        output's weights start at zero: where the noise is small, what random ones
        draw on top of the average image would cost thousands of nats.
    outputs_per_pixel : {1, 2}
        With 2 the last axis is twice as long, and holds the means and then, at
        zero to begin with, what a likelihood makes variances of.

    Returns
    -------
    keras.Model
        From (batch, latent_dim) to (batch, *image_shape), the last axis of which is
        multiplied by `outputs_per_pixel`.

    Raises
    ------
    ValueError
        If `mean_image` has another shape or leaves [0, 1]; if `link` or
        `outputs_per_pixel` is unknown; as for `dense_encoder`.
    """
    latent_dim = integer("latent_dim", latent_dim)
    image_shape = check_sizes("image_shape", image_shape, at_least=1)
    link = choice("link", link, tuple(HEADS))
    outputs_per_pixel = choice("outputs_per_pixel", outputs_per_pixel, (1, 2))
    bias = _bias(mean_image, image_shape, link, outputs_per_pixel)
    shape = (*image_shape[:-1], image_shape[-1] * outputs_per_pixel)
    inputs = keras.Input((latent_dim,), name="z")
    x = _dense(inputs, hidden_units, activation)
    head = layers.Dense(math.prod(shape), **_head(link))
    outputs = layers.Reshape(shape, dtype="float32")(head(x))
    if bias is not None:
        head.bias.assign(bias.ravel())
    return keras.Model(inputs, outputs, name="decoder")


def conv_encoder(
    image_shape,
    latent_dim,
    filters=(32, 64),
    strides=2,
    hidden_units=(128,),
    activation="silu",
):
    """Encoder q(z|x): convolutions, dense layers, then mean and log-variance of z.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width) or (height, width, channels).
    filters : sequence of int
        Channels of each convolution, from the image inwards.
    strides : int or sequence of int
        Step of each convolution; 2 halves height and width.
    latent_dim, hidden_units, activation
        As for `dense_encoder`.

    Returns
    -------
    keras.Model
        From (batch, *image_shape) to a pair of (batch, latent_dim).

    Raises
    ------
    ValueError
        If `image_shape` has not two or three axes, `filters` and `strides` differ in
        length, or the strides do not divide height and width; as for `dense_encoder`.
    """
    image_shape = _checked_image_shape(image_shape)
    filters = check_sizes("filters", filters, at_least=1)
    strides, _ = _checked_strides(image_shape, filters, strides)
    inputs = keras.Input(image_shape, name="x")
    x = layers.Reshape((*image_shape, 1)[:3])(inputs)
    x = _convolve(x, layers.Conv2D, filters, strides, activation)
    x = _dense(layers.Flatten(**LAST)(x), hidden_units, activation)
    return _encoder(inputs, x, latent_dim)


def conv_decoder(
    latent_dim,
    image_shape,
    filters=(64, 32),
    strides=2,
    hidden_units=(128,),
    activation="silu",
    mean_image=None,
    link="logit",
    outputs_per_pixel=1,
):
    """Decoder p(x|z): dense layers, transposed convolutions, one number a pixel.

    Kernels that the step divides cover every pixel equally often: no
    checkerboards (Odena, Dumoulin and Olah, 2016).

    Parameters
    ----------
    latent_dim, image_shape, hidden_units, activation, mean_image, link
        As for `dense_decoder`.
    filters : sequence of int
        Channels that each transposed convolution takes, from the latent vector
        outwards; the last leaves as many as the first filter of the encoder.
    strides : int or sequence of int
        As for `conv_encoder`, from the latent vector outwards.
    outputs_per_pixel : {1, 2}
        As for `dense_decoder`.

    Returns
    -------
    keras.Model
        As for `dense_decoder`.

    Raises
    ------
    ValueError
        As for `conv_encoder` and `dense_decoder`.
    """
    latent_dim = integer("latent_dim", latent_dim)
    image_shape = _checked_image_shape(image_shape)
    filters = check_sizes("filters", filters, at_least=1)
    hidden_units = check_sizes("hidden_units", hidden_units)
    strides, small = _checked_strides(image_shape, filters, strides)
    link = choice("link", link, tuple(HEADS))
    outputs_per_pixel = choice("outputs_per_pixel", outputs_per_pixel, (1, 2))
    bias = _bias(mean_image, image_shape, link, outputs_per_pixel)
    shape = (*image_shape[:-1], image_shape[-1] * outputs_per_pixel)
    inputs = keras.Input((latent_dim,), name="z")
    x = _dense(inputs, (*hidden_units, math.prod(small) * filters[0]), activation)
    x = layers.Reshape((*small, filters[0]))(x)
    filters = (*filters[1:], filters[-1])
    x = _convolve(x, layers.Conv2DTranspose, filters, strides, activation)
    # With step 1 the same as a convolution, and on a CPU the faster of the two.
    channels = (*image_shape, 1)[2] * outputs_per_pixel
    head = layers.Conv2DTranspose(channels, 3, padding="same", **LAST, **_head(link))
    outputs = head(x)
    if outputs_per_pixel > 1 and len(image_shape) == 2:
        # Without channels, the axis to be twice as long is that of the width.
        outputs = layers.Permute((1, 3, 2), dtype="float32")(outputs)
    outputs = layers.Reshape(shape, dtype="float32")(outputs)
    if bias is not None:
        outputs = layers.Rescaling(1.0, bias.tolist(), dtype="float32")(outputs)
    return keras.Model(inputs, outputs, name="decoder")


def _dense(x, hidden_units, activation):
    activation = _checked_activation(activation)
    for units in check_sizes("hidden_units", hidden_units):
        x = layers.Dense(units, activation, kernel_initializer=INITIALIZER)(x)
    return x


def _head(link):
    name, initializer = HEAD_NAMES[link], HEADS[link]
    return {"name": name, "kernel_initializer": initializer, "dtype": "float32"}


def _encoder(inputs, x, latent_dim):
    latent_dim = integer("latent_dim", latent_dim)
    # Heads compute in full precision also where hidden layers do not.
    heads = ("mean", "log_var")
    outputs = [layers.Dense(latent_dim, name=n, dtype="float32")(x) for n in heads]
    return keras.Model(inputs, outputs, name="encoder")


def _convolve(x, layer, filters, strides, activation):
    activation = _checked_activation(activation)
    for channels, step in zip(filters, strides, strict=True):
        settings = {"activation": activation, "kernel_initializer": INITIALIZER, **LAST}
        # A multiple of the step, and wide enough to see the neighbours.
        size = max(3, 2 * step)
        x = layer(channels, size, step, padding="same", **settings)(x)
    return x


def _checked_activation(activation):
    try:
        keras.activations.get(activation)
    except (TypeError, ValueError):
        raise ValueError(
            f"activation is {activation!r}, but must be a function of a tensor, or "
            "what Keras calls one, such as 'relu'."
        ) from None
    return activation


def _checked_image_shape(image_shape):
    image_shape = check_sizes("image_shape", image_shape)
    if len(image_shape) not in (2, 3):
        raise ValueError(
            f"image_shape is {image_shape}, but must be (height, width) or "
            "(height, width, channels)."
        )
    return image_shape


def _checked_strides(image_shape, filters, strides):
    """Return one stride a layer, and the shape of the smallest map."""
    if not hasattr(strides, "__len__"):
        strides = [integer("strides", strides)] * len(filters)
    strides = check_sizes("strides", strides)
    total = math.prod(strides)
    if len(strides) != len(filters) or any(side % total for side in image_shape[:2]):
        raise ValueError(
            f"strides is {strides}, but must be one number for each of the "
            f"{len(filters)} filters, with a product that divides the height and "
            f"width of {tuple(image_shape)}."
        )
    return strides, [side // total for side in image_shape[:2]]


def _bias(mean_image, image_shape, link, outputs_per_pixel):
    """Return what the output starts at, or None for zero."""
    if mean_image is None:
        return None
    mean_image = _checked_mean(mean_image, image_shape)
    bias = _logit(mean_image) if link == "logit" else mean_image
    return np.concatenate([bias, 0 * bias][:outputs_per_pixel], axis=-1)


def _checked_mean(mean_image, image_shape):
    mean_image = real_array("mean_image", mean_image, image_shape)
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


def checked_shapes(name, network):
    """Return the shapes of a network's input and outputs.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    network : keras.Model

    Returns
    -------
    taken : tuple
        Shape of the one input, with None for the batch.
    given : tuple, or list, tuple or dict of such
        As the network, when called, returns its outputs.

    Raises
    ------
    ValueError
        If it is no network of one input, or its shape is not known.
    """
    taken = getattr(network, "input_shape", None)  # unknown of what was never built
    if not is_batch(taken):
        raise ValueError(
            f"{name} is {network!r}, but must be a keras.Model with one input of known "
            "shape: functional, or a Sequential that begins with keras.Input."
        )
    outputs = network.compute_output_spec(keras.KerasTensor(taken))
    return taken, keras.tree.map_structure(lambda output: output.shape, outputs)


def is_batch(shape, axes=None):
    """Tell the shape of a tensor, known but for its first axis, from anything else."""
    known = isinstance(shape, tuple) and all(isinstance(n, int) for n in shape[1:])
    return known and len(shape) > 1 and axes in (None, len(shape) - 1)
