"""Time `VAE.fit` beside what people use otherwise: ``make bench``.

Every contender runs in a fresh process; a round runs all of a case one after the
other, so that a busy machine is busy for all. Tables give medians over the rounds,
and `bench.json` beside this file keeps every number with the machine it comes from.
A case that is run alone replaces its part of the file only.
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
RECORD = HERE / "bench.json"
WAYS = ("ours", "keras_default", "keras_16", "keras_xla", "keras_xla_16")
CASES = {
    "mlp": ("peak", "mlp_torch", *(f"mlp_{way}" for way in WAYS)),
    "conv": tuple(f"conv_{way}" for way in WAYS),
    "score": ("score_ours", "score_plain"),
    "growth": ("growth",),
    "precision": ("precision_float32", "precision_mixed_bfloat16"),
}
ROUNDS = {"mlp": 3, "conv": 3, "score": 1, "growth": 1, "precision": 2}
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
    installed = {d.name: d.version for d in importlib.metadata.distributions()}
    packages = ("tensorflow", "keras", "numpy", "torch")
    return {
        "date": datetime.date.today().isoformat(),
        "data": data(),
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: installed[name] for name in packages if name in installed},
    }


def median(runs, value):
    return statistics.median(map(value, runs))


def rate(run):
    return run["images"] / statistics.median(run["epochs"])


def training(results):
    """Images a second of each contender, and ours as a multiple of the others."""
    peak = results.pop("peak", None)
    name = next(name for name in results if name.endswith("_ours"))
    rates = {name: median(runs, rate) for name, runs in results.items()}
    starts = {
        name: median(runs, lambda run: run["since_import"])
        for name, runs in results.items()
    }
    print("contender            images/s   ours is  import to the end of an epoch")
    for other in sorted(rates, key=rates.get, reverse=True):
        ratio = rates[name] / rates[other]
        print(f"{other:19} {rates[other]:9,.0f} {ratio:8.2f}x {starts[other]:13.1f} s")
    summary = {"images_per_second": rates, "start_seconds": starts}
    if peak:
        gflops = statistics.median(g for run in peak for g in run["gflops"])
        share = rates[name] * MEGAFLOP_PER_IMAGE / 1e3 / gflops
        print(f"matrix-product peak {gflops:.0f} GFLOP/s, of which ours {share:.0%}")
        summary.update(peak_gflops=gflops, share_of_peak=share)
    return summary


def scoring(results):
    seconds = {
        name: median(runs, lambda run: run["seconds"]) for name, runs in results.items()
    }
    images = results["score_ours"][0]["images"]
    print(f"{images:,} images, 500 samples each")
    for name, value in seconds.items():
        ratio = value / seconds["score_ours"]
        mean = results[name][0]["mean"]
        print(f"{name:12} {value:7.1f} s, ours is {ratio:.2f}x (estimate {mean:.2f})")
    return {"seconds": seconds}


def growing(results):
    runs = results["growth"]
    share = median(runs, lambda run: run["peak_bytes"] / run["image_bytes"])
    cost = median(
        runs,
        lambda run: (
            run["microseconds_630000"] / statistics.median(run["microseconds_10000"])
        ),
    )
    size = runs[0]["image_bytes"] / 1e9
    print(f"630,000 images, {size:.2f} GB of made-up bytes")
    print(f"peak memory of the process {share:.2f}x the bytes")
    print(f"an image costs {cost:.2f}x what it costs with 10,000 images")
    return {"peak_memory": share, "cost_per_image": cost}


def precisions(results):
    summary = {}
    print("policy                      images/s  held-out log p(x), 2,000 images")
    for name, runs in results.items():
        score, error = runs[0]["held_out"], runs[0]["error"]
        summary[name] = {"images_per_second": median(runs, rate), "held_out": score}
        print(f"{name:25} {median(runs, rate):10,.0f} {score:11.2f} ± {error:.2f}")
    return summary


def table(record):
    """The README's table, in Markdown, of the cases that were run."""
    rows = []
    for case, network in (("mlp", "784-400-20 dense"), ("conv", "keras.io's network")):
        if case not in record:
            continue
        rates = record[case]["summary"]["images_per_second"]
        starts = record[case]["summary"]["start_seconds"]
        mine, default = rates[f"{case}_ours"], f"{case}_keras_default"
        keras = [name for name in rates if "keras" in name]
        best = max(keras, key=rates.get)
        what = f"{network}, training, images/s"
        if case == "mlp":
            share = record[case]["summary"]["share_of_peak"]
            rows.append((what, mine, "PyTorch's usual loop", rates["mlp_torch"]))
            rows.append((f"the same: {share:.0%} of the matrix-product peak",))
        for label, name in (("best", best), ("default", default)):
            rows.append((what, mine, f"Keras on NumPy arrays, {label}", rates[name]))
        what = f"{network}, import to the end of the first epoch, s"
        mine = starts[f"{case}_ours"]
        rows.append((what, mine, "Keras, default", starts[default]))
    if "score" in record:
        seconds = record["score"]["summary"]["seconds"]
        what = "log-likelihood, 784-512-512-40, 10,000 images, 500 samples, s"
        loop = "a loop over `predict_on_batch`"
        rows.append((what, seconds["score_ours"], loop, seconds["score_plain"]))
    if "growth" in record:
        summary = record["growth"]["summary"]
        rows.append(
            (
                "630,000 colour images: peak memory of the process "
                f"{summary['peak_memory']:.2f} × their bytes, cost of an image "
                f"{summary['cost_per_image']:.2f} × that among 10,000",
            )
        )
    for name, found in record.get("precision", {}).get("summary", {}).items():
        policy = name.removeprefix("precision_")
        rate, score = found["images_per_second"], found["held_out"]
        text = f"{policy}: {rate:,.0f} images/s, held-out log p(x) {score:.2f} nats"
        rows.append((f"784-400-20 dense, 5 epochs in {text}",))
    lines = ["| what | here | beside it | | ratio |", "|---|---|---|---|---|"]
    for row in rows:
        if len(row) == 1:
            lines.append(f"| {row[0]} | | | | |")
            continue
        what, mine, other, theirs = row
        faster = mine / theirs if "images/s" in what else theirs / mine
        digits = ",.0f" if mine > 100 else ".1f"
        numbers = f"{mine:{digits}} | {other} | {theirs:{digits}}"
        lines.append(f"| {what} | {numbers} | {faster:.2f} × |")
    sources = {
        "{cores} cores, {processor}, {date}; {data}".format(**record[case]["machine"])
        for case in record
    }
    counts = ((case, len(record[case]["rounds"][CASES[case][0]])) for case in record)
    rounds = ", ".join(f"{case} {count}" for case, count in counts)
    lines += ["", f"Medians over rounds: {rounds}. {' '.join(sorted(sources))}"]
    return "\n".join(lines) + "\n"


def write_readme(mark, text):
    """Put `text` between the README's marks of that name."""
    readme = HERE.parents[1] / "README.md"
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    before, rest = readme.read_text().split(begin)
    readme.write_text(before + begin + text + end + rest.split(end)[1])


REPORTS = {
    "mlp": training,
    "conv": training,
    "score": scoring,
    "growth": growing,
    "precision": precisions,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="of every case")
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(CASES))
    arguments = parser.parse_args()
    cases = arguments.cases or list(CASES)
    if unknown := set(cases) - set(CASES):
        parser.error(
            f"no such case: {', '.join(unknown)}; choose of {', '.join(CASES)}"
        )
    rounds = {case: arguments.rounds or ROUNDS[case] for case in cases}
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    print(data())
    with tqdm(total=sum(rounds[case] * len(CASES[case]) for case in cases)) as bar:
        for case in cases:
            results = {name: [] for name in CASES[case]}
            for _ in range(rounds[case]):
                for name in results:
                    bar.set_description(name)
                    results[name].append(run(name))
                    bar.update()
            bar.clear()
            print(f"\n{case}, medians of {rounds[case]} rounds")
            summary = REPORTS[case](dict(results))
            record[case] = {
                "machine": machine(),
                "summary": summary,
                "rounds": results,
            }
            RECORD.write_text(json.dumps(record, indent=1) + "\n")
            write_readme("bench", table(record))


if __name__ == "__main__":
    main()
