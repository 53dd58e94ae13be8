"""The check ledger: every equation of a lesson, confirmed by a computation.

`check` compares the two sides of an equation, which must come from different
computations, and records the outcome; `ledger` shows all of them at the end of
a lesson. A check that could not fail is worth nothing, so each call also moves
the left side by a little and raises if that passes too.
"""

import dataclasses
import html
import re

import numpy as np

STANDARD_ERRORS = 5
_ledger = {}


class CheckError(AssertionError):
    """An equation that does not hold, or a check that could not fail."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of the ledger."""

    number: str
    statement: str
    method: str
    gap: float

    def __str__(self):
        return f"✓ ({self.number}) {self.statement}: {self.gap_text}"

    @property
    def gap_text(self):
        return f"|Δ| = {self.gap:.1e}"


def check(
    number,
    statement,
    left,
    right,
    *,
    rtol=1e-6,
    atol=0.0,
    standard_error=None,
    resolution=None,
):
    r"""Confirm that both sides of an equation agree, and enter it in the ledger.

    Parameters
    ----------
    number : str
        Number of the equation, as in its ``\tag``: "4.7".
    statement : str
        What the equation says, in a few words.
    left, right : number, array-like or SymPy expression
        The two sides, from different computations. Arrays have one shape; a
        symbolic side makes the comparison symbolic: the difference simplifies
        to zero.
    rtol, atol : float
        Numbers agree if ``|left - right| <= atol + rtol * |right|``.
    standard_error : float or array-like, optional
        Standard error of the difference, where a side is a Monte Carlo
        estimate: agreement is then within 5 of them, and `rtol` and `atol`
        play no part.
    resolution : float, optional
        Absolute error that the check must notice. Left out, it is 1 % of the
        left side, element by element (of its largest element, where one is 0).

    Raises
    ------
    CheckError
        If the sides disagree, with the number, both sides and the gap; or if the
        comparison also passes with the left side off by `resolution`, or five
        standard errors exceed it: such a check could not fail.
    ValueError
        If the number is not of the form "4.7", the statement is empty, the two
        sides are one object, their shapes differ, a value is not finite, or the
        resolution not positive.

    Examples
    --------
    >>> check("1.1", "the exponential series", sum([1, 1, 1 / 2, 1 / 6]), 8 / 3)
    ✓ (1.1) the exponential series: |Δ| = 0.0e+00
    """
    # As a float, 4.10 would be 4.1.
    if not (isinstance(number, str) and re.fullmatch(r"\d+\.\d+[a-z]?", number)):
        raise ValueError(f"number is {number!r}, but must be a string like '4.7'.")
    if not statement:
        raise ValueError(f"statement of ({number}) is empty: say what is checked.")
    if left is right and not np.isscalar(left):
        raise ValueError(
            f"({number}) compares one object with itself: left and right must "
            "come from different computations."
        )
    if _is_symbolic(left) or _is_symbolic(right):
        method, gap = "symbolic", _compare_symbolic(number, statement, left, right)
    elif standard_error is not None:
        method = f"Monte Carlo, {STANDARD_ERRORS} standard errors"
        gap = _compare_monte_carlo(
            number, statement, left, right, standard_error, resolution
        )
    else:
        method = "numbers"
        gap = _compare_numbers(number, statement, left, right, rtol, atol, resolution)
    entry = _ledger[number, statement] = Entry(number, statement, method, gap)
    print(entry)


def ledger():
    """Show every check of this session as a table.

    Returns
    -------
    Ledger
        Equation, statement, how it was checked, and the gap; a table in a
        notebook, lines of text elsewhere.

    Raises
    ------
    CheckError
        If nothing has been checked yet.
    """
    if not _ledger:
        raise CheckError("The ledger is empty: no check has run.")
    return Ledger(sorted(_ledger.values(), key=_order))


class Ledger(list):
    """Entries in the order of their equations."""

    def __repr__(self):
        return "\n".join(f"{entry} ({entry.method})" for entry in self)

    def _repr_html_(self):
        head = ("equation", "statement", "how checked", "gap")
        rows = [(f"({e.number})", e.statement, e.method, e.gap_text) for e in self]
        lines = ["<table>", _row("th", head)]
        return "\n".join([*lines, *(_row("td", row) for row in rows), "</table>"])


def _row(tag, cells):
    cells = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{cells}</tr>"


def _order(entry):
    lesson, equation = re.match(r"(\d+)\.(\d+)", entry.number).groups()
    return int(lesson), int(equation), entry.number


def _is_symbolic(side):
    # SymPy is imported by whoever passes an expression, never by this module.
    return hasattr(side, "free_symbols") and hasattr(side, "simplify")


def _compare_symbolic(number, statement, left, right):
    import sympy

    difference = sympy.simplify(sympy.sympify(left) - sympy.sympify(right))
    if difference != 0:
        _fail(number, statement, left, right, f"left - right = {difference}")
    term = sympy.Add.make_args(sympy.expand(left))[0]
    if sympy.simplify(left + (term if term != 0 else 1) - right) == 0:
        _cannot_fail(number, statement, "it also passes with a term too many")
    return 0.0


def _compare_numbers(number, statement, left, right, rtol, atol, resolution):
    left, right = _as_arrays(number, left, right)
    tolerance = atol + rtol * np.abs(right)
    gap = np.abs(left - right)
    if not np.all(gap <= tolerance):
        worst = np.argmax(gap - tolerance)
        allowed = f"|Δ| = {gap.flat[worst]:.3e}, allowed {tolerance.flat[worst]:.3e}"
        _fail(number, statement, left, right, allowed)
    shift = _resolution(number, statement, left, resolution)
    for sign in (1, -1):
        if np.any(np.abs(left + sign * shift - right) <= tolerance):
            _cannot_fail(
                number,
                statement,
                "it also passes with the left side off by "
                + ("1 %" if resolution is None else f"{resolution:g}"),
            )
    return float(gap.max())


def _compare_monte_carlo(number, statement, left, right, error, resolution):
    left, right = _as_arrays(number, left, right)
    error = np.broadcast_to(np.asarray(error, dtype=float), left.shape)
    if not np.all(np.isfinite(error) & (error >= 0)) or not np.any(error > 0):
        raise ValueError(
            f"standard_error of ({number}) is {error}, but must be positive and finite."
        )
    gap = np.abs(left - right)
    if not np.all(gap <= STANDARD_ERRORS * error):
        worst = np.argmax(gap - STANDARD_ERRORS * error)
        distance = (
            f"|Δ| = {gap.flat[worst]:.3e}, one standard error {error.flat[worst]:.3e}"
        )
        _fail(number, statement, left, right, distance)
    shift = _resolution(number, statement, left, resolution)
    if np.any(STANDARD_ERRORS * error >= shift):
        _cannot_fail(
            number,
            statement,
            f"{STANDARD_ERRORS} standard errors are "
            f"{STANDARD_ERRORS * error.max():.3g}, more than the resolution "
            f"{np.min(shift):.3g}: draw more samples",
        )
    # Moved away from the right side, the left must now be told apart.
    moved = left + np.where(left >= right, shift, -shift)
    if np.any(np.abs(moved - right) <= STANDARD_ERRORS * error):
        _cannot_fail(number, statement, "it also passes with the left side moved")
    return float(gap.max())


def _as_arrays(number, left, right):
    left, right = (np.asarray(side, dtype=float) for side in (left, right))
    if left.shape != right.shape:
        raise ValueError(
            f"({number}) compares shape {left.shape} with shape {right.shape}: "
            "give both sides one shape."
        )
    if left.size == 0 or not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError(
            f"({number}) has a side that is empty or not finite:\n"
            f"  left  {left}\n  right {right}"
        )
    return left, right


def _resolution(number, statement, left, resolution):
    if resolution is not None:
        if not 0 < resolution < np.inf:
            raise ValueError(
                f"resolution of ({number}) is {resolution}, but must be positive and "
                "finite."
            )
        return np.full(left.shape, float(resolution))
    largest = np.abs(left).max()
    if largest == 0:
        _cannot_fail(
            number,
            statement,
            "1 % of zero is zero: state the resolution= it must notice",
        )
    return 0.01 * np.where(left == 0, largest, np.abs(left))


def _fail(number, statement, left, right, gap):
    raise CheckError(
        f"✗ ({number}) {statement}\n  left  {left}\n  right {right}\n  {gap}"
    )


def _cannot_fail(number, statement, why):
    raise CheckError(f"✗ ({number}) {statement}\n  This check cannot fail: {why}.")
