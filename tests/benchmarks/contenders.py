"""What `bench.py` times, each in a process of its own.

``python contenders.py NAME`` runs one function below and prints what it returns as
JSON. Three networks, each the same for all of its contenders, on images binarized
anew at each use, with Adam and minibatches of 128: ``mlp_`` is 784-400-20-400-784
with SiLU, ``conv_`` the network of the VAE example at keras.io, ``score_`` an
untrained 784-512-512-40.
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


def timed_epochs(epoch, images, epochs):
    marks = [time.perf_counter()]
    for _ in range(epochs):
        epoch(images)
        marks.append(time.perf_counter())
    return report(marks, images)


def timed_fit(fit, images, epochs):
    """The same for a ``fit`` that runs all epochs, by a Keras callback."""
    import keras

    marks = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: marks.append(time.perf_counter())
    )
    fit(images, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[clock])
    return report(marks, images)


def mlp():
    from utils import vae

    encoder = vae.dense_encoder((28, 28), LATENT, (HIDDEN,))
    return encoder, vae.dense_decoder(LATENT, (28, 28), (HIDDEN,))


def conv():
    import keras
    from keras import layers

    x = image = keras.Input((28, 28))
    x = layers.Reshape((28, 28, 1))(x)
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
    x = layers.Dense(16, "relu")(layers.Flatten()(x))
    outputs = [layers.Dense(2, name=name)(x) for name in ("mean", "log_var")]
    x = z = keras.Input((2,))
    x = layers.Reshape((7, 7, 64))(layers.Dense(7 * 7 * 64, "relu")(x))
    for filters in (64, 32):
        x = layers.Conv2DTranspose(filters, 3, 2, "same", activation="relu")(x)
    x = layers.Conv2DTranspose(1, 3, padding="same")(x)
    x = layers.Reshape((28, 28))(x)
    return keras.Model(image, outputs), keras.Model(z, x)


def ours(networks, images, epochs=EPOCHS):
    """`VAE.fit` on the bytes, all settings left alone."""
    from utils import vae

    import keras

    model = vae.VAE(*networks, seed=0)
    model.compile(keras.optimizers.Adam(1e-3))
    return timed_fit(model.fit, images, epochs)


def plain(networks, images, jit_compile, steps_per_execution, epochs=EPOCHS):
    """The VAE as Keras' documentation would write it, on floats in memory."""
    import keras
    from keras import ops

    class PlainVAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = networks
            self.seed = keras.random.SeedGenerator(0)

        def build(self, input_shape):
            self.built = True

        def call(self, images):
            uniform = keras.random.uniform(ops.shape(images), seed=self.seed)
            x = ops.cast(uniform < images, "float32")
            mean, log_var = self.encoder(x)
            noise = keras.random.normal(ops.shape(mean), seed=self.seed)
            logits = self.decoder(mean + ops.exp(log_var / 2) * noise)
            log_prob = ops.sum(x * logits - ops.softplus(logits), axis=(1, 2))
            kl = ops.sum(ops.square(mean) + ops.exp(log_var) - log_var - 1, axis=-1)
            return kl / 2 - log_prob

        def compute_loss(self, x=None, y=None, y_pred=None, *_, **__):
            return ops.mean(y_pred)

    model = PlainVAE()
    model.compile(
        keras.optimizers.Adam(1e-3),
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
    )
    return timed_fit(model.fit, images.astype("float32") / 255, epochs)


def mlp_ours():
    images = mnist()
    return ours(mlp(), images)


def mlp_keras_default():
    return plain(mlp(), mnist(), "auto", 1)


def mlp_keras_16():
    return plain(mlp(), mnist(), False, 16)


def mlp_keras_xla():
    return plain(mlp(), mnist(), True, 1, epochs=2)


def mlp_keras_xla_16():
    return plain(mlp(), mnist(), True, 16, epochs=2)


def conv_ours():
    return ours(conv(), mnist()[:10_000])


def conv_keras_default():
    return plain(conv(), mnist()[:10_000], "auto", 1)


def conv_keras_16():
    return plain(conv(), mnist()[:10_000], False, 16)


def conv_keras_xla():
    return plain(conv(), mnist()[:10_000], True, 1, epochs=3)


def conv_keras_xla_16():
    return plain(conv(), mnist()[:10_000], True, 16, epochs=3)


def to_score():
    from utils import vae
    from utils.datasets import load_mnist

    import keras

    keras.utils.set_random_seed(0)  # one network for both: their estimates agree
    encoder = vae.dense_encoder((28, 28), 40, (512, 512))
    decoder = vae.dense_decoder(40, (28, 28), (512, 512))
    return vae.VAE(encoder, decoder, seed=0), load_mnist().test_images


def score_ours():
    """`log_likelihood`, 500 samples an image."""
    from utils import vae

    model, images = to_score()
    vae.log_likelihood(model, images[:100], num_samples=500, verbose=0)
    begin = time.perf_counter()
    score = vae.log_likelihood(model, images, num_samples=500, verbose=0)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "images": len(images), "mean": score.mean}


def score_plain():
    """The same with ``predict_on_batch`` and NumPy: a minibatch of draws at a time."""
    import numpy as np
    from scipy.special import logsumexp

    model, images = to_score()
    rng = np.random.default_rng(0)

    def score(images, draws=500, size=100):
        estimates = []
        for i in range(0, len(images), size):
            x = (rng.random((size, 28, 28)) < images[i : i + size] / 255).astype("f4")
            mean, log_var = model.encoder.predict_on_batch(x)
            log_w = np.empty((draws, size), "f4")
            for j in range(draws):
                noise = rng.standard_normal(mean.shape, "f4")
                z = mean + np.exp(log_var / 2) * noise
                logits = model.decoder.predict_on_batch(z)
                log_prob = x * logits - np.logaddexp(0, logits)
                ratio = noise**2 - z**2 + log_var
                log_w[j] = log_prob.sum(axis=(1, 2)) + ratio.sum(axis=1) / 2
            estimates.append(logsumexp(log_w, axis=0) - np.log(draws))
        return float(np.mean(estimates))

    score(images[:100], draws=3)
    begin = time.perf_counter()
    mean = score(images)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "images": len(images), "mean": mean}


def growth():
    """Memory, and cost an image, over 630,000 images and over 10,000 of them.

    They are noise, and the encoder is small: what is measured is the way to it.
    """
    import resource

    from utils import vae

    import keras
    import numpy as np

    images = np.empty((630_000, 32, 32, 3), "uint8")
    rng = np.random.default_rng(0)
    for block in np.split(images, 63):
        block[...] = rng.integers(0, 256, block.shape, "uint8")
    networks = (
        vae.dense_encoder((32, 32, 3), 10, (64,)),
        vae.dense_decoder(10, (32, 32, 3), (64,)),
    )
    model = vae.VAE(*networks, seed=0)
    model.compile(keras.optimizers.Adam(1e-4))
    few = timed_fit(model.fit, images[:10_000], epochs=16)  # enough for XLA, too
    many = timed_fit(model.fit, images, epochs=1)
    few_again = timed_fit(model.fit, images[:10_000], epochs=16)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
    epochs = [*few["epochs"], *few_again["epochs"]]
    return {
        "image_bytes": images.nbytes,
        "peak_bytes": peak,
        "microseconds_10000": [seconds / 10_000 * 1e6 for seconds in epochs],
        "microseconds_630000": many["first_epoch"] / 630_000 * 1e6,
    }


def precision(policy):
    """Speed and held-out log-likelihood after some epochs under a dtype policy."""
    from utils import vae
    from utils.datasets import load_mnist

    import keras

    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    train = mnist()[:50_000]
    model = vae.VAE(*mlp(), seed=0)
    model.compile(keras.optimizers.Adam(1e-3))
    result = timed_fit(model.fit, train, epochs=5)
    held_out = load_mnist().train_images[55_000:57_000]
    score = vae.log_likelihood(model, held_out, num_samples=100, verbose=0)
    return {**result, "held_out": score.mean, "error": score.standard_error}


def precision_float32():
    return precision("float32")


def precision_mixed_bfloat16():
    return precision("mixed_bfloat16")


def mlp_torch():
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

    return timed_epochs(epoch, images, EPOCHS)


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
