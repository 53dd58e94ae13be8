"""What `fit`, `evaluate` and the call are given: taken for what it is, or refused."""

import functools
import re

from utils import vae

import keras
import numpy as np
import pytest
from keras import ops

tensorflow = keras.backend.backend() == "tensorflow"


class Frame:
    """Stands in for a data frame, which NumPy asks for an array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


class Batches(keras.utils.PyDataset):
    def __init__(self, *parts, size=16):
        super().__init__()
        self.parts, self.size = parts, size

    def __len__(self):
        return -(-len(self.parts[0]) // self.size)

    def __getitem__(self, index):
        chosen = slice(index * self.size, (index + 1) * self.size)
        return tuple(part[chosen] for part in self.parts)


def generated(*parts):
    return (batch for batch in Batches(*parts))


def dataset(*parts):
    """A tf.data set, which Keras takes on every backend."""
    tf = pytest.importorskip("tensorflow")
    whole = parts[0] if len(parts) == 1 else parts
    return tf.data.Dataset.from_tensor_slices(whole).batch(16)


ARRAYS = {"list": list, "tensor": ops.convert_to_tensor, "frame": Frame}
STREAMS = {"py dataset": Batches, "generator": generated}
STREAMS |= {"tf.data": dataset} if tensorflow else {}


@pytest.fixture(scope="module")
def once():
    """One model for all, which is traced for each kind of data once."""
    decoder = vae.dense_decoder(2, (4, 4), (8,))
    model = vae.VAE(vae.dense_encoder((4, 4), 2, (8,)), decoder, seed=0)
    model.compile(keras.optimizers.SGD(0.0))
    decoder.set_weights([0 * w for w in decoder.get_weights()])
    decoder.get_layer("logits").bias.assign(np.full(16, 5.0))
    return model


def refused(model, make, images, message):
    """Expect `message` whatever is done with the data, and by the argument's name."""
    by_name = {
        "x": [
            lambda x: model.fit(x, verbose=0),
            lambda x: model.evaluate(x, verbose=0),
            model.check_data,
        ],
        "validation_data": [
            lambda x: model.fit(images, validation_data=x, verbose=0),
            lambda x: model.fit(images, validation_data=(x,), verbose=0),
        ],
    }
    for name, uses in by_name.items():
        for use in uses:
            with pytest.raises(ValueError, match=message) as caught:
                use(make())
            assert re.match(rf"(the first batch of )?{name}\b", str(caught.value))
    assert model.optimizer.iterations == 0, "refused before anything is trained"


# On the second backend, what is its own.
EITHER = {"tensor", "py dataset"}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.one_backend] * (kind not in EITHER))
        for kind in (*ARRAYS, *STREAMS)
    ],
)
def test_bytes_are_bytes_however_they_come(once, images, kind):
    """Of one grey, under a decoder that is sure of white."""
    given = np.full((256, 4, 4), 51, "uint8")
    make = {**ARRAYS, **STREAMS}[kind]
    settings = {"validation_data": make(given), "steps_per_epoch": 16, "verbose": 0}
    history = once.fit(make(given), **settings).history
    found = [history[prefix + "reconstruction"][0] for prefix in ("", "val_")]
    report = once.evaluate(make(given), verbose=0, return_dict=True)
    found.append(report["reconstruction"])
    # A fifth of the pixels is white; one that is not costs 5 nats more.
    expected = 16 * (np.log1p(np.exp(-5)) + 0.8 * 5)
    error = 5 * np.sqrt(16 * 0.2 * 0.8 / 256)
    np.testing.assert_allclose(found, expected, atol=5 * error)
    if kind in ARRAYS:
        white = ops.convert_to_numpy(once(make(given))["x"]).mean()
        assert white == pytest.approx(0.2, abs=error / 5)


WRONG = {
    "floats to 255": (lambda x: x.astype("float32"), r"from \d+.0 to \d+.0 .* astype"),
    "uint16": (lambda x: x.astype("uint16"), "of type uint16, but .* astype"),
    "int32": (lambda x: x.astype("int32"), "of type int32, but .* tf.cast"),
    "complex": (lambda x: x / 255 * 1j, "of type complex"),
    "nan": (lambda x: x * np.float32(np.nan), "from nan to nan"),
    "no batch axis": (lambda x: x.reshape(256, 4), r"must be \(N, 4, 4\)"),
}


@pytest.mark.parametrize("kind", [*ARRAYS, *STREAMS, "array"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_neither_bytes_nor_in_0_1_is_refused(once, images, kind, wrong):
    spoil, message = WRONG[wrong]
    make = {"array": np.asarray, **ARRAYS, **STREAMS}[kind]
    if kind in STREAMS:
        message = "^the first batch of .*" + message
    once.optimizer.iterations.assign(0)
    refused(once, lambda: make(spoil(images)), images, message)
    if kind not in STREAMS:
        x = make(spoil(images))
        for name, use in (
            ("images", once),
            ("x", once.train_on_batch),
            ("x", once.test_on_batch),
        ):
            with pytest.raises(ValueError, match=f"^{name} .*" + message):
                use(x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ma.masked_less(np.eye(4)[None], 0.5), "is a masked array"),
        ({"images": np.zeros((3, 4, 4))}, "is a dict"),
        ("images", "is a str"),
        (0.5, "is a float"),
        ([[1, 2], [3], [4], [5]], "is no array"),
        (iter(()), "without data"),
    ],
)
def test_what_are_no_images_is_refused(once, images, x, message):
    once.optimizer.iterations.assign(0)
    refused(once, lambda: x, images, message)
    with pytest.raises(ValueError, match=r"^images"):
        once(x)


def test_a_fit_of_nothing_is_refused(once):
    for use in (once.fit, once.evaluate):
        with pytest.raises(ValueError, match=r"^x is a NoneType"):
            use()


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_with_labels_or_weights_are_refused(once, images, kind):
    once.optimizer.iterations.assign(0)
    labels = np.zeros(len(images))
    for more in ([labels], [labels, labels]):
        make = functools.partial(STREAMS[kind], images, *more)
        refused(once, make, images, "labels or weights")


@pytest.mark.parametrize("name", ["y", "sample_weight", "class_weight"])
def test_labels_and_weights_are_refused_by_name(once, images, name):
    given = {name: {0: 1.0} if name == "class_weight" else np.ones(64)}
    with pytest.raises(ValueError, match=f"^{name} .* without labels "):
        once.fit(images, **given)
    if name != "class_weight":
        with pytest.raises(ValueError, match=f"^{name} is given"):
            once.evaluate(images, **given)
    if name == "y":
        for use in (once.train_on_batch, once.test_on_batch):
            with pytest.raises(ValueError, match=r"^y is given"):
                use(images, np.ones(64))


def test_weights_of_the_validation_are_refused(once, images):
    ones = np.ones(len(images))
    for given in ((images, ones), (images, None, ones)):
        with pytest.raises(ValueError, match=r"^validation_data has labels or weights"):
            once.fit(images, validation_data=given)


def test_an_iterator_is_looked_at_and_nothing_of_it_is_lost(once, images):
    seen = [batch for (batch,) in once.check_data(generated(images))]
    np.testing.assert_array_equal(np.concatenate(seen), images)
    batches = Batches(images)
    assert once.check_data(batches) is batches


@pytest.mark.one_backend
def test_folders_of_images(once, images, tmp_path):
    """What ``image_dataset_from_directory`` gives, and as its error says to mend it."""
    tf = pytest.importorskip("tensorflow")
    for i, image in enumerate(images[:4]):
        keras.utils.save_img(tmp_path / f"{i}.png", image[..., None], scale=False)
    settings = {"color_mode": "grayscale", "image_size": (4, 4), "verbose": False}
    read = keras.utils.image_dataset_from_directory
    found = read(tmp_path, labels=None, **settings).map(lambda x: x[..., 0])
    with pytest.raises(ValueError, match=r"^the first batch of x runs from"):
        once.check_data(found)
    mended = found.map(lambda x: tf.cast(x, "uint8"))
    assert once.check_data(mended) is mended


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1.5}, "^epochs is 1.5"),
        ({"epochs": True}, "^epochs is True"),
        ({"batch_size": 2.5}, "^batch_size is 2.5"),
        ({"steps_per_epoch": 0}, "^steps_per_epoch is 0"),
        ({"validation_batch_size": "a"}, "^validation_batch_size is 'a'"),
        ({"validation_split": np.nan}, "^validation_split is nan"),
    ],
)
def test_wrong_numbers_are_refused_by_name(once, images, settings, message):
    with pytest.raises(ValueError, match=message):
        once.fit(images, **settings)
    if "batch_size" in settings:
        with pytest.raises(ValueError, match=message):
            once.evaluate(images, **settings)
