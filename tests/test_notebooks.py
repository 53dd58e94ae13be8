"""What a lesson promises, read off its committed file without running it.

That its code runs, and that its ledger is the committed one, nbval tests.
"""

import ast
import re

from lessons import DEFINED, EXERCISE, FOLDER, NUMBER, pictures, prose, read_lessons
from pictures import make_pictures

import nbformat
import numpy as np
import pytest
from PIL import Image

LESSONS = sorted(FOLDER.glob("*.ipynb"))
RAN = re.compile(rf"✓ \(({NUMBER})\)")


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def lesson(path):
    return nbformat.read(path, as_version=4)


def cells(lesson, kind):
    return [cell for cell in lesson.cells if cell.cell_type == kind]


def printed(lesson):
    """Text that the code cells printed."""
    outputs = [o for cell in cells(lesson, "code") for o in cell.outputs]
    return "".join(o.text for o in outputs if o.get("name") == "stdout")


def test_there_are_lessons():
    assert LESSONS
    names = [path.stem for path in LESSONS]
    assert all(re.fullmatch(r"0[1-5]_[a-z_]+", name) for name in names), names


def test_every_equation_has_a_check_that_ran_and_every_check_an_equation(lesson):
    tags = DEFINED["eq"].findall(prose(lesson))
    assert tags, "a lesson without equations"
    assert len(tags) == len(set(tags)), "an equation number was given twice"
    assert set(tags) == set(RAN.findall(printed(lesson)))


def test_equations_carry_the_number_of_their_lesson(path, lesson):
    tags = DEFINED["eq"].findall(prose(lesson))
    assert {tag.split(".")[0] for tag in tags} == {path.stem[1]}


def test_the_two_sides_of_a_check_are_different_code(lesson):
    for cell in cells(lesson, "code"):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check":
                left, right = (ast.dump(side) for side in node.args[2:4])
                assert left != right, cell.source


def test_the_lesson_ends_in_its_ledger_which_nbval_compares(lesson):
    shown = [c for c in cells(lesson, "code") if c.source.strip() == "ledger()"]
    assert len(shown) == 1
    assert "nbval-check-output" in shown[0].metadata.get("tags", [])


def test_it_was_executed_once_from_top_to_bottom(lesson):
    for i, cell in enumerate(cells(lesson, "code"), start=1):
        # A slider's output is removed, and its count with it.
        slider = "remove-output" in cell.metadata.get("tags", [])
        assert cell.execution_count == (None if slider else i), cell.source


def test_outputs_hold_no_error_no_stderr_and_no_path_of_a_machine(lesson):
    for cell in cells(lesson, "code"):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", output.text
    text = printed(lesson) + "".join(cell.source for cell in lesson.cells)
    found = re.search(r"(?<![\w.:/])(/(home|Users|root|work|tmp|opt)/|[A-Z]:\\)", text)
    assert not found, f"an absolute path: {text[found.start() :][:60]}"


def test_outputs_come_from_the_default_preset_and_real_data(lesson):
    assert re.search(r"^Preset default\.", printed(lesson), re.M)
    assert "STAND-IN" not in printed(lesson)


def test_cells_are_short(lesson):
    for cell in cells(lesson, "code"):
        assert len(cell.source.splitlines()) <= 30, cell.source


def test_every_figure_has_a_caption(lesson):
    for i, cell in enumerate(lesson.cells):
        if pictures(cell):
            caption = lesson.cells[i + 1].source
            assert DEFINED["fig"].match(caption), f"no caption under:\n{cell.source}"


def test_every_slider_has_a_picture_right_beside_it(lesson):
    code = cells(lesson, "code")
    for i, cell in enumerate(code):
        if "plotting.sliders(" in cell.source:
            assert any(map(pictures, code[i - 1 : i + 2])), cell.source


def test_every_exercise_has_a_folded_solution_that_is_accepted(lesson):
    exercises = [number for number, _ in EXERCISE.findall(prose(lesson))]
    solutions = [c for c in lesson.cells if "solution" in c.metadata.get("tags", [])]
    assert exercises
    assert len(solutions) == len(exercises)
    for number, cell in zip(exercises, solutions, strict=True):
        assert f"Exercise {number} accepted" in "".join(o.text for o in cell.outputs)
        assert "hide-input" in cell.metadata.tags
        assert cell.metadata.jupyter.source_hidden


def test_links_to_files_lead_somewhere(lesson):
    for cell in cells(lesson, "markdown"):
        for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
            assert (FOLDER / target).exists(), target


def test_the_pictures_of_the_readme_are_those_of_the_lessons():
    for name, picture in make_pictures(read_lessons()).items():
        stored = Image.open(FOLDER / "pictures" / f"{name}.png")
        message = f"{name}: call notebooks/pictures.py, as `make outputs` does"
        assert np.array_equal(stored.convert("RGB"), picture.convert("RGB")), message


def test_the_file_is_small(path):
    assert path.stat().st_size < 1_500_000
