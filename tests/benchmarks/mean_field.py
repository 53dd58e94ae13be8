"""Time `VariationalGaussianMixture` beside scikit-learn's estimator of the same model.

``python tests/benchmarks/mean_field.py`` prints a Markdown table. Both fit the same
data from the same random responsibilities for the same number of iterations, in turn.
A fit of n iterations makes n + 1 passes over the data, ours for the start, theirs for
the labels. Seconds a pass are medians over the rounds: by the clock, each with all its
threads, which wants a machine that is idle; and of one core, each with one thread,
which other programs slow less. Peak memory, of one more run, is what a fit needs beside
the data. The last column says that both did the same: the largest difference between
their responsibilities.
"""

import statistics
import time
import tracemalloc
import warnings

from utils.mean_field import VariationalGaussianMixture

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture
from threadpoolctl import threadpool_limits
from tqdm import tqdm

# Points, features, components, iterations, rounds
CASES = [
    (100_000, 16, 20, 4, 5),
    (10_000, 16, 20, 4, 5),
    (300_000, 16, 20, 1, 1),
    (100_000, 16, 5, 2, 3),
    (50_000, 16, 80, 1, 1),
    (100_000, 4, 20, 1, 3),
    (20_000, 64, 20, 1, 1),
]


def data(n, d, k):
    """Gaussian clusters that overlap."""
    rng = np.random.default_rng(0)
    X = rng.normal(scale=2, size=(k, d))[rng.integers(k, size=n)]
    X += rng.normal(size=(n, d))
    return X


def contenders(k, iterations):
    same = {
        "n_components": k,
        "init_params": "random",
        "random_state": 0,
        "max_iter": iterations,
        "tol": 0,
        "reg_covar": 0,
    }
    theirs = BayesianGaussianMixture(
        weight_concentration_prior_type="dirichlet_distribution", **same
    )
    return {"ours": VariationalGaussianMixture(**same), "scikit-learn": theirs}


def seconds(model, X):
    """By the clock, and of the core with one thread."""
    start = time.perf_counter()
    model.fit(X)
    clock = time.perf_counter() - start
    with threadpool_limits(1):
        start = time.process_time()
        model.fit(X)
        core = time.process_time() - start
    return clock / (model.n_iter_ + 1), core / (model.n_iter_ + 1)


def peak(model, X):
    tracemalloc.start()
    model.fit(X)
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size / 1e6


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def case(n, d, k, iterations, rounds):
    X, models = data(n, d, k), contenders(k, iterations)
    size = f"{n:,} x {d}, {k}"
    runs = {name: [] for name in models}
    for _ in tqdm(range(rounds), desc=size, unit="round", leave=False):
        for name, model in models.items():
            runs[name].append(seconds(model, X))
    ours, theirs = (
        [statistics.median(times) for times in zip(*pairs, strict=True)]
        for pairs in runs.values()
    )
    first, second = (model.predict_proba(X[:10_000]) for model in models.values())
    ours.append(peak(models["ours"], X))
    theirs.append(peak(models["scikit-learn"], X))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    row(size, "ours", f"{ours[0]:.4f}", f"{ours[1]:.4f}", f"{ours[2]:.0f}", "")
    row("", "theirs", f"{theirs[0]:.4f}", f"{theirs[1]:.4f}", f"{theirs[2]:.0f}", "")
    gap = np.abs(first - second).max()
    row("", "theirs / ours", *(f"{ratio:.1f}" for ratio in ratios), f"{gap:.0e}")


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    clock, core = "seconds a pass", "of one core"
    row("points x features, components", "fit", clock, core, "peak MB", "differ by")
    row("---", "---", "---:", "---:", "---:", "---:")
    for sizes in CASES:
        case(*sizes)


if __name__ == "__main__":
    main()
