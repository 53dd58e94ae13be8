"""The README's tables are those of the recorded runs, no older and no newer."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "benchmarks"
RECORDED = [n for n in ("bench", "results") if (FOLDER / f"{n}.json").exists()]


@pytest.mark.parametrize("name", RECORDED)
def test_the_readme_shows_what_was_recorded(name, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module(name)
    record = json.loads((FOLDER / f"{name}.json").read_text())
    marks = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    assert (
        marks[0] + module.table(record) + marks[1] in (ROOT / "README.md").read_text()
    )
