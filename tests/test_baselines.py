"""Gaussian baselines: against SciPy's and scikit-learn's densities."""

import tracemalloc
import warnings

from utils import baselines
from utils.baselines import (
    BlockPCA,
    ComponentGaussian,
    IndependentGaussian,
    ProbabilisticPCA,
    ShrunkGaussian,
)

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

DIMS = 12


def draw(count, seed):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 25, (3, DIMS))
    x = 120 + rng.normal(size=(count, 3)) @ mixing + rng.normal(0, 4, (count, DIMS))
    return x.clip(0, 255).astype("uint8").reshape(count, 2, 2, 3)


@pytest.fixture(scope="module")
def images():
    return draw(60, 0)


@pytest.fixture(scope="module")
def held_out():
    return draw(40, 1)


@pytest.fixture(scope="module")
def pca(images):
    return BlockPCA(dequantize=True, block_size=17).fit(images)


def flat(images):
    return images.reshape(len(images), -1).astype(float)


def moments(images):
    """Mean and covariance of the images, dequantized, without the noise drawn."""
    x = (flat(images) + 0.5) / 256
    return x.mean(axis=0), np.cov(x.T) + np.eye(DIMS) / 12 / 256**2


def covariance_of(name, images):
    _, full = moments(images)
    if name == "independent":
        return np.diag(np.diag(full))
    if name == "shrunk":
        return 0.8 * full + 0.2 * np.trace(full) / DIMS * np.eye(DIMS)
    variances, vectors = np.linalg.eigh(full)
    variances[: DIMS - 3] = variances[: DIMS - 3].mean()
    return vectors * variances @ vectors.T


MAKERS = {
    "independent": lambda pca: IndependentGaussian(pca),
    "shrunk": lambda pca: ShrunkGaussian(0.2, pca=pca),
    "linear": lambda pca: ProbabilisticPCA(3, pca=pca),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("shared", [True, False])
def test_the_density_is_scipys(name, shared, images, held_out, pca):
    model = MAKERS[name](pca if shared else None).fit(images)
    density = stats.multivariate_normal(moments(images)[0], covariance_of(name, images))
    points = ((flat(held_out) + 0.3) / 256).reshape(held_out.shape)
    expected = density.logpdf(flat(points))
    np.testing.assert_allclose(model.score_samples(points), expected, rtol=1e-9)
    assert model.score(points) == pytest.approx(expected.mean())


@pytest.mark.parametrize("name", MAKERS)
def test_bytes_are_scored_in_expectation_over_dequantization(name):
    """Of images so even that the noise counts."""
    rng = np.random.default_rng(0)
    images = rng.integers(100, 103, (60, 2, 2, 3), dtype="uint8")
    model, few = MAKERS[name](None).fit(images), images[:3]
    expected = model.score_samples(few)
    noise = rng.random((3000, *few.shape))
    draws = model.score_samples(((few + noise) / 256).reshape(-1, *few.shape[1:]))
    draws = draws.reshape(3000, len(few))
    error = draws.std(axis=0) / len(draws) ** 0.5
    assert np.all(np.abs(draws.mean(axis=0) - expected) < 5 * error)
    middle = model.score_samples((few + 0.5) / 256)
    assert np.all(middle - expected > 8 * error), "or the middle would do as well"


@pytest.mark.parametrize("q", [1, 3, 11])
def test_probabilistic_pca_is_scikit_learns(q, images, held_out):
    x, y = flat(images) / 255, flat(held_out) / 255
    model = ProbabilisticPCA(q).fit(x)
    other = PCA(q, svd_solver="full").fit(x)
    expected = other.score_samples(y)
    np.testing.assert_allclose(model.score_samples(y), expected, rtol=1e-8)


def test_no_latent_variables_leave_one_variance(images, pca):
    model = ProbabilisticPCA(0, pca=pca).fit(images)
    np.testing.assert_allclose(model.variances_, np.trace(moments(images)[1]) / DIMS)


@pytest.mark.parametrize(
    ("kind", "candidates"),
    [(ShrunkGaussian, [1e-4, 1e-2, 0.9]), (ProbabilisticPCA, [1, 3, 5, 11])],
)
def test_the_best_candidate_on_validation_images_is_chosen(
    kind, candidates, images, held_out, pca
):
    few = images[:16]
    model = kind(candidates).fit(few, validation=held_out)
    apart = [kind(c).fit(few).score(held_out) for c in candidates]
    np.testing.assert_allclose(model.validation_scores_, apart, rtol=1e-9)
    best = int(np.argmax(apart))
    assert 0 < best < len(candidates) - 1
    assert model.chosen_ == candidates[best]
    assert model.score(held_out) == pytest.approx(apart[best])
    with pytest.raises(ValueError, match="validation is needed"):
        kind(candidates).fit(few)


@pytest.mark.parametrize("candidates", [[0.3, 0.6, 0.9], [1e-9, 1e-8]])
def test_a_choice_at_an_end_of_the_candidates_is_warned_of(
    candidates, images, held_out
):
    with pytest.warns(UserWarning, match="at an end"):
        ShrunkGaussian(candidates).fit(images[:16], validation=held_out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ShrunkGaussian(0.3).fit(images[:16], validation=held_out)


def test_the_usual_candidates_span_four_orders():
    assert baselines.SHRINKAGES[0] == pytest.approx(1e-5)
    assert baselines.SHRINKAGES[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("name", MAKERS)
def test_samples_have_the_moments_of_the_model(name, images, pca):
    model = MAKERS[name](pca).fit(images)
    drawn = model.sample(20_000, random_state=0)
    assert drawn.shape == (20_000, 2, 2, 3)
    np.testing.assert_array_equal(drawn, model.sample(20_000, random_state=0))
    mean, covariance = moments(images)[0], covariance_of(name, images)
    error = np.sqrt(np.diag(covariance) / 20_000)
    assert np.all(np.abs(flat(drawn).mean(axis=0) - mean) < 5 * error)
    largest = np.diag(covariance).max()
    np.testing.assert_allclose(np.cov(flat(drawn).T), covariance, atol=0.05 * largest)
    with pytest.raises(ValueError, match="n_samples is 0"):
        model.sample(0)


@pytest.mark.parametrize("shared", [True, False])
def test_the_gaussian_of_the_post(shared, images, held_out, pca):
    """Independent components, of variances that are not below a floor."""
    floor = float(pca.explained_variance_[2:4].mean())
    model = ComponentGaussian(4, floor, pca=pca if shared else None).fit(images)
    points = (held_out + 0.5) / 256
    components = pca.keep(4).transform(points)
    deviations = np.sqrt(np.maximum(pca.explained_variance_[:4], floor))
    assert (deviations == np.sqrt(floor)).any()
    expected = stats.norm.logpdf(components, 0, deviations).sum(axis=1)
    np.testing.assert_allclose(model.score_samples(points), expected, rtol=1e-8)
    assert model.variances_.shape == (4,)
    assert model.sample(3, random_state=0).shape == (3, 2, 2, 3)


def test_memory_does_not_grow_with_the_number_of_images(pca, images, tmp_path):
    peaks = []
    model = ShrunkGaussian([1e-3, 0.1, 0.3], pca=pca)
    for count in (1_000, 30_000):
        path = tmp_path / f"{count}.npy"
        np.save(path, np.repeat(images[:10], count // 10, axis=0))
        mapped = np.load(path, mmap_mode="r")
        model.set_params(shrinkage=0.1).fit(mapped).score_samples(mapped[:100])
        tracemalloc.start()
        scores = model.score_samples(mapped)
        # Each score, in the list of blocks and then in one array.
        peaks.append(tracemalloc.get_traced_memory()[1] - 2 * scores.nbytes)
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000  # as floats, they are 2.9 MB


def test_they_are_scikit_learn_estimators(images, pca):
    for make in [*MAKERS.values(), lambda pca: ComponentGaussian(3, pca=pca)]:
        model = make(None)
        copy = clone(model)
        assert copy.get_params() == model.get_params()
        assert model.fit(images).score(images) == copy.fit(images).score(images)


def test_a_clone_fits_a_decomposition_of_its_own(images, pca):
    model = ShrunkGaussian(0.1, pca=pca).fit(images)
    copy = clone(model).fit(images)
    assert copy.score(images) == model.score(images)
    assert not hasattr(copy.pca, "components_"), "a setting, which fit leaves alone"
    search = GridSearchCV(model, {"shrinkage": [0.1, 0.2]}, cv=2).fit(images)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_the_order_of_candidates_does_not_matter(images, held_out, pca):
    candidates = [1e-2, 1e-9, 0.5]
    scores = [ShrunkGaussian(s, pca).fit(images).score(held_out) for s in candidates]
    assert np.argmax(scores) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ShrunkGaussian(candidates, pca).fit(images, validation=held_out)
    assert model.chosen_ == 1e-2


@pytest.mark.parametrize("other", [None, np.zeros((5, 3, 2, 3), "uint8")])
def test_images_of_another_shape_than_the_decompositions(other, pca):
    with pytest.raises(ValueError, match="but pca is fitted to images of shape"):
        IndependentGaussian(pca).fit(other)


def test_scores_are_of_finite_images(images, pca):
    model = IndependentGaussian(pca).fit(images)
    wrong = np.full((2, *pca.image_shape_), np.nan)
    for masked in (wrong, np.ma.masked_invalid(wrong), wrong * 1j):
        with pytest.raises(ValueError, match="images "):
            model.score_samples(masked)
        with pytest.raises(ValueError, match="validation "):
            ShrunkGaussian([0.1, 0.2], pca).fit(images, validation=masked)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ShrunkGaussian(1.5), "shrinkage is 1.5"),
        (ShrunkGaussian([]), "shrinkage is"),
        (ShrunkGaussian(np.nan), "shrinkage is nan"),
        (ShrunkGaussian(-0.1), "shrinkage is -0.1"),
        (ShrunkGaussian([[0.1]]), "shrinkage is"),
        (ShrunkGaussian(0.1j), "shrinkage is 0.1j, but must be a finite number"),
        (ShrunkGaussian("0.1"), "shrinkage is '0.1', but must be a finite number"),
        (ShrunkGaussian(np.ma.masked_equal([0.1, 0.2], 0.2)), "shrinkage .* masked"),
        (ProbabilisticPCA(None), "n_components is None"),
        (ProbabilisticPCA([]), "n_components is"),
        (ProbabilisticPCA(np.ma.masked_equal([1, 2], 2)), "n_components .* masked"),
        (ComponentGaussian(3, floor="0.1"), "floor is '0.1'"),
        (ComponentGaussian(3, pca="pca"), "pca is 'pca'"),
        (ProbabilisticPCA(12), "from 0 to 11"),
        (ProbabilisticPCA(-1), "n_components is -1"),
        (ProbabilisticPCA(2.5), "n_components is 2.5"),
        (ComponentGaussian(0), "n_components is 0"),
        (ComponentGaussian(3, floor=0.0), "floor is 0.0"),
        (ComponentGaussian(3, floor=np.inf), "floor is inf"),
    ],
)
def test_wrong_settings_are_refused(model, message, images):
    with pytest.raises(ValueError, match=message):
        model.fit(images)


def test_a_decomposition_of_another_kind_is_refused(images, pca):
    for other in (
        pca.keep(whiten=True),
        pca.keep(5),
        BlockPCA().fit(images),
    ):
        with pytest.raises(ValueError, match="pca must have dequantize=True"):
            IndependentGaussian(other).fit(images)
    with pytest.raises(ValueError, match="at least 6 components"):
        ComponentGaussian(6, pca=pca.keep(5)).fit(images)


def test_images_that_do_not_vary_are_refused():
    x = np.zeros((5, 4))
    x[:, 0] = np.arange(5)
    with pytest.raises(ValueError, match="do not vary"):
        IndependentGaussian().fit(x)
    assert np.isfinite(IndependentGaussian().fit(x.astype("uint8")).score(x))
    few = np.random.default_rng(0).random((5, 9))
    with pytest.raises(ValueError, match="do not vary"):
        ShrunkGaussian(0.0).fit(few)
    assert np.isfinite(ShrunkGaussian(0.1).fit(few).score(few))


def break_bad_last_block(model, images, monkeypatch):
    images = (images + 0.5) / 256
    images[-1, 0, 0, 0] = np.nan
    return model.fit(images)


def break_eigenvectors(error):
    def stop(model, images, monkeypatch):
        def fail(*args, **options):
            raise error

        monkeypatch.setattr("scipy.linalg.eigh", fail)
        return model.fit(images)

    return stop


def break_shape(model, images, monkeypatch):
    return model.fit(images[0, 0, 0])


def break_setting(model, images, monkeypatch):
    name = "whiten" if isinstance(model, BlockPCA) else "pca"
    return model.set_params(**{name: "no"}).fit(images)


def break_variances(model, images, monkeypatch):
    """Floats that do not vary, where the model has need of it."""
    if isinstance(model, BlockPCA):
        model.set_params(whiten=True)
    if isinstance(model, ComponentGaussian):
        model.set_params(floor=0.0)
    if isinstance(model, ShrunkGaussian):
        model.set_params(shrinkage=0.0)
    return model.fit(np.ones((9, 2, 2, 3)))


def break_validation(model, images, monkeypatch):
    name = "shrinkage" if isinstance(model, ShrunkGaussian) else "n_components"
    if isinstance(model, (IndependentGaussian, BlockPCA, ComponentGaussian)):
        return break_shape(model, images, monkeypatch)
    choices = [0.1, 0.2, 0.3] if name == "shrinkage" else [1, 2, 3]
    model.set_params(**{name: choices})
    return model.fit(images, validation=images[:, :1])


BREAKS = {
    "data in the last block": break_bad_last_block,
    "eigenvectors": break_eigenvectors(np.linalg.LinAlgError("no convergence")),
    "a keyboard": break_eigenvectors(KeyboardInterrupt()),
    "memory": break_eigenvectors(MemoryError()),
    "shape": break_shape,
    "a setting": break_setting,
    "no variance": break_variances,
    "validation": break_validation,
}
ESTIMATORS = {
    "pca": lambda: BlockPCA(block_size=17),
    "independent": lambda: IndependentGaussian(),
    "shrunk": lambda: ShrunkGaussian(0.2),
    "linear": lambda: ProbabilisticPCA(3),
    "components": lambda: ComponentGaussian(3),
}
NEED_A_FIT = {
    "pca": [
        lambda pca, images: pca.transform(images),
        lambda pca, images: pca.inverse_transform(flat(images)),
        lambda pca, images: pca.keep(3),
        lambda pca, images: pca.log_det_,
        lambda pca, images: list(pca.blocks(images)),
    ],
    "gaussian": [
        lambda model, images: model.score_samples(images),
        lambda model, images: model.score(images),
        lambda model, images: model.sample(),
    ],
}


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("stop", BREAKS.values(), ids=BREAKS)
def test_a_fit_that_fails_changes_nothing(kind, stop, images, monkeypatch):
    fresh, fitted = ESTIMATORS[kind](), ESTIMATORS[kind]().fit(images)
    before = dict(vars(fitted))
    with monkeypatch.context() as patch:
        for model in (fresh, fitted):
            with pytest.raises(BaseException) as caught:
                stop(model, images, patch)
            assert not isinstance(caught.value, (AttributeError, NotFittedError))
    for use in NEED_A_FIT["pca" if kind == "pca" else "gaussian"]:
        with pytest.raises(NotFittedError):
            use(fresh, images)
    learnt = [name for name in vars(fitted) if name.endswith("_")]
    assert learnt == [name for name in before if name.endswith("_")]
    assert all(vars(fitted)[name] is before[name] for name in learnt)


def test_a_second_fit_leaves_nothing_of_the_first(images, held_out, pca):
    model = ShrunkGaussian([1e-9, 0.01, 0.9], pca).fit(images, validation=held_out)
    model.set_params(shrinkage=0.1).fit(images)
    assert not hasattr(model, "validation_scores_")


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("name", [*MAKERS, "components"])
def test_no_unit_changes_more_than_the_unit(name, unit, images, held_out):
    makers = MAKERS | {"components": lambda _: ComponentGaussian(3, 0.01)}
    x, y = flat(images) / 255, flat(held_out) / 255
    model, other = makers[name](None).fit(x), makers[name](None)
    if name == "components":
        other.set_params(floor=0.01 * unit**2)
    dims = 3 if name == "components" else DIMS
    expected = model.score_samples(y) - dims * np.log(unit)
    found = other.fit(x * unit).score_samples(y * unit)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_floor_is_enough_in_any_unit(images):
    """Beside variances of 1e30, one of 0.01 is no rounding if it is the floor."""
    x = flat(images) * 1e15
    x[:, 0] = 0
    model = ComponentGaussian(DIMS, 0.01).fit(x)
    assert model.variances_.min() == 0.01
    assert np.isfinite(model.score(x))


def test_seeds_and_integers_of_every_kind(images, pca):
    model = ProbabilisticPCA(np.int64(3), pca=pca).fit(images)
    expected = model.sample(np.int8(4), random_state=3)
    for seed in (np.int64(3), np.random.RandomState(3)):
        np.testing.assert_array_equal(model.sample(4, seed), expected)
    for seed in (np.random.SeedSequence(3), np.random.default_rng(3)):
        assert np.isfinite(model.sample(4, seed)).all()
    with pytest.raises(ValueError, match=r"n_samples is 2\.0"):
        model.sample(2.0)
    with pytest.raises(ValueError, match="random_state is 'a'"):
        model.sample(1, "a")
