"""`make class`: a course directory of nbgrader's, and slides in it."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from nbconvert import NotebookExporter, SlidesExporter

from .assignments import Assignment
from .slides import Slides

ROOM = Path(__file__).resolve().parent


def convert(path, exporter, target):
    body, _ = exporter.from_filename(str(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(body, encoding="utf-8")


def copy_scripts(target):
    """Put reveal.js and MathJax, as packages of PyPI bring them, beside the slides."""
    for package, inside, name in (
        ("sphinx_revealjs", "_static/revealjs/dist", "reveal.js/dist"),
        ("sphinx_revealjs", "_static/revealjs/plugin/notes", "reveal.js/plugin/notes"),
        ("sphinx-mathjax-offline", "static/mathjax/tex-svg.js", "mathjax/tex-svg.js"),
    ):
        (home,) = importlib.util.find_spec(package).submodule_search_locations
        source, end = Path(home) / inside, target / name
        end.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, end, dirs_exist_ok=True)
        else:
            shutil.copy(source, end)


def slides_exporter():
    return SlidesExporter(
        preprocessors=[Slides],
        template_file=str(ROOM / "slides.html.j2"),
        reveal_url_prefix="reveal.js",
        reveal_theme="white",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )


def build(course, lessons):
    """Make a course directory of nbgrader, and slides in it."""
    slides = slides_exporter()
    source = NotebookExporter(preprocessors=[Assignment])
    for path in lessons:
        name = path.stem
        convert(path, source, course / "instructor" / name / path.name)
        convert(path, slides, course / "slides" / f"{name}.slides.html")
    copy_scripts(course / "slides")
    shutil.copy(ROOM / "nbgrader_config.py", course)
    for path in lessons:
        nbgrader(course, "generate_assignment", path.stem, "--force")


def nbgrader(course, *arguments):
    """Run a command of nbgrader's in a course directory."""
    # It calls alembic by name, as an activated environment would find it.
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments, "--log-level=WARN"],
        cwd=course,
        check=True,
        env={**os.environ, "PATH": os.pathsep.join(paths)},
    )
