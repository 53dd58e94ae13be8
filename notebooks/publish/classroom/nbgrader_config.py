"""The course under build/class: `make class` puts a copy of this beside the lessons."""

c = get_config()  # noqa: F821 (Jupyter's)

c.CourseDirectory.course_id = "variational_inference"
c.CourseDirectory.source_directory = "instructor"
c.CourseDirectory.release_directory = "student"
# A cell of lesson 5 trains for minutes.
c.ExecutePreprocessor.timeout = 1200
# Lessons are longer than what students hand in; none is hidden from them.
c.ClearSolutions.enforce_metadata = True
