"""The variational autoencoder as a Keras model."""

import math
import warnings

import keras
import numpy as np
from keras import ops

from ..arguments import boolean, choice, integer, plain_array, real
from .backend import device_loop, is_symbolic, num_devices, variable_scope
from .gaussian import gaussian_kl, gaussian_log_prob
from .layers import Sampling, SavedSeed
from .likelihoods import Bernoulli, Likelihood, check_images
from .networks import HEAD_NAMES, checked_shapes, is_batch
from .priors import HierarchicalPrior
from .random import generator, normal
from .training import ShuffledImages, first_batch, hears_minibatches, is_stream


@keras.saving.register_keras_serializable(package="utils.vae")
class VAE(SavedSeed, keras.Model):
    """Variational autoencoder with Gaussian encoder.

    Trained by ``fit(images)`` on the negative ELBO of eq. (4.20), in nats per
    image. ``fit``, ``evaluate`` and callbacks report three numbers: ``loss``,
    and the ``reconstruction`` and ``kl`` that add up to it.

    Parameters
    ----------
    encoder : keras.Model
        From an observation to the pair (mean, log_var) of q(z|x). Its shapes must be
        known: functional, or a ``Sequential`` that begins with ``keras.Input``.
    decoder : keras.Model
        From a latent vector to the parameters of p(x|z); its shapes as well.
    likelihood : Likelihood, optional
        What the decoder's output means; `Bernoulli` if left out.
    prior : HierarchicalPrior, optional
        The prior p(z), if it is to be learnt; N(0, I) if left out.
    num_samples : int
        Latent draws per image. More than one trains on the importance-weighted
        bound of eq. (4.24): then ``loss`` lies below ``reconstruction + kl`` by
        what the draws tighten it.
    kl_weight : float
        Weight of the KL term in training; a `KLWarmUp` climbs to it. Evaluation
        always reports the bound, at weight 1.
    seed : int, SeedSequence or generator of numpy.random, optional
        Seed of the shuffle, the binarization and the latent noise; fresh entropy
        if left out.

    Raises
    ------
    ValueError
        If a network's shapes are not known, the encoder does not end in two equal
        outputs, or the decoder or the prior does not take what the encoder gives; if
        `likelihood` or `prior` is none; if `num_samples` is not a positive integer,
        `kl_weight` is no number or negative, or `seed` is none. By `compile`: if it is
        given a loss or metrics, as the loss of a VAE is its bound.

    Warns
    -----
    UserWarning
        If the decoder was built with another link than that of the likelihood.

    Notes
    -----
    To load a saved model, import `utils.vae` first, and whatever registers a
    likelihood of your own.

    Calling the model returns a dictionary: ``x`` (the observation, binarized
    anew), ``mean``, ``log_var``, ``z`` and ``decoded`` (the parameters of the
    likelihood, logits for a Bernoulli), the last two with an axis of draws in
    front if there are several. Source: Kingma and Welling (2014); Burda, Grosse
    and Salakhutdinov (2016).
    """

    def __init__(
        self,
        encoder,
        decoder,
        likelihood=None,
        *,
        prior=None,
        num_samples=1,
        kl_weight=1.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        likelihood = Bernoulli() if likelihood is None else likelihood
        _check_parts(encoder, decoder, likelihood, prior)
        self.num_samples = integer("num_samples", num_samples)
        kl_weight = real("kl_weight", kl_weight, least=0)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior
        self.kl_weight = keras.Variable(kl_weight, trainable=False, name="kl_weight")
        self.kl_share = keras.Variable(1.0, trainable=False, name="kl_share")
        self.seed_generator = generator(seed)
        self.seed = self.seed_generator.get_config()["seed"]
        self.sampling = Sampling(None if seed is None else self.seed + 1)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.kl_tracker = keras.metrics.Mean(name="kl")
        self._loop, self._in_blocks = None, False  # how `fit` trains on an array
        # Encoder and decoder are functional models, built when they were made.
        self.built = True

    def build(self, input_shape):
        pass

    @property
    def latent_dim(self):
        """Number of latent variables."""
        return self.decoder.input_shape[-1]

    def __call__(self, images, *args, **kwargs):
        # Before Keras makes a tensor of them, which no mask survives.
        if not is_symbolic(images):
            checked = self.check_images(images)
            images = images if ops.is_tensor(images) else checked
        return super().__call__(images, *args, **kwargs)

    def call(self, images, training=None):
        x = self.likelihood.observe(images, self.seed_generator)
        mean, log_var = self.encoder(x, training=training)
        draws = [mean, log_var]
        if self.num_samples > 1:
            draws = [ops.stack([a] * self.num_samples) for a in draws]
        z = self.sampling(draws)
        return {
            "x": x,
            "mean": mean,
            "log_var": log_var,
            "z": z,
            "decoded": self._decode(z, training),
        }

    def _decode(self, z, training):
        rows = ops.reshape(z, (-1, self.latent_dim))
        decoded = self.decoder(rows, training=training)
        return ops.reshape(decoded, (*ops.shape(z)[:-1], *decoded.shape[1:]))

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
            of tuples), the first batch is looked at.
        validation_data : as `x`, or a tuple that holds nothing but `x`, optional
        y, class_weight, sample_weight : None
            A VAE learns from images alone, and from all alike.
        batch_size, epochs, ..., shuffle, **kwargs
            As for ``keras.Model.fit``.

        Returns
        -------
        keras.callbacks.History

        Raises
        ------
        ValueError
            If `x` or `validation_data`, or a stream's first batch, has another shape
            or other values, or labels or weights beside the images; if `y`,
            `class_weight` or `sample_weight` is given; if a number is not what it
            must be, or `validation_split` leaves no image to train on.
        """
        _check_no_labels(y=y, class_weight=class_weight, sample_weight=sample_weight)
        kwargs = _checked_counts(kwargs)
        epochs = integer("epochs", epochs, least=0)
        if batch_size is not None:
            batch_size = integer("batch_size", batch_size)
        real("validation_split", validation_split, least=0, below=1)
        if validation_data is not None:
            held_out = _alone(validation_data, "validation_data")
            validation_data = (self.check_data(held_out, "validation_data"),)
        x = self.check_data(x)
        if isinstance(x, np.ndarray):
            if validation_split and validation_data is None:
                kept = math.floor(len(x) * (1 - validation_split))
                if not 0 < kept < len(x):
                    raise ValueError(
                        f"validation_split is {validation_split!r}, but must "
                        f"leave some of {len(x)} images for training, and some not."
                    )
                x, validation_data = x[:kept], (x[kept:],)
            if shuffle and kwargs.get("steps_per_epoch") is None:
                kwargs.setdefault("validation_batch_size", batch_size)
                x = ShuffledImages(x, batch_size or 32, self)
                batch_size, shuffle, validation_split = None, False, 0.0
        if self.compiled and not self.optimizer.built:
            # A compiled step that made these variables would be traced twice.
            with variable_scope(self):
                self.optimizer.build(self.trainable_variables)
        if isinstance(x, ShuffledImages) and self.compiled:
            steps, each = epochs * x.num_batches, hears_minibatches(callbacks)
            self._loop = device_loop(self, x, steps, each, last=self._loop)
            self._in_blocks = self._loop is not None
        usual = self.steps_per_execution
        if self._in_blocks:
            self.steps_per_execution = self._loop.steps
        try:
            return super().fit(
                x,
                None,
                batch_size,
                epochs,
                verbose,
                callbacks,
                validation_split,
                validation_data,
                shuffle,
                **kwargs,
            )
        finally:
            self.kl_share.assign(1.0)  # even if training was interrupted
            self.steps_per_execution = usual
            if self._in_blocks:
                self._in_blocks = False
                self._loop.unload()
                self.train_function = None

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
        x : array-like, shape (N, *image_shape), or a stream of batches of such
            As for `fit`.
        y, sample_weight : None
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
        _check_no_labels(y=y, sample_weight=sample_weight)
        counts = {"batch_size": batch_size, "steps": steps}
        # What `fit` validates with was checked before the first epoch.
        if not kwargs.get("_use_cached_eval_dataset"):
            x = self.check_data(x)
        return super().evaluate(x, verbose=verbose, **_checked_counts(counts), **kwargs)

    def train_on_batch(
        self, x, y=None, sample_weight=None, class_weight=None, return_dict=False
    ):
        _check_no_labels(y=y, sample_weight=sample_weight, class_weight=class_weight)
        x = self.check_images(x, "x")
        return super().train_on_batch(x, return_dict=return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        _check_no_labels(y=y, sample_weight=sample_weight)
        x = self.check_images(x, "x")
        return super().test_on_batch(x, return_dict=return_dict)

    def check_data(self, x, name="x"):
        """Return data as Keras should be given them, or say why the model cannot.

        Parameters
        ----------
        x : array-like, shape (N, *image_shape), or a stream of batches of such
            As for `fit`.
        name : str
            What the error calls them.

        Returns
        -------
        ndarray, or the stream
            An iterator, of which the first batch cannot be looked at without taking
            it, as another one that begins with it.

        Raises
        ------
        ValueError
            As `check_images` does, of the first batch of a stream; if a stream is
            empty, or holds labels or weights.
        """
        shape, any_vector = self.encoder.input_shape[1:], self.likelihood.any_vector
        if is_stream(x):
            first, x = first_batch(x, name)
            images, name = _alone(first, name), f"the first batch of {name}"
            check_images(images, shape, any_vector=any_vector, name=name)
            return x
        return check_images(x, shape, any_vector=any_vector, name=name)

    def check_images(self, images, name="images"):
        """Return images as an array, or say why the model cannot take them.

        Parameters
        ----------
        images : array-like, shape (N, *image_shape)
            As for `fit`.
        name : str
            What the error calls them.

        Returns
        -------
        ndarray

        Raises
        ------
        ValueError
            If the shape differs from the encoder's, there is no image, or the values
            are not what the likelihood models.
        """
        shape, any_vector = self.encoder.input_shape[1:], self.likelihood.any_vector
        if is_stream(images):
            raise ValueError(
                f"{name} is a {type(images).__name__}, but must be an array: of a data "
                "set, join the batches by np.concatenate first."
            )
        return check_images(images, shape, any_vector=any_vector, name=name)

    def make_train_function(self, force=False):
        if self._in_blocks:
            self.train_function = self._loop
            # Keras has cut the epoch into blocks by now; validation, which comes
            # next, goes by steps of its own.
            self.steps_per_execution = self._loop.usual_steps
        else:
            super().make_train_function(force)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        _check_no_labels(y=y, sample_weight=sample_weight)
        mean, log_var, z = (y_pred[name] for name in ("mean", "log_var", "z"))
        log_prob = self.likelihood.log_prob(y_pred["x"], y_pred["decoded"])
        if self.prior is not None or self.num_samples > 1:
            log_ratio = self.log_density_ratio(z, mean, log_var, training=training)
        kl = gaussian_kl(mean, log_var) if self.prior is None else -log_ratio
        self.reconstruction_tracker.update_state(-log_prob)
        self.kl_tracker.update_state(kl)
        weight = self.kl_weight * self.kl_share if training else 1.0
        if self.num_samples == 1:
            loss = weight * kl - log_prob
        else:
            log_w = log_prob + weight * log_ratio
            loss = math.log(self.num_samples) - ops.logsumexp(log_w, axis=0)
        # A device may have no image left, and then the mean of nothing is zero.
        images = ops.maximum(ops.cast(ops.size(loss), loss.dtype), 1.0)
        # With several devices, Keras adds up their losses.
        return (ops.sum(loss) / images + sum(self.losses)) / num_devices()

    def log_density_ratio(self, z, mean, log_var, noise=None, training=False):
        """Log p(z) - log q(z|x), the part of eq. (4.25) without the likelihood.

        Parameters
        ----------
        z : tensor, shape (..., batch, latent_dim)
        mean, log_var : tensor, shape (batch, latent_dim)
            As the encoder gives them.
        noise : tensor, shape (..., batch, prior.latent_dim), optional
            For a learnt prior, from N(0, I); drawn anew if left out.
        training : bool
            For a learnt prior, whether dropout and the like act in it.

        Returns
        -------
        tensor, shape (..., batch)
            In nats. With a learnt prior, an estimate with an unbiased exponential.
        """
        if self.prior is None:
            log_prior = gaussian_log_prob(z, 0.0, 0.0)
        else:
            if noise is None:
                shape = (*ops.shape(z)[:-1], self.prior.latent_dim)
                noise = normal(shape, self.seed_generator)
            log_prior = self.prior.log_prob(z, noise, training)
        return log_prior - gaussian_log_prob(z, mean, log_var)

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Call the model on images, as ``keras.Model.predict`` does.

        Parameters
        ----------
        x : array-like, shape (N, *image_shape), or a stream of batches of such
            As for `fit`.
        batch_size, verbose, steps, callbacks
            As for ``keras.Model.predict``: 32 images at a time, if left out.

        Returns
        -------
        dict of ndarray
            ``x`` (the observation, binarized anew), shape (N, *image_shape);
            ``mean`` and ``log_var``, shape (N, latent_dim); ``z``, shape (N,
            latent_dim), and ``decoded`` (the parameters of the likelihood), shape (N,
            ...). If `num_samples` of the model is more than one, ``z`` and ``decoded``
            have an axis of so many draws in front.

        Raises
        ------
        ValueError
            As for `fit`; if `batch_size` or `steps` is not a positive integer, or
            `verbose` is unknown.
        """
        verbose = choice("verbose", verbose, ("auto", 0, 1, 2))
        counts = _checked_counts({"batch_size": batch_size, "steps": steps})
        x = self.check_data(x)
        outputs = super().predict(x, verbose=verbose, callbacks=callbacks, **counts)
        return self._swap_draws(outputs, np.swapaxes)

    def predict_on_batch(self, x):
        """Call the model on one batch of images; `predict` tells what is returned."""
        outputs = super().predict_on_batch(self.check_images(x, "x"))
        return self._swap_draws(outputs, np.swapaxes)

    def predict_step(self, *args):
        # Keras joins batches, and the shares of several devices, along the first axis.
        outputs = super().predict_step(*args)
        if isinstance(outputs, tuple):  # on JAX, with the state of the model
            return self._swap_draws(outputs[0], ops.swapaxes), *outputs[1:]
        return self._swap_draws(outputs, ops.swapaxes)

    def _swap_draws(self, outputs, swapaxes):
        """Exchange the axes of draws and of images, where there are both."""
        if self.num_samples == 1:
            return outputs
        drawn = {name: swapaxes(outputs[name], 0, 1) for name in ("z", "decoded")}
        return {**outputs, **drawn}

    def encode(self, images, batch_size=1000):
        """Approximate posterior q(z|x) of images.

        Parameters
        ----------
        images : array-like, shape (N, *image_shape)
            As for `fit`; a Bernoulli likelihood binarizes anew.
        batch_size : int
            Images at a time: what else memory holds does not grow with their number.

        Returns
        -------
        mean, log_var : ndarray, shape (N, latent_dim)

        Raises
        ------
        ValueError
            As for `fit`; a data set is refused.
        """
        batch_size = integer("batch_size", batch_size)
        return self._encode(self.check_images(images), batch_size)

    def _encode(self, images, batch_size):
        def encoded(part):
            batch = ops.convert_to_tensor(images[part])
            return self.encoder(self.likelihood.observe(batch, self.seed_generator))

        return tuple(_in_batches(len(images), batch_size, encoded))

    def sample(self, num_samples, *, draw=False, seed=None, batch_size=250):
        """Decode latent vectors drawn from the prior.

        Parameters
        ----------
        num_samples : int
        draw : bool
            Draw images from the likelihood, instead of returning its mean.
        seed : int, optional
            The images are the same for the same seed and `batch_size`.
        batch_size : int
            Latent vectors to decode at a time: what memory holds beside the result
            grows with this alone.

        Returns
        -------
        ndarray of float, shape (num_samples, *image_shape)
            In [0, 1] for black to white. Not clipped: under a Gaussian likelihood
            draws, and sometimes means, leave [0, 1].

        Raises
        ------
        ValueError
            If `num_samples` or `batch_size` is not a positive integer, `draw` is not
            a bool, or `seed` is no seed.
        """
        num_samples = integer("num_samples", num_samples)
        batch_size = integer("batch_size", batch_size)
        draw = boolean("draw", draw)
        seed = generator(seed)
        if self.prior is None:
            z = keras.random.normal((num_samples, self.latent_dim), seed=seed)
        else:
            [z] = _in_batches(
                num_samples,
                batch_size,
                lambda part: self.prior.sample(part.stop - part.start, seed),
            )
        return self._pictures(z, batch_size, draw, seed)

    def reconstruct(self, images, *, draw=False, batch_size=250):
        """Send images through the encoder, one latent draw, and the decoder.

        The draw is a new one at each call, and so is the binarization.

        Parameters
        ----------
        images : array-like, shape (N, *image_shape)
            As for `fit`.
        draw, batch_size
            As for `sample`.

        Returns
        -------
        ndarray of float, shape (N, *image_shape)
            As for `sample`.

        Raises
        ------
        ValueError
            As for `encode` and `sample`.
        """
        batch_size = integer("batch_size", batch_size)
        draw = boolean("draw", draw)
        z = self.sampling(self._encode(self.check_images(images), batch_size))
        return self._pictures(z, batch_size, draw, self.seed_generator)

    def interpolate(self, first, second, num_steps=10, *, batch_size=250):
        """Decode the straight line between the encodings of two images.

        Parameters
        ----------
        first, second : array-like, shape `image_shape`
            As for `fit`; their mean encodings are the two ends.
        num_steps : int
            Images along the line, both ends included.
        batch_size : int
            As for `sample`.

        Returns
        -------
        ndarray of float, shape (num_steps, *image_shape)
            As for `sample`.

        Raises
        ------
        ValueError
            As for `fit`, or if `num_steps` or `batch_size` is not a positive integer.
        """
        num_steps = integer("num_steps", num_steps)
        batch_size = integer("batch_size", batch_size)
        images = [self._one_image("first", first), self._one_image("second", second)]
        start, end = (self._encode(image, batch_size)[0][0] for image in images)
        return self._pictures(np.linspace(start, end, num_steps), batch_size)

    def _one_image(self, name, image):
        image, shape = plain_array(name, image), self.encoder.input_shape[1:]
        if image.shape != shape:
            raise ValueError(
                f"{name} has shape {image.shape}, but must be one image, of shape "
                f"{shape}."
            )
        return self.check_images(image[None], name)

    def _pictures(self, z, batch_size, draw=False, seed=None):
        z = ops.convert_to_numpy(z)

        def picture(part):
            decoded = self.decoder(z[part])
            if draw:
                return self.likelihood.sample(decoded, seed)
            return self.likelihood.mean(decoded)

        return _in_batches(len(z), batch_size, picture)[0]

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "likelihood": serialize(self.likelihood),
            "prior": serialize(self.prior),
            "num_samples": self.num_samples,
            "kl_weight": float(ops.convert_to_numpy(self.kl_weight)),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        for part in ("encoder", "decoder", "likelihood", "prior"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)


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


def _check_no_labels(**given):
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name} is given, but a VAE learns from images alone, without labels "
                "and weights."
            )


def _alone(data, name):
    """Return the images of what Keras takes for (x, y, sample_weight)."""
    if not isinstance(data, (tuple, list)) or len(data) not in (1, 2, 3):
        return data
    images, *others = data
    if any(other is not None for other in others):
        raise ValueError(
            f"{name} has labels or weights beside the images, but a VAE learns from "
            "images alone: leave them out, of a tf.data set by map(lambda x, y: x)."
        )
    return images


def _check_parts(encoder, decoder, likelihood, prior):
    _, outputs = checked_shapes("encoder", encoder)
    pair = isinstance(outputs, (tuple, list)) and len(outputs) == 2
    if not pair or outputs[0] != outputs[1] or not is_batch(outputs[0], axes=1):
        raise ValueError(
            "encoder must end in a list of two outputs, the mean and the log-variance "
            "of z, both of shape (batch, latent_dim), but the shape of its output is "
            f"{outputs}."
        )
    latent, drawn = checked_shapes("decoder", decoder)
    if latent != outputs[0]:
        raise ValueError(
            f"decoder takes latent vectors of shape {latent}, but "
            f"the encoder gives {outputs[0]}: use one latent_dim for both."
        )
    if not is_batch(drawn):
        raise ValueError(
            "decoder must end in one output, of known shape, but the shape of its "
            f"output is {drawn}."
        )
    if not isinstance(likelihood, Likelihood):
        raise ValueError(
            f"likelihood is {likelihood!r}, but must be an instance of a subclass of "
            "Likelihood, such as Gaussian(0.1)."
        )
    names = {layer.name for layer in decoder.layers}
    for link, name in HEAD_NAMES.items():
        if name in names and likelihood.link not in (None, link):
            warnings.warn(
                f"decoder ends in {name}, but {likelihood!r} is of another kind: "
                f"build it with link={likelihood.link!r}.",
                stacklevel=3,
            )
    if prior is not None and not isinstance(prior, HierarchicalPrior):
        raise ValueError(
            f"prior is {prior!r}, but must be a HierarchicalPrior or None."
        )
    if prior is not None and prior.encoder.input_shape != outputs[0]:
        raise ValueError(
            f"prior is one of vectors of shape {prior.encoder.input_shape}, but the "
            f"encoder gives {outputs[0]}: use one latent_dim for both."
        )


def _in_batches(count, batch_size, compute):
    """Gather what is computed a batch at a time.

    Parameters
    ----------
    count, batch_size : int
        Rows in all, and at a time.
    compute : callable
        From a slice of the rows to a tensor of as many, or to several.

    Returns
    -------
    list of ndarray, of `count` rows each
    """
    whole = []
    for start in range(0, count, batch_size):
        part = slice(start, min(start + batch_size, count))
        for i, tensor in enumerate(keras.tree.flatten(compute(part))):
            array = ops.convert_to_numpy(tensor)
            if not start:
                whole.append(np.empty((count, *array.shape[1:]), array.dtype))
            whole[i][part] = array
    return whole
