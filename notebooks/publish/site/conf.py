"""Sphinx settings of the site that `make run` builds from executed lessons."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for publish.site.book

project = "Variational inference, executed and checked"
author = "the authors of the course"
project_copyright = f"2026, {author}"
language = "en"

# The last brings MathJax along, so that the site reads with no network.
extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "publish.site.book",
    "sphinx-mathjax-offline",
]
myst_enable_extensions = ["amsmath", "dollarmath"]
# `make run` has executed them already, side roads too if it gives the tag "further".
nb_execution_mode = "off"
nb_code_prompt_show = "Show the code"  # of solutions, publish.site.book says so
nb_code_prompt_hide = "Hide the code"
myst_heading_anchors = 3

copybutton_selector = "div:not(.output) > div.highlight pre"

html_theme = "pydata_sphinx_theme"
html_title = "Variational inference"
html_static_path = ["book.css", "book.js"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_sidebars = {"**": []}  # the pages are in the top bar; code needs the width
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_theme_options = {
    "header_dropdown_text": "Contents",
    "header_links_before_dropdown": 0,
    "secondary_sidebar_items": ["page-toc"],
}
html_copy_source = False
html_use_index = False  # nothing is indexed but the words that search finds
mathjax3_config = {"tex": {"tags": "none"}}
