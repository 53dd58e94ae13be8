"""Make a course of the lessons: ``python -m publish.classroom build/class``."""

import sys
from pathlib import Path

from ..lessons import find_lessons
from .course import build

course, *chosen = map(Path, sys.argv[1:])
build(course.resolve(), chosen or find_lessons().values())
