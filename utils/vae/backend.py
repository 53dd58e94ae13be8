"""Where backends differ; the only place, beside `fast`, that names one."""

import contextlib

import keras


def num_devices():
    """Devices that ``tf.distribute`` trains on at once; 1 elsewhere."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def variable_scope(model):
    """Where variables are made that lie beside those of a model."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()


def this_device():
    """Which of the `num_devices` is computing, counted from 0."""
    if num_devices() == 1:
        return 0
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def is_symbolic(x):
    """Whether `x` stands for numbers yet to come, for the sake of a compiler."""
    if isinstance(x, keras.KerasTensor):
        return True
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.is_symbolic_tensor(x)
    if keras.backend.backend() == "jax":
        import jax

        return isinstance(x, jax.core.Tracer)
    return False


def on_one_device(batch):
    """Return of a batch that is spread over devices what the first of them holds."""
    if keras.backend.backend() != "tensorflow":
        return batch
    import tensorflow as tf

    spread = isinstance(batch, tf.distribute.DistributedValues)
    return batch.values[0] if spread else batch
