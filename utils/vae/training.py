"""Training as Keras does it, with data checked, and in blocks where that is faster."""

import math

import keras
import numpy as np
from keras import ops

from ..arguments import choice, integer, real
from .backend import is_symbolic, variable_scope
from .data import Minibatches, check_images, checked_labels, first_batch, is_stream
from .speed import fast

COUNTS = {
    "batch_size": 1,
    "initial_epoch": 0,
    "steps": 1,
    "steps_per_epoch": 1,
    "steps_per_execution": 1,
    "validation_batch_size": 1,
    "validation_freq": 1,
    "validation_steps": 1,
}


class Training:
    """Mix-in of `VAE`: Keras' methods, for images and, if it has them, conditions.

    Where Keras speaks of x and y, x are the images, and y the conditions that the
    networks take beside them, such as classes; without those, y is refused.
    """

    _loop, _in_blocks = None, False  # how `fit` trains on an array

    # --- what it is given -----------------------------------------------------

    def check_arrays(self, images, labels=None, name="images", labels_name="labels"):
        """Return arrays that suit the model, or say why it cannot take them.

        Parameters
        ----------
        images : array-like, shape (N, *image_shape)
            As for `fit`.
        labels : array-like, shape (N, *condition_shape), optional
            If the model has conditions.
        name, labels_name : str
            What the error calls them.

        Returns
        -------
        tuple of ndarray
            The images, and the labels if there are any.

        Raises
        ------
        ValueError
            If a shape differs from that of the networks, there is no image, or the
            values are not what the likelihood models; if labels are missing, or given
            to a model without conditions.
        """
        if is_stream(images):
            raise ValueError(
                f"{name} is a {type(images).__name__}, but must be an array: of a data "
                "set, join the batches by np.concatenate first."
            )
        any_vector = self.likelihood.any_vector
        images = check_images(
            images, self.image_shape, any_vector=any_vector, name=name
        )
        if self.condition_shape is None:
            _refuse(labels_name, labels)
            return (images,)
        shape, count = self.condition_shape, len(images)
        return images, checked_labels(labels_name, labels, shape, count)

    def check_data(self, x, y=None, name="x"):
        """Return data as Keras should be given them, or say why the model cannot.

        Parameters
        ----------
        x : array-like, shape (N, *image_shape), or a stream of batches of such
            As for `fit`.
        y : array-like, shape (N, *condition_shape), optional
            If `x` is an array and the model has conditions.
        name : str
            What the error calls them.

        Returns
        -------
        tuple of ndarray, or the stream
            An iterator, of which the first batch cannot be looked at without taking
            it, as another one that begins with it.

        Raises
        ------
        ValueError
            As `check_arrays` does, of the first batch of a stream; if a stream is
            empty, or holds weights, or labels that the model does not take.
        """
        labels_name = "y" if name == "x" else f"y of {name}"
        if not is_stream(x):
            return self.check_arrays(x, y, name, labels_name)
        if y is not None:
            raise ValueError(
                f"{labels_name} is given, but {name} is a {type(x).__name__}, which "
                "must hold it: a tf.data set of pairs is tf.data.Dataset.zip((x, y))."
            )
        first, x = first_batch(x, name)
        parts, batch = self._parts(first, name), f"the first batch of {name}"
        self.check_arrays(*parts, batch, f"y of {batch}")
        return x

    def _parts(self, data, name):
        """Return images and labels of what Keras takes for (x, y, sample_weight)."""
        if not isinstance(data, (tuple, list)) or len(data) not in (1, 2, 3):
            return data, None
        images, *others = data
        used = 0 if self.condition_shape is None else 1
        if any(other is not None for other in others[used:]):
            raise ValueError(
                f"{name} has labels or weights beside the images, but this VAE learns "
                "from images alone: leave them out, of a tf.data set by "
                "map(lambda x, y: x)."
                if not used
                else f"{name} has weights, but a VAE learns from all images alike."
            )
        return images, others[0] if others and used else None

    def _parts_of_inputs(self, inputs, name):
        """Return images and labels of what the model is called on."""
        return (
            (inputs, None)
            if self.condition_shape is None
            else self._parts(inputs, name)
        )

    def _pair(self, data):
        """Make of (images, labels), as Keras unpacks them, the input of the model."""
        if self.condition_shape is None:
            return data
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        return (x if y is None else (x, y),)

    def __call__(self, inputs, *args, **kwargs):
        # Before Keras makes a tensor of them, which no mask survives.
        if not any(map(is_symbolic, keras.tree.flatten(inputs))):
            parts = self._parts_of_inputs(inputs, "images")
            checked = self.check_arrays(*parts)
            arrays = [
                given if ops.is_tensor(given) else array
                for given, array in zip(parts, checked, strict=False)
            ]
            inputs = arrays if self.condition_shape is not None else arrays[0]
        return super().__call__(inputs, *args, **kwargs)

    def train_step(self, *args):  # on JAX, of a state and data
        return super().train_step(*args[:-1], self._pair(args[-1]))

    def test_step(self, *args):
        return super().test_step(*args[:-1], self._pair(args[-1]))

    def predict_step(self, *args):
        # Keras joins batches, and the shares of several devices, along the first axis.
        outputs = super().predict_step(*args[:-1], self._pair(args[-1]))
        if isinstance(outputs, tuple):  # on JAX, with the state of the model
            return self._swap_draws(outputs[0], ops.swapaxes), *outputs[1:]
        return self._swap_draws(outputs, ops.swapaxes)

    def _swap_draws(self, outputs, swapaxes):
        """Exchange the axes of draws and of images, where there are both."""
        if self.num_samples == 1:
            return outputs
        names = ("z", "decoded", "log_prior", "log_posterior")
        drawn = {name: swapaxes(outputs[name], 0, 1) for name in names}
        return {**outputs, **drawn}

    # --- Keras' methods -------------------------------------------------------

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        **kwargs,
    ):
        """Train on images, as ``keras.Model.fit`` does.

        An array is shuffled in an order that a checkpoint can resume, unless
        `steps_per_epoch` cuts epochs short. On TensorFlow, many minibatches of an
        array are trained on in one call, unless a callback listens to each.

        Parameters
        ----------
        x : array-like, shape (N, *image_shape), or a stream of batches of such
            Bytes 0 to 255, booleans, or floats in [0, 1]; vectors of any finite
            floats, if the likelihood takes them (`Likelihood.any_vector`). Images are
            copied a block at a time, so a ``numpy.memmap`` may be larger than memory.
            Of a stream (``tf.data.Dataset``, ``keras.utils.PyDataset``, a generator
            of tuples), the first batch is looked at. With conditions, it is one of
            pairs of images and labels.
        y : array-like, shape (N, *condition_shape), optional
            If `x` is an array, and the networks take a condition.
        validation_data : as `x`, or a tuple of `x` and, with conditions, `y`; optional
        class_weight, sample_weight : None
            A VAE learns from all images alike.
        batch_size, epochs, ..., shuffle, **kwargs
            As for ``keras.Model.fit``.

        Returns
        -------
        keras.callbacks.History
            Of ``loss``, ``reconstruction`` and ``kl``: of the bound, whatever weights
            training has.

        Raises
        ------
        ValueError
            If `x`, `y` or `validation_data`, or a stream's first batch, has another
            shape or other values, labels that the networks do not take, or weights; if
            `class_weight` or `sample_weight` is given; if a number is not what it
            must be, or `validation_split` leaves no image to train on.
        """
        _refuse("class_weight", class_weight)
        _refuse("sample_weight", sample_weight)
        kwargs = _checked_counts(kwargs)
        epochs = integer("epochs", epochs, least=0)
        if batch_size is not None:
            batch_size = integer("batch_size", batch_size)
        real("validation_split", validation_split, least=0, below=1)
        if validation_data is not None:
            name = "validation_data"
            if is_stream(validation_data):
                validation_data = self.check_data(validation_data, name=name)
            else:
                parts = self._parts(validation_data, name)
                validation_data = self.check_data(*parts, name)
        data = self.check_data(x, y)
        if isinstance(data, tuple):
            if validation_split and validation_data is None:
                data, validation_data = _split(data, validation_split)
            if shuffle and kwargs.get("steps_per_epoch") is None:
                kwargs.setdefault("validation_batch_size", batch_size)
                data = Minibatches(data, batch_size or 32, self)
                batch_size, shuffle, validation_split = None, False, 0.0
        if self.compiled and not self.optimizer.built:
            # A compiled step that made these variables would be traced twice.
            with variable_scope(self):
                self.optimizer.build(self.trainable_variables)
        if fast and isinstance(data, Minibatches) and self.compiled:
            left = epochs - (kwargs.get("initial_epoch") or 0)
            steps, each = left * data.num_batches, fast.hears_minibatches(callbacks)
            self._loop = fast.device_loop(self, data, steps, each, last=self._loop)
            self._in_blocks = self._loop is not None
        usual = self.steps_per_execution
        if self._in_blocks:
            self.steps_per_execution = self._loop.steps
        try:
            return super().fit(
                *(data if isinstance(data, tuple) else (data,)),
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle,
                **kwargs,
            )
        finally:
            self.kl_share.assign(1.0)  # even if training was interrupted
            self.steps_per_execution = usual
            if self._in_blocks:
                self._in_blocks = False
                self._loop.unload()
                self.train_function = None

    def make_train_function(self, force=False):
        if self._in_blocks:
            self.train_function = self._loop
            # Keras has cut the epoch into blocks by now; validation, which comes
            # next, goes by steps of its own.
            self.steps_per_execution = self._loop.usual_steps
        else:
            super().make_train_function(force)

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        **kwargs,
    ):
        own = {"loss": loss, "loss_weights": loss_weights}
        own |= {"metrics": metrics, "weighted_metrics": weighted_metrics}
        for name, value in own.items():
            if value is not None:
                raise ValueError(
                    f"{name} is {value!r}, but must be left out: a VAE's loss is its "
                    "negative bound, reported as loss, reconstruction and kl."
                )
        super().compile(optimizer, **_checked_counts(kwargs))

    def compile_from_config(self, config):
        # Keras would leave it out, as `compile` is not its own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        with variable_scope(self):
            self.optimizer.build(self.trainable_variables)

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        **kwargs,
    ):
        """Score images, as ``keras.Model.evaluate`` does.

        Parameters
        ----------
        x, y
            As for `fit`.
        sample_weight : None
            As for `fit`.
        batch_size, verbose, steps, **kwargs
            As for ``keras.Model.evaluate``.

        Returns
        -------
        float, list of float or dict

        Raises
        ------
        ValueError
            As for `fit`.
        """
        _refuse("sample_weight", sample_weight)
        counts = {"batch_size": batch_size, "steps": steps}
        # What `fit` validates with was checked before the first epoch.
        if not kwargs.get("_use_cached_eval_dataset"):
            data = self.check_data(x, y)
            x, y = (*data, None)[:2] if isinstance(data, tuple) else (data, None)
        counts = _checked_counts(counts)
        return super().evaluate(x, y, verbose=verbose, **counts, **kwargs)

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Call the model on images, as ``keras.Model.predict`` does.

        Parameters
        ----------
        x : array-like, shape (N, *image_shape), or a stream of batches of such
            As for `fit`; with conditions, a pair of images and labels.
        batch_size, verbose, steps, callbacks
            As for ``keras.Model.predict``: 32 images at a time, if left out.

        Returns
        -------
        dict of ndarray
            What calling the model gives, for all images.

        Raises
        ------
        ValueError
            As for `fit`; if `batch_size` or `steps` is not a positive integer, or
            `verbose` is unknown.
        """
        verbose = choice("verbose", verbose, ("auto", 0, 1, 2))
        counts = _checked_counts({"batch_size": batch_size, "steps": steps})
        x = self._checked_inputs(x)
        outputs = super().predict(x, verbose=verbose, callbacks=callbacks, **counts)
        return self._swap_draws(outputs, np.swapaxes)

    def predict_on_batch(self, x):
        """Call the model on one batch of images; `predict` tells what is returned."""
        outputs = super().predict_on_batch(self._checked_inputs(x))
        return self._swap_draws(outputs, np.swapaxes)

    def _checked_inputs(self, x):
        data = self.check_data(*self._parts_of_inputs(x, "x"))
        if not isinstance(data, tuple):
            return data
        return data if len(data) > 1 else data[0]

    def train_on_batch(
        self, x, y=None, sample_weight=None, class_weight=None, return_dict=False
    ):
        _refuse("sample_weight", sample_weight)
        _refuse("class_weight", class_weight)
        data = self.check_arrays(x, y, "x", "y")
        return super().train_on_batch(*data, return_dict=return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        _refuse("sample_weight", sample_weight)
        data = self.check_arrays(x, y, "x", "y")
        return super().test_on_batch(*data, return_dict=return_dict)


def _refuse(name, value):
    if value is not None:
        raise ValueError(
            f"{name} is given, but this VAE learns from images alone, without labels "
            "and weights: labels are for networks that take a condition, and weights "
            "for none."
        )


def _split(arrays, share):
    """Split the last `share` of the rows off, for validation."""
    count = len(arrays[0])
    kept = math.floor(count * (1 - share))
    if not 0 < kept < count:
        raise ValueError(
            f"validation_split is {share!r}, but must leave some of {count} images for "
            "training, and some not."
        )
    return tuple(a[:kept] for a in arrays), tuple(a[kept:] for a in arrays)


def _checked_counts(settings):
    """Return the settings of training, some of which are whole numbers or None."""
    checked = dict(settings)
    for name in COUNTS.keys() & settings.keys():
        value = settings[name]
        # Keras takes a list of the epochs to validate in as well.
        listed = name == "validation_freq" and isinstance(value, list)
        if value is not None and not listed:
            checked[name] = integer(name, value, least=COUNTS[name])
    return checked
