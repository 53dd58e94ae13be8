"""The site: Sphinx reads the executed pages by `conf.py`, `book` links them."""
