"""What the estimators share that keep to scikit-learn's rules."""

import functools


def all_or_nothing(method):
    """Make a method that, if anything stops it, leaves its object as it was."""

    @functools.wraps(method)
    def guarded(self, *args, **kwargs):
        before = dict(vars(self))
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return guarded
