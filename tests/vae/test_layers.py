from utils import vae

import keras
import numpy as np
from keras import ops
from scipy import stats


def draw(mean, log_var, size=40_000, seed=0):
    shape = (size, len(mean))
    parameters = [np.broadcast_to(a, shape).astype("float32") for a in (mean, log_var)]
    return ops.convert_to_numpy(vae.Sampling(seed)(parameters))


def test_draws_follow_the_gaussian_they_should():
    z = draw([1.0, -2.0], [-2.0, 1.0])
    for j, (mean, log_var) in enumerate([(1.0, -2.0), (-2.0, 1.0)]):
        law = stats.norm(mean, np.exp(log_var / 2))
        assert stats.kstest(z[:, j], law.cdf).pvalue > 1e-3


def test_latent_variables_are_drawn_independently():
    z = draw([0.0, 0.0], [0.0, 0.0])
    assert abs(np.corrcoef(z.T)[0, 1]) < 5 / np.sqrt(len(z))


def test_each_call_draws_anew_and_each_seed_repeats():
    layer, pair = vae.Sampling(7), (ops.zeros((3, 2)), ops.zeros((3, 2)))
    first, second = (ops.convert_to_numpy(layer(pair)) for _ in range(2))
    assert not np.allclose(first, second)
    again = ops.convert_to_numpy(vae.Sampling(7)(pair))
    np.testing.assert_array_equal(first, again)


def test_sampling_survives_serialization():
    layer = vae.Sampling(7)
    config = keras.saving.serialize_keras_object(layer)
    twin = keras.saving.deserialize_keras_object(config)
    pair = (ops.zeros((3, 2)), ops.zeros((3, 2)))
    np.testing.assert_array_equal(
        *(ops.convert_to_numpy(s(pair)) for s in (layer, twin))
    )
