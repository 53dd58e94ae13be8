"""How the time of `minimize` grows with the number of points, as a Markdown table.

``python tests/benchmarks/functionals.py``: the shortest path from a crooked start, and
the density of largest entropy for a given mean and variance.
"""

import time

from utils.functionals import Functional, minimize, x, y

import sympy

INTERVAL = (-6, 6)


def path(n):
    length = Functional(sympy.sqrt(1 + y(x).diff(x) ** 2), INTERVAL)
    return minimize(length, (0, 2), n=n, start=lambda t: (t + 6) ** 2 / 72)


def density(n):
    entropy = Functional(y(x) * sympy.log(y(x)), INTERVAL)
    moments = [(Functional(x**k * y(x), INTERVAL), v) for k, v in enumerate((1, 0, 1))]
    return minimize(entropy, (None, None), constraints=moments, n=n)


def timed(solve, n):
    start = time.perf_counter()
    found = solve(n)
    return f"{time.perf_counter() - start:.3f} s, {found.iterations} steps"


def main():
    print("| points | arc length | entropy, three constraints |\n|---:|---:|---:|")
    for n in (1_000, 10_000, 100_000, 1_000_000):
        print(f"| {n:,} | {timed(path, n)} | {timed(density, n)} |", flush=True)


if __name__ == "__main__":
    main()
