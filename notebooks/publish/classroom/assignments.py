"""A lesson as an assignment of nbgrader's: an nbconvert preprocessor goes by its form.

An exercise is a Markdown cell with "**Exercise 1.3 ★★**", a code cell that defines
``accept_1_3``, and a code cell tagged ``solution`` that answers and calls it. Side
roads are for reading, and no assignments: a class has them in its copy of the project.
"""

import ast
import copy
import re
import textwrap

from nbconvert.preprocessors import Preprocessor

from ..lessons import EXERCISE, FURTHER

LESSON = re.compile(r"\]\((0\d_\w+)\.ipynb")
ELSEWHERE = re.compile(rf"\[([^]]*)\]\((?:\.\.|{FURTHER})/[^)]*\)")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


def tags(cell):
    return cell.metadata.get("tags", [])


def called(statement):
    """Name of the acceptance check that a statement is a call of, or ``""``.

    >>> [called(s) for s in ast.parse("f(1)\\naccept_1_3(f)").body]
    ['', 'accept_1_3']
    """
    is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    name = getattr(statement.value.func, "id", "") if is_call else ""
    return name if name.startswith("accept_") else ""


def relink(cell, lesson):
    """Lead links between lessons to `lesson`; take off those to other files."""
    text = ELSEWHERE.sub(r"\1", cell.source)
    cell.source = LESSON.sub(rf"]({lesson}", text)


def unfold(cell):
    cell.metadata.pop("jupyter", None)
    cell.metadata.tags = []


def defines_check(cell):
    return cell.cell_type == "code" and bool(
        re.search(r"^def accept_\d", cell.source, re.M)
    )


def split_solution(source):
    """Divide a solution into an answer, marked for nbgrader, and its test.

    An answer that is one function keeps its first line in the student's copy. Where
    the check is given more than names, the student assigns what it gets instead.

    Parameters
    ----------
    source : str

    Returns
    -------
    answer, test : str

    Raises
    ------
    ValueError
        If the source calls no acceptance check, or two different ones.

    Examples
    --------
    >>> print(*split_solution("def f(x):\\n    return 2 * x\\n\\n\\naccept_1_3(f)"), sep="\\n")
    def f(x):
        ### BEGIN SOLUTION
        return 2 * x
        ### END SOLUTION
    accept_1_3(f)
    >>> print(*split_solution("# Twice.\\naccept_1_4(2 * x)"), sep="\\n")
    # The next cell calls accept_1_4(answer_1_4): define answer_1_4 here.
    ### BEGIN SOLUTION
    # Twice.
    answer_1_4 = 2 * x
    ### END SOLUTION
    accept_1_4(answer_1_4)
    """  # noqa: E501
    lines = source.splitlines()
    body = ast.parse(source).body
    calls = [s for s in body if called(s)]
    checks = {called(s) for s in calls}
    if len(checks) != 1:
        raise ValueError(f"a solution calls one acceptance check, not {checks}")
    rest = [s for s in body if not called(s)]

    arguments = calls[0].value.args
    names = [a.id for a in arguments if isinstance(a, ast.Name)]
    if len(calls) == 1 and len(names) < len(arguments):
        (check,) = checks
        answer = check.replace("accept", "answer")
        values = ", ".join(ast.get_source_segment(source, a) for a in arguments)
        several = len(arguments) > 1
        assigned = f"{answer} = ({values})" if several else f"{answer} = {values}"
        call, wanted = f"{check}({'*' * several}{answer})", answer
        tests = [call]
    else:
        assigned, wanted = "", ", ".join(names)
        tests = ["\n".join(lines[s.lineno - 1 : s.end_lineno]) for s in calls]

    kept = _without(lines, calls)
    alone = len(rest) == 1 and isinstance(rest[0], ast.FunctionDef)
    if alone and rest[0].name in names and not rest[0].decorator_list:
        first = next(
            (n for n in range(rest[0].lineno, rest[0].end_lineno) if _opens(kept[:n])),
            None,
        )
        if first is not None:
            block = [BEGIN, *textwrap.dedent("\n".join(kept[first:])).splitlines(), END]
            inside = textwrap.indent("\n".join(block), " " * 4)
            return "\n".join([*kept[:first], inside]), "\n".join(tests)
    hint = f"# The next cell calls {tests[0]}: define {wanted} here."
    block = [hint, BEGIN, *kept, *([assigned] if assigned else []), END]
    return "\n".join(block), "\n".join(tests)


def _without(lines, statements):
    gone = {n for s in statements for n in range(s.lineno - 1, s.end_lineno)}
    kept = [line for n, line in enumerate(lines) if n not in gone]
    return "\n".join(kept).rstrip().splitlines()


def _opens(lines):
    """Whether lines are the head of a function, up to its colon."""
    try:
        ast.parse("\n".join([*lines, "    pass"]))
    except SyntaxError:
        return False
    return True


class Assignment(Preprocessor):
    """Turn a lesson into the source of an nbgrader assignment.

    Checks are locked, solutions are divided into an answer and a locked test with a
    point for each star, and lessons link to each other over their folders.
    """

    def preprocess(self, nb, resources):
        stars, cells = {}, []
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                for number, level in EXERCISE.findall(cell.source):
                    stars[number.replace(".", "_")] = len(level)
                relink(cell, r"../\1/\1.ipynb")
            if "solution" in tags(cell):
                cells += self.divided(cell, stars)
                continue
            if defines_check(cell):
                number = re.search(r"^def accept_(\w+)\(", cell.source, re.M)[1]
                unfold(cell)
                self.mark(cell, f"check_{number}", locked=True)
            cells.append(cell)
        nb.cells = cells
        return nb, resources

    def divided(self, cell, stars):
        answer, test = copy.deepcopy(cell), copy.deepcopy(cell)
        answer.source, test.source = split_solution(cell.source)
        number = re.match(r"accept_(\w+)\(", test.source)[1]
        answer.outputs, answer.execution_count = [], None
        test.id = f"{cell.id[:50]}-test"
        for part in answer, test:
            unfold(part)
        self.mark(answer, f"answer_{number}", solution=True)
        points = {"grade": True, "points": stars[number]}
        self.mark(test, f"test_{number}", locked=True, **points)
        return answer, test

    def mark(self, cell, grade_id, **options):
        cell.metadata["nbgrader"] = {
            "grade": False,
            "grade_id": grade_id,
            "locked": False,
            "schema_version": 3,
            "solution": False,
            "task": False,
            "cell_type": "code",
            **options,
        }
