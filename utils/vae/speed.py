"""The folder `fast`, or None: it is for speed and silence alone, and can be deleted."""

import importlib.util

fast = None
# With an origin: caches that git leaves behind make a package without one.
if getattr(importlib.util.find_spec(".fast", __package__), "origin", None):
    from . import fast  # noqa: F401
