"""The layer that draws, and what saves the state of random numbers."""

import keras
from keras import ops

from .gaussian import reparameterize
from .random import generator, normal


class SavedSeed:
    """Mix-in that saves the state of ``seed_generator``, which Keras leaves out.

    Without it a loaded model would start its random numbers from the beginning,
    and resumed training would use the same noise twice.
    """

    def save_own_variables(self, store):
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"])


@keras.saving.register_keras_serializable(package="utils.vae")
class Sampling(SavedSeed, keras.layers.Layer):
    """Draw a latent vector from a diagonal Gaussian by reparameterization.

    Implements eq. (4.11): z = mean + exp(log_var / 2) * noise with noise from
    N(0, I), so that gradients reach the mean and the log-variance.

    Parameters
    ----------
    seed : int, SeedSequence or generator of numpy.random, optional
        Seed of the layer's own generator; fresh entropy if left out.

    Raises
    ------
    ValueError
        If `seed` is none of these.

    Notes
    -----
    Called on a pair ``(mean, log_var)``, each of shape (batch, latent_dim), it
    returns latent vectors of the same shape, anew at every call, in training
    and in evaluation alike. Source: Kingma and Welling (2014), section 2.4.
    """

    def __init__(self, seed=None, **kwargs):
        # Under mixed precision, rounded noise would spoil the importance weights.
        super().__init__(**{"dtype": keras.config.floatx(), **kwargs})
        self.seed_generator = generator(seed)
        self.seed = self.seed_generator.get_config()["seed"]

    def call(self, inputs):
        mean, log_var = inputs
        noise = normal(ops.shape(mean), self.seed_generator)
        return reparameterize(mean, log_var, noise)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
