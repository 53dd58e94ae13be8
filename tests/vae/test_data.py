"""What `fit`, `evaluate` and the call are given: taken for what it is, or refused."""

import re

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
    """One model for all, so that it is traced once."""
    from utils import vae

    decoder = vae.dense_decoder(2, (4, 4), (8,))
    model = vae.VAE(vae.dense_encoder((4, 4), 2, (8,)), decoder, seed=0)
    model.compile(keras.optimizers.SGD(0.0))
    return model


def uses(model, x, images, streams=True):
    """Every way to hand `x` over, and the name by which an error calls it."""
    yield "x", lambda: model.fit(x(), verbose=0)
    yield "validation_data", lambda: model.fit(images, validation_data=x(), verbose=0)
    yield "x", lambda: model.evaluate(x(), verbose=0)
    if not streams:
        yield "validation_data", lambda: model.fit(images, validation_data=(x(),))
        yield "images", lambda: model(x())


@pytest.mark.parametrize("kind", [*ARRAYS, *STREAMS])
def test_bytes_are_bytes_however_they_come(once, images, kind):
    """All of one grey: each way, the average image has as many white pixels."""
    given = np.full((256, 4, 4), 51, "uint8")
    make = {**ARRAYS, **STREAMS}[kind]
    once.decoder.set_weights([0 * w for w in once.decoder.get_weights()])
    once.decoder.get_layer("logits").bias.assign(np.full(16, 5.0))
    losses = [
        once.fit(make(given), verbose=0).history["reconstruction"][0],
        once.fit(given, validation_data=make(given), verbose=0).history[
            "val_reconstruction"
        ][0],
        once.evaluate(make(given), verbose=0, return_dict=True)["reconstruction"],
    ]
    if kind in ARRAYS:
        x = ops.convert_to_numpy(once(make(given))["x"])
        losses.append(16 * np.log1p(np.exp(-5)) + 5 * (1 - x).sum() / 256)
    # A fifth of the pixels is white; a white one costs log(1 + e^-5), another 5 more.
    expected = 16 * (np.log1p(np.exp(-5)) + 0.8 * 5)
    error = 5 * np.sqrt(16 * 0.2 * 0.8 / 256)
    np.testing.assert_allclose(losses, expected, atol=5 * error)
