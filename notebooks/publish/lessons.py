"""Where the lessons and their side roads are, and what is in them.

A page is a lesson, or the side road of one, which is in the folder `further` beside
the lessons and has the name of its lesson: "04_vae_mnist", "further/04_vae_mnist".
What is in a page is read off its file: prose, numbers, pictures, exercises.
"""

import base64
import re
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parents[1]
FURTHER = "further"
NUMBER = r"\d+\.\d+[a-z]?"
# Where something gets its number, in the Markdown of a lesson.
DEFINED = {
    "eq": re.compile(rf"\\tag\{{({NUMBER})\}}"),
    "fig": re.compile(rf"^\*\*Figure ({NUMBER})\.\*\*", re.M),
    "sec": re.compile(rf"^## ({NUMBER}) ", re.M),
    "ex": re.compile(rf"^\*\*Exercise ({NUMBER}) ", re.M),
}
EXERCISE = re.compile(r"^\*\*Exercise (\d+\.\d+) (★+)\*\*", re.M)


def find_lessons(folder=FOLDER):
    """Return the files of the lessons by name, in their order."""
    return {path.stem: path for path in sorted(Path(folder).glob("0*.ipynb"))}


def find_pages(folder=FOLDER):
    """Return the files of all pages by name: the lessons, after each its side road."""
    side_roads = {
        f"{FURTHER}/{name}": path
        for name, path in find_lessons(Path(folder, FURTHER)).items()
    }
    pages = find_lessons(folder) | side_roads
    return dict(sorted(pages.items(), key=lambda page: (lesson_of(page[0]), page[0])))


def lesson_of(name):
    """Return the name of the lesson that a page belongs to.

    >>> [lesson_of(name) for name in ("04_vae_mnist", "further/04_vae_mnist")]
    ['04_vae_mnist', '04_vae_mnist']
    """
    return name.removeprefix(f"{FURTHER}/")


def is_side_road(name):
    return lesson_of(name) != name


def read_notebooks(paths):
    """Return the notebooks in files, by name as these are."""
    return {name: nbformat.read(path, as_version=4) for name, path in paths.items()}


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
