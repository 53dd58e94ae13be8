from utils import vae
from utils.vae import random, training
from utils.vae.speed import fast

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def seeded_keras():
    keras.utils.set_random_seed(0)


@pytest.fixture(params=["as it is", "without fast"])
def with_and_without_fast(request, monkeypatch):
    """As if the folder were deleted: `test_backends.py` deletes it, on JAX."""
    if request.param == "without fast":
        if not fast:
            pytest.skip("it is not there")
        for module in (random, training):
            monkeypatch.setattr(module, "fast", None)


@pytest.fixture
def images():
    """64 byte images of 4x4 pixels, bright on the left."""
    rng = np.random.default_rng(1)
    brightness = np.linspace(220, 20, 4)
    return rng.poisson(brightness, (64, 4, 4)).clip(0, 255).astype("uint8")


@pytest.fixture
def make_model():
    def make(latent_dim=2, seed=3, **settings):
        encoder = vae.dense_encoder((4, 4), latent_dim, (8,))
        link = getattr(settings.get("likelihood"), "link", "logit")
        decoder = vae.dense_decoder(latent_dim, (4, 4), (8,), link=link)
        model = vae.VAE(encoder, decoder, seed=seed, **settings)
        model.compile(keras.optimizers.SGD(0.003, momentum=0.9))
        return model

    return make


@pytest.fixture
def model(make_model):
    return make_model()
