"""The variational autoencoder as a Keras model."""

import math
import warnings

import keras
import numpy as np
from keras import ops

from ..arguments import boolean, integer, plain_array, real, real_array
from .backend import num_devices
from .data import check_images
from .likelihoods import Bernoulli, Likelihood
from .networks import (
    HEAD_NAMES,
    OfParts,
    checked_shapes,
    encoded,
    is_batch,
    listed,
    on_rows,
    one_condition,
)
from .posteriors import DiagonalGaussian, Posterior
from .priors import checked_prior, split_noise
from .random import generator, normal
from .training import Training


@keras.saving.register_keras_serializable(package="utils.vae")
class VAE(OfParts, Training, keras.Model):
    """Variational autoencoder, put together from networks and three objects.

    Trained by ``fit(images)`` on the negative ELBO of eq. (4.13), in nats per
    image. ``fit``, ``evaluate`` and callbacks report three numbers: ``loss``,
    and the ``reconstruction`` and ``kl`` that add up to it: the bound, whatever weights
    training has.

    Parameters
    ----------
    encoder : keras.Model
        From an observation to the parameters of q(z|x): a list of mean and log_var,
        unless `posterior` asks for others. Its shapes must be known: functional, or a
        ``Sequential`` that begins with ``keras.Input``.
    decoder : keras.Model
        From a latent vector to the parameters of p(x|z); its shapes as well. If it,
        the encoder or the prior takes a condition as a second input, such as a class,
        the model is one of p(x|condition), and ``fit(images, labels)`` trains it.
    likelihood : Likelihood, optional
        What the decoder's output means; `Bernoulli` if left out.
    prior : Prior, optional
        The prior p(z); N(0, I) if left out.
    posterior : Posterior, optional
        What the encoder's output means; `DiagonalGaussian` if left out.
    num_samples : int
        Latent draws per image. More than one trains on the importance-weighted
        bound of eq. (4.17): then ``loss`` lies below ``reconstruction + kl`` by
        what the draws tighten it.
    beta : float
        Weight of the KL term in training; a `KLWarmUp` climbs to it. (With several
        draws it must be 1, and a warm-up takes p(z) / q(z|x) to a power.)
    free_bits : float
        Bits per image, as a mean over the minibatch, that training lets each latent
        variable have for nothing; all of them together, where the KL has no closed
        form. With several devices, the mean is over the share of each.
    seed : int, SeedSequence or generator of numpy.random, optional
        Seed of the shuffle, the binarization and the latent noise; fresh entropy
        if left out.

    Raises
    ------
    ValueError
        If a network's shapes are not known, the encoder does not end in what the
        posterior asks for, or the decoder or the prior does not take what the encoder
        gives; if `likelihood`, `prior` or `posterior` is not one; if conditions differ
        in shape; if `num_samples` is not a positive integer, `beta` or `free_bits` no
        number, negative, or not the usual one beside several draws, or `seed` is not
        one. By `compile`: if it is given a loss or metrics, as the loss of a VAE is
        its bound.

    Warns
    -----
    UserWarning
        If the decoder was built with another link than that of the likelihood.

    Notes
    -----
    To load a saved model, import `utils.vae` first, and whatever registers an object
    of your own.

    Calling the model returns a dictionary: ``x`` (the observation, binarized
    anew), shape (batch, *image_shape); the posterior's parameters by their names,
    ``mean`` and ``log_var``, (batch, latent_dim); ``z``, (batch, latent_dim);
    ``decoded`` (the parameters of the likelihood, logits for a Bernoulli), (batch,
    ...); ``log_prior`` and ``log_posterior``, the log densities of z, (batch,). If
    `num_samples` is more than one, the last four have an axis of draws in front.
    Source: Kingma and Welling (2014); Burda, Grosse and Salakhutdinov (2016);
    for `beta` Higgins et al. (2017), for `free_bits` Kingma et al. (2016), section 4.
    """

    PARTS = ("encoder", "decoder", "likelihood", "prior", "posterior")

    def __init__(
        self,
        encoder,
        decoder,
        likelihood=None,
        *,
        prior=None,
        posterior=None,
        num_samples=1,
        beta=1.0,
        free_bits=0.0,
        seed=None,
        **kwargs,
    ):
        # Neither images nor log densities are rounded; the networks below may be.
        super().__init__(**{**kwargs, "autocast": False})
        self.encoder, self.decoder = encoder, decoder
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        self.prior = checked_prior(prior)
        self.posterior = DiagonalGaussian() if posterior is None else posterior
        self.num_samples = integer("num_samples", num_samples)
        self.free_bits = real("free_bits", free_bits, least=0)
        beta = real("beta", beta, least=0)
        for name, value, usual in (("free_bits", self.free_bits, 0), ("beta", beta, 1)):
            if self.num_samples > 1 and value != usual:
                raise ValueError(
                    f"{name} is {value}, but must be {usual} if num_samples is above "
                    "1: the importance-weighted bound has no KL term."
                )
        self.beta = keras.Variable(beta, trainable=False, name="beta")
        self.kl_share = keras.Variable(1.0, trainable=False, name="kl_share")
        self.seed_generator = generator(seed)
        self.seed = self.seed_generator.get_config()["seed"]
        self.trackers = {
            name: keras.metrics.Mean(name=name)
            for name in ("bound", "reconstruction", "kl")
        }
        shapes = checked_parts(encoder, decoder, self.likelihood, self.posterior)
        self.image_shape, self.latent_dim, *conditions = shapes
        self.prior.join(self.latent_dim, encoder, self.posterior)
        conditions.append(self.prior.condition_shape)
        self.condition_shape = one_condition(*conditions)
        self._build_parts()
        # Encoder and decoder are functional models, built when they were made.
        self.built = True

    def _build_parts(self):
        """Build layers of a part that wait to be called: Keras never calls the part."""
        parts = (self.likelihood, self.prior, self.posterior)
        parts = [part for part in parts if isinstance(part, keras.layers.Layer)]
        for part in parts:
            part.built = True
        layers = (layer for part in parts for layer in part._flatten_layers())
        if not all(layer.built for layer in layers):
            sizes = self.posterior.sizes(self.latent_dim).values()
            condition = self.condition_shape
            self.draw(
                [ops.zeros((1, units)) for units in sizes],
                ops.zeros((1, self.noise_dim)),
                None if condition is None else ops.zeros((1, *condition)),
            )

    def build(self, input_shape):
        pass

    # --- the model, and the loss of eq. (4.13) --------------------------------

    def call(self, inputs, training=None):
        # Keras tells the networks below of `training`, as the call takes it.
        images, condition = self.split_inputs(inputs)
        x = self.likelihood.observe(images, self.seed_generator)
        parameters = self.parameters_of_posterior(x, condition)
        draws = (self.num_samples,) * (self.num_samples > 1)
        noise = normal((*draws, ops.shape(x)[0], self.noise_dim), self.seed_generator)
        named = dict(zip(self.parameter_names, parameters, strict=True))
        return {"x": x, **named, **self.draw(parameters, noise, condition)}

    def draw(self, parameters, noise, condition=None):
        """Draw z from q(z|x), decode it, and find how probable it is.

        Parameters
        ----------
        parameters : list of tensor, shape (batch, units)
            Of the posterior, as the encoder gives them.
        noise : tensor, shape (..., batch, noise_dim)
            From N(0, I).
        condition : tensor, shape (batch, *condition_shape), optional

        Returns
        -------
        dict of tensor, shape (..., batch, ...)
            ``z``, ``decoded``, ``log_prior`` and ``log_posterior``, in nats.
        """
        own, further = split_noise(noise, self.latent_dim)
        z, log_posterior = self.posterior.draw(parameters, own)
        return {
            "z": z,
            "decoded": on_rows(self.decoder, z, condition),
            "log_prior": each("prior", self.prior.log_prob(z, further, condition), z),
            "log_posterior": each("posterior", log_posterior, z),
        }

    def log_prob(self, x, out):
        """Log p(x|z) in nats, shape (..., batch), of what `draw` gave."""
        return each("likelihood", self.likelihood.log_prob(x, out["decoded"]), out["z"])

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Negative bound of a minibatch, in nats per image.

        Implements eqs. (4.13) and (4.17). In training, what is returned is the
        objective, in which the KL has the weight `beta`; what is reported stays the
        bound.
        """
        out = y_pred
        reconstruction = -self.log_prob(out["x"], out)
        # With log p(x|z), this is the log w of eq. (4.23).
        log_ratio = out["log_prior"] - out["log_posterior"]
        parameters = [out[name] for name in self.parameter_names]
        kl_terms = self.posterior.kl_terms(parameters, self.prior)
        if kl_terms is None:  # no closed form: as the draws have it
            kl_terms = -log_ratio[..., None]
        kl = ops.sum(kl_terms, axis=-1)

        beta = self.beta * self.kl_share if training else 1.0
        if self.num_samples == 1:
            bound, objective = reconstruction + kl, reconstruction + beta * kl
        else:
            bound = -_log_mean_exp(log_ratio - reconstruction)
            objective = -_log_mean_exp(beta * log_ratio - reconstruction)
        loss = ops.mean(objective)
        if self.free_bits and training:
            loss = ops.mean(reconstruction) + beta * self._spared(kl_terms)

        report = {"bound": bound, "reconstruction": reconstruction, "kl": kl}
        for name, values in report.items():
            self.trackers[name].update_state(values)
        # With several devices, Keras adds up their losses.
        return (loss + sum(self.losses)) / num_devices()

    def _spared(self, kl_terms):
        """KL of the minibatch, of which each term counts as `free_bits` at least."""
        means = ops.mean(kl_terms, axis=0)
        free = self.free_bits * math.log(2) * self.latent_dim / means.shape[0]
        return ops.sum(ops.maximum(means, free))

    def get_metrics_result(self):
        report = super().get_metrics_result()
        report["loss"] = report.pop("bound")  # Keras has the objective there
        return report

    # --- its parts ------------------------------------------------------------

    @property
    def parameter_names(self):
        """Names of what the encoder gives, such as mean and log_var."""
        return tuple(self.posterior.sizes(self.latent_dim))

    @property
    def noise_dim(self):
        """Numbers from N(0, 1) that `draw` needs for each z."""
        return self.latent_dim + self.prior.noise_dim

    def split_inputs(self, inputs):
        """Return images and condition, which is None if the model has none."""
        return (inputs, None) if self.condition_shape is None else inputs

    def parameters_of_posterior(self, x, condition=None):
        """Return what the encoder gives for an observation, as a list."""
        return encoded(self.encoder, x, condition)

    # --- to look at -----------------------------------------------------------

    def encode(self, images, labels=None, *, batch_size=1000):
        """Approximate posterior q(z|x) of images.

        Parameters
        ----------
        images : array-like, shape (N, *image_shape)
            As for `fit`; a Bernoulli likelihood binarizes anew.
        labels : array-like, shape (N, *condition_shape), optional
            If the model has conditions.
        batch_size : int
            Images at a time: what else memory holds does not grow with their number.

        Returns
        -------
        tuple of ndarray, shape (N, units)
            Its parameters: mean and log_var, each of latent_dim units, or what another
            posterior than the usual one has.

        Raises
        ------
        ValueError
            As for `fit`; a data set is refused.
        """
        batch_size = integer("batch_size", batch_size)
        return self._encode(self.check_arrays(images, labels), batch_size)

    def _encode(self, arrays, batch_size):
        def parameters(part):
            tensors = [ops.convert_to_tensor(rows) for rows in _rows(arrays, part)]
            images, condition = self.split_inputs(
                tensors if len(tensors) > 1 else tensors[0]
            )
            x = self.likelihood.observe(images, self.seed_generator)
            return self.parameters_of_posterior(x, condition)

        return tuple(_in_batches(len(arrays[0]), batch_size, parameters))

    def sample(
        self, num_samples, *, condition=None, draw=False, seed=None, batch_size=250
    ):
        """Decode latent vectors drawn from the prior.

        Parameters
        ----------
        num_samples : int
        condition : array-like, shape condition_shape or (num_samples, *condition_shape)
            If the model has conditions: one for all images, or one for each.
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
            If `num_samples` or `batch_size` is not a positive integer, `condition` is
            missing or has another shape, `draw` is not a bool, or `seed` is no seed.
        """
        num_samples = integer("num_samples", num_samples)
        batch_size = integer("batch_size", batch_size)
        draw = boolean("draw", draw)
        condition = self._condition(condition, num_samples)
        seed = generator(seed)

        def drawn(part):
            count = part.stop - part.start
            return self.prior.sample(count, seed, _rows(condition, part))

        [z] = _in_batches(num_samples, batch_size, drawn)
        return self._pictures(z, condition, batch_size, draw, seed)

    def reconstruct(self, images, labels=None, *, draw=False, batch_size=250):
        """Send images through the encoder, one latent draw, and the decoder.

        The draw is a new one at each call, and so is the binarization.

        Parameters
        ----------
        images, labels
            As for `encode`.
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
        arrays = self.check_arrays(images, labels)
        parameters = self._encode(arrays, batch_size)
        noise = normal((len(arrays[0]), self.latent_dim), self.seed_generator)
        z, _ = self.posterior.draw(list(parameters), noise)
        condition = arrays[1] if len(arrays) > 1 else None
        return self._pictures(z, condition, batch_size, draw, self.seed_generator)

    def interpolate(
        self, first, second, num_steps=10, *, condition=None, batch_size=250
    ):
        """Decode the straight line between the encodings of two images.

        Parameters
        ----------
        first, second : array-like, shape `image_shape`
            As for `fit`. The ends of the line are the draws of noise zero: the means
            of their posteriors, if these are Gaussian.
        num_steps : int
            Images along the line, both ends included.
        condition : array-like, shape condition_shape, optional
            If the model has conditions: one for the whole line.
        batch_size : int
            As for `sample`.

        Returns
        -------
        ndarray of float, shape (num_steps, *image_shape)
            As for `sample`.

        Raises
        ------
        ValueError
            As for `fit` and `sample`, or if `num_steps` or `batch_size` is not a
            positive integer.
        """
        num_steps = integer("num_steps", num_steps)
        batch_size = integer("batch_size", batch_size)
        condition = self._condition(condition, num_steps)
        images = [self._one_image("first", first), self._one_image("second", second)]
        ends = []
        for image in images:
            arrays = (image,) if condition is None else (image, condition[:1])
            parameters = list(self._encode(arrays, batch_size))
            z, _ = self.posterior.draw(parameters, ops.zeros((1, self.latent_dim)))
            ends.append(ops.convert_to_numpy(z)[0])
        z = np.linspace(*ends, num_steps)
        return self._pictures(z, condition, batch_size)

    def _one_image(self, name, image):
        image = plain_array(name, image)
        if image.shape != self.image_shape:
            raise ValueError(
                f"{name} has shape {image.shape}, but must be one image, of shape "
                f"{self.image_shape}."
            )
        any_vector = self.likelihood.any_vector
        return check_images(
            image[None], self.image_shape, any_vector=any_vector, name=name
        )

    def _condition(self, condition, count):
        """Return one condition for each of `count` images, or None, or refuse it."""
        shape = self.condition_shape
        if shape is None and condition is None:
            return None
        if shape is None or condition is None:
            raise ValueError(
                f"condition is {condition!r}, but must be "
                + ("None: the networks take none." if shape is None else f"of {shape}.")
            )
        array = plain_array("condition", condition)
        if array.shape == shape:
            array = np.broadcast_to(array, (count, *shape))
        real_array("condition", array, (count, *shape))
        return array

    def _pictures(self, z, condition, batch_size, draw=False, seed=None):
        z = ops.convert_to_numpy(z)

        def picture(part):
            decoded = on_rows(self.decoder, z[part], _rows(condition, part))
            if draw:
                return self.likelihood.sample(decoded, seed)
            return self.likelihood.mean(decoded)

        return _in_batches(len(z), batch_size, picture)[0]

    # --- to be saved ----------------------------------------------------------

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras leaves it out, and resumed training would use the same noise twice.
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        own = dict(store)
        self.seed_generator.state.assign(own.pop("seed_state"))
        super().load_own_variables(own)
        self.kl_share.assign(1.0)  # a warm-up is not the model's

    def get_config(self):
        return {
            **super().get_config(),
            "num_samples": self.num_samples,
            "beta": float(ops.convert_to_numpy(self.beta)),
            "free_bits": self.free_bits,
            "seed": self.seed,
        }


def checked_parts(encoder, decoder, likelihood, posterior):
    """Return the shapes of an image and of z, and of both networks' conditions.

    Raises
    ------
    ValueError
        If a part is not one, or they do not fit together.

    Warns
    -----
    UserWarning
        If the decoder was built with another link than that of the likelihood.
    """
    for name, part, kind, example in (
        ("likelihood", likelihood, Likelihood, "Gaussian(0.1)"),
        ("posterior", posterior, Posterior, "FullGaussian()"),
    ):
        if not isinstance(part, kind):
            raise ValueError(
                f"{name} is {part!r}, but must be an instance of a subclass of "
                f"{kind.__name__}, such as {example}."
            )
    taken, condition, given = checked_shapes("encoder", encoder)
    latent, other_condition, drawn = checked_shapes("decoder", decoder)
    if not is_batch(latent, axes=1):
        raise ValueError(
            f"decoder takes latent vectors of shape {latent}, but must take some of "
            "shape (batch, latent_dim)."
        )
    if not isinstance(likelihood, keras.layers.Layer):
        for name, value in vars(likelihood).items():
            if isinstance(value, (keras.Variable, keras.layers.Layer)):
                raise ValueError(
                    f"likelihood has a {type(value).__name__}, {name}, that would be "
                    "neither trained nor saved: derive its class from a layer as "
                    "well, as class Mine(Likelihood, keras.layers.Layer) is."
                )
    latent_dim = latent[-1]
    taken_names = {"x", "z", "decoded", "log_prior", "log_posterior"}
    if taken_names & set(posterior.sizes(latent_dim)):
        raise ValueError(
            f"posterior names its parameters {list(posterior.sizes(latent_dim))}, but "
            f"must not use {sorted(taken_names)}, which calling a VAE returns as well."
        )
    expected = {k: (None, n) for k, n in posterior.sizes(latent_dim).items()}
    if listed(given) != list(expected.values()):
        raise ValueError(
            f"encoder must end in a list of {len(expected)} outputs, "
            f"{', '.join(expected)}, of shapes {list(expected.values())}, as the "
            f"decoder takes latent vectors of {latent_dim} and the posterior is "
            f"{type(posterior).__name__}; but the shape of its output is {given}. Use "
            "one latent_dim for both, no dict, no drawn z, and build the encoder with "
            "this posterior."
        )
    if not is_batch(drawn):
        raise ValueError(
            "decoder must end in one output, of known shape, but the shape of its "
            f"output is {drawn}."
        )
    last = getattr(decoder.layers[-1], "activation", None)
    if likelihood.link == "logit" and last is keras.activations.sigmoid:
        warnings.warn(
            f"decoder ends in a sigmoid, but {likelihood!r} takes logits: drop it.",
            stacklevel=3,
        )
    names = {layer.name for layer in decoder.layers}
    for link, name in HEAD_NAMES.items():
        if name in names and likelihood.link not in (None, link):
            warnings.warn(
                f"decoder ends in {name}, but {likelihood!r} is of another kind: "
                f"build it with link={likelihood.link!r}.",
                stacklevel=3,
            )
    return taken[1:], latent_dim, condition, other_condition


def each(name, log_prob, z):
    """Return log densities, shape (..., batch), if they are one for each draw of z."""
    given, expected = tuple(log_prob.shape), tuple(z.shape[:-1])
    if len(given) != len(expected) or any(
        n != m for n, m in zip(given, expected, strict=True) if None not in (n, m)
    ):
        raise ValueError(
            f"{name} gives log densities of shape {given}, but must give one for each "
            f"draw and image, shape {expected}: sum over pixels or variables alone."
        )
    return log_prob


def _log_mean_exp(log_w):
    """Logarithm of the mean over the first axis, that of draws."""
    return ops.logsumexp(log_w, axis=0) - math.log(log_w.shape[0])


def _rows(arrays, part):
    """Return rows of an array, or of each of a tuple; None for None."""
    if arrays is None:
        return None
    if isinstance(arrays, tuple):
        return tuple(array[part] for array in arrays)
    return arrays[part]


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
