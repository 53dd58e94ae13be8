"""Time `VAE.fit` beside what people use otherwise: ``make bench``.

Every contender runs in a fresh process; a round runs all of them one after the other,
so that a busy machine is busy for all. The table gives medians over the rounds, and
`bench.json` beside this file keeps every number with the machine it comes from.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

HERE = Path(__file__).parent
CONTENDERS = (
    "peak",
    "ours",
    "torch_loop",
    "keras_default",
    "keras_16",
    "keras_xla",
    "keras_xla_16",
)
MEGAFLOP_PER_IMAGE = 3.3  # forward, and backward without the gradient of the input


def run(contender):
    done = subprocess.run(
        [sys.executable, HERE / "contenders.py", contender],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{contender} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def data():
    """What the contenders train on: stand-ins say so."""
    from utils.datasets import load_mnist

    mnist = load_mnist()
    return mnist.notice or mnist.description


def machine():
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line for line in lines if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    packages = ("tensorflow", "keras", "numpy", "torch")
    return {
        "date": datetime.date.today().isoformat(),
        "data": data(),
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def rate(result):
    return result["images"] / statistics.median(result["epochs"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    rounds = parser.parse_args().rounds
    results = {name: [] for name in CONTENDERS}
    with tqdm(total=rounds * len(CONTENDERS)) as bar:
        for _ in range(rounds):
            for name in CONTENDERS:
                bar.set_description(name)
                results[name].append(run(name))
                bar.update()
    peak = statistics.median(g for r in results["peak"] for g in r["gflops"])
    trained = {name: results[name] for name in CONTENDERS if name != "peak"}
    rates = {k: statistics.median(map(rate, v)) for k, v in trained.items()}
    starts = {
        name: statistics.median(r["since_import"] for r in runs)
        for name, runs in trained.items()
    }
    record = {"machine": machine()}
    print(record["machine"]["data"])
    print(f"MLP 784-400-20, minibatches of 128, medians of {rounds} rounds")
    print(f"matrix-product peak {peak:.0f} GFLOP/s\n")
    print("contender       images/s  of the peak  ours is  import to first epoch")
    for name, images in sorted(rates.items(), key=lambda item: -item[1]):
        share = images * MEGAFLOP_PER_IMAGE / 1e3 / peak
        print(
            f"{name:15} {images:8,.0f} {share:11.0%}"
            f" {rates['ours'] / images:8.2f}x {starts[name]:14.1f} s"
        )
    record["summary"] = {
        "peak_gflops": peak,
        "images_per_second": rates,
        "start_seconds": starts,
    }
    record["rounds"] = results
    (HERE / "bench.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
