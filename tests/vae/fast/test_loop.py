"""The loop on the device trains as Keras' own loop does, only faster."""

from utils import vae
from utils.vae.data import Minibatches
from utils.vae.fast import loop
from utils.vae.speed import fast

import keras
import numpy as np
import pytest

if keras.config.backend() != "tensorflow":  # nor import it: that takes seconds
    pytest.skip("the loop is for TensorFlow", allow_module_level=True)
tf = pytest.importorskip("tensorflow")


@pytest.fixture
def train(make_model, images):
    def train(likelihood=None, epochs=3, data=images, **settings):
        keras.utils.set_random_seed(0)
        model = make_model(likelihood=likelihood)
        model.compile(keras.optimizers.SGD(0.003, momentum=0.9), **settings)
        history = model.fit(data, batch_size=10, epochs=epochs, verbose=0).history
        return model, history

    return train


def trainable(model):
    return [np.array(variable) for variable in model.trainable_variables]


@pytest.mark.parametrize(
    ("likelihood", "executions"),
    [(vae.Bernoulli(), (1, 3, 100)), (vae.Gaussian(0.5), (3,))],
    ids=["bernoulli", "gaussian"],
)
def test_it_ends_where_keras_own_loop_ends(train, monkeypatch, likelihood, executions):
    mine = [train(likelihood, steps_per_execution=steps) for steps in executions]
    monkeypatch.setattr(fast, "device_loop", lambda *_, **__: None)
    keras_own, expected = train(likelihood)
    assert keras_own._loop is None
    for model, history in mine:
        assert isinstance(model._loop, loop.DeviceLoop)
        assert model.optimizer.iterations == keras_own.optimizer.iterations == 21
        np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-4)
        for a, b in zip(trainable(model), trainable(keras_own), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_labels_stay_with_their_images(images, monkeypatch):
    labels = np.eye(3, dtype="float32")[np.arange(64) % 3]
    ends = []
    for device_loop in (fast.device_loop, lambda *_, **__: None):
        monkeypatch.setattr(fast, "device_loop", device_loop)
        keras.utils.set_random_seed(0)
        model = vae.VAE(
            vae.dense_encoder((4, 4), 2, (8,), condition_dim=3),
            vae.dense_decoder(2, (4, 4), (8,), condition_dim=3),
            seed=3,
        )
        model.compile(keras.optimizers.SGD(0.003, momentum=0.9))
        model.fit(images, labels, batch_size=10, epochs=3, verbose=0)
        assert (model._loop is None) == bool(ends)
        ends.append(trainable(model))
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_under_xla_it_learns_as_well_and_the_same_twice(train, images):
    _, plain = train(epochs=40)
    model, history = train(epochs=40, jit_compile=True, steps_per_execution=4)
    assert model._loop.key[2] is True
    # Other random numbers than without XLA, hence only about the same loss: the mean
    # of 20 epochs has a standard error of 0.05.
    late, expected = (np.mean(h["loss"][20:]) for h in (history, plain))
    assert late < history["loss"][0] - 1
    assert late == pytest.approx(expected, abs=0.25)
    state = [*model.variables, *model.optimizer.variables]  # seeds are among them
    start, before, ends = [np.array(v) for v in state], trainable(model), []
    for _ in range(2):
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        model.fit(images, batch_size=10, verbose=0)
        ends.append(trainable(model))
    for first, second, old in zip(*ends, before, strict=True):
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, old), "nothing was learnt"


def test_xla_is_for_long_training_of_dense_networks(make_model, images):
    model = make_model()
    model.fit(images, batch_size=32, verbose=0)
    assert model._loop.key[2] is False
    batches = Minibatches((images,), 32, model)
    assert loop.device_loop(model, batches, 10_000).key[2] is True
    conv = vae.VAE(
        vae.conv_encoder((4, 4), 2, (3,), (2,)), vae.conv_decoder(2, (4, 4), (3,), (2,))
    )
    conv.compile("sgd")
    assert loop.device_loop(conv, batches, 10_000).key[2] is False


def test_every_image_is_taken_once_an_epoch(model, images):
    batches = Minibatches((images,), 10, model)
    for _ in range(2):
        batches.on_epoch_begin()
        taken = np.concatenate([batches.take(3) for _ in range(3)])
        assert sorted(taken) == list(range(64))
    assert len(batches.take(3)) == 0


def test_it_is_used_again_until_the_model_is_compiled_anew(model, images):
    loops = []
    for _ in range(2):
        model.fit(images, batch_size=16, verbose=0)
        loops.append(model._loop)
        assert model._loop.batches is None, "the images are let go"
    model.compile(model.optimizer)
    history = model.fit(images, batch_size=16, verbose=0).history
    loops.append(model._loop)
    assert loops[0] is loops[1] is not loops[2]
    assert history["loss"][0] > 0


def test_other_ways_to_train_are_left_alone(model, images):
    model.fit(images, batch_size=16, verbose=0)
    assert np.all(np.isfinite(model.train_on_batch(images[:8])))
    model.fit(images, batch_size=16, steps_per_epoch=2, verbose=0)
    model.fit(images, verbose=0)
    assert model.optimizer.iterations == 4 + 1 + 2 + 2


def test_images_that_do_not_fit_on_the_device_are_streamed(train, monkeypatch):
    """Stands in for a GPU, with room and without."""
    monkeypatch.setattr(loop, "_gpus", lambda: ["a GPU"])
    gathered, gather = [], tf.gather
    monkeypatch.setattr(tf, "gather", lambda *a: gathered.append(1) or gather(*a))
    on_device, _ = train()
    assert gathered
    constant = tf.constant

    def no_room(value, *args):
        if np.ndim(value) == 3 and len(value) == 64:
            raise tf.errors.ResourceExhaustedError(None, None, "no room")
        return constant(value, *args)

    monkeypatch.setattr(tf, "constant", no_room)
    gathered.clear()
    streamed, _ = train()
    assert not gathered
    for a, b in zip(trainable(streamed), trainable(on_device), strict=True):
        np.testing.assert_array_equal(a, b)


def test_many_minibatches_a_call_unless_somebody_listens(
    make_model, images, monkeypatch
):
    calls, call = [], loop.DeviceLoop.__call__
    monkeypatch.setattr(
        loop.DeviceLoop, "__call__", lambda *args: calls.append(1) or call(*args)
    )
    heard, listens = [], keras.callbacks.LambdaCallback
    for callbacks, blocks in [
        ([], 1),
        ([listens(on_epoch_end=lambda epoch, logs: heard.append(logs))], 1),
        ([listens(on_train_batch_end=lambda batch, logs: heard.append(logs))], 7),
    ]:
        model = make_model()
        calls.clear()
        model.fit(images, batch_size=10, verbose=0, callbacks=callbacks)
        assert len(calls) == blocks
        assert model.steps_per_execution == 1
    assert len(heard) == 1 + 7


def test_blocks_leave_validation_and_the_history_as_they_were(make_model, images):
    """Training takes 7 minibatches a call, validation 1: all images are counted."""
    reports, validated = [], []
    count = keras.callbacks.LambdaCallback(
        on_test_batch_end=lambda batch, logs: validated.append(batch)
    )
    listener = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: 0)
    for callbacks in ([], [listener]):
        model = make_model(likelihood=vae.Gaussian(0.5))
        model.set_weights([w * 0 for w in model.get_weights()])
        held_out = np.concatenate([images, np.zeros((300, 4, 4), "uint8")])
        history = model.fit(
            images,
            batch_size=10,
            verbose=0,
            validation_data=(held_out,),
            validation_batch_size=10,
            callbacks=[count, *callbacks],
        ).history
        reports.append(history)
        assert validated == list(range(37)), "one call for each minibatch"
        validated.clear()
        again = model.evaluate(held_out, batch_size=10, verbose=0, return_dict=True)
        assert again["loss"] == pytest.approx(history["val_loss"][0], rel=1e-2)
    for name, values in reports[0].items():
        assert values == pytest.approx(reports[1][name], rel=1e-3), name


def test_a_memmap_is_read_block_by_block(train, images, tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    expected, _ = train()
    monkeypatch.setattr(loop, "BLOCK_BYTES", 30 * 16)  # three minibatches
    streamed, _ = train(data=mapped)
    assert streamed._loop.steps == 3
    for a, b in zip(trainable(streamed), trainable(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_callbacks_hear_of_every_execution(model, images):
    ends = []
    model.compile("sgd", steps_per_execution=3)
    heard = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append((batch, sorted(logs)))
    )
    model.fit(images, batch_size=10, verbose=0, callbacks=[heard])
    assert [batch for batch, _ in ends] == [2, 5, 8]
    assert all(logs == ["kl", "loss", "reconstruction"] for _, logs in ends)


def test_who_listens_to_minibatches():
    calls = keras.callbacks

    class Own(calls.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    class Heir(Own):
        pass

    content = [
        calls.EarlyStopping(),
        calls.ModelCheckpoint("a.keras"),
        calls.BackupAndRestore("folder"),
        calls.LambdaCallback(on_epoch_end=print),
        vae.KLWarmUp(3),
    ]
    assert not loop.hears_minibatches(None)
    assert not loop.hears_minibatches(content)
    assert not loop.hears_minibatches(calls.CallbackList(content))
    for listener in (
        Heir(),
        calls.LambdaCallback(on_train_batch_begin=print),
        calls.ModelCheckpoint("a.keras", save_freq=3),
        calls.TensorBoard(update_freq="batch"),
    ):
        assert loop.hears_minibatches(listener)
        assert loop.hears_minibatches(calls.CallbackList([*content, listener]))
