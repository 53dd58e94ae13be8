"""Reach the papers' figures: ``make results``. Hours; stop it and go on at will.

The protocol is that of Burda, Grosse and Salakhutdinov (2016): MNIST binarized anew
at each use, all 60,000 training images, the test set scored once, by importance
sampling with 5,000 samples an image. Choices were made with ``--validation``, which
trains on 50,000 images and scores the other 10,000 with 500 samples.

What is done is kept in `results.json` beside this file, and is not done again; what
is under way in `build/results`. The README's table is written from the former.
"""

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

from utils import vae
from utils.datasets import load_mnist

import house_numbers
import keras
import numpy as np
import posts
import training
from bench import machine, write_readme

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORD = HERE / "results.json"
SHAPE = (28, 28)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A model, how it is trained, and the published figure to compare with."""

    title: str
    paper: str
    epochs: int
    num_samples: int = 1
    hidden_units: tuple = (512, 512)
    latent_dim: int = 40
    activation: str = "silu"
    batch_size: int = 200
    learning_rate: float = 3e-3
    second_layer: tuple = ()  # its hidden units, then its number of variables
    start: str = ""  # experiment whose weights it goes on from
    seeds: tuple = (0, 1)
    importance_samples: int = 5000

    def build(self, train, seed):
        """Build the model, compiled with a learning rate that climbs, then falls."""
        keras.utils.set_random_seed(seed)
        mean_image = train.mean(axis=0) / 255
        networks = {"hidden_units": self.hidden_units, "activation": self.activation}
        model = vae.VAE(
            vae.dense_encoder(SHAPE, self.latent_dim, **networks),
            vae.dense_decoder(
                self.latent_dim, SHAPE, mean_image=mean_image, **networks
            ),
            prior=self.prior(),
            num_samples=self.num_samples,
            seed=seed,
        )
        steps = self.epochs * math.ceil(len(train) / self.batch_size)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            steps,
            warmup_target=self.learning_rate,
            warmup_steps=steps // 20,
            alpha=0.003,
        )
        model.compile(keras.optimizers.Adam(rate))
        return model

    def prior(self):
        """Build the second stochastic layer, if there is one."""
        if not self.second_layer:
            return None
        *hidden_units, size = self.second_layer
        return vae.HierarchicalPrior(
            vae.dense_encoder((self.latent_dim,), size, hidden_units, self.activation),
            vae.dense_encoder((size,), self.latent_dim, hidden_units, self.activation),
        )


EXPERIMENTS = {
    "vae": Experiment("VAE, one stochastic layer, k = 1", "86.76", epochs=150),
    "iwae": Experiment(
        "the same, then importance-weighted with k = 8",
        "84.78 (k = 50)",
        epochs=30,
        num_samples=8,
        learning_rate=1e-3,
        start="vae",
    ),
    "two-layers": Experiment(
        "the same, then with a second stochastic layer, k = 8",
        "82.90 (k = 50)",
        epochs=60,
        num_samples=8,
        learning_rate=1e-3,
        second_layer=(200, 200, 50),
        start="iwae",
    ),
}
for size, bound in {3: 133.3, 5: 118.7, 10: 103.2, 20: 99.4, 200: 99.3}.items():
    EXPERIMENTS[f"latent-{size}"] = Experiment(
        f"ELBO with {size} latent variables",
        f"{bound} (read off a figure)",
        epochs=60,
        hidden_units=(500,),
        latent_dim=size,
        activation="tanh",
        batch_size=100,
        learning_rate=1e-3,
        seeds=(0,),
        importance_samples=1,
    )


def settings_of(experiment):
    """All settings, as JSON keeps them."""
    return json.loads(json.dumps(dataclasses.asdict(experiment)))


def trained(name, seed, images, folder):
    """Return the model of an experiment, trained unless that is done, and seconds."""
    experiment = EXPERIMENTS[name]
    model, before = experiment.build(images, seed), 0.0
    if experiment.start:
        start, before = trained(experiment.start, seed, images, folder)
        for part in ("encoder", "decoder"):  # a new second layer starts afresh
            getattr(model, part).set_weights(getattr(start, part).get_weights())
    folder, settings = folder / f"{name}-{seed}", settings_of(experiment)
    seconds = training.train(model, images, folder, settings, f"{name}, seed {seed}")
    return model, before + seconds


def run(name, seed, images, held_out, folder, most_samples=math.inf):
    """Train, unless that is done, and score."""
    num_samples = min(EXPERIMENTS[name].importance_samples, most_samples)
    model, seconds = trained(name, seed, images, folder)
    report = model.evaluate(held_out, batch_size=500, verbose=0, return_dict=True)
    begin = time.perf_counter()
    score = vae.log_likelihood(
        model, held_out, num_samples=num_samples, seed=seed, verbose=1
    )
    return {
        "experiment": name,
        "seed": seed,
        "elbo": -(report["reconstruction"] + report["kl"]),
        "kl": report["kl"],
        "log_likelihood": score.mean,
        "standard_error": score.standard_error,
        "monte_carlo_error": score.monte_carlo_error,
        "shortfall": score.shortfall,
        "importance_samples": score.num_samples,
        "images": len(held_out),
        "active_units": int(vae.active_units(model, held_out).sum()),
        "parameters": int(sum(math.prod(v.shape) for v in model.trainable_variables)),
        "training_seconds": seconds,
        "scoring_seconds": time.perf_counter() - begin,
        "settings": settings_of(EXPERIMENTS[name]),
        "machine": machine(),
    }


def table(record):
    """The README's table, in Markdown."""
    lines = [
        "| model | here, each seed | paper | training | parameters |",
        "|---|---|---|---|---|",
    ]
    for name, experiment in EXPERIMENTS.items():
        runs = [r for r in record if r["experiment"] == name]
        if not runs:
            continue
        if experiment.importance_samples > 1:
            scores = [f"{-r['log_likelihood']:.2f}" for r in runs]
            scores[-1] += f" ± {runs[-1]['standard_error']:.2f}"
        else:
            scores = [f"{-r['elbo']:.2f}" for r in runs]
        seconds = ", ".join(f"{r['training_seconds']:,.0f} s" for r in runs)
        lines.append(
            f"| {experiment.title} | {', '.join(scores)} | {experiment.paper} "
            f"| {seconds} | {runs[0]['parameters']:,} |"
        )
    computer = record[-1]["machine"]
    lines += [
        "",
        posts.table([r for r in record if r["experiment"] in posts.POSTS]),
    ]
    pages = [r for r in record if r["experiment"] in house_numbers.PAGES]
    if pages:
        lines.append(house_numbers.table(pages))
    lines += [
        f"{computer['cores']} cores, {computer['processor']}. Settings and every other "
        "number are in [results.json](tests/benchmarks/results.json).",
    ]
    return "\n".join(lines) + "\n"


def draw(record, file):
    """The bound for each number of latent variables, beside the published one."""
    from utils import plotting

    import matplotlib.pyplot as plt

    runs = [r for r in record if r["experiment"].startswith("latent-")]
    if not runs:
        return
    runs.sort(key=lambda r: r["settings"]["latent_dim"])
    plotting.use_style()
    sizes = [r["settings"]["latent_dim"] for r in runs]
    paper = [float(r["settings"]["paper"].split()[0]) for r in runs]
    figure, ax = plt.subplots()
    ax.plot(sizes, [r["elbo"] for r in runs], "o-", label="here")
    ax.plot(sizes, -np.array(paper), "s--", label="Kingma and Welling (2014), Fig. 2")
    ax.set(xscale="log", xlabel="latent variables", ylabel="test ELBO (nats per image)")
    ax.set_xticks(sizes, sizes)
    ax.legend()
    figure.savefig(file)


def write(record):
    temporary = RECORD.with_suffix(".part")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    temporary.replace(RECORD)
    write_readme("results", table(record))
    draw(record, HERE / "latent_sizes.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--validation", action="store_true", help="score on 10,000")
    parser.add_argument("names", nargs="*", metavar="experiment")
    arguments = parser.parse_args()
    mnist = training.real(load_mnist())
    record = json.loads(RECORD.read_text()) if RECORD.exists() else []
    plans = {**EXPERIMENTS, **posts.POSTS, **house_numbers.PAGES}
    for name in arguments.names or plans:
        plan = plans[name]
        for seed in getattr(plan, "seeds", (0,)):
            key = name, seed, settings_of(plan)
            if any((r["experiment"], r["seed"], r["settings"]) == key for r in record):
                continue
            folder = ROOT / "build" / "results"
            if name in posts.POSTS:
                result = posts.run(name, folder / name, seed)
            elif name in house_numbers.PAGES:
                result = house_numbers.run(name, seed)
            elif arguments.validation:
                mixed = np.random.default_rng(0).permutation(mnist.train_images)
                folder = folder / "validation"
                result = run(name, seed, mixed[:50_000], mixed[50_000:], folder, 500)
                print(json.dumps(result, indent=1))
                continue
            else:
                result = run(name, seed, mnist.train_images, mnist.test_images, folder)
            record = [r for r in record if (r["experiment"], r["seed"]) != key[:2]]
            record.append(result)
            write(record)


if __name__ == "__main__":
    main()
