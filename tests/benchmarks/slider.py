"""Time how long a hand on a slider waits: ``python tests/benchmarks/slider.py``.

Prints, for two axes with two curves each, milliseconds per move: of the processor,
whatever else runs, and of the clock. A tenth of a second is felt as at once.
"""

import statistics
import time

from utils import plotting

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

MOVES = 30


def draw(phase):
    _, axes = plt.subplots(1, 2, figsize=(9, 3))
    t = np.linspace(0, 6, 200)
    for ax in axes:
        plotting.densities(t, {"wave": np.sin(t + phase), "t": t}, ax=ax)


def main():
    mpl.use("agg")
    plotting.use_style()
    slider = plotting.sliders(draw, phase=(0, MOVES, 1, 0)).children[0]
    for name, clock in (("processor", time.process_time), ("clock", time.monotonic)):
        taken = []
        for phase in range(1, MOVES + 1):
            begin = clock()
            slider.value = phase
            taken.append(1000 * (clock() - begin))
        middle, least, most = statistics.median(taken), min(taken), max(taken)
        print(f"{name}: {middle:.0f} ms a move, from {least:.0f} to {most:.0f}")
        slider.value = 0


if __name__ == "__main__":
    main()
