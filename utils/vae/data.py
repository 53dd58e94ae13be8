"""What a VAE is given: arrays and streams of images and conditions, checked."""

import warnings
from collections.abc import Iterable

import keras
import numpy as np

from ..arguments import plain_array, real_array
from .backend import on_one_device

REMEDY = (
    'Numbers from 0 to 255 become bytes by astype("uint8"), in a tf.data set by '
    'map(lambda x: tf.cast(x, "uint8")); or divide them by 255.'
)


class Minibatches(keras.utils.PyDataset):
    """Minibatches of arrays, in an order that depends on the step alone.

    Keras' own shuffle starts anew with every process. Here the order of an epoch
    is a function of the seed and of the steps already taken, which a checkpoint
    holds: training that was killed and resumed sees the images as if it had not been.

    Parameters
    ----------
    arrays : tuple of array, shape (N, ...)
        The images, and their conditions if the model has any.
    batch_size : int
    model : VAE
        Whose optimizer counts the steps, and whose generator holds the seed.
    """

    def __init__(self, arrays, batch_size, model):
        super().__init__()
        self.arrays, self.batch_size, self.model = arrays, batch_size, model
        self.count = len(arrays[0])
        self.order, self.taken = np.arange(self.count), 0

    @property
    def num_batches(self):
        return -(-self.count // self.batch_size)

    def on_epoch_begin(self):
        steps = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        # Of the state, which is saved, unlike a seed that was not given.
        seed = int(keras.ops.convert_to_numpy(self.model.seed_generator.state)[0])
        rng = np.random.default_rng([seed, steps])
        self.order, self.taken = rng.permutation(self.count), 0

    def take(self, num_batches):
        """Indices of what is in the next minibatches of this epoch."""
        start = self.taken
        self.taken += num_batches * self.batch_size
        return self.order[start : self.taken]

    def __getitem__(self, index):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return tuple(array[chosen] for array in self.arrays)


def is_stream(x):
    """Tell what gives batches of images, one after the other, from an array-like."""
    own = (list, tuple, dict, str, bytes)
    return isinstance(x, Iterable) and not (
        isinstance(x, own) or hasattr(x, "__array__")
    )


def first_batch(stream, name):
    """Return a stream's first batch, and the stream as if nobody had looked.

    Parameters
    ----------
    stream : tf.data.Dataset, keras.utils.PyDataset, generator or other iterable
    name : str
        Of the argument, for the error.

    Raises
    ------
    ValueError
        If there is no batch.
    """
    batches = iter(stream)
    try:
        first = next(batches)
    except StopIteration:
        raise ValueError(f"{name} is a {type(stream).__name__} without data.") from None
    if batches is stream:
        stream = _chained(first, stream)  # no itertools.chain: Keras wants generators
    return keras.tree.map_structure(on_one_device, first), stream


def _chained(first, rest):
    yield first
    yield from rest


def checked_labels(name, labels, shape, count):
    """Return conditions as an array, or say what is wrong with them.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    labels : array-like, shape (count, *shape)
        Real numbers.
    shape : tuple of int
        Of what the networks take as their second input.
    count : int
        Of the images.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If the shape differs, or they are no finite real numbers.
    """
    if labels is None:
        raise ValueError(
            f"{name} is None, but the networks take a condition: give one of shape "
            f"{shape} for each of the {count} images."
        )
    real_array(name, labels, (count, *shape))
    return plain_array(name, labels)


def check_images(images, image_shape, *, any_vector=False, name="images"):
    """Return `images` as an array, or say what is wrong with them.

    Parameters
    ----------
    images : array-like, shape (N, *image_shape)
        An array, a tensor, a data frame, or a list of any of them.
    image_shape : tuple of int
    any_vector : bool
        Whether images of one axis, which are vectors such as principal components,
        may be any finite floats: as for `Likelihood`.
    name : str
        Of the argument, for the error.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If the shape differs, there is no image, some are masked, or the values are
        neither bytes nor floats in [0, 1], nor the finite floats of a vector.

    Warns
    -----
    UserWarning
        If bytes look like zeros and ones: all of them nearly black.
    """
    given, images = images, plain_array(name, images)
    if not images.ndim:
        raise ValueError(
            f"{name} is a {type(given).__name__}, but must be an array of shape (N, "
            f"{', '.join(map(str, image_shape))})."
        )
    if images.shape[1:] != tuple(image_shape) or not len(images):
        raise ValueError(
            f"{name} has shape {images.shape}, but must be (N, "
            f"{', '.join(map(str, image_shape))}) with N at least 1."
        )
    if is_bytes(images, name):
        if images[:100].max() == 1:  # a few, as the rest may be larger than memory
            warnings.warn(
                f"{name} are bytes of 0 and 1, of which 255 would be white: if 1 is "
                "meant to be white, turn them into bool or float.",
                stacklevel=4,  # of a method of VAE, of what the user called
            )
        return images
    low, high = images.min(), images.max()
    if any_vector and len(image_shape) == 1:
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"{name} runs from {low} to {high}, but must be finite.")
    elif not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name} runs from {low} to {high} as {images.dtype}, but must be bytes "
            f"(uint8, 0 to 255) or floats in [0, 1]. {REMEDY}"
        )
    return images


def is_bytes(images, name="images"):
    """Tell bytes from booleans and floats, and refuse other types.

    Of a tensor that stands for numbers yet to come, the type is known as well.
    """
    kind = str(getattr(images.dtype, "name", images.dtype)).split(".")[-1]
    if not kind.startswith(("uint8", "bool", "float", "bfloat")):
        raise ValueError(
            f"{name} is of type {kind}, but must be bytes (uint8, 0 to 255), booleans "
            f"or floats. {REMEDY}"
        )
    return kind == "uint8"
