"""Sphinx settings of the site that `make run` builds from executed lessons."""

project = "Variational inference, executed and checked"
author = "the authors of the course"
project_copyright = f"2026, {author}"

extensions = ["myst_nb"]
myst_enable_extensions = ["amsmath", "dollarmath"]
# `make run` has executed the lessons already.
nb_execution_mode = "off"
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = project
html_theme_options = {
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": True,
}
html_show_sourcelink = False
mathjax3_config = {"tex": {"tags": "none"}}
