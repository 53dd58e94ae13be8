"""Training on TensorFlow in blocks of many minibatches.

`VAE.fit` on an array works on any backend through Keras' loop. On TensorFlow it
comes here: blocks of many minibatches of bytes are trained on without a return to
Python in between, and binarized and scaled on the way. Long training of dense
networks is compiled by XLA, which fuses all that is not a matrix product; it is left
out where it does not pay: for short training, and for convolutions on a CPU, which
it slows down.
"""

import contextlib
import math

import keras
import numpy as np

# XLA takes seconds to compile a network, and then saves milliseconds a step.
STEPS_WORTH_XLA = 1000

# A block is what one call trains on: long enough to hide the call, short enough for
# a progress bar that moves and for memory that nobody misses.
BLOCK_STEPS, BLOCK_BYTES = 64, 32 * 2**20

MINIBATCH_HOOKS = {
    f"on_{kind}batch_{end}" for kind in ("", "train_") for end in ("begin", "end")
}


def device_loop(model, batches, steps, each=False, last=None):
    """Build what trains a model on blocks of minibatches.

    Parameters
    ----------
    model : VAE
        Compiled.
    batches : Minibatches
    steps : int
        Minibatches that the whole training will take.
    each : bool
        Whether somebody listens to every minibatch; a block is one minibatch then,
        or as many as the model was compiled with.
    last : DeviceLoop, optional
        Of an earlier training of the model; used again if nothing changed.

    Returns
    -------
    DeviceLoop, or None
        None where Keras' own loop is the one to use: another backend, several
        devices, or eager execution.
    """
    if keras.backend.backend() != "tensorflow" or model.run_eagerly:
        return None
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return None
    convolves = any(len(kernel.shape) > 2 for kernel in model.trainable_variables)
    worth_it = steps >= STEPS_WORTH_XLA and not (convolves and not _gpus())
    xla = bool(model.jit_compile or worth_it)
    loop = DeviceLoop(model, batches, xla, each or model.steps_per_execution > 1)
    if last is not None and last.key == loop.key:
        loop = last
    loop.load(batches)
    return loop


def _steps(batches):
    """Minibatches in a block: as even a division of the epoch as the limits allow."""
    row = sum(array[:1].nbytes for array in batches.arrays)
    minibatch = batches.batch_size * row
    most = max(1, min(BLOCK_STEPS, BLOCK_BYTES // minibatch))
    blocks = math.ceil(batches.num_batches / most)
    return math.ceil(batches.num_batches / blocks)


def _gpus():
    import tensorflow as tf

    return tf.config.list_logical_devices("GPU")


class DeviceLoop:
    """What Keras' ``fit`` calls for every block of minibatches.

    Parameters
    ----------
    model : VAE
    batches : Minibatches
    xla : bool
        Whether XLA compiles the loop.
    as_compiled : bool
        Whether a block has the ``steps_per_execution`` of the model.

    Attributes
    ----------
    steps : int
        Minibatches in a block.
    """

    def __init__(self, model, batches, xla, as_compiled):
        import tensorflow as tf

        self.size, self.usual_steps = batches.batch_size, model.steps_per_execution
        self.steps = self.usual_steps if as_compiled else _steps(batches)
        self.batches = self.on_device = None
        # `compile` renews the metrics, and with them what was traced.
        self.key = (self.size, self.steps, xla, model.optimizer, *model.metrics)

        def step(arrays):
            return model.train_step(arrays)

        def full(blocks, count):
            def body(i):
                step(tuple(block[i] for block in blocks))
                return [i + 1]

            tf.while_loop(lambda i: i < count, body, [0], parallel_iterations=1)
            return model.get_metrics_result()

        self.full = tf.function(full, jit_compile=xla, autograph=False)
        # The last minibatch of an epoch is smaller; XLA would compile it apart.
        self.rest = tf.function(step, autograph=False)

    def load(self, batches):
        """Bring the arrays to a GPU, as they are, if it has the room.

        A CPU reads them where they lie, and so does a GPU that lacks the room, a
        block at a time: from memory, or from the file behind a ``numpy.memmap``.
        """
        import tensorflow as tf

        self.batches, self.on_device = batches, None
        if _gpus():
            with contextlib.suppress(tf.errors.ResourceExhaustedError):
                self.on_device = [tf.constant(array) for array in batches.arrays]

    def unload(self):
        """Let go of the arrays."""
        self.batches = self.on_device = None

    def __call__(self, iterator):
        """Train on the next block, return the metrics of the epoch so far.

        Keras' own `iterator` over the same minibatches is left untouched.
        """
        chosen = self.batches.take(self.steps)
        count = len(chosen) // self.size
        logs = None
        if count:
            # The last block is shorter, but of one shape with the others.
            filled = np.resize(chosen[: count * self.size], (self.steps, self.size))
            logs = self.full(self._gather(filled), np.int32(count))
        if len(chosen) > count * self.size:
            logs = self.rest(self._gather(chosen[count * self.size :]))
        return logs

    def _gather(self, chosen):
        import tensorflow as tf

        if self.on_device is not None:
            return tuple(tf.gather(array, chosen) for array in self.on_device)
        return tuple(tf.constant(array[chosen]) for array in self.batches.arrays)


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
