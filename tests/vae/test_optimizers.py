"""The fused Adam takes the steps of Keras' own, and saves and resumes like it."""

from utils import vae

import keras
import numpy as np
import pytest

SETTINGS = [
    {},
    {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    {"weight_decay": 0.1, "clipnorm": 0.5},
    {"amsgrad": True},
]


def trained(make_model, images, optimizer):
    keras.utils.set_random_seed(0)
    model = make_model()
    start = [np.array(v) for v in model.trainable_variables]
    model.compile(optimizer)
    model.fit(images, batch_size=16, epochs=5, verbose=0)
    return start, [np.array(v) for v in model.trainable_variables]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_its_steps_are_those_of_keras(make_model, images, settings):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.02, 5, 0.5)
    start, expected = trained(
        make_model, images, keras.optimizers.Adam(schedule, **settings)
    )
    _, weights = trained(make_model, images, vae.Adam(schedule, **settings))
    for before, mine, theirs in zip(start, weights, expected, strict=True):
        assert np.abs(theirs - before).max() > 1e-3
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_a_saved_model_carries_its_state(make_model, images, tmp_path):
    model = make_model()
    model.compile(vae.Adam(0.01, beta_2=0.9))
    model.fit(images, batch_size=16, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is vae.Adam
    assert loaded.optimizer.beta_2 == 0.9
    for mine, theirs in zip(
        model.optimizer.variables, loaded.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(np.array(mine), np.array(theirs))
