"""Approximate posteriors q(z|x): what the output of an encoder means.

Each is a layer with the interface of `Posterior`, so that a model can be trained,
scored and looked at without knowing which one it has.
"""

import keras
import numpy as np
from keras import layers, ops

from ..arguments import integer, integers
from .gaussian import gaussian_log_prob, kl_terms, reparameterize
from .networks import on_rows


class Posterior(layers.Layer):
    """Interface of an approximate posterior.

    A subclass says in `sizes` which numbers it asks of the encoder, and in `draw` how
    z is made of them and of noise. The rest is optional, and whoever needs it refuses
    a posterior that leaves it out. Variables of its own (`add_weight`, other layers)
    are trained and saved with the model, if the class is registered and has its
    settings in ``get_config``.

    The `parameters` of all methods are a list of tensors, shape (batch, units) each, in
    the order of `sizes`.
    """

    def __init__(self, **kwargs):
        # In full precision, like all that log-weights are made of.
        super().__init__(**{"dtype": keras.config.floatx(), **kwargs})
        self.built = True

    def sizes(self, latent_dim):
        """Units of each output of the encoder, by its name.

        Parameters
        ----------
        latent_dim : int

        Returns
        -------
        dict from str to int
        """
        return {"mean": latent_dim, "log_var": latent_dim}

    def draw(self, parameters, noise):
        """Draw z, by reparameterization.

        Parameters
        ----------
        parameters : list of tensor
        noise : tensor, shape (..., batch, latent_dim)
            From N(0, I); the axes in front count draws.

        Returns
        -------
        z : tensor, shape of `noise`
        log_prob : tensor, shape (..., batch)
            Log q(z|x) in nats.
        """
        raise NotImplementedError

    def log_prob(self, z, parameters):
        """Log q(z|x) of any z: for a `VampPrior`, whose components are posteriors.

        Parameters
        ----------
        z : tensor, shape (..., latent_dim)
        parameters : list of tensor, shapes that broadcast to (..., units)

        Returns
        -------
        tensor, shape (...)
            In nats.
        """
        raise NotImplementedError(f"{type(self).__name__} has no log_prob.")

    def mean(self, parameters):
        """Mean of q(z|x), shape (batch, latent_dim), or None if it isn't known."""
        return None

    def kl_terms(self, parameters, prior):
        """KL(q(z|x) || p(z)) in closed form, as terms that add up to it.

        Parameters
        ----------
        parameters : list of tensor
        prior : Prior

        Returns
        -------
        tensor, shape (batch, terms), or None
            In nats; one term for each latent variable, which `free_bits` can spare.
            None if no closed form is known: then it is estimated from the draws.
        """
        return None


@keras.saving.register_keras_serializable(package="utils.vae")
class DiagonalGaussian(Posterior):
    """Gaussian with independent coordinates, the usual one.

    Implements eqs. (4.7) and (4.10). The encoder gives the mean and the logarithm of
    the variance. A subclass with another `draw` has no KL in closed form, unless it
    gives one; `log_prob` and `mean` are to be its own as well.

    Notes
    -----
    Source: Kingma and Welling (2014), section 2.4 and appendix B.
    """

    def draw(self, parameters, noise):
        mean, log_var = parameters
        return reparameterize(mean, log_var, noise), _stretched(noise, log_var)

    def log_prob(self, z, parameters):
        return gaussian_log_prob(z, *parameters)

    def mean(self, parameters):
        return parameters[0]

    def kl_terms(self, parameters, prior):
        known = prior.is_standard and type(self).draw is DiagonalGaussian.draw
        return kl_terms(*parameters) if known else None


@keras.saving.register_keras_serializable(package="utils.vae")
class FullGaussian(Posterior):
    """Gaussian with a full covariance L Lᵀ, L being lower triangular.

    Beside the mean and the logarithm of the squared diagonal of L, which is the
    variance of each latent variable given those before it, the encoder gives what L
    holds below its diagonal, row by row.

    Raises
    ------
    ValueError
        By `sizes`: if there is only one latent variable.

    Notes
    -----
    Source: Kingma and Welling (2019), section 2.5.1.
    """

    def sizes(self, latent_dim):
        latent_dim = integer("latent_dim", latent_dim, least=2)
        below = latent_dim * (latent_dim - 1) // 2
        return {"mean": latent_dim, "log_var": latent_dim, "below": below}

    def _root(self, log_var, below):
        """L, from the numbers in it: each has its place, all other places a zero."""
        dim, count = log_var.shape[-1], below.shape[-1]
        place = np.full((dim, dim), count + dim)
        place[np.tril_indices(dim, -1)] = np.arange(count)
        place[np.diag_indices(dim)] = count + np.arange(dim)
        zero = ops.zeros_like(log_var[..., :1])
        numbers = ops.concatenate([below, ops.exp(0.5 * log_var), zero], axis=-1)
        return ops.take(numbers, place, axis=-1)

    def draw(self, parameters, noise):
        mean, log_var, below = parameters
        z = mean + _product(self._root(log_var, below), noise)
        return z, _stretched(noise, log_var)

    def log_prob(self, z, parameters):
        mean, log_var, below = parameters
        root = self._root(log_var, below)
        identity = ops.broadcast_to(ops.eye(root.shape[-1]), ops.shape(root))
        inverse = ops.solve_triangular(root, identity, lower=True)
        return _stretched(_product(inverse, z - mean), log_var)

    def mean(self, parameters):
        return parameters[0]

    def kl_terms(self, parameters, prior):
        """As of `Posterior`; each term is that of a variable, given those before it."""
        if not prior.is_standard or type(self).draw is not FullGaussian.draw:
            return None
        mean, log_var, below = parameters
        squares = ops.square(self._root(log_var, below))
        variances = ops.sum(squares, axis=-1)
        return 0.5 * (variances + ops.square(mean) - 1 - log_var)


def _stretched(noise, log_var):
    """Log density of noise from N(0, I), over the volume that it is stretched to."""
    return gaussian_log_prob(noise, 0.0, 0.0) - 0.5 * ops.sum(log_var, axis=-1)


def _product(matrix, vector):
    return ops.squeeze(matrix @ ops.expand_dims(vector, -1), -1)


@keras.saving.register_keras_serializable(package="utils.vae")
class FlowPosterior(Posterior):
    """Gaussian, bent by a flow of affine couplings.

    Each coupling keeps one half of the latent variables, and moves and stretches the
    other by amounts that a small network makes of the kept half and of the context,
    which is a further output of the encoder. To begin with it does nothing, so that
    training starts at a `DiagonalGaussian`. The KL is estimated from the draws.

    Parameters
    ----------
    latent_dim : int
        Number of latent variables, two at least.
    num_couplings : int
    hidden_units : sequence of int
        Of each network.
    context_dim : int
        Length of the context.

    Raises
    ------
    ValueError
        If `latent_dim` is no integer of 2 or more, or another number is not positive.

    Notes
    -----
    Source: Rezende and Mohamed (2015); the couplings are those of Dinh, Sohl-Dickstein
    and Bengio (2017), section 3.2.
    """

    def __init__(
        self, latent_dim, num_couplings=4, hidden_units=(64,), context_dim=16, **kwargs
    ):
        super().__init__(**kwargs)
        self.latent_dim = integer("latent_dim", latent_dim, least=2)
        self.num_couplings = integer("num_couplings", num_couplings)
        self.hidden_units = integers("hidden_units", hidden_units)
        self.context_dim = integer("context_dim", context_dim)
        self.networks = [self._network(i) for i in range(self.num_couplings)]

    def sizes(self, latent_dim):
        if latent_dim != self.latent_dim:
            raise ValueError(
                f"posterior is a flow of {self.latent_dim} latent variables, but the "
                f"networks have {latent_dim}: use one latent_dim for all."
            )
        return {**super().sizes(latent_dim), "context": self.context_dim}

    def _halves(self, i):
        """Lengths of what coupling `i` keeps and of what it moves."""
        first = self.latent_dim // 2
        halves = first, self.latent_dim - first
        return halves if i % 2 == 0 else halves[::-1]

    def _network(self, i):
        kept, moved = self._halves(i)
        full = {"dtype": self.dtype_policy}
        hidden = [layers.Dense(n, "silu", **full) for n in self.hidden_units]
        # Zero: no shift and no stretch.
        head = layers.Dense(2 * moved, kernel_initializer="zeros", **full)
        inputs = keras.Input((kept + self.context_dim,))
        return keras.Sequential([inputs, *hidden, head])

    def _couple(self, i, z, context, inverse=False):
        """Return where coupling `i` takes z, and the log determinant of its slope."""
        kept, _ = self._halves(i)
        # Even couplings keep the first half, odd ones the last.
        if i % 2 == 0:
            still, moving = z[..., :kept], z[..., kept:]
        else:
            moving, still = z[..., :-kept], z[..., -kept:]
        context = ops.broadcast_to(context, (*ops.shape(z)[:-1], self.context_dim))
        seen = ops.concatenate([still, context], axis=-1)
        outputs = on_rows(self.networks[i], seen)
        shift, log_scale = ops.split(outputs, 2, axis=-1)
        log_scale = ops.tanh(log_scale)  # no coupling stretches by more than e
        if inverse:
            moved = (moving - shift) * ops.exp(-log_scale)
        else:
            moved = moving * ops.exp(log_scale) + shift
        halves = [still, moved] if i % 2 == 0 else [moved, still]
        return ops.concatenate(halves, axis=-1), ops.sum(log_scale, axis=-1)

    def draw(self, parameters, noise):
        mean, log_var, context = parameters
        z, log_prob = reparameterize(mean, log_var, noise), _stretched(noise, log_var)
        for i in range(self.num_couplings):
            z, log_det = self._couple(i, z, context)
            log_prob = log_prob - log_det
        return z, log_prob

    def log_prob(self, z, parameters):
        *gaussian, context = parameters
        z = z + ops.zeros_like(gaussian[0])  # the shape that they have together
        log_prob = 0.0
        for i in reversed(range(self.num_couplings)):
            z, log_det = self._couple(i, z, context, inverse=True)
            log_prob = log_prob - log_det
        return log_prob + gaussian_log_prob(z, *gaussian)

    def get_config(self):
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "num_couplings": self.num_couplings,
            "hidden_units": self.hidden_units,
            "context_dim": self.context_dim,
        }
