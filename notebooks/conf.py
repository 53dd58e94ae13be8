"""Sphinx settings of the site that `make run` builds from executed lessons."""

project = "Variational inference, executed and checked"
author = "the authors of the course"
project_copyright = f"2026, {author}"

extensions = ["myst_nb"]
myst_enable_extensions = ["amsmath", "dollarmath"]
exclude_patterns = ["start.md"]  # the top of the README, included by index.md
# `make run` has executed the lessons already.
nb_execution_mode = "off"
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "Variational inference"
html_sidebars = {"**": []}  # the lessons are in the top bar; code needs the width
html_theme_options = {
    "header_dropdown_text": "More lessons",
    "header_links_before_dropdown": 2,
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False
mathjax3_config = {"tex": {"tags": "none"}}


def setup(app):
    """Lead links to the README, which is no page of the site, to the start page."""

    def relink(app, name, source):
        source[0] = source[0].replace("](../README.md)", "](index.md)")

    app.connect("source-read", relink)
