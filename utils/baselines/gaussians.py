"""Gaussians: what a model of images must beat before it is worth looking at.

Each is fitted in closed form from one eigen-decomposition, that of a `BlockPCA`, and
scores and draws flattened images block by block. Of images that are bytes, they are
densities of dequantized ones, (byte + u) / 256 with u from U(0, 1): fitted, and
scored, in expectation over u, without drawing it.
"""

import warnings

from utils import arguments
from utils.baselines.pca import DEQUANTIZATION_VARIANCE, BlockPCA
from utils.estimators import all_or_nothing

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

LOG_2_PI = np.log(2 * np.pi)
SHRINKAGES = tuple(np.geomspace(1e-5, 1e-1, 17))


class _Gaussian(DensityMixin, BaseEstimator):
    """A Gaussian with independent coordinates of variances `variances_`.

    A subclass says what the coordinates are, if not the principal components of `pca`,
    and gives their variances, for each candidate of what it leaves to be chosen. These
    methods are told what to work with, and `fit` keeps all of it or nothing.
    """

    @all_or_nothing
    def fit(self, images, y=None, *, validation=None):
        """Fit to images; choose among candidates, if there are any, on others.

        Parameters
        ----------
        images : array, shape (N, *image_shape)
            Training images, bytes or floats; if `pca` is fitted, only their shape is
            looked at.
        y : None
            Ignored.
        validation : array, shape (M, *image_shape), optional
            Held-out images, needed where there are several candidates.

        Returns
        -------
        self
        """
        pca = self._fitted_pca(images)
        values = self._candidates(pca.n_features_in_)
        candidates = [self._variances(pca, value) for value in values]
        best = 0
        vars(self).pop("validation_scores_", None)
        if len(values) > 1:
            self.validation_scores_ = self._scores(pca, candidates, validation)
            best = _best(values, self.validation_scores_)
        self.pca_, self.variances_, self.chosen_ = pca, candidates[best], values[best]
        if not self.variances_.min() > self._rounding():
            raise ValueError(
                "images do not vary in some direction, where a Gaussian has no "
                "density: give bytes, which are spread out, or more images."
            )
        return self

    def _scores(self, pca, candidates, validation):
        if validation is None:
            raise ValueError(
                f"validation is needed to choose among {len(candidates)} candidates: "
                "give held-out images, or a single candidate."
            )
        # All that a Gaussian with these coordinates needs to know of the images.
        blocks = self._squares(pca, "validation", validation)
        parts = [squares.sum(axis=0) for squares in blocks]
        squares = np.sum(parts, axis=0) / len(validation)
        return np.array([_score(squares, variances) for variances in candidates])

    def _rounding(self):
        """Return the variance up to which a direction has none."""
        return self.pca_.rounding_

    def score_samples(self, images):
        """Log density of each image, in nats.

        Parameters
        ----------
        images : array, shape (N, *image_shape)
            Bytes: in expectation over dequantization, a lower bound of the bytes'
            log-probability, as ``bits_per_dim(..., of="density")`` takes it. Floats:
            at the point given.

        Returns
        -------
        ndarray, shape (N,)
        """
        check_is_fitted(self)
        blocks = self._squares(self.pca_, "images", images)
        return np.concatenate([_score(squares, self.variances_) for squares in blocks])

    def score(self, images, y=None):
        """Mean of `score_samples`, in nats per image."""
        return float(self.score_samples(images).mean())

    def sample(self, n_samples=1, random_state=None):
        """Draw images.

        Parameters
        ----------
        n_samples : int
        random_state : int, RandomState, Generator, SeedSequence or None

        Returns
        -------
        ndarray of float32, shape (n_samples, *image_shape)
            Not clipped to [0, 1].

        Raises
        ------
        ValueError
            If `n_samples` is no positive integer, or `random_state` no seed.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        n_samples = arguments.integer("n_samples", n_samples)
        rng, pca = arguments.random_state("random_state", random_state), self.pca_
        images = np.empty((n_samples, pca.n_features_in_), "float32")
        block_size = arguments.integer("block_size", pca.block_size)
        for rows in gen_batches(n_samples, block_size):
            noise = rng.standard_normal((len(images[rows]), len(self.variances_)))
            images[rows] = pca.mean_ + self._compose(
                pca, noise * np.sqrt(self.variances_)
            )
        return images.reshape(n_samples, *pca.image_shape_)

    def _squares(self, pca, name, images):
        """Yield squares of the coordinates, in expectation over dequantization."""
        images = arguments.plain_array(name, images)
        spread = DEQUANTIZATION_VARIANCE * (images.dtype == np.uint8)
        for block in pca.blocks(images, noise=False, name=name):
            yield self._coordinates(pca, block - pca.mean_) ** 2 + spread

    def _coordinates(self, pca, centred):
        return centred @ pca.components_.T

    def _compose(self, pca, coordinates):
        return coordinates @ pca.components_

    def _candidates(self, dims):
        return [None]

    def _fitted_pca(self, images, least=None):
        pca = BlockPCA(least, dequantize=True) if self.pca is None else self.pca
        if not isinstance(pca, BlockPCA):
            raise ValueError(f"pca is {pca!r}, but must be a BlockPCA, or None.")
        if not hasattr(pca, "components_"):
            pca = clone(pca).fit(images)
        least = least or pca.n_features_in_
        if pca.whiten or not pca.dequantize_ or pca.n_components_ < least:
            raise ValueError(
                f"pca must have dequantize=True, whiten=False and at least {least:,} "
                f"components, but is {pca} with {pca.n_components_:,}."
            )
        shape = arguments.plain_array("images", images).shape
        if shape[1:] != pca.image_shape_:
            raise ValueError(
                f"images has shape {shape}, but pca is fitted to images of shape "
                f"{pca.image_shape_}."
            )
        return pca


def _several(name, values):
    """Return a number, or each of several, in a list."""
    values = np.atleast_1d(arguments.plain_array(name, values)).tolist()
    if not values:
        raise ValueError(f"{name} is empty, but must hold a candidate or more.")
    return values


def _best(values, scores):
    """Return the place of the best candidate; warn if others may be better."""
    best = int(scores.argmax())
    low, high = min(values), max(values)
    if values[best] in (low, high):
        warnings.warn(
            f"the best of the candidates, {values[best]:.3g}, is at an end of them, "
            f"from {low:.3g} to {high:.3g}: try others beyond.",
            stacklevel=3,
        )
    return best


def _score(squares, variances):
    """Log density from squared coordinates, summed over the last axis."""
    return -0.5 * (squares @ (1 / variances) + np.sum(np.log(variances) + LOG_2_PI))


class IndependentGaussian(_Gaussian):
    """A Gaussian for every pixel and channel on its own.

    Parameters
    ----------
    pca : BlockPCA, optional
        Fitted to the training images, with dequantize=True, whiten=False and all
        components, so that several baselines share one decomposition. If left out, or
        not fitted (as in a clone, such as scikit-learn's searches make), `fit` makes
        its own.

    Attributes
    ----------
    pca_ : BlockPCA
    variances_ : ndarray, shape (D,)
        Of each pixel and channel.

    Raises
    ------
    ValueError
        By `fit`: if `pca` is of another kind, or of images of another shape; or as
        `BlockPCA.fit`. A `fit` that fails leaves everything as it was.
    NotFittedError
        By all other methods, before `fit`.
    """

    def __init__(self, pca=None):
        self.pca = pca

    def _variances(self, pca, _):
        return pca.explained_variance_ @ pca.components_**2

    def _coordinates(self, pca, centred):
        return centred

    def _compose(self, pca, coordinates):
        return coordinates


class ShrunkGaussian(_Gaussian):
    """A Gaussian with the covariance of the data, shrunk towards the isotropic one.

    The eigenvalues lambda become (1 - s) lambda + s mean(lambda): the small ones, which
    too few images make too small, are raised.

    Parameters
    ----------
    shrinkage : float or sequence of float
        s, from 0 to 1; of several, the one with the highest score on validation
        images.
    pca : BlockPCA, optional
        As for `IndependentGaussian`.

    Attributes
    ----------
    pca_ : BlockPCA
    variances_ : ndarray, shape (D,)
        Of each component of `pca_`.
    chosen_ : float
        s.
    validation_scores_ : ndarray
        In nats per image, for each candidate, where there were several.

    Raises
    ------
    ValueError
        By `fit`: if `shrinkage` leaves [0, 1], `validation` is missing, or as for
        `IndependentGaussian`.

    Warns
    -----
    UserWarning
        By `fit`: if the best candidate is the smallest or the largest.

    Notes
    -----
    Source: Ledoit and Wolf (2004), "A well-conditioned estimator for
    large-dimensional covariance matrices", for the form; s is chosen otherwise.
    """

    def __init__(self, shrinkage=SHRINKAGES, pca=None):
        self.shrinkage = shrinkage
        self.pca = pca

    def _candidates(self, dims):
        values = _several("shrinkage", self.shrinkage)
        return [arguments.real("shrinkage", s, least=0, most=1) for s in values]

    def _variances(self, pca, shrinkage):
        variances = pca.explained_variance_
        return (1 - shrinkage) * variances + shrinkage * variances.mean()


class ProbabilisticPCA(_Gaussian):
    """Probabilistic PCA: a linear decoder, one variance of noise for all pixels.

    The linear model of which a VAE is the non-linear kind, with its likelihood
    maximized in closed form: the q largest variances stay as they are, all others
    become their mean.

    Parameters
    ----------
    n_components : int or sequence of int
        q, latent variables, from 0 to D - 1; of several, the one with the highest
        score on validation images.
    pca : BlockPCA, optional
        As for `IndependentGaussian`.

    Attributes
    ----------
    pca_, variances_, validation_scores_
        As for `ShrunkGaussian`.
    chosen_ : int
        q.

    Raises
    ------
    ValueError
        By `fit`: if `n_components` leaves its range, `validation` is missing, or as
        for `IndependentGaussian`.

    Warns
    -----
    UserWarning
        By `fit`: if the best candidate is the smallest or the largest.

    Notes
    -----
    Source: Tipping and Bishop (1999), eqs. 7 and 8; with the covariance over N - 1,
    as scikit-learn's ``PCA.score_samples`` has it.
    """

    def __init__(self, n_components, pca=None):
        self.n_components = n_components
        self.pca = pca

    def _candidates(self, dims):
        values = _several("n_components", self.n_components)
        bounds = {"least": 0, "most": dims - 1}
        return [arguments.integer("n_components", q, **bounds) for q in values]

    def _variances(self, pca, q):
        variances = pca.explained_variance_.copy()
        variances[q:] = variances[q:].mean()
        return variances


class ComponentGaussian(_Gaussian):
    """A Gaussian of the largest principal components, with a floor for its variances.

    A density of components, not of images: what the post on SVHN scored its network
    in. Its nats are not to be turned into bits per dimension.

    Parameters
    ----------
    n_components : int
    floor : float
        Least variance, in the square of the images' unit.
    pca : BlockPCA, optional
        As for `IndependentGaussian`, but with at least `n_components`.

    Attributes
    ----------
    pca_ : BlockPCA
        With these components only.
    variances_ : ndarray, shape (n_components,)
        Of each component.

    Raises
    ------
    ValueError
        By `fit`: if `n_components` or `floor` is not positive; as for
        `IndependentGaussian`.
    """

    def __init__(self, n_components=500, floor=0.01, pca=None):
        self.n_components = n_components
        self.floor = floor
        self.pca = pca

    def _fitted_pca(self, images):
        arguments.real("floor", self.floor, above=0)
        least = arguments.integer("n_components", self.n_components)
        return super()._fitted_pca(images, least).keep(least)

    def _variances(self, pca, _):
        return np.maximum(pca.explained_variance_, self.floor)

    def _rounding(self):
        return 0.0  # no variance is below the floor, whatever the unit
