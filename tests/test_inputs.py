"""No public function takes something for what it is not, or says no without a reason.

A table of calls that are right, and of what comes in the place of an argument: each
must give the same answer, if it says the same in another form, and otherwise an error
that names the argument.
"""

import contextlib
import functools
import importlib
import inspect
import os
import pkgutil
import re
import warnings

import utils
from utils import (
    arguments,
    baselines,
    checks,
    datasets,
    entropy,
    functionals,
    mean_field,
    plotting,
    presets,
    standins,
    vae,
)

import keras
import numpy as np
import pytest
from keras import ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
BYTES = RNG.integers(0, 256, (12, 4, 4)).astype("uint8")
FLOATS = RNG.normal(size=(12, 4, 4))
x, y = functionals.x, functionals.y


# --- what comes in an argument's place ----------------------------------------


class Counted(keras.utils.PyDataset):
    """Minibatches of images, as a `PyDataset`."""

    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return (self.images[6 * index : 6 * index + 6],)


def tf_data(images):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(images).batch(6)


def generator(images):
    return ((images[i : i + 6],) for i in (0, 6))


def spoilt(value, what):
    array = np.array(value, dtype=float)
    array.flat[0] = what
    return array


def masked(value):
    array = np.ma.array(value, copy=True)
    array[(0,) * array.ndim] = np.ma.masked
    return array


NOT_NUMBERS = {
    "complex": lambda v: np.asarray(v) + 1e-3j,
    "strings": lambda v: np.asarray(v).astype(str),
    "None": lambda v: np.full(np.shape(v), None),
    "masked": masked,
}
OTHERS = {
    "numbers": {
        **NOT_NUMBERS,
        "NaN": lambda v: spoilt(v, np.nan),
        "infinite": lambda v: spoilt(v, np.inf),
        "ragged": lambda v: [[1.0], [1.0, 2.0]],
    },
    # Where a gap in a curve, or a density at infinity, is a right answer.
    "points": NOT_NUMBERS,
    "count": {
        "fraction": lambda v: v + 0.5,
        "float": float,
        "bool": lambda v: True,
        "NaN": lambda v: np.nan,
        "string": str,
        "negative": lambda v: -3,
        "complex": lambda v: v + 1j,
        "list": lambda v: [v, v],
    },
    "number": {
        "NaN": lambda v: np.nan,
        "infinite": lambda v: np.inf,
        "string": str,
        "complex": lambda v: v + 1j,
        "list": lambda v: [v, v],
        "masked": lambda v: np.ma.masked,
        "object": lambda v: object(),
    },
    "seed": {
        "fraction": lambda v: 2.5,
        "string": str,
        "bool": lambda v: True,
        "NaN": lambda v: np.nan,
        "object": lambda v: object(),
    },
    "images": {
        **NOT_NUMBERS,
        "NaN": lambda v: spoilt(np.asarray(v) / 255, np.nan),
        "floats to 255": lambda v: np.asarray(v, "float32"),
        "int32": lambda v: np.asarray(v, "int32"),
        "uint16": lambda v: np.asarray(v, "uint16"),
        "other shape": lambda v: np.asarray(v)[..., :-1],
        "none at all": lambda v: np.asarray(v)[:0],
        "one number": lambda v: 3,
        "tensor to 255": lambda v: ops.convert_to_tensor(np.asarray(v, "float32")),
    },
    "flag": {
        "number": lambda v: 1,
        "string": str,
        "NaN": lambda v: np.nan,
        "None": lambda v: None,
    },
    "choice": {
        "unknown": lambda v: "no such thing",
        "number": lambda v: 3,
        "NaN": lambda v: np.nan,
        "list": lambda v: ["no such thing"],
    },
    "object": {
        "number": lambda v: 3,
        "string": lambda v: "no such thing",
        "NaN": lambda v: np.nan,
    },
}
OTHERS["data"] = {
    **OTHERS["images"],
    **{
        f"{kind} of {what}": functools.partial(
            lambda v, make, dtype: make(np.asarray(v, dtype)), make=make, dtype=dtype
        )
        for kind, make in [
            ("tf.data", tf_data),
            ("PyDataset", Counted),
            ("generator", generator),
        ]
        for what, dtype in [("floats to 255", "float32"), ("uint16", "uint16")]
    },
}
SAME = {
    "numbers": {
        "list": lambda v: np.asarray(v).tolist(),
        "nothing masked": np.ma.array,
    },
    "points": {
        "list": lambda v: np.asarray(v).tolist(),
        "nothing masked": np.ma.array,
    },
    "count": {"NumPy's": np.int64, "small": np.int16},
    "number": {"NumPy's": np.float64},
    "seed": {"NumPy's": np.int64},
    "images": {"nothing masked": np.ma.array, "tensor": ops.convert_to_tensor},
    "flag": {"NumPy's": np.bool_},
    "choice": {},
    "object": {},
}
SAME["data"] = {**SAME["images"], "list": list}
# Seeds that give numbers of their own: taken, and no more can be asked of them.
TAKEN = {
    "seed": {
        "Generator": lambda v: np.random.default_rng(v),
        "SeedSequence": lambda v: np.random.SeedSequence(v),
        "RandomState": lambda v: np.random.RandomState(v),
    },
    "data": {
        "tf.data of bytes": tf_data,
        "PyDataset of bytes": Counted,
        "generator of bytes": generator,
    },
}


# --- calls that are right -----------------------------------------------------


@functools.cache
def model():
    keras.utils.set_random_seed(0)
    encoder = vae.dense_encoder((4, 4), 2, (3,))
    made = vae.VAE(encoder, vae.dense_decoder(2, (4, 4), (3,)), seed=3)
    made.compile("sgd")
    return made


@functools.cache
def conditional():
    keras.utils.set_random_seed(0)
    settings = {"hidden_units": (3,), "condition_dim": 3}
    encoder = vae.dense_encoder((4, 4), 2, **settings)
    made = vae.VAE(encoder, vae.dense_decoder(2, (4, 4), **settings), seed=3)
    made.compile("sgd")
    return made


def restored(function, model=model):
    """Call a method of the model, its random numbers set back to the beginning."""

    def call(**given):
        made = model()
        state = [*made.variables, *made.optimizer.variables]  # seeds are among them
        before = [np.array(variable) for variable in state]
        try:
            return function(made, **given)
        finally:
            for variable, value in zip(state, before, strict=True):
                variable.assign(value)

    return call


@functools.cache
def prior():
    keras.utils.set_random_seed(0)
    networks = [vae.dense_encoder((2,), 2, (3,)) for _ in range(2)]
    return vae.HierarchicalPrior(*networks)


@functools.cache
def joined_mixture():
    keras.utils.set_random_seed(0)
    made = vae.MixturePrior(3)
    made.join(2, None, None)
    return made


@functools.cache
def fitted(kind):
    if kind is mean_field.VariationalGaussianMixture:
        return kind(2, random_state=0).fit(X)
    if kind is entropy.MaxEntropyDensity:
        return entropy.max_entropy_density(lambda t: t, 2.0, (0, np.inf))
    if kind is entropy.MaxEntropy:
        return entropy.max_entropy([1.0, 2.0, 3.0], 2.2)
    if kind is mean_field.MeanField:
        return mean_field.NormalGamma().coordinate_ascent(X[:, 0])
    if kind is baselines.BlockPCA:
        return kind(3).fit(BYTES)
    return kind().fit(BYTES)


def fit(kind, data, **others):
    return lambda **given: kind(**others, **given).fit(data)


MIXTURE = functools.partial(fit, mean_field.VariationalGaussianMixture, X)
SQUARE = functionals.Functional(y(x).diff(x) ** 2, (0, 1))
GRID = np.linspace(0, 1, 7)


def unbound(function, self):
    return lambda **given: function(self(), **given)


def method(kind, name, self=None, **arguments):
    self = self or functools.partial(fitted, kind)
    return unbound(getattr(kind, name), self), arguments


def of_model(name, **arguments):
    return restored(getattr(vae.VAE, name)), arguments


def likelihood(make, **arguments):
    """Make one, and score with it."""

    def call(**given):
        made = make(**given)
        decoded = np.concatenate(
            [np.float32(FLOATS)] * (1 + (make is vae.PredictedGaussian)), axis=-1
        )
        if make is vae.Categorical:
            decoded = np.stack([decoded] * made.num_levels, axis=-1)
        return made.log_prob(BYTES / np.float32(255), decoded)

    return call, arguments


def check(**given):
    with contextlib.redirect_stdout(None):
        checks.check(**{"number": "1.1", "statement": "a sum", **given})
    checks._ledger.clear()


NUMBERS = ("numbers", np.array([1.0, 2.0, 3.0]))
SHAPE = ("object", (4, 4))
SIZES = ("object", (3,))
ONE_HOT = np.eye(3, dtype="float32")[np.arange(12) % 3]
LATENTS = ("numbers", RNG.normal(size=(12, 2)))
SCALE = ("number", 0.5)
BOUNDS = ("object", (0.1, 2.0))
NETWORK = {"image_shape": SHAPE, "latent_dim": ("count", 2), "hidden_units": SIZES}
DECODER = {
    **NETWORK,
    "mean_image": ("numbers", np.full((4, 4), 0.5)),
    "link": ("choice", "identity"),
    "outputs_per_pixel": ("count", 2),
}
CONVOLVED = {"filters": SIZES, "strides": ("count", 2)}

CALLS = {
    "arguments.integer": (
        lambda **v: arguments.integer("value", **v),
        {"value": ("count", 3)},
    ),
    "arguments.integers": (
        lambda **v: arguments.integers("value", **v),
        {"value": ("object", (3, 4))},
    ),
    "arguments.real": (
        lambda **v: arguments.real("value", **v),
        {"value": ("number", 3.0)},
    ),
    "arguments.boolean": (
        lambda **v: arguments.boolean("value", **v),
        {"value": ("flag", True)},
    ),
    "arguments.choice": (
        lambda **v: arguments.choice("value", choices=("a", "b"), **v),
        {"value": ("choice", "a")},
    ),
    "arguments.real_array": (
        lambda **v: arguments.real_array("value", **v),
        {"value": NUMBERS},
    ),
    "arguments.rng": (
        lambda **v: arguments.rng("seed", **v).normal(),
        {"seed": ("seed", 3)},
    ),
    "arguments.random_state": (
        lambda **v: arguments.random_state("seed", **v).normal(),
        {"seed": ("seed", 3)},
    ),
    "checks.check": (
        check,
        {
            "number": ("choice", "1.1"),
            "statement": ("object", "a sum"),
            "left": NUMBERS,
            "right": ("numbers", np.array([1.0, 2.0, 3.0])),
            "rtol": ("number", 1e-6),
            "atol": ("number", 0.0),
            "resolution": ("number", 0.1),
        },
    ),
    "checks.check, Monte Carlo": (
        check,
        {
            "left": NUMBERS,
            "right": ("numbers", np.array([1.0, 2.0, 3.0])),
            "standard_error": ("numbers", np.full(3, 1e-3)),
            "resolution": ("number", 0.1),
        },
    ),
    "entropy.max_entropy": (
        entropy.max_entropy,
        {
            "features": ("numbers", np.array([[1.0], [2.0], [3.0]])),
            "targets": ("numbers", np.array([2.2])),
            "base_measure": ("numbers", np.ones(3)),
            "rtol": ("number", 1e-10),
        },
    ),
    "entropy.MaxEntropy.expectation": method(
        entropy.MaxEntropy, "expectation", f=("numbers", np.arange(3.0))
    ),
    "entropy.MaxEntropy.sample": method(
        entropy.MaxEntropy, "sample", size=("count", 3), seed=("seed", 3)
    ),
    "entropy.max_entropy_density": (
        entropy.max_entropy_density,
        {
            "features": ("object", (lambda t: t,)),
            "targets": ("numbers", np.array([2.2])),
            "interval": ("points", np.array([0.0, 3.0])),
            "breaks": ("numbers", np.array([1.0])),
            "rtol": ("number", 1e-10),
        },
    ),
    "entropy.MaxEntropyDensity.pdf": method(
        entropy.MaxEntropyDensity, "pdf", x=("points", np.array([1.0, 2.0]))
    ),
    "entropy.MaxEntropyDensity.expectation": method(
        entropy.MaxEntropyDensity, "expectation", f=("object", lambda t: t)
    ),
    "functionals.Functional": (
        lambda **v: functionals.Functional(**v).value(x),
        {
            "lagrangian": ("object", y(x) ** 2),
            "interval": ("numbers", np.array([0.0, 1.0])),
        },
    ),
    "functionals.Functional.value": method(
        functionals.Functional,
        "value",
        lambda: SQUARE,
        function=("numbers", GRID**2),
        grid=("numbers", GRID),
    ),
    "functionals.Functional.value, a callable": method(
        functionals.Functional,
        "value",
        lambda: SQUARE,
        function=("other", np.sin),
        derivative=("object", np.cos),
    ),
    "functionals.Functional.euler_lagrange": method(
        functionals.Functional,
        "euler_lagrange",
        lambda: SQUARE,
        expression=("numbers", 1.0),
    ),
    "functionals.Functional.directional": method(
        functionals.Functional,
        "directional",
        lambda: SQUARE,
        function=("numbers", 1.0),
        direction=("numbers", 1.0),
    ),
    "functionals.Functional.gradient": method(
        functionals.Functional,
        "gradient",
        lambda: SQUARE,
        samples=("numbers", GRID**2),
        grid=("numbers", GRID),
    ),
    "functionals.Functional.hessian": method(
        functionals.Functional,
        "hessian",
        lambda: SQUARE,
        samples=("numbers", GRID**2),
        grid=("numbers", GRID),
    ),
    "functionals.minimize": (
        functionals.minimize,
        {
            "functional": ("object", SQUARE),
            "boundary": ("numbers", np.array([0.0, 1.0])),
            "constraints": (
                "object",
                [(functionals.Functional(y(x), (0, 1)), 0.4)],
            ),
            "n": ("count", 7),
            "start": ("numbers", GRID),
            "rtol": ("number", 1e-10),
            "max_iter": ("count", 200),
        },
    ),
    "functionals.minimize, a grid": (
        functionals.minimize,
        {
            "functional": ("other", SQUARE),
            "boundary": ("other", (0, 1)),
            "grid": ("numbers", GRID),
        },
    ),
    "mean_field.NormalGamma": (
        mean_field.NormalGamma,
        dict.fromkeys(("mean", "kappa", "a", "b"), SCALE),
    ),
    "mean_field.NormalGamma.log_prob": method(
        mean_field.NormalGamma,
        "log_prob",
        mean_field.NormalGamma,
        mu=("points", np.array([0.1, 0.2])),
        tau=("points", np.array([0.1, 0.2])),
    ),
    "mean_field.NormalGamma.sample": method(
        mean_field.NormalGamma,
        "sample",
        mean_field.NormalGamma,
        num_samples=("count", 3),
        seed=("seed", 3),
    ),
    "mean_field.NormalGamma.posterior": method(
        mean_field.NormalGamma, "posterior", mean_field.NormalGamma, x=NUMBERS
    ),
    "mean_field.NormalGamma.log_evidence": method(
        mean_field.NormalGamma, "log_evidence", mean_field.NormalGamma, x=NUMBERS
    ),
    "mean_field.NormalGamma.coordinate_ascent": method(
        mean_field.NormalGamma,
        "coordinate_ascent",
        mean_field.NormalGamma,
        x=NUMBERS,
        tau=SCALE,
        tol=("number", 1e-12),
        max_iter=("count", 100),
    ),
    "mean_field.MeanField.log_prob": method(
        mean_field.MeanField,
        "log_prob",
        mu=("points", np.array([0.1, 0.2])),
        tau=("points", np.array([0.1, 0.2])),
    ),
    "mean_field.VariationalGaussianMixture": (
        MIXTURE(),
        {
            "n_components": ("count", 2),
            "tol": ("number", 1e-6),
            "reg_covar": ("number", 0.1),
            "max_iter": ("count", 400),
            "n_init": ("count", 2),
            "init_params": ("choice", "kmeans"),
            "weight_concentration_prior": SCALE,
            "mean_precision_prior": SCALE,
            "mean_prior": ("numbers", np.zeros(2)),
            "degrees_of_freedom_prior": ("number", 3.0),
            "covariance_prior": ("numbers", np.eye(2)),
            "random_state": ("seed", 3),
        },
    ),
    "mean_field.VariationalGaussianMixture, responsibilities": (
        MIXTURE(n_components=2),
        {"init_params": ("numbers", np.tile([[0.3, 0.7], [0.6, 0.4]], (20, 1)))},
    ),
    "mean_field.VariationalGaussianMixture.partial_fit": (
        lambda X=X, **v: mean_field.VariationalGaussianMixture(
            2, random_state=0, **v
        ).partial_fit(X),
        {
            "learning_decay": ("number", 0.7),
            "learning_offset": ("number", 10.0),
            "total_samples": ("number", 1e3),
            "X": ("numbers", X),
        },
    ),
    "mean_field.VariationalGaussianMixture.sample": (
        lambda random_state=0, **v: MIXTURE(n_components=2)(
            random_state=random_state
        ).sample(**v),
        {"n_samples": ("count", 3)},
    ),
    **{
        f"mean_field.VariationalGaussianMixture.{name}": (
            functools.partial(
                lambda X, name: getattr(
                    MIXTURE(n_components=2, random_state=0)(), name
                )(X),
                name=name,
            ),
            {"X": ("numbers", X)},
        )
        for name in (
            "fit",
            "fit_predict",
            "predict",
            "predict_proba",
            "score_samples",
            "score",
        )
    },
    "baselines.BlockPCA": (
        fit(baselines.BlockPCA, BYTES),
        {"n_components": ("count", 3), "block_size": ("count", 5)},
    ),
    "baselines.BlockPCA.fit": (
        baselines.BlockPCA(3).fit,
        {"images": ("numbers", FLOATS)},
    ),
    "baselines.BlockPCA.transform": (  # scikit-learn's wrapper of it has no keywords
        lambda images: fitted(baselines.BlockPCA).transform(images),
        {"images": ("numbers", FLOATS)},
    ),
    "baselines.BlockPCA.transform, bytes": (
        lambda **v: (
            baselines.BlockPCA(3, dequantize=True, **v).fit(BYTES).transform(BYTES)
        ),
        {"random_state": ("seed", 3)},
    ),
    "baselines.BlockPCA.blocks": (
        lambda images: list(fitted(baselines.BlockPCA).blocks(images)),
        {"images": ("numbers", FLOATS)},
    ),
    "baselines.BlockPCA.inverse_transform": method(
        baselines.BlockPCA, "inverse_transform", components=("numbers", np.ones((2, 3)))
    ),
    "baselines.BlockPCA.keep": method(
        baselines.BlockPCA, "keep", n_components=("count", 2)
    ),
    "baselines.IndependentGaussian": (
        fit(baselines.IndependentGaussian, BYTES),
        {"pca": ("object", baselines.BlockPCA(dequantize=True))},
    ),
    "baselines.ShrunkGaussian": (
        fit(baselines.ShrunkGaussian, BYTES),
        {"shrinkage": ("numbers", 0.1)},
    ),
    "baselines.ProbabilisticPCA": (
        fit(baselines.ProbabilisticPCA, BYTES),
        {"n_components": ("count", 2)},
    ),
    "baselines.ComponentGaussian": (
        fit(baselines.ComponentGaussian, BYTES),
        {"n_components": ("count", 3), "floor": ("number", 0.1)},
    ),
    **{
        f"baselines.IndependentGaussian.{name}": method(
            baselines.IndependentGaussian, name, images=("numbers", FLOATS)
        )
        for name in ("score_samples", "score")
    },
    "baselines.IndependentGaussian.fit": (
        lambda images: baselines.IndependentGaussian().fit(images),
        {"images": ("numbers", FLOATS)},
    ),
    "baselines.ShrunkGaussian.fit": (
        lambda validation: baselines.ShrunkGaussian([0.01, 0.1, 0.9]).fit(
            BYTES, validation=validation
        ),
        {"validation": ("numbers", FLOATS)},
    ),
    "baselines.IndependentGaussian.sample": method(
        baselines.IndependentGaussian,
        "sample",
        n_samples=("count", 3),
        random_state=("seed", 3),
    ),
    "plotting.image_grid": (
        plotting.image_grid,
        {"images": ("images", BYTES), "num_columns": ("count", 3)},
    ),
    "plotting.latent_scatter": (
        plotting.latent_scatter,
        {"z": LATENTS, "labels": ("other", np.arange(12))},
    ),
    "plotting.latent_manifold": (
        plotting.latent_manifold,
        {
            "images": ("images", BYTES),
            "z1": ("numbers", np.arange(3.0)),
            "z2": ("numbers", np.arange(4.0)),
        },
    ),
    "plotting.training_curves": (
        plotting.training_curves,
        {"history": ("object", {"loss": [3.0, 2.0]})},
    ),
    "plotting.densities": (
        plotting.densities,
        {"x": NUMBERS, "curves": ("object", {"a": [1.0, 2.0, 3.0]})},
    ),
    "plotting.gaussian_ellipses": (
        plotting.gaussian_ellipses,
        {
            "means": ("numbers", np.zeros((2, 2))),
            "covariances": ("numbers", np.stack([np.eye(2)] * 2)),
            "weights": ("numbers", np.array([0.5, 0.5])),
        },
    ),
    "presets.Preset": (presets.Preset, {"name": ("choice", "smoke")}),
    "datasets.load_mnist": (
        datasets.load_mnist,
        {"source": ("choice", "standin"), "folder": ("other", None)},
    ),
    "datasets.load_svhn": (
        functools.partial(datasets.load_svhn, source="standin"),
        {"splits": ("choice", ("test",))},
    ),
    "standins.make_standin": (
        standins.make_standin,
        {
            "name": ("choice", "mnist"),
            "sizes": ("object", {"test": 2}),
            "seed": ("seed", 3),
        },
    ),
    "vae.VAE": (
        lambda **v: (
            vae.VAE(
                **{
                    "encoder": model().encoder,
                    "decoder": model().decoder,
                    **v,
                }
            ).latent_dim
        ),
        {
            "encoder": ("object", None),
            "decoder": ("object", None),
            "likelihood": ("object", vae.Bernoulli()),
            "prior": ("object", None),
            "posterior": ("object", None),
            "num_samples": ("count", 2),
            "seed": ("seed", 3),
        },
    ),
    "vae.VAE, weights of the KL": (
        lambda **v: vae.VAE(model().encoder, model().decoder, **v).latent_dim,
        {"free_bits": SCALE, "beta": SCALE},
    ),
    "vae.VAE.fit": (
        restored(lambda m, x, **v: m.fit(x, verbose=0, **v).history),
        {
            "x": ("data", BYTES),
            "validation_data": ("data", BYTES),
            "batch_size": ("other", None),
        },
    ),
    "vae.VAE.fit, labels": (
        lambda **v: [
            float(loss)
            for loss in restored(
                lambda m, y: m.fit(BYTES, y, verbose=0).history["loss"], conditional
            )(**v)
        ],
        {"y": ("numbers", ONE_HOT)},
    ),
    "vae.VAE.sample, condition": (
        restored(
            lambda m, condition: m.sample(3, condition=condition, seed=0), conditional
        ),
        {"condition": ("numbers", ONE_HOT[0])},
    ),
    "vae.log_likelihood, labels": (
        restored(
            lambda m, labels: vae.log_likelihood(
                m, BYTES, labels, num_samples=3, verbose=0
            ),
            conditional,
        ),
        {"labels": ("numbers", ONE_HOT)},
    ),
    "vae.VAE.fit, an array": (
        restored(lambda m, **v: m.fit(BYTES, verbose=0, **v).history),
        {"batch_size": ("count", 5)},
    ),
    "vae.VAE.evaluate": (
        restored(lambda m, x: m.evaluate(x, verbose=0)),
        {"x": ("data", BYTES)},
    ),
    "vae.VAE.predict": (
        restored(lambda m, x: m.predict(x, verbose=0)["mean"].shape),
        {"x": ("data", BYTES)},
    ),
    "vae.VAE.call": (
        restored(lambda m, images: m(images)["x"]),
        {"images": ("images", BYTES)},
    ),
    "vae.VAE.encode": of_model(
        "encode", images=("images", BYTES), batch_size=("count", 5)
    ),
    "vae.VAE.sample": of_model("sample", num_samples=("count", 3), seed=("seed", 3)),
    "vae.VAE.reconstruct": of_model("reconstruct", images=("images", BYTES)),
    "vae.VAE.interpolate": of_model(
        "interpolate",
        first=("images", BYTES[0]),
        second=("images", BYTES[1]),
        num_steps=("count", 3),
    ),
    "vae.log_likelihood": (
        restored(
            lambda m, **v: vae.log_likelihood(m, verbose=0, **{"images": BYTES, **v})
        ),
        {
            "images": ("images", BYTES),
            "num_samples": ("count", 20),
            "batch_size": ("count", 7),
            "seed": ("seed", 3),
        },
    ),
    "vae.active_units": (
        restored(lambda m, **v: vae.active_units(m, **v)),
        {"images": ("images", BYTES), "threshold": ("number", 0.01)},
    ),
    "vae.bits_per_dim": (
        vae.bits_per_dim,
        {
            "log_prob": ("numbers", np.array([1.0, 2.0])),
            "num_dims": ("count", 3),
            "of": ("choice", "bytes"),
        },
    ),
    "vae.gaussian_kl": (vae.gaussian_kl, {"mean": LATENTS, "log_var": LATENTS}),
    "vae.bounded_log_scale": (
        vae.bounded_log_scale,
        {"raw": NUMBERS, "bounds": BOUNDS},
    ),
    "vae.KLWarmUp": (
        lambda **v: vars(vae.KLWarmUp(**v))["epochs"],
        {"epochs": ("count", 3), "start": SCALE},
    ),
    "vae.HierarchicalPrior": (
        lambda **v: (
            vae.HierarchicalPrior(
                **{"encoder": prior().encoder, "decoder": prior().decoder, **v}
            ).latent_dim
        ),
        {"encoder": ("object", None), "decoder": ("object", None)},
    ),
    "vae.HierarchicalPrior.sample": method(
        vae.HierarchicalPrior,
        "sample",
        prior,
        num_samples=("count", 3),
        seed=("seed", 3),
    ),
    "vae.MixturePrior": (
        lambda num_components: vae.MixturePrior(num_components).num_components,
        {"num_components": ("count", 3)},
    ),
    "vae.MixturePrior.sample": method(
        vae.MixturePrior,
        "sample",
        joined_mixture,
        num_samples=("count", 3),
        seed=("seed", 3),
    ),
    "vae.VampPrior": (
        lambda pseudo_inputs: np.array(vae.VampPrior(pseudo_inputs).pseudo_inputs),
        {"pseudo_inputs": ("images", BYTES)},
    ),
    "vae.ConditionalPrior": (
        lambda network: vae.ConditionalPrior(network).latent_dim,
        {"network": ("object", vae.dense_encoder((3,), 2, ()))},
    ),
    "vae.FlowPosterior": (
        lambda **v: len(vae.FlowPosterior(**v).networks),
        {
            "latent_dim": ("count", 4),
            "num_couplings": ("count", 2),
            "hidden_units": SIZES,
            "context_dim": ("count", 2),
        },
    ),
    "vae.FullGaussian.sizes": (
        vae.FullGaussian().sizes,
        {"latent_dim": ("count", 3)},
    ),
    "vae.Categorical": likelihood(vae.Categorical, num_levels=("count", 4)),
    "vae.gaussian_log_prob": (
        vae.gaussian_log_prob,
        {"x": LATENTS, "mean": LATENTS, "log_var": LATENTS},
    ),
    "vae.reparameterize": (
        vae.reparameterize,
        {"mean": LATENTS, "log_var": LATENTS, "noise": LATENTS},
    ),
    "vae.Gaussian": likelihood(vae.Gaussian, scale=SCALE),
    "vae.Bernoulli": likelihood(vae.Bernoulli),
    "vae.LearnedGaussian": likelihood(
        vae.LearnedGaussian,
        shape=("object", (4,)),
        bounds=BOUNDS,
        initial=("numbers", np.full(4, 0.3)),
    ),
    "vae.PredictedGaussian": likelihood(vae.PredictedGaussian, bounds=BOUNDS),
    "vae.BasisGaussian": likelihood(
        vae.BasisGaussian,
        basis=("numbers", np.eye(16)),
        bounds=BOUNDS,
        initial=("numbers", np.full(16, 0.3)),
    ),
    "vae.DiscretizedLogistic": likelihood(
        vae.DiscretizedLogistic,
        shape=("object", (4,)),
        bounds=BOUNDS,
        initial=("numbers", np.full(4, 0.3)),
    ),
    "vae.dense_encoder": (vae.dense_encoder, NETWORK),
    "vae.dense_decoder": (vae.dense_decoder, DECODER),
    "vae.conv_encoder": (vae.conv_encoder, {**NETWORK, **CONVOLVED}),
    "vae.conv_decoder": (vae.conv_decoder, {**DECODER, **CONVOLVED}),
}
# Names that take no argument of a user's, or no other than the calls above.
NO_ARGUMENTS = {
    "arguments.covariance_root": "arrays that have been checked",
    "arguments.called": "a callable that its callers have checked",
    "arguments.plain_array": "any array will do",
    "checks.Entry": "made by check",
    "checks.Ledger": "made by ledger",
    "checks.ledger": "no arguments",
    "entropy.MaxEntropy": "made by max_entropy",
    "entropy.MaxEntropyDensity": "made by max_entropy_density",
    "estimators.all_or_nothing": "a method",
    "functionals.Extremum": "made by minimize",
    "functionals.Functional.beltrami": "no arguments",
    "functionals.Functional.derivative": "no arguments",
    "mean_field.MeanField": "made by coordinate_ascent",
    "plotting.use_style": "text",
    "plotting.set_title": "text",
    "plotting.sliders": "widgets: Jupyter's own checks",
    "presets.get_preset": "no arguments",
    "standins.Dataset": "made by the loaders",
    "vae.DiagonalGaussian": "no arguments",
    "vae.FullGaussian": "no arguments",
    "vae.Likelihood": "an interface",
    "vae.Posterior": "an interface",
    "vae.Prior": "an interface",
    "vae.StandardNormal": "no arguments",
    "vae.LogLikelihood": "made by log_likelihood",
}
# Where what comes instead has a right answer of its own, and which.
RIGHT = {
    ("checks.check", "statement"): {"string": "any text will do"},
    ("checks.check, Monte Carlo", "left"): {"complex": "it is off by one error"},
    ("checks.check, Monte Carlo", "right"): {"complex": "it is off by one error"},
    ("entropy.MaxEntropy.sample", "size"): {"list": "a shape"},
    ("functionals.Functional", "lagrangian"): {"number": "a constant one"},
    ("functionals.minimize", "boundary"): {"None": "free ends"},
    ("baselines.ProbabilisticPCA", "n_components"): {"list": "candidates: validation"},
    **{
        (f"vae.{kind}_decoder", "outputs_per_pixel"): {"float": "2", "bool": "1"}
        for kind in ("dense", "conv")
    },
    ("vae.VampPrior", "pseudo_inputs"): {"other shape": "that of the model counts"},
    ("plotting.image_grid", "images"): {"other shape": "any shape will do"},
    ("plotting.latent_manifold", "images"): {"other shape": "any shape will do"},
}


# A few numbers of a model are asked: to trace it takes longer.
pytestmark = pytest.mark.usefixtures("uncompiled")


def public_names():
    """Every public function, class and method of `utils`, by its shortest address."""
    for info in pkgutil.iter_modules(utils.__path__):
        module = importlib.import_module(f"utils.{info.name}")
        names = getattr(module, "__all__", None) or [
            n for n in vars(module) if not n.startswith("_")
        ]
        for name in names:
            value = getattr(module, name)
            home = getattr(value, "__module__", None) or ""
            if not home.startswith(module.__name__) or not (
                inspect.isfunction(value) or inspect.isclass(value)
            ):
                continue
            if inspect.isclass(value) and issubclass(value, Exception):
                continue
            yield f"{info.name}.{name}"
            if inspect.isclass(value) and info.name != "vae":
                for part, method in vars(value).items():
                    if inspect.isfunction(method) and not part.startswith("_"):
                        yield f"{info.name}.{name}.{part}"


def test_every_public_name_is_in_the_table():
    walked = {name.split(",")[0] for name in CALLS} | set(NO_ARGUMENTS)
    assert walked >= set(public_names()), set(public_names()) - walked


def plain(result):
    """Arrays and numbers of a result, in an order that only depends on its kind."""
    if isinstance(result, dict):
        return [part for key in sorted(result) for part in plain(result[key])]
    if isinstance(result, (list, tuple)):
        return [part for item in result for part in plain(item)]
    if hasattr(result, "__array__") or isinstance(result, (int, float, str, bool)):
        return [np.asarray(result)]
    if isinstance(result, keras.Model):
        return [np.asarray(str((result.input_shape, result.output_shape)))]
    fields = {k: v for k, v in getattr(result, "__dict__", {}).items() if k[0] != "_"}
    if hasattr(result, "get_params"):
        fields = {k: v for k, v in fields.items() if k.endswith("_")}
    kept = (np.ndarray, int, float, str, tuple, list)
    return [np.asarray(v) for k, v in sorted(fields.items()) if isinstance(v, kept)]


def call(name, argument, value):
    function, given = CALLS[name]
    given = {k: v for k, (_, v) in given.items() if v is not None}
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(nowhere):
            return function(**{**given, argument: value})


VARIED = [
    pytest.param(name, argument, id=f"{name}: {argument}")
    for name, (_, given) in CALLS.items()
    for argument, (kind, _) in given.items()
    if kind != "other"
]


@pytest.mark.parametrize(("name", "argument"), VARIED)
def test_what_is_something_else_is_refused_by_name(name, argument):
    kind, value = CALLS[name][1][argument]
    wrong, known = [], RIGHT.get((name, argument), {})
    for other, change in OTHERS[kind].items():
        if other in known:
            continue
        try:
            answer = call(name, argument, change(value))
        except (ValueError, TypeError, AssertionError) as error:
            if not re.search(rf"\b{argument}\b", str(error)):
                wrong.append(f"{other}: an error without the name: {error!r:.200}")
        except Exception as error:
            wrong.append(f"{other}: a raw error: {error!r:.200}")
        else:
            wrong.append(f"{other}: taken, with the answer {str(answer)[:100]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("name", "argument"), VARIED)
def test_what_says_the_same_gives_the_same_answer(name, argument):
    kind, value = CALLS[name][1][argument]
    expected = plain(call(name, argument, value)) if value is not None else []
    for other, change in SAME[kind].items():
        found = plain(call(name, argument, change(value)))
        assert len(found) == len(expected), other
        for one, another in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, another, err_msg=other)
    for change in TAKEN.get(kind, {}).values():
        call(name, argument, change(value))
