"""What ``VAE.fit`` adds to Keras: a shuffle that can be resumed, and a KL warm-up."""

from collections.abc import Iterable

import keras
import numpy as np

from ..arguments import integer, real
from .backend import on_one_device

MINIBATCH_HOOKS = {
    f"on_{kind}batch_{end}" for kind in ("", "train_") for end in ("begin", "end")
}


class ShuffledImages(keras.utils.PyDataset):
    """Minibatches of an array, in an order that depends on the step alone.

    Keras' own shuffle starts anew with every process. Here the order of an epoch
    is a function of the seed and of the steps already taken, which a checkpoint
    holds: training that was killed and resumed sees the images as if it had not been.

    Parameters
    ----------
    images : array, shape (N, ...)
    batch_size : int
    model : VAE
        Whose optimizer counts the steps, and whose generator holds the seed.
    """

    def __init__(self, images, batch_size, model):
        super().__init__()
        self.images, self.batch_size, self.model = images, batch_size, model
        self.order, self.taken = np.arange(len(images)), 0

    @property
    def num_batches(self):
        return -(-len(self.images) // self.batch_size)

    def on_epoch_begin(self):
        steps = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        # Of the state, which is saved, unlike a seed that was not given.
        seed = int(keras.ops.convert_to_numpy(self.model.seed_generator.state)[0])
        rng = np.random.default_rng([seed, steps])
        self.order, self.taken = rng.permutation(len(self.images)), 0

    def take(self, num_batches):
        """Indices of the images in the next minibatches of this epoch."""
        start = self.taken
        self.taken += num_batches * self.batch_size
        return self.order[start : self.taken]

    def __getitem__(self, index):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return (self.images[chosen],)


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


def hears_minibatches(callbacks):
    """Tell whether a callback wants to be called at every minibatch.

    Parameters
    ----------
    callbacks : callback, list of callbacks, CallbackList or None

    Returns
    -------
    bool
        Keras' own callbacks that act once an epoch are content without.
    """
    listed = getattr(callbacks, "callbacks", callbacks) or []
    return any(map(_hears_minibatches, keras.tree.flatten(listed)))


def _hears_minibatches(callback):
    frequencies = (getattr(callback, f"{n}_freq", False) for n in ("save", "update"))
    if any(f not in ("epoch", False) for f in frequencies):
        return True
    own = vars(callback).keys()  # where LambdaCallback puts what it is given
    for kind in type(callback).__mro__:
        if not kind.__module__.startswith("keras."):
            own |= vars(kind).keys()
    return not own.isdisjoint(MINIBATCH_HOOKS)


class KLWarmUp(keras.callbacks.Callback):
    """Raise the weight of the KL term over the first epochs to that of the model.

    In epoch e it is the model's `kl_weight` times ``start + (1 - start) * share``,
    where share is e / `epochs`, at most 1. When training ends, or is cut short, the
    model's own weight counts again. Evaluation and validation report the bound
    itself, at weight 1, throughout.

    Parameters
    ----------
    epochs : int
        The epoch, counted from 0, from which the weight is the model's.
    start : float
        Share of the model's weight in the first epoch.

    Raises
    ------
    ValueError
        If `epochs` is not a positive integer, or `start` leaves [0, 1].

    Notes
    -----
    Source: Bowman et al. (2016), section 3.1; Sønderby et al. (2016), section 2.2.
    """

    def __init__(self, epochs, start=0.0):
        super().__init__()
        self.epochs = integer("epochs", epochs)
        self.start = real("start", start, least=0, most=1)

    def on_epoch_begin(self, epoch, logs=None):
        share = min(1.0, epoch / self.epochs)
        # `VAE.fit` sets it back to 1, whatever ends the training.
        self.model.kl_share.assign(self.start + (1 - self.start) * share)
