"""The suite can fail: each fault of mutants.toml, planted in a copy, turns it red."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

from publish.lessons import find_lessons

import pytest

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())["mutant"]


def plant(mutants, folder):
    """Copy the project, and make the change of each mutant."""
    for name in ("utils", "tests", "notebooks"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for mutant in mutants:
        file = folder / mutant["file"]
        text = file.read_text()
        assert text.count(mutant["original"]) == 1, f"{mutant['file']} has changed"
        file.write_text(text.replace(mutant["original"], mutant["fault"]))


def run(folder, *arguments):
    """Run tests of the copy, which must end with some that failed."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--assert=plain", *arguments],
        cwd=folder,
        # Before the editable install, so that the copy is what gets imported.
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    # 1: tests ran and failed; anything else would be an accident.
    assert ended.returncode == 1, ended.stdout[-3000:] + ended.stderr[-1000:]


def test_every_fault_names_one_place_that_is_there():
    for mutant in MUTANTS:
        text = (ROOT / mutant["file"]).read_text()
        assert text.count(mutant["original"]) == 1, mutant["fault_is"]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["fault_is"])
def test_a_planted_fault_is_caught(mutant, tmp_path):
    plant([mutant], tmp_path)
    run(tmp_path, "-n0", "-x", *mutant["tests"])


def test_the_first_fault_of_each_lesson_is_caught(tmp_path):
    """All in one process, since to start one takes longer than the tests."""
    firsts = {mutant["lesson"]: mutant for mutant in reversed(MUTANTS)}.values()
    assert len(firsts) == 5
    plant(firsts, tmp_path)
    tests, report = [test for m in firsts for test in m["tests"]], tmp_path / "report"
    # None of them is a notebook: to load what reads these takes a second.
    run(tmp_path, "-o", "addopts=", "-p", "no:nbval", f"--junitxml={report}", *tests)
    cases = ElementTree.parse(report).iter("testcase")
    red = {case.get("classname") for case in cases if case.find("failure") is not None}
    for mutant in firsts:
        files = {test.split("::")[0] for test in mutant["tests"]}
        names = {file.removesuffix(".py").replace("/", ".") for file in files}
        assert names & red, f"not caught: {mutant['fault_is']}"


def test_every_lesson_with_a_notebook_has_at_least_five_mutants():
    for name in find_lessons():
        lesson = int(name[:2])
        assert sum(mutant["lesson"] == lesson for mutant in MUTANTS) >= 5, name
