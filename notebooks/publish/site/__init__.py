"""The site: Sphinx reads the executed lessons by `conf.py`, `book` links them."""
