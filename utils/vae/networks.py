"""Encoders and decoders, as functional Keras models."""

import math

import keras
import numpy as np
from keras import layers, ops

from ..arguments import choice, integer, integers, real_array

INITIALIZER = "he_normal"  # of hidden layers: keeps the scale of half-open activations
HEADS = {"logit": "glorot_uniform", "identity": "zeros"}  # of decoders, by their link
# Wherever Keras is told to expect the channels: images here have them last.
LAST = {"data_format": "channels_last"}
HEAD_NAMES = {"logit": "logits", "identity": "means"}  # by which a VAE knows them


def dense_encoder(
    image_shape,
    latent_dim,
    hidden_units=(512, 512),
    activation="silu",
    *,
    posterior=None,
    condition_dim=None,
):
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
    posterior : Posterior, optional
        That of the model, which says what the encoder ends in; a mean and a
        log-variance, if left out.
    condition_dim : int, optional
        Length of a condition, such as a class as a one-hot vector: a second input.

    Returns
    -------
    keras.Model
        From (batch, *image_shape), or a list of this and of (batch, condition_dim), to
        a pair of (batch, latent_dim), or what the posterior asks for.

    Raises
    ------
    ValueError
        If `image_shape` or `hidden_units` is no sequence of positive integers,
        `latent_dim` or `condition_dim` no positive integer, `activation` none that
        Keras knows, or `posterior` is not one.
    """
    image_shape = integers("image_shape", image_shape, at_least=1)
    inputs = keras.Input(image_shape, name="x")
    condition, x = _beside(condition_dim, layers.Flatten(**LAST)(inputs))
    x = _dense(x, hidden_units, activation)
    return _encoder([inputs, *condition], x, latent_dim, posterior)


def dense_decoder(
    latent_dim,
    image_shape,
    hidden_units=(512, 512),
    activation="silu",
    mean_image=None,
    link="logit",
    outputs_per_pixel=1,
    *,
    condition_dim=None,
):
    """Decoder p(x|z): dense layers, then one number a pixel, a logit usually.

    Parameters
    ----------
    latent_dim, image_shape, activation
        As for `dense_encoder`.
    hidden_units : sequence of int
        Units of each hidden layer, from the latent vector outwards.
    mean_image : array-like, shape `image_shape`, optional
        Mean of the training images, in [0, 1]. The output bias starts at it, or at
        its logit, so that the untrained decoder already draws the average image. (That
        of `conv_decoder` stays there: a bias for each pixel, which is not learnt.)
    link : {"logit", "identity"}
        What the output is of the mean: its logit, as for a Bernoulli, or the
        mean itself, as for every other likelihood here. With "identity" the
        output's weights start at zero: where the noise is small, what random ones
        draw on top of the average image would cost thousands of nats.
    outputs_per_pixel : {1, 2}
        With 2 the last axis is twice as long, and holds the means and then, at
        zero to begin with, what a likelihood makes variances of.
    condition_dim : int, optional
        As for `dense_encoder`.

    Returns
    -------
    keras.Model
        From (batch, latent_dim), or a list of this and of (batch, condition_dim), to
        (batch, *image_shape), the last axis of which is multiplied by
        `outputs_per_pixel`.

    Raises
    ------
    ValueError
        If `mean_image` has another shape or leaves [0, 1]; if `link` or
        `outputs_per_pixel` is unknown; as for `dense_encoder`.
    """
    latent_dim = integer("latent_dim", latent_dim)
    image_shape = integers("image_shape", image_shape, at_least=1)
    link = choice("link", link, tuple(HEADS))
    outputs_per_pixel = choice("outputs_per_pixel", outputs_per_pixel, (1, 2))
    bias = _bias(mean_image, image_shape, link, outputs_per_pixel)
    shape = (*image_shape[:-1], image_shape[-1] * outputs_per_pixel)
    inputs = keras.Input((latent_dim,), name="z")
    condition, x = _beside(condition_dim, inputs)
    x = _dense(x, hidden_units, activation)
    head = layers.Dense(math.prod(shape), **_head(link))
    outputs = layers.Reshape(shape, dtype="float32")(head(x))
    if bias is not None:
        head.bias.assign(bias.ravel())
    return _model([inputs, *condition], outputs, "decoder")


def conv_encoder(
    image_shape,
    latent_dim,
    filters=(32, 64),
    strides=2,
    hidden_units=(128,),
    activation="silu",
    *,
    posterior=None,
    condition_dim=None,
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
    latent_dim, hidden_units, activation, posterior, condition_dim
        As for `dense_encoder`; a condition goes to the dense layers.

    Returns
    -------
    keras.Model
        As for `dense_encoder`.

    Raises
    ------
    ValueError
        If `image_shape` has not two or three axes, `filters` and `strides` differ in
        length, or the strides do not divide height and width; as for `dense_encoder`.
    """
    image_shape = _checked_image_shape(image_shape)
    filters = integers("filters", filters, at_least=1)
    strides, _ = _checked_strides(image_shape, filters, strides)
    inputs = keras.Input(image_shape, name="x")
    x = layers.Reshape((*image_shape, 1)[:3])(inputs)
    x = _convolve(x, layers.Conv2D, filters, strides, activation)
    condition, x = _beside(condition_dim, layers.Flatten(**LAST)(x))
    x = _dense(x, hidden_units, activation)
    return _encoder([inputs, *condition], x, latent_dim, posterior)


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
    *,
    condition_dim=None,
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
        outwards: each leaves as many as the next takes, the last as many as it took.
    strides : int or sequence of int
        As for `conv_encoder`, from the latent vector outwards.
    outputs_per_pixel, condition_dim
        As for `dense_decoder`; a condition goes to the dense layers.

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
    filters = integers("filters", filters, at_least=1)
    hidden_units = integers("hidden_units", hidden_units)
    strides, small = _checked_strides(image_shape, filters, strides)
    link = choice("link", link, tuple(HEADS))
    outputs_per_pixel = choice("outputs_per_pixel", outputs_per_pixel, (1, 2))
    bias = _bias(mean_image, image_shape, link, outputs_per_pixel)
    shape = (*image_shape[:-1], image_shape[-1] * outputs_per_pixel)
    inputs = keras.Input((latent_dim,), name="z")
    condition, x = _beside(condition_dim, inputs)
    x = _dense(x, (*hidden_units, math.prod(small) * filters[0]), activation)
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
    return _model([inputs, *condition], outputs, "decoder")


def _dense(x, hidden_units, activation):
    activation = _checked_activation(activation)
    for units in integers("hidden_units", hidden_units):
        x = layers.Dense(units, activation, kernel_initializer=INITIALIZER)(x)
    return x


def _head(link):
    name, initializer = HEAD_NAMES[link], HEADS[link]
    return {"name": name, "kernel_initializer": initializer, "dtype": "float32"}


def _encoder(inputs, x, latent_dim, posterior):
    latent_dim = integer("latent_dim", latent_dim)
    if posterior is None:
        heads = {"mean": latent_dim, "log_var": latent_dim}
    elif hasattr(posterior, "sizes") and not isinstance(posterior, type):
        heads = posterior.sizes(latent_dim)
    else:
        raise ValueError(
            f"posterior is {posterior!r}, but must be an instance of a subclass of "
            "Posterior, such as FullGaussian(), or None."
        )
    # Heads compute in full precision also where hidden layers do not.
    outputs = [
        layers.Dense(units, name=name, dtype="float32")(x)
        for name, units in heads.items()
    ]
    return _model(inputs, outputs, "encoder")


def _beside(condition_dim, x):
    """Return a list of the input for a condition, empty for none, and x beside it."""
    if condition_dim is None:
        return [], x
    condition = keras.Input((integer("condition_dim", condition_dim),), name="y")
    return [condition], layers.Concatenate()([x, condition])


def _model(inputs, outputs, name):
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=name)


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
    image_shape = integers("image_shape", image_shape)
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
    strides = integers("strides", strides)
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
    """Return the shapes of a network's inputs and outputs.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    network : keras.Model

    Returns
    -------
    taken : tuple
        Shape of the first input, with None for the batch.
    condition : tuple or None
        Shape of a second input, without the batch; None if there is none.
    given : tuple, or list, tuple or dict of such
        As the network, when called, returns its outputs.

    Raises
    ------
    ValueError
        If it is no network of one input or two, or their shapes are not known.
    """
    taken = getattr(network, "input_shape", None)  # unknown of what was never built
    shapes = listed(taken)
    scalar = len(shapes) == 2 and shapes[1] == (None,)  # a class, as a number
    if len(shapes) > 2 or not all(map(is_batch, shapes[: 2 - scalar])):
        raise ValueError(
            f"{name} is {network!r}, but must be a keras.Model with one input of known "
            "shape, or two, a condition being the second: functional, or a Sequential "
            "that begins with keras.Input."
        )
    inputs = [
        keras.KerasTensor(tensor.shape, tensor.dtype) for tensor in network.inputs
    ]
    outputs = network.compute_output_spec(inputs if len(inputs) > 1 else inputs[0])
    given = keras.tree.map_structure(lambda output: output.shape, outputs)
    return shapes[0], shapes[1][1:] if len(shapes) == 2 else None, given


def listed(shapes):
    """Return a list of shapes, of one shape a list as well.

    To Keras several are a list or a tuple of tuples, and one is a tuple of numbers.
    """
    several = isinstance(shapes, tuple) and shapes and isinstance(shapes[0], tuple)
    return list(shapes) if several or isinstance(shapes, list) else [shapes]


def is_batch(shape, axes=None):
    """Tell the shape of a tensor, known but for its first axis, from anything else."""
    known = isinstance(shape, tuple) and all(isinstance(n, int) for n in shape[1:])
    return known and len(shape) > 1 and axes in (None, len(shape) - 1)


def one_condition(*shapes):
    """Return the shape of the condition that all take who take one; None if none do.

    Raises
    ------
    ValueError
        If they differ.
    """
    found = {shape for shape in shapes if shape is not None}
    if len(found) > 1:
        raise ValueError(
            f"the conditions that networks and prior take have the shapes {found}, but "
            "must have one for all."
        )
    return next(iter(found), None)


def on_rows(network, inputs, condition=None):
    """Call a network that takes rows on any number of axes of them.

    Parameters
    ----------
    network : keras.Model
        Of one input, or of two, the second of which is the condition.
    inputs : tensor, shape (..., batch, dim)
    condition : tensor, shape (batch, *condition_shape), optional
        The same for all that stand in front of the batch.

    Returns
    -------
    tensor, or list of tensor, shape (..., batch, *output_shape)
    """
    axes = ops.shape(inputs)[:-1]
    rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
    if len(network.inputs) == 2:
        shape = condition.shape[1:]
        condition = ops.broadcast_to(condition, (*axes, *shape))
        condition = ops.reshape(condition, (-1, *shape))
    return keras.tree.map_structure(
        lambda output: ops.reshape(output, (*axes, *output.shape[1:])),
        _called(network, rows, condition),
    )


def encoded(encoder, x, condition=None):
    """Return what an encoder gives, as a list, in full precision.

    Parameters
    ----------
    encoder : keras.Model
        Of one input, or of two, the second of which is the condition.
    x : tensor, shape (batch, *image_shape)
    condition : tensor, shape (batch, *condition_shape), optional

    Returns
    -------
    list of tensor, shape (batch, units)
    """
    # A list of one output is what Keras unpacks.
    outputs = keras.tree.flatten(_called(encoder, x, condition))
    return [ops.cast(output, keras.config.floatx()) for output in outputs]


def _called(network, inputs, condition):
    return network([inputs, condition] if len(network.inputs) == 2 else inputs)


class OfParts:
    """Mix-in of what is saved and loaded with the objects that it is made of."""

    PARTS = ()  # names of arguments and attributes

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        parts = {part: serialize(getattr(self, part)) for part in self.PARTS}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        for part in cls.PARTS:
            config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)
