"""In a process of its own: what is imported, and training on several devices.

By TensorFlow's own distribution. One process answers both, as to start it takes longer.
"""

import json
import os
import subprocess
import sys

from utils.vae.speed import fast

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's distribution", allow_module_level=True)

# Two processors, made of one, must be set up before TensorFlow looks for devices.
SCRIPT = """
import json
import sys

import utils.checks, utils.datasets, utils.plotting, utils.presets

heavy = {"keras", "tensorflow", "jax", "torch"} & set(sys.modules)

from utils import vae
from utils.vae import random

print("imported", file=sys.stderr, flush=True)

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])
rng = np.random.default_rng(0)
kinds = rng.integers(0, 2, (8, 8, 8)) * 200 + 25
# In the last minibatch is one image, and for the second device none. Few epochs, as to
# begin one takes as long as thirty steps.
train, held_out = (kinds[rng.integers(0, 8, n)].astype("uint8") for n in (9801, 1001))
reports = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy()):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = vae.VAE(
            vae.dense_encoder((8, 8), 4, (32,)), vae.dense_decoder(4, (8, 8), (32,))
        )
        rate = keras.optimizers.schedules.CosineDecay(1e-2, 200)
        model.compile(keras.optimizers.Adam(rate))
    stop = keras.callbacks.EarlyStopping(patience=10)
    validation = {"validation_data": (held_out,), "validation_batch_size": 100}
    training = {"epochs": 4, "callbacks": [stop], "verbose": 0, **validation}
    history = model.fit(train, None, 200, **training).history
    score = vae.log_likelihood(model, held_out, num_samples=100, verbose=0)

    @tf.function
    def draw():
        return strategy.run(lambda: random.uniform((9,), model.seed_generator))

    draws = strategy.experimental_local_results(draw())
    reports.append({
        "devices": len(draws),
        "streams": len({draw.numpy().tobytes() for draw in draws}),
        "steps": int(keras.ops.convert_to_numpy(model.optimizer.iterations)),
        "best": stop.best,
        "least": min(history["val_loss"]),
        "mean": score.mean,
        "standard_error": score.standard_error,
        **{name: values[-1] for name, values in history.items()},
    })
keep = keras.callbacks.ModelCheckpoint(sys.argv[1])
model.fit(train[:2001], None, 100, callbacks=[keep, vae.KLWarmUp(3)], verbose=0)
loaded = keras.saving.load_model(sys.argv[1])
means = [a.encode((held_out > 99).astype("float32"))[0] for a in (model, loaded)]
saved = {"moved": float(abs(means[0] - means[1]).max())}
saved["betas"] = [float(v.numpy()) for v in (loaded.beta, model.kl_share)]
with strategy.scope():
    flow, vamp = vae.FlowPosterior(4, 2, (8,), 2), vae.VampPrior(train[:5])
    rich = vae.VAE(
        vae.dense_encoder((8, 8), 4, (32,), posterior=flow),
        vae.dense_decoder(4, (8, 8), (32,), condition_dim=3),
        posterior=flow,
        prior=vamp,
    )
    rich.compile(keras.optimizers.Adam(1e-2))
few, labels = train[:3201], np.eye(3, dtype="float32")[np.arange(3201) % 3]
saved["rich"] = rich.fit(few, labels, 200, epochs=2, verbose=0).history["loss"]
print(json.dumps([*reports, saved, sorted(heavy)]))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT,
            str(tmp_path_factory.mktemp("a") / "best.keras"),
        ],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return *json.loads(run.stdout.splitlines()[-1]), run.stderr


def test_keras_is_loaded_late_and_stderr_left_empty(answers):
    *_, heavy, stderr = answers
    assert heavy == []
    if fast:
        assert stderr.startswith("imported\n")


def test_two_devices_reach_what_one_reaches(answers):
    one, two, saved, *_ = answers
    assert (one["devices"], two["devices"]) == (1, 2)
    assert two["streams"] == 2, "each device draws its own noise"
    assert one["steps"] == two["steps"] == 200
    for report in (one, two):
        assert report["best"] == report["least"], "no loss is NaN"
    assert saved["moved"] < 1e-4
    assert saved["betas"] == [1, 1], "the warm-up is not saved, and is over"
    first, last = saved["rich"]  # a flow, a VampPrior and labels
    assert 20 < last < first < 44.4
    error = (one["standard_error"] ** 2 + two["standard_error"] ** 2) ** 0.5
    assert abs(one["mean"] - two["mean"]) < 3 * error
    assert two["mean"] > -28, "a coin for every pixel scores -44.4"
    # Binarized anew, an image's loss has a deviation of about 5 nats: means of 1,001
    # images differ by 0.24 from run to run, those of an epoch of training by less.
    for prefix, noise in (("", 0.4), ("val_", 1.0)):
        parts = two[prefix + "reconstruction"] + two[prefix + "kl"]
        assert two[prefix + "loss"] == pytest.approx(parts, rel=1e-5)
        assert two[prefix + "loss"] == pytest.approx(one[prefix + "loss"], abs=noise)
