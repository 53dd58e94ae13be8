"""What `make class` makes of the lessons, with nbgrader's own commands."""

import ast
import copy
import csv
import os
import re
from html.parser import HTMLParser

from publish.classroom import assignments
from publish.classroom import course as making
from publish.classroom.slides import Slides
from publish.lessons import EXERCISE, FOLDER, find_lessons, pictures, prose

import nbformat
import pytest
from nbgrader.api import Gradebook

LESSONS = list(find_lessons().values())
OUTSIDE = re.compile(r"""(?:@import|\bimport\b|\bfrom\b|url\()[\s("']*(?:https?:)?//""")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A lesson of three exercises that is run at once; `make grades` has the others."""
    lesson = nbformat.v4.new_notebook()
    lesson.cells = [nbformat.v4.new_markdown_cell("# 2. A lesson")]
    for level, answer in (
        ("★", "def double(x):\n    return 2 * x\n\n\naccept_2_1(double)"),
        ("★★", "def triple(x):\n    return 3 * x\n\n\naccept_2_2(triple)"),
        ("★★★", "y = 1\naccept_2_3(lambda x: 4 * x, y)"),
    ):
        n = len(level)
        text = nbformat.v4.new_markdown_cell(f"**Exercise 2.{n} {level}** *Times.*")
        check = f"def accept_2_{n}(f, y=1):\n    assert f(y) == {n + 1}"
        solution = nbformat.v4.new_code_cell(answer, metadata={"tags": ["solution"]})
        lesson.cells += [text, nbformat.v4.new_code_cell(check), solution]
    path = tmp_path_factory.mktemp("lessons") / "02_graded.ipynb"
    nbformat.write(lesson, path)
    return path


@pytest.fixture(scope="module")
def course(tmp_path_factory, graded):
    folder = tmp_path_factory.mktemp("course")
    making.build(folder, [graded])
    return folder


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem, scope="module")
def copies(request):
    """A lesson, the instructor's copy, and the student's as nbgrader clears it."""
    from nbgrader.preprocessors import ClearOutput, ClearSolutions

    lesson, mine, theirs = (nbformat.read(request.param, 4) for _ in range(3))
    assignments.Assignment().preprocess(mine, {})
    assignments.Assignment().preprocess(theirs, {})
    for step in ClearSolutions(), ClearOutput():
        step.preprocess(theirs, {})
    return lesson, mine, theirs


def marked(notebook, kind):
    """Cells that nbgrader takes for a check, an answer or a test, by exercise."""
    found = {}
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if grade_id.startswith(f"{kind}_"):
            found[grade_id.removeprefix(f"{kind}_")] = cell
    return found


def exercises(notebook):
    """Level of each exercise that the text of a lesson announces."""
    found = EXERCISE.findall(prose(notebook))
    return {number.replace(".", "_"): len(level) for number, level in found}


# --- copies ---------------------------------------------------------------


def test_every_exercise_has_a_check_an_answer_and_a_test(copies):
    lesson, mine, _ = copies
    levels = exercises(lesson)
    assert levels
    assert set(marked(mine, "check")) == set(marked(mine, "answer")) == set(levels)
    tests = marked(mine, "test")
    assert {n: c.metadata.nbgrader.points for n, c in tests.items()} == levels
    for number, cell in tests.items():
        assert f"Exercise {number.replace('_', '.')} accepted" in cell.outputs[0].text


def test_checks_and_tests_are_locked_and_answers_are_not(copies):
    for kind, locked in (("check", True), ("answer", False), ("test", True)):
        for cell in marked(copies[1], kind).values():
            options = cell.metadata.nbgrader
            assert options.locked == locked
            assert options.solution == (kind == "answer")
            assert options.grade == (kind == "test")
            assert "jupyter" not in cell.metadata, "folded"


def test_the_students_copy_has_no_solution_and_no_output(copies):
    lesson, _, theirs = copies
    solutions = [c for c in lesson.cells if "solution" in assignments.tags(c)]
    others = "\n".join(c.source for c in lesson.cells if c not in solutions)
    text = "\n".join(c.source for c in theirs.cells)
    for cell in solutions:
        for line in map(str.strip, cell.source.splitlines()):
            may_stay = line.startswith(("def ", "accept_")) and line in text
            if len(line) > 12 and not may_stay and line not in others:
                assert line not in text
    assert "SOLUTION" not in text
    assert "folded" not in text, "the text promises what a student does not have"
    for cell in theirs.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
    for cell in marked(theirs, "answer").values():
        assert cell.source.endswith("raise NotImplementedError()")


def test_the_instructors_copy_has_solutions_and_outputs(copies):
    lesson, mine, _ = copies
    text = "\n".join(cell.source for cell in mine.cells)
    for cell in lesson.cells:
        if "solution" in assignments.tags(cell):
            for line in map(str.strip, cell.source.splitlines()):
                assert line in text or line.startswith("accept_"), line
    before, after = (
        [pictures(cell) for cell in n.cells if pictures(cell)] for n in (lesson, mine)
    )
    assert before == after != []


def test_an_untouched_copy_does_not_find_an_answer_made_earlier(copies):
    """Names that a test needs are bound by the answer above it, and nowhere else."""
    _, _, theirs = copies
    answers = {id(c): n for n, c in marked(theirs, "answer").items()}
    before = set()
    for cell in theirs.cells:
        if id(cell) in answers:
            test = ast.parse(marked(theirs, "test")[answers[id(cell)]].source)
            needed = {n.id for n in ast.walk(test) if isinstance(n, ast.Name)}
            stub = {getattr(s, "name", "") for s in ast.parse(cell.source).body}
            assert not (needed - stub - {f"accept_{answers[id(cell)]}"}) & before
        elif cell.cell_type == "code":
            names = [n for n in ast.walk(ast.parse(cell.source)) if hasattr(n, "ctx")]
            before |= {n.id for n in names if getattr(n, "id", "")}


def test_links_between_copies_lead_to_copies(copies):
    for cell in copies[2].cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", cell.source):
                name = re.fullmatch(r"\.\./(\w+)/\1\.ipynb", target)
                assert name and (FOLDER / f"{name[1]}.ipynb").exists(), target


def test_links_to_side_roads_are_taken_off():
    text = "[One](02_b.ipynb), [further](further/02_b.ipynb), [all](../README.md)"
    cell = nbformat.v4.new_markdown_cell(text)
    assignments.relink(cell, r"../\1/\1.ipynb")
    assert cell.source == "[One](../02_b/02_b.ipynb), further, all"


@pytest.mark.parametrize(
    ("source", "answer", "test"),
    [
        (
            "def f(\n    a,\n):\n    # Why.\n    return a\n\n\naccept_1_1(f)",
            "def f(\n    a,\n):\n    ### BEGIN SOLUTION\n    # Why.\n    return a\n"
            "    ### END SOLUTION",
            "accept_1_1(f)",
        ),
        (
            "def g():\n    return 1\n\n\ndef f():\n    return g()\n\n\naccept_1_1(f)",
            "# The next cell calls accept_1_1(f): define f here.\n### BEGIN SOLUTION\n"
            "def g():\n    return 1\n\n\ndef f():\n    return g()\n### END SOLUTION",
            "accept_1_1(f)",
        ),
        (
            "a = 1\naccept_1_1(a.real, a)",
            "# The next cell calls accept_1_1(*answer_1_1): define answer_1_1 here.\n"
            "### BEGIN SOLUTION\na = 1\nanswer_1_1 = (a.real, a)\n### END SOLUTION",
            "accept_1_1(*answer_1_1)",
        ),
    ],
)
def test_splitting(source, answer, test):
    assert assignments.split_solution(source) == (answer, test)


def test_a_solution_without_a_check_is_refused():
    with pytest.raises(ValueError, match="one acceptance check"):
        assignments.split_solution("def f():\n    return 1")


# --- grading --------------------------------------------------------------


def hand_in(course, lesson, student, change):
    notebook = nbformat.read(course / "student" / lesson.stem / lesson.name, 4)
    change(marked(notebook, "answer"))
    target = course / "submitted" / student / lesson.stem / lesson.name
    target.parent.mkdir(parents=True)
    nbformat.write(notebook, target)


def assert_marks(course, lesson, *, only_part=False):
    """Return what each student has earned."""
    solution = nbformat.read(course / "instructor" / lesson.stem / lesson.name, 4)
    solved, levels = marked(solution, "answer"), exercises(solution)
    wrong, _untouched, *right = levels

    def solve(cells, numbers):
        for number in numbers:
            cells[number].source = solved[number].source

    def in_part(cells):
        solve(cells, right)
        names = re.findall(r"def (\w+)|define (\w+)", cells[wrong].source)[0]
        cells[wrong].source = f"{''.join(names)} = 0"

    hand_in(course, lesson, "hasty", in_part)
    expected = {"hasty": sum(levels[number] for number in right)}
    if not only_part:
        hand_in(course, lesson, "diligent", lambda cells: solve(cells, levels))
        hand_in(course, lesson, "idle", lambda cells: None)
        expected |= {"diligent": sum(levels.values()), "idle": 0}
    making.nbgrader(course, "autograde", lesson.stem)
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        rows = gradebook.submission_dicts(lesson.stem)
    assert {row["student"]: row["score"] for row in rows} == expected
    assert {row["max_score"] for row in rows} == {sum(levels.values())}
    return expected


def test_who_solves_a_part_gets_the_marks_of_that_part(course, graded):
    """What is right counts, what is wrong or untouched does not."""
    assert_marks(course, graded, only_part=True)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_full_none_and_part_marks_of_every_lesson(lesson, tmp_path):
    making.build(tmp_path, [lesson])
    expected = assert_marks(tmp_path, lesson)
    making.nbgrader(tmp_path, "export", "--to", "grades.csv")
    with open(tmp_path / "grades.csv", newline="") as file:
        rows = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert rows == expected


def test_nbgrader_leaves_nothing_outside_the_course(course):
    assert (course / "gradebook.db").exists()
    for folder in (FOLDER, FOLDER.parent):
        assert not {"gradebook.db", ".nbgrader.log"} & set(os.listdir(folder))


# --- slides ---------------------------------------------------------------


class Page(HTMLParser):
    """What a page loads, and the code and styles in it."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.inside, self.headings, self.images = [], [], 0, 0
        self._raw = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self._raw = tag in ("script", "style")
        self.headings += tag == "h2"
        self.images += tag == "img"
        if tag in ("script", "link", "img", "iframe", "source"):
            self.loads += [attributes[k] for k in ("src", "href") if k in attributes]

    def handle_data(self, data):
        if self._raw:
            self.inside.append(data)

    def handle_endtag(self, tag):
        self._raw = False


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem, scope="module")
def slides(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "lesson.html"
    making.convert(request.param, making.slides_exporter(), path)
    return nbformat.read(request.param, 4), Page(path.read_text(encoding="utf-8"))


def test_slides_load_nothing_from_a_network(slides, course):
    _, page = slides
    loads = [link for link in page.loads if not link.startswith("data:")]
    assert any("reveal" in link for link in loads)
    assert any("mathjax" in link for link in loads)
    for link in loads:
        assert (course / "slides" / link).is_file(), link
        if link.endswith(".css"):
            style = (course / "slides" / link).read_text(encoding="utf-8")
            assert not OUTSIDE.search(style), link
    assert not OUTSIDE.search("\n".join(page.inside))


def test_slides_show_each_section_and_figure_and_no_solution(slides):
    lesson, page = slides
    sections = re.findall(r"^## (?!References)", prose(lesson), re.M)
    assert page.headings == len(sections)
    assert page.images == sum(len(pictures(cell)) for cell in lesson.cells)
    shown, _ = Slides().preprocess(copy.deepcopy(lesson), {})
    code = "\n".join(c.source for c in shown.cells if c.cell_type == "code")
    assert "accept_" not in code
    assert exercises(shown), "exercises are announced"


# --- the teacher's page ---------------------------------------------------


def test_the_teachers_page_lists_every_exercise_with_its_level():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| (\d\.\d+) \| (★+) \|", text, re.M))
    written = {}
    for path in LESSONS:
        for number, level in exercises(nbformat.read(path, 4)).items():
            written[number.replace("_", ".")] = "★" * level
    assert written == listed
