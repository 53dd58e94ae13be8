"""What `bench.py` times, each in a process of its own.

``python contenders.py NAME`` runs one function below and prints what it returns as
JSON. The networks are one: 784-400-20-400-784 with SiLU, minibatches of 128, Adam,
images binarized anew at each use.
"""

import itertools
import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
START = time.perf_counter()
BATCH, HIDDEN, LATENT, EPOCHS = 128, 400, 20, 4


def mnist():
    from utils.datasets import load_mnist

    return load_mnist().train_images


def report(marks, images):
    """Seconds of the first epoch, set-up included, and of the others."""
    first, *others = (b - a for a, b in itertools.pairwise(marks))
    return {
        "since_import": marks[1] - START,
        "first_epoch": first,
        "epochs": others,
        "images": len(images),
    }


def timed_epochs(epoch, images, epochs=EPOCHS):
    marks = [time.perf_counter()]
    for _ in range(epochs):
        epoch(images)
        marks.append(time.perf_counter())
    return report(marks, images)


def timed_fit(fit, images, epochs=EPOCHS):
    """The same for a ``fit`` that runs all epochs, by a Keras callback."""
    import keras

    marks = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: marks.append(time.perf_counter())
    )
    fit(images, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[clock])
    return report(marks, images)


def ours():
    """`VAE.fit` on the bytes."""
    from utils import vae

    import keras

    images = mnist()
    model = vae.VAE(
        vae.dense_encoder((28, 28), LATENT, (HIDDEN,)),
        vae.dense_decoder(LATENT, (28, 28), (HIDDEN,)),
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    return timed_fit(model.fit, images)


def plain_keras(jit_compile, steps_per_execution):
    """The VAE as Keras' documentation would write it, on floats in memory."""
    import keras
    from keras import layers, ops

    class PlainVAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(HIDDEN, "silu")
            self.mean, self.log_var = layers.Dense(LATENT), layers.Dense(LATENT)
            self.back = layers.Dense(HIDDEN, "silu")
            self.logits = layers.Dense(784)
            self.seed = keras.random.SeedGenerator(0)

        def call(self, images):
            uniform = keras.random.uniform(ops.shape(images), seed=self.seed)
            x = ops.cast(uniform < images, "float32")
            h = self.hidden(x)
            mean, log_var = self.mean(h), self.log_var(h)
            noise = keras.random.normal(ops.shape(mean), seed=self.seed)
            z = mean + ops.exp(log_var / 2) * noise
            logits = self.logits(self.back(z))
            log_prob = ops.sum(x * logits - ops.softplus(logits), axis=-1)
            kl = ops.sum(ops.square(mean) + ops.exp(log_var) - log_var - 1, axis=-1)
            return kl / 2 - log_prob

        def compute_loss(self, x=None, y=None, y_pred=None, *_, **__):
            return ops.mean(y_pred)

    images = mnist().reshape(-1, 784).astype("float32") / 255
    model = PlainVAE()
    model.compile(
        keras.optimizers.Adam(1e-3),
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
    )
    return timed_fit(model.fit, images)


def keras_default():
    return plain_keras("auto", 1)


def keras_16():
    return plain_keras(False, 16)


def keras_xla():
    return plain_keras(True, 1)


def keras_xla_16():
    return plain_keras(True, 16)


def torch_loop():
    """The usual loop: a DataLoader over tensors, zero_grad, backward, step."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    images = torch.from_numpy(mnist().reshape(-1, 784).astype("float32") / 255)
    encoder = nn.Sequential(
        nn.Linear(784, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 2 * LATENT)
    )
    decoder = nn.Sequential(
        nn.Linear(LATENT, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 784)
    )
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-3)
    loader = DataLoader(TensorDataset(images), BATCH, shuffle=True)

    def epoch(_):
        for (batch,) in loader:
            x = torch.bernoulli(batch)
            mean, log_var = encoder(x).chunk(2, dim=1)
            z = mean + torch.exp(log_var / 2) * torch.randn_like(mean)
            logits = decoder(z)
            cost = nn.functional.binary_cross_entropy_with_logits(
                logits, x, reduction="sum"
            )
            kl = (mean**2 + log_var.exp() - log_var - 1).sum() / 2
            loss = (cost + kl) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return timed_epochs(epoch, images)


def peak():
    """Single-precision matrix products, GFLOP/s."""
    import numpy as np

    a = np.random.default_rng(0).random((3000, 3000), "float32")
    a @ a
    rates = []
    for _ in range(7):
        begin = time.perf_counter()
        a @ a
        rates.append(2 * 3000**3 / (time.perf_counter() - begin) / 1e9)
    return {"gflops": rates}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
