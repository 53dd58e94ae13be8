"""Models of p(x|condition): a class, say, that encoder, decoder or prior are told."""

from utils import vae

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special, stats

CLASSES = 3


@pytest.fixture
def labels():
    """One-hot, for the 64 images."""
    return np.eye(CLASSES, dtype="float32")[np.arange(64) % CLASSES]


@pytest.fixture
def told(images, labels):
    """Images that a label tells something of: rows of one class are dark."""
    dark = labels.argmax(axis=1)
    told = images.copy()
    told[np.arange(64), dark] = 5
    return told


def conditional_prior():
    return vae.ConditionalPrior(vae.dense_encoder((CLASSES,), 2, ()))


@pytest.fixture
def make():
    def make(likelihood=None, which=("encoder", "decoder"), **settings):
        """Which of networks and prior takes the label."""
        dims = {name[0]: CLASSES for name in which if name != "prior"}
        encoder = vae.dense_encoder((4, 4), 2, (8,), condition_dim=dims.get("e"))
        link = getattr(likelihood, "link", "logit")
        decoder = vae.dense_decoder(
            2, (4, 4), (8,), link=link, condition_dim=dims.get("d")
        )
        prior = conditional_prior() if "prior" in which else None
        model = vae.VAE(encoder, decoder, likelihood, prior=prior, seed=3, **settings)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
        return model

    return make


WHICH = [("encoder", "decoder"), ("decoder",), ("encoder", "prior")]


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.one_backend
@pytest.mark.parametrize("which", WHICH, ids=" ".join)
def test_the_score_agrees_with_integration(make, labels, which):
    """Log p(x|label), for each image with its own label."""
    model = make(which=which)
    model.decoder.get_layer("logits").kernel.assign(
        np.random.default_rng(0).normal(0, 1.2, (8, 16))
    )
    model.encoder.get_layer("log_var").bias.assign([1.0, 1.0])  # no weight too large
    binary = np.random.default_rng(2).integers(0, 2, (3, 4, 4)).astype("float32")
    score = vae.log_likelihood(
        model, binary, labels[:3], num_samples=50_000, batch_size=2, verbose=0
    )
    side = np.linspace(-9, 9, 181, dtype="float32")
    z = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    for i, (x, label) in enumerate(zip(binary, labels, strict=False)):
        told = np.repeat(label[None], len(z), axis=0)
        inputs = [z, told] if "decoder" in which else z
        logits = ops.convert_to_numpy(model.decoder(inputs)).astype("float64")
        log_joint = (x * logits - np.logaddexp(0, logits)).sum(axis=(1, 2))
        mean, deviation = np.zeros(2), np.ones(2)
        if "prior" in which:
            mean, log_var = map(np.array, model.prior.network(label[None]))
            deviation = np.exp(log_var / 2)
        log_joint += stats.norm.logpdf(z, mean, deviation).sum(axis=1)
        exact = special.logsumexp(log_joint) + 2 * np.log(side[1] - side[0])
        error = score.per_image_error[i]
        assert error < 0.06
        assert abs(score.per_image[i] - exact) < 5 * error + 1e-3


@pytest.mark.one_backend
def test_it_learns_what_the_label_tells(make, told, labels):
    model = make()
    held_out = (told[:20], labels[:20])
    settings = {"batch_size": 8, "epochs": 30, "verbose": 0, "validation_freq": 15}
    history = model.fit(told, labels, validation_data=held_out, **settings).history
    assert history["loss"][-1] < history["loss"][0] - 2
    assert history["val_loss"][-1] < history["loss"][0] - 2
    for c in range(CLASSES):
        rows = model.sample(50, condition=np.eye(CLASSES)[c], seed=0).mean(axis=(0, 2))
        assert rows.argmin() == c, "the row that is dark in this class"
    mixed = model.sample(CLASSES, condition=np.eye(CLASSES), seed=0)
    assert mixed.mean(axis=2).argmin(axis=1).tolist() == list(range(CLASSES))
    wrong = np.roll(labels, 1, axis=1)
    right, misled = (
        model.evaluate(told, y, verbose=0, return_dict=True)["loss"]
        for y in (labels, wrong)
    )
    assert misled > right + 1


@pytest.mark.one_backend
@pytest.mark.usefixtures("uncompiled")
def test_everything_takes_labels(make, told, labels, tmp_path):
    model = make(which=("encoder", "decoder", "prior"), num_samples=2)
    settings = {"batch_size": 16, "verbose": 0}
    model.fit(told, labels, validation_split=0.25, **settings)
    assert np.all(np.isfinite(model.train_on_batch(told[:8], labels[:8])))
    assert np.all(np.isfinite(model.test_on_batch(told[:8], labels[:8])))
    assert model((told, labels))["decoded"].shape == (2, 64, 4, 4)
    assert model.predict((told, labels), verbose=0)["z"].shape == (2, 64, 2)
    assert model.predict_on_batch((told[:8], labels[:8]))["z"].shape == (2, 8, 2)
    assert model.encode(told, labels)[0].shape == (64, 2)
    assert model.reconstruct(told, labels).shape == told.shape
    assert vae.active_units(model, told, labels, threshold=0.0).all()
    line = model.interpolate(told[0], told[1], 5, condition=labels[0])
    assert line.shape == (5, 4, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.condition_shape == (CLASSES,)
    first, second = (m((told, labels)) for m in (model, loaded))
    for name in ("decoded", "log_prior", "log_posterior"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-4)


class Pairs(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return tuple(array[16 * index : 16 * index + 16] for array in self.arrays)


def streams():
    def dataset(*arrays):
        tf = pytest.importorskip("tensorflow")
        return tf.data.Dataset.from_tensor_slices(arrays).batch(16)

    tensorflow = keras.backend.backend() == "tensorflow"
    return {"tf.data": dataset} if tensorflow else {"py dataset": Pairs}


@pytest.mark.parametrize("kind", streams())
def test_a_stream_of_pairs_trains_as_the_arrays_do(make, told, labels, kind):
    ends = []
    make_data = streams()[kind]
    for data, settings in (
        ((told, labels), {"batch_size": 16}),
        ((make_data(told, labels),), {}),
    ):
        keras.utils.set_random_seed(0)
        model = make()
        model.fit(*data, epochs=2, shuffle=False, verbose=0, **settings)
        ends.append(model.get_weights())
    for first, second in zip(*ends, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)
    binary = (told > 99).astype("float32")  # nothing left to chance but z
    report = model.evaluate(make_data(binary, labels), verbose=0, return_dict=True)
    expected = model.evaluate(binary, labels, verbose=0, return_dict=True)
    assert report["kl"] == pytest.approx(expected["kl"], rel=1e-4)
    out = model.predict(make_data(told, labels), verbose=0)
    assert out["decoded"].shape == told.shape
    with pytest.raises(ValueError, match=r"^y of the first batch of x is None"):
        model.fit(Pairs(told), verbose=0)
    with pytest.raises(ValueError, match=r"^x has weights"):
        model.fit(Pairs(told, labels, np.ones(64)), verbose=0)


@pytest.mark.one_backend
def test_a_class_may_be_a_number(told, labels):
    """An embedding as the decoder's second input, of shape () for each image."""
    z, kind = keras.Input((2,)), keras.Input((), dtype="int32")
    known = keras.layers.Embedding(CLASSES, 4)(kind)
    hidden = keras.layers.Dense(8, "silu")(keras.layers.Concatenate()([z, known]))
    pixels = keras.layers.Reshape((4, 4))(keras.layers.Dense(16)(hidden))
    decoder = keras.Model([z, kind], pixels)
    model = vae.VAE(vae.dense_encoder((4, 4), 2, (8,)), decoder, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    numbers = labels.argmax(axis=1)
    losses = model.fit(told, numbers, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 1
    assert model.sample(4, condition=2).shape == (4, 4, 4)
    score = vae.log_likelihood(model, told, numbers, num_samples=5, verbose=0)
    assert np.isfinite(score.mean)


@pytest.mark.one_backend
def test_labels_that_are_missing_or_not_asked_for_are_refused(
    make, make_model, told, labels
):
    model, plain = make(), make_model()
    for use, name in (
        (lambda: model.fit(told), "y"),
        (lambda: model.evaluate(told), "y"),
        (lambda: model.encode(told), "labels"),
        (lambda: model(told), "labels"),
        (lambda: model.predict(told), "y"),
        (lambda: vae.log_likelihood(model, told), "labels"),
        (lambda: model.sample(3), "condition"),
        (lambda: model.interpolate(told[0], told[1]), "condition"),
        (
            lambda: model.fit(told, labels, validation_data=(told,)),
            "y of validation_data",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{name} is None"):
            use()
    for wrong, message in (
        (labels[:9], r"shape \(9, 3\)"),
        (labels.argmax(axis=1), r"shape \(64,\)"),
        (labels * np.nan, "nan"),
        (labels * 1j, "real"),
        (np.ma.masked_less(labels, 0.5), "masked"),
    ):
        with pytest.raises(ValueError, match=f"^y .*{message}"):
            model.fit(told, wrong)
        with pytest.raises(ValueError, match=f"^labels .*{message}"):
            vae.log_likelihood(model, told, wrong)
    with pytest.raises(ValueError, match=r"^y is given, but x is a Pairs"):
        model.fit(Pairs(told), labels)
    with pytest.raises(ValueError, match=r"^condition .*shape \(2, 3\)"):
        model.sample(5, condition=labels[:2])
    for use in (plain.fit, plain.evaluate, plain.train_on_batch):
        with pytest.raises(ValueError, match=r"^y is given"):
            use(told, labels)
    with pytest.raises(ValueError, match=r"^labels is given"):
        vae.log_likelihood(plain, told, labels)
    with pytest.raises(ValueError, match=r"^condition is"):
        plain.sample(3, condition=labels[0])


@pytest.mark.one_backend
def test_parts_that_are_told_different_things_are_refused(images):
    encoder = vae.dense_encoder((4, 4), 2, (8,), condition_dim=3)
    decoder = vae.dense_decoder(2, (4, 4), (8,), condition_dim=4)
    with pytest.raises(ValueError, match=r"conditions .* one for all"):
        vae.VAE(encoder, decoder)
    plain = vae.dense_decoder(2, (4, 4), (8,))
    with pytest.raises(ValueError, match=r"^prior is a VampPrior, .* condition"):
        vae.VAE(encoder, plain, prior=vae.VampPrior(images[:3]))
    with pytest.raises(ValueError, match=r"^condition_dim is 0"):
        vae.dense_decoder(2, (4, 4), condition_dim=0)


@pytest.mark.one_backend
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_builders_give_both_networks_the_condition(kind, images, labels):
    settings = {"condition_dim": CLASSES}
    if kind == "conv":
        settings |= {"filters": (3,), "strides": (2,)}
    encoder = getattr(vae, f"{kind}_encoder")((4, 4), 2, **settings)
    decoder = getattr(vae, f"{kind}_decoder")(2, (4, 4), **settings)
    model = vae.VAE(encoder, decoder)
    mean = [model.encode(images > 99, y)[0] for y in (labels, labels[::-1])]
    assert abs(mean[0] - mean[1]).max() > 1e-3
    z = np.zeros((3, 2), "float32")
    pictures = ops.convert_to_numpy(decoder([z, np.eye(CLASSES)]))
    assert np.ptp(pictures, axis=0).max() > 1e-3
