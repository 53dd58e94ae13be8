"""The networks of the two posts on VAEs, at a size that a laptop trains in minutes.

Each is trained twice: with the posts' slip, which multiplies the noise by the variance
where the standard deviation belongs, and without. With the slip, the loss that is
printed bounds nothing; what its weights are worth is their loss without it.
"""

import dataclasses
import json

from utils import vae
from utils.datasets import load_mnist, load_svhn

import keras
import numpy as np
import training
from bench import machine
from keras import layers, ops
from sklearn.decomposition import PCA


class SlippedDraw(vae.DiagonalGaussian):
    """The posts' draw: mean + exp(log_var) * noise."""

    def draw(self, parameters, noise):
        mean, log_var = parameters
        return super().draw([mean, 2 * log_var], noise)

    def kl_terms(self, parameters, prior):
        return vae.DiagonalGaussian().kl_terms(parameters, prior)


class Grey(vae.Bernoulli):
    """The first post's likelihood: grey values in the place of ones and zeros."""

    def observe(self, images, seed):
        return vae.Likelihood.observe(self, images, seed)


class RectifiedVariance(vae.Likelihood):
    """The second post's: a Gaussian whose variance is a ReLU plus a floor."""

    floor = 0.01

    def log_prob(self, x, decoded):
        mean, raw = decoded[..., 0, :], decoded[..., 1, :]
        variance = ops.relu(raw) + self.floor
        square = ops.square(x - mean) / variance
        return -0.5 * ops.sum(square + ops.log(2 * np.pi * variance), axis=-1)


def mnist():
    data = training.real(load_mnist())
    return data.train_images, data.test_images, data.description


def svhn_components():
    """500 principal components of the training images, as the post scales them."""
    data = training.real(load_svhn())
    train, test = (
        images.reshape(len(images), -1) / np.float32(255)
        for images in (data.train_images, data.test_images)
    )
    components = PCA(500, svd_solver="covariance_eigh").fit(train)
    return components.transform(train), components.transform(test), data.description


def convolutional(channels, latent_dim):
    """Three convolutions, the first with step 2, a dense layer, and the way back."""
    shape, channels, strides = (28, 28), (channels,) * 3, (2, 1, 1)
    return (
        vae.conv_encoder(shape, latent_dim, channels, strides, activation="relu"),
        vae.conv_decoder(latent_dim, shape, channels, strides[::-1], activation="relu"),
        Grey(),
    )


def deep(units, latent_dim, dropout=0.2):
    """Dense layers with batch normalization, ReLU and dropout: 5 down and 6 up."""

    def hidden(x, depth):
        for _ in range(depth):
            x = layers.BatchNormalization()(layers.Dense(units, use_bias=False)(x))
            x = layers.Dropout(dropout)(layers.ReLU()(x))
        return x

    x, z = keras.Input((500,)), keras.Input((latent_dim,))
    heads = [layers.Dense(latent_dim)(hidden_x) for hidden_x in [hidden(x, 5)] * 2]
    decoded = layers.Reshape((2, 500))(layers.Dense(1000)(hidden(z, 6)))
    return keras.Model(x, heads), keras.Model(z, decoded), RectifiedVariance()


@dataclasses.dataclass(frozen=True)
class Post:
    """A network of a post, how it is trained here, and what the post printed."""

    title: str
    printed: float
    data: str
    build: str
    size: tuple
    epochs: int
    batch_size: int
    optimizer: dict

    def model(self, slip, seed):
        keras.utils.set_random_seed(seed)
        encoder, decoder, likelihood = globals()[self.build](*self.size)
        posterior = SlippedDraw() if slip else None
        model = vae.VAE(encoder, decoder, likelihood, posterior=posterior, seed=seed)
        model.compile(keras.optimizers.get(self.optimizer))
        return model


POSTS = {
    "post-mnist": Post(
        "MNIST, grey: convolutions of 16 channels (the post: 64), 10 epochs (20)",
        86.71,
        data="mnist",
        build="convolutional",
        size=(16, 64),
        epochs=10,
        batch_size=200,
        optimizer={"class_name": "RMSprop", "config": {"learning_rate": 1e-3}},
    ),
    "post-svhn": Post(
        "SVHN sample, 500 components: 11 layers of 512 units (the post: 2,048), "
        "128 latent variables (512), 100 epochs (up to 2,000)",
        -97.17,
        data="svhn_components",
        build="deep",
        size=(512, 128),
        epochs=100,
        batch_size=100,
        optimizer={"class_name": "Adam", "config": {"learning_rate": 1e-4}},
    ),
}


def run(name, folder, seed=0):
    """Train one of `POSTS`, slipped and mended, and report both."""
    post = POSTS[name]
    settings = json.loads(json.dumps(dataclasses.asdict(post)))
    train, held_out, description = globals()[post.data]()
    result = {"experiment": name, "seed": seed, "images": len(held_out)}
    for variant in ("slipped", "mended"):
        model = post.model(variant == "slipped", seed)
        # As a tensor, which `fit` takes as it is: components are no images.
        images = train if train.dtype == np.uint8 else ops.convert_to_tensor(train)
        title = f"{name}, {variant}"
        seconds = training.train(model, images, folder / variant, settings, title)
        loss = {"printed": evaluate(model, held_out)["loss"]}
        model = vae.VAE(model.encoder, model.decoder, model.likelihood, seed=seed)
        model.compile()
        loss |= {"mended": evaluate(model, held_out)["loss"], "seconds": seconds}
        result[variant] = loss
    return {
        **result,
        "parameters": model.count_params(),
        "settings": settings,
        "machine": {**machine(), "data": description},
    }


def evaluate(model, images):
    return model.evaluate(images, batch_size=500, verbose=0, return_dict=True)


def table(record):
    """The README's table, in Markdown."""
    lines = [
        "| network of the post | loss with its slip | same weights, mended | "
        "mended from the start | the post, its data | training |",
        "|---|---|---|---|---|---|",
    ]
    for r in record:
        slipped, mended = r["slipped"], r["mended"]
        lines.append(
            f"| {r['settings']['title']} | {slipped['printed']:.2f} "
            f"| {slipped['mended']:.2f} | {mended['mended']:.2f} "
            f"| {r['settings']['printed']:.2f} "
            f"| {slipped['seconds']:,.0f} s, {mended['seconds']:,.0f} s |"
        )
    return "\n".join(lines) + "\n"
