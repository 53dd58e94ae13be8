"""The folder `fast`, or None: it is for speed and silence alone, and can be deleted."""

import importlib.util

fast = None
if importlib.util.find_spec(".fast", __package__):
    from . import fast  # noqa: F401
