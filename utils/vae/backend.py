"""What is done in TensorFlow's own terms, for speed; the only place that names it.

`VAE.fit` on an array works on any backend through Keras' loop. On TensorFlow it
comes here: the images lie on the device as bytes, and minibatches are gathered,
binarized and learnt from without a return to Python in between. Long training of
dense networks is compiled by XLA, which fuses what is not a matrix product.
"""

import contextlib
import ctypes

import keras
import numpy as np

# XLA takes seconds to compile a network, and then saves milliseconds a step.
STEPS_WORTH_XLA = 1000

# The scratch memory of matrix products comes and goes at every step. Unless told to
# keep some, glibc may hand it back to the system each time, and the page faults that
# follow were measured to take a third of a step. Too late once threads have started.
M_TOP_PAD = -2
with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
    ctypes.CDLL(None).mallopt(M_TOP_PAD, 128 * 2**20)


def uniform(shape, seed):
    """Draw from U(0, 1), under XLA too without its slow default generator.

    Parameters
    ----------
    shape : tuple of int or tensor
    seed : int or keras.random.SeedGenerator

    Returns
    -------
    tensor of floats in [0, 1)
    """
    if keras.backend.backend() != "tensorflow":
        return keras.random.uniform(shape, seed=seed)
    import tensorflow as tf

    return tf.random.stateless_uniform(
        shape, _next_seed(seed), dtype=keras.config.floatx(), alg="philox"
    )


def normal(shape, seed, dtype=None):
    """Draw from N(0, 1); otherwise like `uniform`."""
    if keras.backend.backend() != "tensorflow":
        return keras.random.normal(shape, dtype=dtype, seed=seed)
    import tensorflow as tf

    return tf.random.stateless_normal(
        shape, _next_seed(seed), dtype=dtype or keras.config.floatx(), alg="philox"
    )


def _next_seed(seed):
    if isinstance(seed, keras.random.SeedGenerator):
        return keras.ops.cast(seed.next(), "int32")
    return (seed, 0)


def device_loop(model, batches, steps, last=None):
    """Build what trains a model on images that lie on the device.

    Parameters
    ----------
    model : VAE
        Compiled.
    batches : ShuffledImages
    steps : int
        Minibatches that the whole training will take.
    last : DeviceLoop, optional
        Of an earlier training of the model; used again if nothing changed.

    Returns
    -------
    DeviceLoop, or None
        None where Keras' own loop is the one to use: another backend, several
        devices, eager execution, or images that the device has no room for.
    """
    if keras.backend.backend() != "tensorflow" or model.run_eagerly:
        return None
    import tensorflow as tf

    if model.distribute_strategy.num_replicas_in_sync > 1:
        return None
    convolves = any(len(kernel.shape) > 2 for kernel in model.trainable_variables)
    on_cpu = not tf.config.list_logical_devices("GPU")
    worth_it = steps >= STEPS_WORTH_XLA and not (convolves and on_cpu)
    loop = DeviceLoop(model, batches.batch_size, bool(model.jit_compile or worth_it))
    if last is not None and last.key == loop.key:
        loop = last
    try:
        loop.load(batches)
    except tf.errors.ResourceExhaustedError:
        return None
    return loop


class DeviceLoop:
    """What Keras' ``fit`` calls for every ``steps_per_execution`` minibatches.

    Parameters
    ----------
    model : VAE
    size : int
        Images in a minibatch.
    xla : bool
        Whether XLA compiles the loop.
    """

    def __init__(self, model, size, xla):
        import tensorflow as tf

        self.size, self.steps = size, model.steps_per_execution
        self.images = self.batches = None
        # `compile` renews the metrics, and with them what was traced.
        self.key = (size, xla, self.steps, model.optimizer, *model.metrics)

        def step(images, chosen):
            return model.train_step((tf.gather(images, chosen),))

        def full(images, order, count):
            def body(i):
                step(images, order[i])
                return [i + 1]

            tf.while_loop(lambda i: i < count, body, [0], parallel_iterations=1)
            return model.get_metrics_result()

        self.full = tf.function(full, jit_compile=xla, autograph=False)
        # The last minibatch of an epoch is smaller; XLA would compile it apart.
        self.rest = tf.function(step, autograph=False)

    def load(self, batches):
        """Bring the images to the device, as they are."""
        import tensorflow as tf

        self.batches, self.images = batches, tf.constant(batches.images)

    def unload(self):
        """Let go of the images."""
        self.images = self.batches = None

    def __call__(self, iterator):
        """Train on the next minibatches, return the metrics of the epoch so far.

        Keras' own `iterator` over the same minibatches is left untouched.
        """
        chosen = self.batches.take(self.steps)
        count = len(chosen) // self.size
        logs = None
        if count:
            order = np.zeros((self.steps, self.size), "int32")
            order.flat[: count * self.size] = chosen[: count * self.size]
            logs = self.full(self.images, order, np.int32(count))
        if len(chosen) > count * self.size:
            rest = chosen[count * self.size :].astype("int32")
            logs = self.rest(self.images, rest)
        return logs
