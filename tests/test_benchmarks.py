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


def test_pages_replace_settings_that_the_lesson_has(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    pages = importlib.import_module("house_numbers")
    cells = json.loads(pages.LESSON.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert sum(pages.LAST in source for source in sources) == 1
    (settings,) = (
        source
        for source, cell in zip(sources, cells, strict=True)
        if "parameters" in cell["metadata"].get("tags", [])
    )
    for page in pages.PAGES.values():
        for name in page.settings:
            assert f"\n{name} = preset(" in settings, name
