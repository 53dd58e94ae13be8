"""The class: assignments for nbgrader, and slides; `course` makes both."""
