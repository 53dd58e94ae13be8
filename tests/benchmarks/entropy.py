"""Time `max_entropy` beside SciPy: ``python tests/benchmarks/entropy.py``.

Every contender solves the same random problems; a round runs one after the other, so
that a busy machine is busy for all. The table gives medians over the rounds. SciPy's
methods are given gradients, Hessians where they take them, features of mean zero and
variance one, and tolerances that ask for a residual of 1e-10 at least, as ours has;
where one stops short of it, the table says so. On a thousand points SLSQP runs once:
it takes minutes.
"""

import statistics
import time
import tracemalloc

from utils.entropy import max_entropy

import numpy as np
from scipy import optimize, special

ROUNDS = 7
GOAL = 1e-10
DUAL = {
    "BFGS": {"gtol": 1e-11},
    "L-BFGS-B": {"ftol": 0.0, "gtol": 1e-12},
    "Newton-CG": {"xtol": 1e-15},
    "trust-exact": {"gtol": 1e-12},
}


def problem(n, m=4):
    """Features of mean zero and variance one, and targets that some p meets."""
    rng = np.random.default_rng(n)
    features = rng.normal(size=(n, m))
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    p = np.exp(features @ rng.normal(scale=0.7, size=m))
    return features, (p / p.sum()) @ features


def residual(p, features, targets):
    gaps = features - targets
    return np.max(np.abs(p @ gaps) / (p @ np.abs(gaps)))


def ours(features, targets):
    return max_entropy(features, targets, rtol=GOAL).probabilities


def slsqp(features, targets):
    """Maximise the entropy over p itself."""
    matrix = np.vstack([np.ones(len(features)), features.T])
    values = np.append(1.0, targets)
    start = np.full(len(features), 1 / len(features))
    found = optimize.minimize(
        lambda p: -special.entr(p).sum(),
        start,
        jac=lambda p: np.log(p) + 1,
        method="SLSQP",
        bounds=optimize.Bounds(1e-15, 1),
        constraints={
            "type": "eq",
            "fun": lambda p: matrix @ p - values,
            "jac": lambda p: matrix,
        },
        options={"ftol": 1e-12, "maxiter": 200},
    )
    return found.x


def dual(method):
    """Minimise log Z(lambda) - lambda.t by one of SciPy's methods."""

    def solve(features, targets):
        gaps = features - targets

        def tilt(multipliers):
            exponents = gaps @ multipliers
            top = exponents.max()
            p = np.exp(exponents - top)
            total = p.sum()
            return top + np.log(total), p / total

        def value_and_gradient(multipliers):
            value, p = tilt(multipliers)
            return value, p @ gaps

        def hessian(multipliers):
            p = tilt(multipliers)[1]
            mean = p @ gaps
            return (gaps * p[:, None]).T @ gaps - np.outer(mean, mean)

        found = optimize.minimize(
            value_and_gradient,
            np.zeros(len(targets)),
            jac=True,
            hess=hessian if method in ("Newton-CG", "trust-exact") else None,
            method=method,
            options=DUAL[method],
        )
        return tilt(found.x)[1]

    return solve


def timed(solve, features, targets):
    start = time.perf_counter()
    p = solve(features, targets)
    return time.perf_counter() - start, residual(p, features, targets)


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def large():
    """Time and peak memory at a million points."""
    features, targets = problem(1_000_000)
    runs = [timed(ours, features, targets) for _ in range(ROUNDS)]
    tracemalloc.start()
    ours(features, targets)
    peak = tracemalloc.get_traced_memory()[1] / features.nbytes
    tracemalloc.stop()
    seconds = statistics.median(run[0] for run in runs)
    row("1,000,000 x 4", "ours", f"{seconds:.2f}", "", f"{runs[0][1]:.0e}")
    row("", f"peak memory: {peak:.1f} times the features'", "", "", "")


def small(n, rounds_of_slsqp):
    """Time beside SciPy."""
    features, targets = problem(n)
    contenders = {"ours": ours}
    contenders |= {f"SciPy {name}, dual": dual(name) for name in DUAL}
    contenders["SciPy SLSQP, primal"] = slsqp
    runs = {name: [] for name in contenders}
    for i in range(ROUNDS):
        for name, solve in contenders.items():
            if solve is not slsqp or i < rounds_of_slsqp:
                runs[name].append(timed(solve, features, targets))
    medians = {n: statistics.median(run[0] for run in r) for n, r in runs.items()}
    for name, seconds in medians.items():
        ratio, reached = seconds / medians["ours"], runs[name][0][1]
        short = "" if reached <= GOAL else ", short"
        size, times = f"{n:,} x 4", f"{ratio:,.1f}"
        row(size, name, f"{seconds:.5f}", times, f"{reached:.0e}{short}")


if __name__ == "__main__":
    row("points x constraints", "solver", "seconds", "times ours", "residual")
    row("---", "---", "---:", "---:", "---")
    large()
    small(100, rounds_of_slsqp=ROUNDS)
    small(1_000, rounds_of_slsqp=1)
