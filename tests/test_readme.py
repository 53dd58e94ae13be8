"""What the README shows runs as it stands there, but for how long it trains."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it saves a model
    rng = np.random.default_rng(0)
    given = {
        "images": rng.integers(256, size=(1_010, 6, 6), dtype="uint8"),
        "X": rng.normal(size=(200, 2)),
    }
    for block in BLOCKS:
        for long, short in (("epochs=20", "epochs=2"), ("samples=500", "samples=50")):
            block = block.replace(long, short)
        exec(block, given)
    plt.close("all")
    assert given["model"].latent_dim == 20
    assert given["points"].shape == (5, 2)
