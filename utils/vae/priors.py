"""Priors p(z): where latent vectors come from.

Each is a layer with the interface of `Prior`, so that a model can be trained, scored
and drawn from without knowing which one it has.
"""

import keras
import numpy as np
from keras import layers, ops

from ..arguments import integer, plain_array
from .data import check_images, is_bytes
from .gaussian import gaussian_log_prob, reparameterize
from .networks import (
    OfParts,
    checked_shapes,
    encoded,
    is_batch,
    listed,
    on_rows,
    one_condition,
)
from .posteriors import DiagonalGaussian
from .random import generator, normal, uniform


class Prior(layers.Layer):
    """Interface of a prior.

    A subclass scores with `log_prob` and draws with `sample`. Variables of its own
    (`add_weight`, other layers) are trained and saved with the model, if the class is
    registered and has its settings in ``get_config``.

    Attributes
    ----------
    latent_dim : int
        Number of latent variables, known when a `VAE` takes the prior.
    noise_dim : int
        Numbers from N(0, 1) that `log_prob` needs for each z: 0, if it is exact.
    condition_shape : tuple or None
        Shape of the condition that p(z|condition) depends on; None if there is none.
    is_standard : bool
        Whether it is N(0, I), to which the KL of Gaussians has a closed form.
    """

    latent_dim = None
    noise_dim = 0
    is_standard = False
    condition_shape = None

    def __init__(self, **kwargs):
        # In full precision, like all that log-weights are made of.
        super().__init__(**{"dtype": keras.config.floatx(), **kwargs})
        self.built = True

    def join(self, latent_dim, encoder, posterior):
        """Become the prior of a model; here is where variables are made that need it.

        Parameters
        ----------
        latent_dim : int
        encoder : keras.Model
        posterior : Posterior
            What the encoder's outputs mean.

        Raises
        ------
        ValueError
            If it is a prior of another number of latent variables.
        """
        if self.latent_dim not in (None, latent_dim):
            raise ValueError(
                f"prior is one of {self.latent_dim} latent variables, but the networks "
                f"have {latent_dim}: use one latent_dim for all."
            )
        self.latent_dim = latent_dim

    def _check_joined(self):
        if self.latent_dim is None:
            raise ValueError(
                f"{type(self).__name__} has no latent_dim yet: give it to a VAE first."
            )

    def log_prob(self, z, noise=None, condition=None):
        """Log p(z), or an estimate of it with an unbiased exponential.

        Parameters
        ----------
        z : tensor, shape (..., batch, latent_dim)
        noise : tensor, shape (..., batch, noise_dim)
            From N(0, I); None if `noise_dim` is 0.
        condition : tensor, shape (batch, *condition_shape)
            None if the model has none.

        Returns
        -------
        tensor, shape (..., batch)
            In nats.
        """
        raise NotImplementedError

    def sample(self, num_samples, seed=None, condition=None):
        """Draw latent vectors.

        Parameters
        ----------
        num_samples : int
        seed : optional
            As for `VAE`, or Keras' generator.
        condition : tensor, shape (num_samples, *condition_shape)

        Returns
        -------
        tensor, shape (num_samples, latent_dim)
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="utils.vae")
class StandardNormal(Prior):
    """N(0, I), the usual one."""

    @property
    def is_standard(self):
        return type(self) is StandardNormal

    def log_prob(self, z, noise=None, condition=None):
        return gaussian_log_prob(z, 0.0, 0.0)

    def sample(self, num_samples, seed=None, condition=None):
        self._check_joined()
        return normal((integer("num_samples", num_samples), self.latent_dim), seed)


class _Mixture(Prior):
    """What mixtures share. A subclass has `num_components`, and their `logits`."""

    def _log_probs(self, z):
        """Log density of each component, shape (..., components), for z (..., 1, d)."""
        raise NotImplementedError

    def _draw(self, chosen, noise):
        """Draw z, shape of `noise`, from the components whose numbers are `chosen`."""
        raise NotImplementedError

    def log_prob(self, z, noise=None, condition=None):
        self._check_joined()
        log_probs = self._log_probs(ops.expand_dims(z, -2))
        log_weights = ops.log_softmax(ops.convert_to_tensor(self.logits))
        return ops.logsumexp(log_probs + log_weights, axis=-1)

    def sample(self, num_samples, seed=None, condition=None):
        self._check_joined()
        num_samples = integer("num_samples", num_samples)
        seed = generator(seed)  # other numbers for z than for the component
        # The largest of logits with Gumbel noise is a draw in their proportions.
        u = uniform((num_samples, self.num_components), seed)
        gumbel = -ops.log(-ops.log(u))
        chosen = ops.argmax(ops.convert_to_tensor(self.logits) + gumbel, axis=-1)
        return self._draw(chosen, normal((num_samples, self.latent_dim), seed))


@keras.saving.register_keras_serializable(package="utils.vae")
class MixturePrior(_Mixture):
    """Mixture of Gaussians with independent coordinates, all of it learnt.

    Parameters
    ----------
    num_components : int
        They start at unit variance, with means drawn from N(0, 1).

    Raises
    ------
    ValueError
        If `num_components` is no positive integer.
    """

    def __init__(self, num_components=10, **kwargs):
        super().__init__(**kwargs)
        self.num_components = integer("num_components", num_components)

    def join(self, latent_dim, encoder, posterior):
        new = self.latent_dim is None
        super().join(latent_dim, encoder, posterior)
        if new:
            shape = self.num_components, latent_dim
            start = keras.initializers.RandomNormal(stddev=1.0)
            self.means = self.add_weight(shape, start, name="means", autocast=False)
            self.log_vars = self.add_weight(
                shape, "zeros", name="log_vars", autocast=False
            )
            self.logits = self.add_weight(
                shape[:1], "zeros", name="logits", autocast=False
            )

    def _components(self):
        return (ops.convert_to_tensor(v) for v in (self.means, self.log_vars))

    def _log_probs(self, z):
        return gaussian_log_prob(z, *self._components())

    def _draw(self, chosen, noise):
        mean, log_var = (ops.take(a, chosen, axis=0) for a in self._components())
        return reparameterize(mean, log_var, noise)

    def get_config(self):
        return {**super().get_config(), "num_components": self.num_components}


@keras.saving.register_keras_serializable(package="utils.vae")
class VampPrior(_Mixture):
    """Mixture of the posteriors of pseudo-inputs, which are learnt.

    p(z) is the mean of q(z|u) over the pseudo-inputs u, with the encoder and the
    posterior of the model that it is the prior of, and of no other.

    Parameters
    ----------
    pseudo_inputs : array, shape (K, *image_shape)
        Where they start: K training images, bytes or floats. What is learnt of them
        is free to leave [0, 1]. (If the encoder normalizes batches, they are one.)

    Raises
    ------
    ValueError
        If they are no images that a `VAE` could take. By `VAE`: if they are not of the
        shape of its images, its posterior has no `log_prob`, or the prior is that of
        another model.

    Notes
    -----
    Source: Tomczak and Welling (2018), eq. 10.
    """

    def __init__(self, pseudo_inputs, **kwargs):
        super().__init__(**kwargs)
        name = "pseudo_inputs"
        shape = plain_array(name, pseudo_inputs).shape[1:]
        start = check_images(pseudo_inputs, shape, any_vector=True, name=name)
        if not shape:
            raise ValueError(
                f"pseudo_inputs has shape {start.shape}, but must have (K, "
                "*image_shape)."
            )
        start = start / 255 if is_bytes(start) else start
        self.num_components = len(start)
        self.logits = np.zeros(len(start), "float32")  # all alike
        self.pseudo_inputs = self.add_weight(
            start.shape, "zeros", name="pseudo_inputs", autocast=False
        )
        self.pseudo_inputs.assign(start)
        self._model = None

    def join(self, latent_dim, encoder, posterior):
        super().join(latent_dim, encoder, posterior)
        taken, condition, _ = checked_shapes("encoder", encoder)
        if condition is not None:
            raise ValueError(
                "prior is a VampPrior, but its pseudo-inputs have no condition, which "
                "the encoder takes: use a ConditionalPrior."
            )
        if taken[1:] != tuple(self.pseudo_inputs.shape[1:]):
            raise ValueError(
                f"pseudo_inputs has images of shape {self.pseudo_inputs.shape[1:]}, "
                f"but the encoder takes {taken[1:]}."
            )
        if self._model is not None and not self._is_of(encoder, posterior):
            raise ValueError(
                "prior is a VampPrior of another model, whose encoder and posterior it "
                "is made of: make a new one."
            )
        # Behind a function: they are layers of the model, not of this one.
        self._model = lambda: (encoder, posterior)
        try:
            self._log_probs(ops.zeros((1, 1, latent_dim)))
        except NotImplementedError as error:
            self._model = None
            raise ValueError(
                "prior is a VampPrior, whose components are posteriors, but "
                f"{type(posterior).__name__} has no log_prob of any z."
            ) from error

    def _is_of(self, encoder, posterior):
        own_encoder, own = self._model()
        alike = type(own) is type(posterior) and not own.variables
        return own_encoder is encoder and (own is posterior or alike)

    def _components(self):
        encoder, posterior = self._model()
        return posterior, encoded(encoder, ops.convert_to_tensor(self.pseudo_inputs))

    def _log_probs(self, z):
        posterior, parameters = self._components()
        return posterior.log_prob(z, parameters)

    def _draw(self, chosen, noise):
        posterior, parameters = self._components()
        parameters = [ops.take(a, chosen, axis=0) for a in parameters]
        return posterior.draw(parameters, noise)[0]

    def get_config(self):
        shape = tuple(self.pseudo_inputs.shape)
        return {**super().get_config(), "shape": shape}

    @classmethod
    def from_config(cls, config):
        # The pseudo-inputs themselves are among the weights, which are loaded next.
        return cls(np.zeros(config.pop("shape")), **config)


@keras.saving.register_keras_serializable(package="utils.vae")
class HierarchicalPrior(OfParts, Prior):
    """The integral of p(z|u) p(u) du: a second stochastic layer, or more.

    A VAE whose observation is the latent vector of another: its decoder gives p(z|u),
    its encoder q(u|z), both Gaussian. `dense_encoder` builds either network, for
    example ``dense_encoder((100,), 50)`` and ``dense_encoder((50,), 100)``. If p(u) is
    a `HierarchicalPrior` itself, a model has three stochastic layers, and so on.

    Parameters
    ----------
    encoder : keras.Model
        From z to the pair (mean, log_var) of q(u|z).
    decoder : keras.Model
        From u to the pair (mean, log_var) of p(z|u).
    prior : Prior, optional
        The prior p(u); N(0, I) if left out.

    Raises
    ------
    ValueError
        If either is no network, or does not give what the other takes; if `prior` is
        not one, or one of another number of variables.

    Notes
    -----
    Source: Burda, Grosse and Salakhutdinov (2016), section 2 and figure 3.
    """

    PARTS = ("encoder", "decoder", "prior")

    def __init__(self, encoder, decoder, prior=None, **kwargs):
        super().__init__(**kwargs)
        shapes = {
            "encoder": checked_shapes("encoder", encoder),
            "decoder": checked_shapes("decoder", decoder),
        }
        for name, other in (("encoder", "decoder"), ("decoder", "encoder")):
            taken, given = shapes[other][0], shapes[name][2]
            if listed(given) != [taken, taken]:
                raise ValueError(
                    f"{name} must end in a mean and a log-variance, each of the "
                    f"shape {taken} that the {other} takes, but its outputs have "
                    f"shape {given}."
                )
        self.encoder, self.decoder = encoder, decoder
        self.prior = checked_prior(prior)
        (_, self.latent_dim), (_, self._dim_of_u) = (
            shapes[name][0] for name in ("encoder", "decoder")
        )
        conditions = [shapes[name][1] for name in shapes]
        self.condition_shape = one_condition(*conditions, self.prior.condition_shape)
        self.prior.join(self._dim_of_u, encoder, DiagonalGaussian())

    @property
    def noise_dim(self):
        return self._dim_of_u + self.prior.noise_dim

    def log_prob(self, z, noise=None, condition=None):
        """Estimate log p(z) from one draw of u; its mean is a lower bound.

        So the KL that a `VAE` reports is an upper bound of that to this prior.
        """
        if noise is None or noise.shape[-1] != self.noise_dim:
            raise ValueError(
                f"noise has shape {getattr(noise, 'shape', None)}, but must have (..., "
                f"{self.noise_dim}): it stands for u."
            )
        own, further = split_noise(noise, self._dim_of_u)
        mean, log_var = on_rows(self.encoder, z, condition)
        u = reparameterize(mean, log_var, own)
        log_likelihood = gaussian_log_prob(z, *on_rows(self.decoder, u, condition))
        log_ratio = self.prior.log_prob(u, further, condition)
        log_ratio -= gaussian_log_prob(u, mean, log_var)
        return log_likelihood + log_ratio

    def sample(self, num_samples, seed=None, condition=None):
        """Draw u first, then z given u."""
        seed = generator(seed)  # other numbers for z than for u
        u = self.prior.sample(num_samples, seed, condition)
        mean, log_var = on_rows(self.decoder, u, condition)
        return reparameterize(mean, log_var, normal(ops.shape(mean), seed))


@keras.saving.register_keras_serializable(package="utils.vae")
class ConditionalPrior(OfParts, Prior):
    """Gaussian p(z|condition), whose mean and variance a network learns.

    Parameters
    ----------
    network : keras.Model
        From the condition to the pair (mean, log_var) of p(z|condition), such as
        ``dense_encoder((10,), latent_dim)``.

    Raises
    ------
    ValueError
        If it is no network, or does not end in two vectors of one length.

    Notes
    -----
    Source: Sohn, Lee and Yan (2015), section 4.1.
    """

    PARTS = ("network",)

    def __init__(self, network, **kwargs):
        super().__init__(**kwargs)
        taken, _, given = checked_shapes("network", network)
        heads = listed(given)
        if len(heads) != 2 or heads[0] != heads[1] or not is_batch(heads[0], axes=1):
            raise ValueError(
                "network must end in a mean and a log-variance of z, each of shape "
                f"(batch, latent_dim), but the shape of its output is {given}."
            )
        self.network, self.condition_shape = network, taken[1:]
        self.latent_dim = heads[0][-1]

    def log_prob(self, z, noise=None, condition=None):
        return gaussian_log_prob(z, *self.network(condition))

    def sample(self, num_samples, seed=None, condition=None):
        mean, log_var = self.network(condition)
        return reparameterize(mean, log_var, normal(ops.shape(mean), seed))


def split_noise(noise, dim):
    """Return the first `dim` numbers of noise, and the rest, None if there is none."""
    further = noise[..., dim:]
    return noise[..., :dim], further if further.shape[-1] else None


def checked_prior(prior):
    """Return a prior, N(0, I) for None, or raise a ValueError."""
    prior = StandardNormal() if prior is None else prior
    if not isinstance(prior, Prior):
        raise ValueError(
            f"prior is {prior!r}, but must be an instance of a subclass of Prior, such "
            "as MixturePrior(10), or None."
        )
    return prior
