"""A second stochastic layer: a prior over z that is itself learnt."""

import keras
from keras import ops

from ..arguments import integer
from .gaussian import gaussian_log_prob, reparameterize
from .networks import checked_shapes
from .random import generator, normal


@keras.saving.register_keras_serializable(package="utils.vae")
class HierarchicalPrior(keras.layers.Layer):
    """Prior p(z), the integral of p(z|u) p(u) du, with u from N(0, I).

    A VAE whose observation is the latent vector of another: its decoder gives
    p(z|u), its encoder q(u|z), both Gaussian. With it a `VAE` has two stochastic
    layers. `dense_encoder` builds either network, for example
    ``dense_encoder((100,), 50)`` and ``dense_encoder((50,), 100)``.

    Parameters
    ----------
    encoder : keras.Model
        From z to the pair (mean, log_var) of q(u|z).
    decoder : keras.Model
        From u to the pair (mean, log_var) of p(z|u).

    Raises
    ------
    ValueError
        If either is no network, or does not give what the other takes.

    Notes
    -----
    Source: Burda, Grosse and Salakhutdinov (2016), section 2 and figure 3.
    """

    def __init__(self, encoder, decoder, **kwargs):
        # In full precision, like all that log-weights are made of.
        super().__init__(**{"dtype": keras.config.floatx(), **kwargs})
        shapes = {
            "encoder": checked_shapes("encoder", encoder),
            "decoder": checked_shapes("decoder", decoder),
        }
        for name, other in (("encoder", "decoder"), ("decoder", "encoder")):
            taken, given = shapes[other][0], shapes[name][1]
            if given not in ([taken, taken], (taken, taken)):
                raise ValueError(
                    f"{name} must end in a mean and a log-variance, each of the "
                    f"shape {taken} that the {other} takes, but its outputs have "
                    f"shape {given}."
                )
        self.encoder, self.decoder = encoder, decoder
        self.built = True

    @property
    def latent_dim(self):
        """Number of variables in u: the noise that `log_prob` needs."""
        return self.decoder.input_shape[-1]

    def log_prob(self, z, noise, training=False):
        """Estimate log p(z) from one draw of u.

        The exponential of the estimate is unbiased, so that importance weights
        made with it remain weights; its own mean is a lower bound of log p(z).

        Parameters
        ----------
        z : tensor, shape (..., dim)
        noise : tensor, shape (..., latent_dim)
            From N(0, I).
        training : bool
            Whether dropout and the like act.

        Returns
        -------
        tensor, shape (...)
            In nats.
        """
        mean, log_var = _over_rows(self.encoder, z, training)
        u = reparameterize(mean, log_var, noise)
        log_ratio = gaussian_log_prob(u, 0.0, 0.0) - gaussian_log_prob(u, mean, log_var)
        log_likelihood = gaussian_log_prob(z, *_over_rows(self.decoder, u, training))
        return log_likelihood + log_ratio

    def sample(self, num_samples, seed=None):
        """Draw z: first u, then z given u.

        Parameters
        ----------
        num_samples : int
        seed : optional
            As for `VAE`, or Keras' generator.

        Returns
        -------
        tensor, shape (num_samples, dim)
        """
        num_samples = integer("num_samples", num_samples)
        seed = generator(seed)  # other numbers for z than for u
        u = normal((num_samples, self.latent_dim), seed)
        mean, log_var = self.decoder(u)
        return reparameterize(mean, log_var, normal(ops.shape(mean), seed))

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
        }

    @classmethod
    def from_config(cls, config):
        for part in ("encoder", "decoder"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)


def _over_rows(network, inputs, training):
    """Call a network that takes rows on any number of axes of them."""
    axes = ops.shape(inputs)[:-1]
    outputs = network(ops.reshape(inputs, (-1, inputs.shape[-1])), training=training)
    return [ops.reshape(o, (*axes, o.shape[-1])) for o in outputs]
