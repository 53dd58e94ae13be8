"""What is in a lesson, read off its file: its prose, numbers, pictures, exercises."""

import base64
import re
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parents[1]
NUMBER = r"\d+\.\d+[a-z]?"
# Where something gets its number, in the Markdown of a lesson.
DEFINED = {
    "eq": re.compile(rf"\\tag\{{({NUMBER})\}}"),
    "fig": re.compile(rf"^\*\*Figure ({NUMBER})\.\*\*", re.M),
    "sec": re.compile(rf"^## ({NUMBER}) ", re.M),
    "ex": re.compile(rf"^\*\*Exercise ({NUMBER}) ", re.M),
}
EXERCISE = re.compile(r"^\*\*Exercise (\d+\.\d+) (★+)\*\*", re.M)


def read_lessons(folder=FOLDER):
    """Return the notebooks of a folder by name, in their order."""
    paths = sorted(Path(folder).glob("0*.ipynb"))
    return {path.stem: nbformat.read(path, as_version=4) for path in paths}


def prose(lesson):
    """Return the Markdown of a lesson."""
    cells = [cell.source for cell in lesson.cells if cell.cell_type == "markdown"]
    return "\n\n".join(cells)


def title(lesson):
    return re.search(r"^# (.+)", prose(lesson), re.M).group(1)


def pictures(cell):
    """Return the pictures that a cell shows, as PNG."""
    shown = [output.get("data", {}) for output in cell.get("outputs", [])]
    return [base64.b64decode(d["image/png"]) for d in shown if "image/png" in d]


def figures(lesson):
    """Return the figures of a lesson by number: pictures, and the caption below."""
    found = {}
    for cell, below in zip(lesson.cells, lesson.cells[1:], strict=False):
        number, shown = DEFINED["fig"].match(below.source), pictures(cell)
        if number and shown:
            found[number.group(1)] = shown, below.source
    return found
