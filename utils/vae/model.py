"""The variational autoencoder as a Keras model."""

import keras
import numpy as np
from keras import ops

from .layers import Sampling, SavedSeed, gaussian_kl
from .likelihoods import Bernoulli, check_images


@keras.saving.register_keras_serializable(package="utils.vae")
class VAE(SavedSeed, keras.Model):
    """Variational autoencoder with prior N(0, I) and Gaussian encoder.

    Trained by ``fit(images)`` on the negative ELBO of eq. (4.9), in nats per
    image. ``fit``, ``evaluate`` and callbacks report three numbers: ``loss``,
    and the ``reconstruction`` and ``kl`` that add up to it.

    Parameters
    ----------
    encoder : keras.Model
        From an observation to the pair (mean, log_var) of q(z|x).
    decoder : keras.Model
        From a latent vector to the parameters of p(x|z).
    likelihood : optional
        What the decoder's output means; `Bernoulli` if left out.
    seed : int, optional
        Seed of the binarization and of the latent noise.

    Raises
    ------
    ValueError
        If the encoder does not end in two equal outputs, or the decoder does
        not take what the encoder gives.

    Notes
    -----
    Calling the model returns a dictionary: ``x`` (the observation, binarized
    anew), ``mean``, ``log_var``, ``z`` and ``decoded`` (the parameters of the
    likelihood, logits for a Bernoulli). Source: Kingma and Welling (2014).
    """

    def __init__(self, encoder, decoder, likelihood=None, *, seed=None, **kwargs):
        super().__init__(**kwargs)
        _check_pair(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.sampling = Sampling(None if seed is None else seed + 1)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.kl_tracker = keras.metrics.Mean(name="kl")

    def build(self, input_shape):
        # Encoder and decoder are functional models, built when they were made.
        self.built = True

    @property
    def latent_dim(self):
        """Number of latent variables."""
        return self.decoder.input_shape[-1]

    def call(self, images):
        x = self.likelihood.observe(images, self.seed_generator)
        mean, log_var = self.encoder(x)
        z = self.sampling((mean, log_var))
        return {
            "x": x,
            "mean": mean,
            "log_var": log_var,
            "z": z,
            "decoded": self.decoder(z),
        }

    def fit(self, x=None, *args, **kwargs):
        """Train on images, as ``keras.Model.fit`` does.

        Parameters
        ----------
        x : array, shape (N, *image_shape), or any other data that Keras takes
            Bytes 0 to 255, or floats in [0, 1].
        *args, **kwargs
            As for ``keras.Model.fit``.

        Raises
        ------
        ValueError
            If `x` is an array of another shape, or neither bytes nor in [0, 1];
            if labels or sample weights are given.
        """
        if isinstance(x, np.ndarray):
            check_images(x, self.encoder.input_shape[1:])
        return super().fit(x, *args, **kwargs)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "A VAE learns from images alone: call fit(images) and "
                "evaluate(images), without labels y and without sample_weight."
            )
        reconstruction = -self.likelihood.log_prob(y_pred["x"], y_pred["decoded"])
        kl = gaussian_kl(y_pred["mean"], y_pred["log_var"])
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        return ops.mean(reconstruction + kl) + sum(self.losses)

    def sample(self, num_samples, *, draw=False, seed=None):
        """Decode latent vectors drawn from the prior.

        Parameters
        ----------
        num_samples : int
        draw : bool
            Draw images from the likelihood, instead of returning its mean.
        seed : int, optional

        Returns
        -------
        ndarray, shape (num_samples, *image_shape)
            In [0, 1].
        """
        seed = keras.random.SeedGenerator(seed)
        z = keras.random.normal((num_samples, self.latent_dim), seed=seed)
        return self._picture(self.decoder(z), draw, seed)

    def reconstruct(self, images, *, draw=False):
        """Send images through the encoder, one latent draw, and the decoder.

        The draw is a new one at each call, and so is the binarization.

        Parameters
        ----------
        images : array, shape (N, *image_shape)
            Bytes, or floats in [0, 1].
        draw : bool
            As for `sample`.

        Returns
        -------
        ndarray, shape (N, *image_shape)
            In [0, 1].
        """
        decoded = self(check_images(images, self.encoder.input_shape[1:]))["decoded"]
        return self._picture(decoded, draw, self.seed_generator)

    def _picture(self, decoded, draw, seed):
        if draw:
            return ops.convert_to_numpy(self.likelihood.sample(decoded, seed))
        return ops.convert_to_numpy(self.likelihood.mean(decoded))

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "likelihood": serialize(self.likelihood),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        for part in ("encoder", "decoder", "likelihood"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)


def _check_pair(encoder, decoder):
    outputs = encoder.output_shape
    if not (isinstance(outputs, (tuple, list)) and len(outputs) == 2) or (
        outputs[0] != outputs[1]
    ):
        raise ValueError(
            "encoder must end in two outputs of one shape, the mean and the "
            f"log-variance of z, but its outputs have shape {outputs}."
        )
    if decoder.input_shape != outputs[0]:
        raise ValueError(
            f"decoder takes latent vectors of shape {decoder.input_shape}, but "
            f"the encoder gives {outputs[0]}: use one latent_dim for both."
        )
