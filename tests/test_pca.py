"""Principal components in blocks: against NumPy and scikit-learn, and in memory."""

import tracemalloc

from utils.baselines import BlockPCA

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA


@pytest.fixture(scope="module")
def images():
    """200 byte images of 4x5 pixels in 3 colours, with structure to be found."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(200, 6)) @ rng.normal(0, 18, (6, 60))
    noisy = 120 + factors + rng.normal(0, 6, factors.shape)
    return noisy.clip(0, 255).astype("uint8").reshape(200, 4, 5, 3)


def flat(images):
    return images.reshape(len(images), -1).astype(float)


@pytest.mark.parametrize("block_size", [1, 70, 500])
@pytest.mark.parametrize("kept", [None, 7])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_it_is_scikit_learns(images, block_size, kept, kind):
    x = flat(images) / 255
    data = images if kind == "uint8" else (images / 255).astype(kind)
    pca = BlockPCA(kept, block_size=block_size).fit(data)
    other = PCA(kept, svd_solver="full").fit(x)
    tolerance = 1e-5 if kind == "float32" else 1e-11
    np.testing.assert_allclose(pca.mean_, other.mean_, rtol=tolerance)
    np.testing.assert_allclose(
        pca.explained_variance_, other.explained_variance_, rtol=20 * tolerance
    )
    same = np.abs((pca.components_ * other.components_).sum(axis=1))
    np.testing.assert_allclose(same, 1, atol=tolerance * 1e3)
    assert pca.components_.shape == (kept or 60, 60)
    assert (pca.n_components_, pca.n_features_in_) == (kept or 60, 60)
    signs = np.sign((pca.components_ * other.components_).sum(axis=1))
    np.testing.assert_allclose(
        pca.transform(data), other.transform(x) * signs, atol=1e-4 if kept else 1e-3
    )


def test_sums_over_bytes_are_exact_far_from_zero():
    """A spread of one grey level about 254: most of the square is the mean."""
    rng = np.random.default_rng(0)
    images = rng.integers(254, 256, (3000, 4), dtype="uint8")
    pca = BlockPCA(block_size=7).fit(images)
    covariance = np.cov(images.T.astype(float) - 254) / 255**2
    back = pca.components_.T * pca.explained_variance_ @ pca.components_
    np.testing.assert_allclose(back, covariance, rtol=1e-12, atol=1e-17)


def test_floats_far_from_zero_do_not_cancel():
    x = 1e6 + np.random.default_rng(0).normal(size=(500, 5))
    pca = BlockPCA(block_size=50).fit(x)
    expected = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    np.testing.assert_allclose(pca.explained_variance_, expected, rtol=1e-8)


@pytest.mark.parametrize("unit", [1e-100, 1e-6, 1e6, 1e100])
@pytest.mark.parametrize("origin", [0.0, 1e6])
@pytest.mark.parametrize("kept", [None, 3])
def test_no_unit_or_origin_changes_more_than_the_unit(unit, origin, kept):
    x = np.random.default_rng(0).normal(size=(60, 5)) * [5, 4, 3, 2, 1]
    pca = BlockPCA(kept, whiten=True).fit(x)
    other = BlockPCA(kept, whiten=True).fit((x + origin) * unit)
    np.testing.assert_allclose(
        other.explained_variance_, pca.explained_variance_ * unit**2, rtol=1e-8
    )
    np.testing.assert_allclose(
        other.transform((x + origin) * unit), pca.transform(x), atol=1e-7
    )


def test_dequantization_is_taken_in_expectation():
    """Of images so even that the noise counts, 200 draws of it for each."""
    images = np.random.default_rng(0).integers(100, 103, (300, 4), dtype="uint8")
    pca = BlockPCA(dequantize=True).fit(images)
    many = images.repeat(200, axis=0)
    drawn = (many + np.random.default_rng(1).random(many.shape)) / 256
    np.testing.assert_allclose(pca.mean_, drawn.mean(axis=0), atol=5e-5)
    found = (drawn - drawn.mean(axis=0)).T @ (drawn - drawn.mean(axis=0))
    expected = pca.components_.T * pca.explained_variance_ @ pca.components_
    np.testing.assert_allclose(found / 200 / 299, expected, atol=2e-7)
    assert 1 / 12 / 256**2 > 5 * 2e-7, "what the noise adds"


def test_transform_draws_the_noise_of_dequantization(images):
    pca = BlockPCA(dequantize=True, block_size=30).fit(images)
    first = pca.transform(images)
    np.testing.assert_array_equal(first, pca.transform(images))
    u = pca.inverse_transform(first).reshape(200, -1) * 256.0 - flat(images)
    assert -1e-3 < u.min() < 0.01 < 0.99 < u.max() < 1 + 1e-3
    assert u.mean() == pytest.approx(0.5, abs=0.02)
    other = pca.set_params(random_state=1).transform(images)
    assert not np.allclose(first, other, atol=1e-4)
    floats = (images / 256).astype("float32")
    expected = (flat(floats) - pca.mean_) @ pca.components_.T
    np.testing.assert_allclose(pca.transform(floats), expected, atol=1e-6)


@pytest.mark.parametrize("whiten", [False, True])
def test_there_and_back(images, whiten):
    x = images / 255
    pca = BlockPCA(whiten=whiten, block_size=64).fit(x)
    components = pca.transform(x)
    assert components.dtype == np.float64
    spread = components.std(axis=0, ddof=1)
    expected = 1 if whiten else np.sqrt(pca.explained_variance_)
    np.testing.assert_allclose(spread, expected, rtol=1e-9)
    back = pca.inverse_transform(components)
    assert back.shape == images.shape
    np.testing.assert_allclose(back, x, atol=1e-10)
    assert pca.transform(images).dtype == np.float32


def test_fewer_components_give_the_nearest_images(images):
    x = images / 255
    pca, other = BlockPCA(5).fit(x), PCA(5, svd_solver="full").fit(flat(x))
    np.testing.assert_allclose(
        pca.inverse_transform(pca.transform(x)).reshape(200, -1),
        other.inverse_transform(other.transform(flat(x))),
        atol=1e-10,
    )


def test_the_log_determinant_is_that_of_the_transform(images):
    for whiten in (False, True):
        pca = BlockPCA(whiten=whiten).fit(images)
        origin = pca.transform(np.zeros((1, 4, 5, 3)))
        matrix = pca.transform(np.eye(60).reshape(60, 4, 5, 3)) - origin
        _, expected = np.linalg.slogdet(matrix)
        assert pca.log_det_ == pytest.approx(expected, abs=1e-8)
        fewer = pca.keep(9)
        part = fewer.transform(np.eye(60).reshape(60, 4, 5, 3)) - origin[:, :9]
        _, squared = np.linalg.slogdet(part.T @ part)
        assert fewer.log_det_ == pytest.approx(squared / 2, abs=1e-8)
    assert abs(pca.log_det_) > 10


def test_a_copy_keeps_fewer_components_or_whitens(images):
    pca = BlockPCA().fit(images)
    for kept, whiten in [(7, True), (7, None), (None, True)]:
        copy = pca.keep(kept, whiten=whiten)
        fresh = BlockPCA(kept, whiten=bool(whiten)).fit(images)
        np.testing.assert_allclose(
            copy.transform(images), fresh.transform(images), atol=1e-4
        )
        assert copy.n_components_ == fresh.n_components_
        assert copy.components_.base is not None, "shared, not copied"
    assert pca.n_components_ == 60
    assert pca.whiten is False
    with pytest.raises(ValueError, match="n_components is 61"):
        pca.keep(61)


def test_the_largest_entry_of_each_component_is_positive(images):
    components = BlockPCA().fit(images).components_
    peaks = np.abs(components).argmax(axis=1)
    assert np.all(components[np.arange(60), peaks] > 0)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """Of a file that is read block by block; as floats it would be 16 MB."""
    peaks = []
    for count in (1_000, 40_000):
        path = tmp_path / f"{count}.npy"
        file = np.lib.format.open_memmap(path, "w+", "uint8", (count, 10, 5))
        file[:] = np.random.default_rng(0).integers(0, 256, file.shape, dtype="uint8")
        file.flush()
        mapped = np.load(path, mmap_mode="r")
        tracemalloc.start()
        pca = BlockPCA(block_size=250, dequantize=True).fit(mapped)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert pca.n_samples_seen_ == count
    assert peaks[1] < 1.1 * peaks[0] + 20_000
    assert peaks[1] < 1e6


def test_it_is_a_scikit_learn_transformer(images):
    pca = BlockPCA(5, whiten=True, block_size=50)
    copy = clone(pca)
    assert copy.get_params() == pca.get_params()
    np.testing.assert_array_equal(
        pca.fit_transform(images), copy.fit(images).transform(images)
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((1, 4), "uint8"), "N 2 or more"),
        (np.zeros(4, "uint8"), r"must be \(N, ...\)"),
        (np.zeros((4, 0)), "shape"),
        (np.zeros((4, 2), "int64"), "int64, but must be bytes or floats"),
        (np.array([[0.0, np.nan], [1.0, 2.0]]), "must be finite"),
        (np.array([[0.0, np.inf], [1.0, 2.0]]), "must be finite"),
        (np.array([[0.0, 1e200], [1.0, 2.0]]), "so must their squares"),
        (np.ma.masked_equal([[0.0, 1.0], [1.0, 2.0]], 2.0), "masked"),
        (np.array([[0j, 1.0], [1.0, 2.0]]), "complex128, but must be"),
        ([["a", "b"], ["c", "d"]], "must be bytes or floats"),
        ([[0.0], [1.0, 2.0]], "no array"),
        (None, "shape"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_images_are_refused(data, message):
    with pytest.raises(ValueError, match=f"images .*{message}"):
        BlockPCA().fit(data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_components": 0}, "n_components is 0"),
        ({"n_components": 61}, "from 1 to 60"),
        ({"n_components": 0.9}, "n_components is 0.9"),
        ({"block_size": 0}, "block_size is 0"),
        ({"block_size": 2.5}, "block_size is 2.5"),
        ({"n_components": True}, "n_components is True"),
        ({"whiten": "no"}, "whiten is 'no'"),
        ({"dequantize": None}, "dequantize is None"),
        ({"random_state": "seed"}, "random_state is 'seed'"),
    ],
)
def test_bad_settings_are_refused(images, settings, message):
    with pytest.raises(ValueError, match=message):
        BlockPCA(**settings).fit(images)


@pytest.mark.parametrize("seed", range(4))
def test_what_adding_up_leaves_of_no_variance_is_none(seed):
    """One image at a time: rounding grows with the root of their number."""
    x = np.random.default_rng(seed).normal(size=(10_000, 3))
    x[:, 2] = x[:, 0] + x[:, 1]
    with pytest.raises(ValueError, match="whiten=True divides"):
        BlockPCA(whiten=True, block_size=1).fit(x)


def test_integers_of_numpy_and_every_kind_of_seed(images):
    seeds = [np.int64(3), np.random.SeedSequence(3), np.random.default_rng(3)]
    for seed in [*seeds, np.random.RandomState(3)]:
        pca = BlockPCA(
            np.int32(5), block_size=np.int64(7), dequantize=True, random_state=seed
        ).fit(images)
        first, second = pca.transform(images), pca.transform(images)
        again = isinstance(seed, (np.integer, np.random.SeedSequence))
        assert np.array_equal(first, second) == again
        assert pca.keep(np.int8(3)).n_components_ == 3


def test_settings_of_fit_count_until_the_next_one(images):
    pca = BlockPCA().fit(images)
    expected = pca.transform(images)
    pca.set_params(dequantize=True)
    np.testing.assert_array_equal(pca.transform(images), expected)
    few = BlockPCA().fit(images[:20])
    with pytest.raises(ValueError, match="whiten=True divides"):
        few.set_params(whiten=True).transform(images)
    with pytest.raises(ValueError, match="block_size is 0"):
        pca.set_params(block_size=0).transform(images)


def test_components_without_variance_are_not_whitened(images):
    few = images[:20]
    with pytest.raises(ValueError, match="whiten=True divides"):
        BlockPCA(whiten=True).fit(few)
    with pytest.raises(ValueError, match="whiten=True divides"):
        BlockPCA().fit(few).keep(whiten=True)
    with pytest.raises(ValueError, match="whiten=True divides"):
        BlockPCA(whiten=True).fit(np.full((9, 4), 7, "uint8"))
    assert np.isfinite(BlockPCA(19, whiten=True).fit(few).transform(few)).all()
    assert np.isfinite(BlockPCA(whiten=True, dequantize=True).fit(few).log_det_)


def test_other_images_than_those_of_fit_are_refused(images):
    pca = BlockPCA(5).fit(images)
    with pytest.raises(ValueError, match=r"must be \(N, 4, 5, 3\)"):
        pca.transform(images.reshape(200, -1))
    floats = images / 255
    for wrong in (floats * np.nan, floats * 1j, np.ma.masked_less(floats, 0.5)):
        with pytest.raises(ValueError, match="images "):
            pca.transform(wrong)
    for components, message in [
        (np.zeros((2, 60)), r"must have \(N, 5\)"),
        (np.full((2, 5), np.nan), "holds nan"),
        (np.full((2, 5), 1j), "must be real numbers"),
        (np.ma.masked_equal(np.eye(5), 1), "masked"),
    ]:
        with pytest.raises(ValueError, match=f"components .*{message}"):
            pca.inverse_transform(components)
    assert pca.inverse_transform(np.zeros((0, 5))).shape == (0, 4, 5, 3)
