"""Lesson 5's page with longer training and other seeds: its own cells, up to its score.

Nothing is written twice: the cells are read from the notebook, its settings replaced.
"""

import dataclasses
import json
import time
from pathlib import Path

from utils.datasets import load_svhn

import keras
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import training
from bench import machine

LESSON = Path(__file__).parents[2] / "notebooks" / "05_vae_svhn.ipynb"
LAST = "three = [judge("  # the cell that holds this is the last to run


@dataclasses.dataclass(frozen=True)
class Page:
    """Settings of the lesson that are replaced, and the seeds."""

    seeds: tuple
    settings: dict


PAGES = {
    "house-numbers": Page(
        seeds=(5, 6, 7),
        settings={"shape_epochs": 60, "coupling_epochs": 15, "texture_epochs": 12},
    ),
}


def run(name, seed):
    """Execute the lesson with the settings of one of `PAGES`; return its scores."""
    plt.switch_backend("Agg")  # the pictures are not looked at
    page, lesson = PAGES[name], nbformat.read(LESSON, 4)
    description = training.real(load_svhn()).description
    begin, names = time.perf_counter(), {"__name__": "__main__"}
    for number, cell in enumerate(lesson.cells):
        if cell.cell_type != "code":
            continue
        exec(compile(cell.source, f"<cell {number} of lesson 5>", "exec"), names)
        plt.close("all")
        if "parameters" in cell.metadata.get("tags", []):
            unknown = page.settings.keys() - names.keys()
            assert not unknown, f"the lesson has no setting {unknown}"
            names |= {"seed": seed, "rng": np.random.default_rng(seed), **page.settings}
            keras.utils.set_random_seed(seed)
        if LAST in cell.source:
            break
    bits = {model: names["bits_of"](nats) for model, nats in names["on_test"].items()}
    *rivals, ours = bits
    gains = {m: names["mean_and_error"](bits[m] - bits[ours]) for m in rivals}
    return {
        "experiment": name,
        "seed": seed,
        "bits": {model: float(values.mean()) for model, values in bits.items()},
        "gains": {model: [float(v) for v in pair] for model, pair in gains.items()},
        "frechet": [float(distance) for distance, _ in names["three"]],
        "recognised": [float(share) for _, share in names["three"]],
        "recognised_real": float(names["recognised"]),
        "images": len(names["test"]),
        "importance_samples": names["num_samples"],
        "seconds": time.perf_counter() - begin,
        "settings": json.loads(json.dumps(dataclasses.asdict(page))),
        "machine": {**machine(), "data": description},
    }


def table(record):
    """The README's table, in Markdown."""
    lines = [
        "| lesson 5, longer | best formula | coupling, no latent variables "
        "| shapes and textures | Fréchet distance | recognised | training |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in record:
        *rivals, ours = r["bits"].values()
        _, (gain, error) = r["gains"].values()
        lines.append(
            f"| seed {r['seed']} | {rivals[0]:.3f} | {rivals[1]:.3f} "
            f"| {ours:.3f}, less than the coupling by {gain:.4f} ± {error:.4f} "
            f"| {', '.join(f'{d:.1f}' for d in r['frechet'])} "
            f"| {', '.join(f'{s:.0%}' for s in r['recognised'])} "
            f"(real {r['recognised_real']:.0%}) | {r['seconds']:,.0f} s |"
        )
    return "\n".join(lines) + "\n"
