"""Principal components of images, exact, in memory that does not grow with them.

`BlockPCA` adds up the outer products of blocks of images, then finds the eigenvectors
of their sum. Bytes stay bytes until their block is reached; they may lie in a file.
"""

import copy
import dataclasses

from utils.arguments import boolean, integer, plain_array, random_state, real_array
from utils.estimators import all_or_nothing

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

# Variance of a byte spread evenly over its width: that of U(0, 1), on a scale of 256.
DEQUANTIZATION_VARIANCE = 1 / 12 / 256**2


@dataclasses.dataclass(eq=False, repr=False)
class BlockPCA(TransformerMixin, BaseEstimator):
    """Principal component analysis of flattened images, block by block.

    Parameters
    ----------
    n_components : int, optional
        Components to keep, the largest first; all if left out.
    whiten : bool
        Whether `transform` divides each component by its standard deviation.
    dequantize : bool
        What becomes of bytes. False: byte / 255. True: (byte + u) / 256, u from
        U(0, 1): drawn in `transform`; in `fit` in expectation, which adds one
        variance to every direction and turns none. Floats are taken as they are.
    block_size : int
        Images at a time.
    random_state : int, RandomState, Generator, SeedSequence or None
        For the noise that `transform` adds to bytes. With an int or a SeedSequence,
        anew and the same at every call.

    Attributes
    ----------
    mean_ : ndarray, shape (D,)
        D being the number of pixels times channels.
    components_ : ndarray, shape (n_components_, D)
        Orthonormal rows. The largest entry of each is positive.
    explained_variance_ : ndarray, shape (n_components_,)
        Of each component, over N - 1; descending.
    dequantize_ : bool
        What `fit` did with bytes, and `transform` therefore does.
    n_components_, n_features_in_, n_samples_seen_ : int
    image_shape_ : tuple of int
        Of one image, which `inverse_transform` restores.

    Raises
    ------
    ValueError
        By `fit`: if the images are neither bytes nor finite floats, or fewer than
        two; if `n_components` is not from 1 to D, `block_size` is not a positive
        integer, or another setting not of its kind; if a component without variance
        is to be whitened. A `fit` that fails leaves everything as it was. By
        `transform`: if the images are neither bytes nor finite floats. By `transform`
        and `inverse_transform`: if shapes are not those of `fit`.
    NotFittedError
        By all that needs a `fit`, before one.

    Examples
    --------
    >>> images = np.array([[[0, 0]], [[255, 255]], [[0, 255]], [[255, 0]]], "uint8")
    >>> pca = BlockPCA(whiten=True).fit(images)
    >>> pca.transform(images).std(axis=0, ddof=1)
    array([1., 1.], dtype=float32)
    """

    n_components: int | None = None
    _: dataclasses.KW_ONLY
    whiten: bool = False
    dequantize: bool = False
    block_size: int = 500
    random_state: int | np.random.RandomState | None = 0

    @all_or_nothing
    def fit(self, images, y=None):
        """Find the components of images.

        Parameters
        ----------
        images : array, shape (N, ...)
            Bytes or floats; a ``numpy.memmap`` is read once, in order.
        y : None
            Ignored.

        Returns
        -------
        self
        """
        images = _checked("images", images, least=2)
        count, dims = len(images), int(np.prod(images.shape[1:]))
        kept = _checked_components(self.n_components, dims)
        block_size = integer("block_size", self.block_size)
        boolean("whiten", self.whiten)
        boolean("dequantize", self.dequantize)
        random_state("random_state", self.random_state)
        total, products = np.zeros(dims), np.zeros((dims, dims))
        with np.errstate(over="ignore", invalid="ignore"):
            # Near the mean, squares are as small as the variances: nothing cancels.
            shift = _flat(images[:block_size]).mean(axis=0)
            if images.dtype == np.uint8:
                shift = np.round(shift)  # all sums are of integers then: exact
            for rows in gen_batches(count, block_size):
                block = _flat(images[rows]) - shift
                total += block.sum(axis=0)
                products += block.T @ block
        if not np.isfinite(products.trace()):
            raise ValueError(
                "images must be finite, and so must their squares, but one is not."
            )
        scale = _scale(images, self.dequantize)
        products -= np.outer(total, total / count)
        products *= scale**2 / (count - 1)
        mean = (total / count + shift) * scale
        if scale == 1 / 256:
            mean += 0.5 / 256
            products.flat[:: dims + 1] += DEQUANTIZATION_VARIANCE
        variances, vectors = linalg.eigh(
            products, driver="evd", overwrite_a=True, check_finite=False
        )
        vectors = vectors[:, : -kept - 1 : -1]
        peaks = np.abs(vectors).argmax(axis=0)
        signs = np.sign(vectors[peaks, np.arange(kept)])
        self.mean_, self.components_ = mean, np.ascontiguousarray((vectors * signs).T)
        self.explained_variance_ = np.maximum(variances[: -kept - 1 : -1], 0)
        self.dequantize_, self.image_shape_ = bool(self.dequantize), images.shape[1:]
        self.n_components_, self.n_features_in_ = kept, dims
        self.n_samples_seen_ = count
        self._deviations()
        return self

    @property
    def log_det_(self):
        """Logarithm of the factor by which `transform` changes volumes.

        A density of components, times the exponential of this, is a density of
        images: 0 for a rotation, minus the sum of the logarithms of the standard
        deviations where it whitens. With fewer components than dimensions, the same
        for volumes within their subspace; what lies outside is lost, and there is no
        density of images.
        """
        check_is_fitted(self)
        return -float(np.log(self._deviations()).sum())

    def transform(self, images):
        """Express images by their components.

        Parameters
        ----------
        images : array, shape (N, *image_shape_)

        Returns
        -------
        ndarray, shape (N, n_components_)
            float64 if the images are, else float32.
        """
        check_is_fitted(self)
        images = _checked("images", images, least=1)
        kind = np.result_type(images, np.float32)
        components = np.empty((len(images), self.n_components_), kind)
        projection, start = self.components_.T / self._deviations(), 0
        for block in self.blocks(images):
            stop = start + len(block)
            components[start:stop] = (block - self.mean_) @ projection
            start = stop
        return components

    def inverse_transform(self, components):
        """Compose images of their components.

        Parameters
        ----------
        components : array, shape (N, n_components_)

        Returns
        -------
        ndarray of floats, shape (N, *image_shape_)
            Where components were left out, the nearest images that those kept
            can compose. Not clipped to [0, 1].
        """
        check_is_fitted(self)
        given = plain_array("components", components)
        components = real_array("components", given, ("N", self.n_components_))
        kind = np.result_type(given, np.float32)
        images = np.empty((len(components), self.n_features_in_), kind)
        back = self.components_ * self._deviations()[:, None]
        block_size = integer("block_size", self.block_size)
        for i in range(0, len(images), block_size):
            rows = slice(i, i + block_size)
            images[rows] = components[rows] @ back + self.mean_
        return images.reshape(-1, *self.image_shape_)

    def blocks(self, images, noise=True, name="images"):
        """Go through images as `transform` sees them, a block at a time.

        Parameters
        ----------
        images : array, shape (N, ...)
        noise : bool
            Whether bytes that are dequantized are spread out at random; else each
            is at the middle of its width.
        name : str
            Of the images, for errors.

        Yields
        ------
        ndarray of float64, shape (at most block_size, D)
        """
        check_is_fitted(self)
        images = _checked(name, images, least=1)
        if images.shape[1:] != self.image_shape_:
            raise ValueError(
                f"{name} has shape {images.shape}, but must be (N, "
                f"{', '.join(map(str, self.image_shape_))}), like those of fit."
            )
        scale = _scale(images, self.dequantize_)
        rng = random_state("random_state", self.random_state)
        block_size = integer("block_size", self.block_size)
        for rows in gen_batches(len(images), block_size):
            block = _flat(images[rows])
            if images.dtype != np.uint8 and not np.isfinite(block).all():
                raise ValueError(f"{name} must be finite, but holds NaN or infinity.")
            if scale == 1 / 256:
                block += rng.random_sample(block.shape) if noise else 0.5
            block *= scale
            yield block

    def keep(self, n_components=None, *, whiten=None):
        """Make a fitted copy with fewer components, or whitened, at no cost.

        Parameters
        ----------
        n_components : int, optional
            At most `n_components_`; all of them if left out.
        whiten : bool, optional
            As it is, if left out.

        Returns
        -------
        BlockPCA
            Shares its arrays with this one.

        Raises
        ------
        ValueError
            If there are fewer components, or one without variance to be whitened.
        """
        check_is_fitted(self)
        kept = _checked_components(n_components, self.n_components_)
        other = copy.copy(self)
        other.n_components = other.n_components_ = kept
        other.whiten = self.whiten if whiten is None else boolean("whiten", whiten)
        other.components_ = self.components_[:kept]
        other.explained_variance_ = self.explained_variance_[:kept]
        other._deviations()
        return other

    @property
    def rounding_(self):
        """Variance that rounding leaves where there is none, at most.

        Of sums over images, whose rounding grows like a random walk, and of an
        eigen-decomposition in as many dimensions as there are features.
        """
        steps = self.n_features_in_ + self.n_samples_seen_**0.5
        return steps * np.finfo(float).eps * self.explained_variance_[0]

    def _deviations(self):
        if not self.whiten:
            return np.ones(self.n_components_)
        if self.explained_variance_[-1] <= self.rounding_:
            raise ValueError(
                f"whiten=True divides by the deviation of {self.n_components_} "
                "components, but some have none: keep fewer (n_components), or give "
                "more images."
            )
        return np.sqrt(self.explained_variance_)


def _scale(images, dequantize):
    if images.dtype != np.uint8:
        return 1.0
    return 1 / 256 if dequantize else 1 / 255


def _checked_components(count, most):
    return most if count is None else integer("n_components", count, most=most)


def _flat(block):
    return np.array(block, dtype=float).reshape(len(block), -1)


def _checked(name, images, least):
    images = plain_array(name, images)
    if images.ndim < 2 or len(images) < least or not images.size:
        raise ValueError(
            f"{name} has shape {images.shape}, but must be (N, ...), N {least} or more."
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(f"{name} is {images.dtype}, but must be bytes or floats.")
    return images
