"""The check ledger: every equation of a lesson, confirmed by a computation.

`check` compares the two sides of an equation, which must come from different
computations, and records the outcome; `ledger` shows all of them at the end of
a lesson. A check that could not fail is worth nothing, so each call also moves
the left side by a little and raises if that passes too.

Two runs of one piece of code are not two ways: they agree whatever it computes, and
so do two names for one value. `check` sees values only, and cannot tell; that the
sides of the lessons' checks lead back to different code, their tests look up.
"""

import contextlib
import dataclasses
import html
import re

from utils.arguments import plain_array, real, real_array

import numpy as np

STANDARD_ERRORS = 5
# What NumPy would make numbers of, and is none.
CAST = (str, bool, np.bool_, type(None))
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
    left, right : number, array-like, SymPy expression or matrix
        The two sides, from two ways of computing them: different code, not two
        calls of the same, nor two names for one result. Both have one shape.
        Complex numbers are compared as such. A SymPy expression, alone or in a
        matrix, or a list that holds symbols, makes the comparison symbolic: every
        difference simplifies to zero.
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
        If the number is not of the form "4.7"; the statement is no text, or empty;
        the two sides are one object, or of different shapes; a side is not finite,
        masked, a truth value, or no number at all; a tolerance is negative, the
        resolution not positive, or either is given for symbols, which have none.

    Examples
    --------
    >>> check("1.1", "the exponential series", sum([1, 1, 1 / 2, 1 / 6]), 8 / 3)
    ✓ (1.1) the exponential series: |Δ| = 0.0e+00
    """
    # As a float, 4.10 would be 4.1.
    if not (isinstance(number, str) and re.fullmatch(r"\d+\.\d+[a-z]?", number)):
        raise ValueError(f"number is {number!r}, but must be a string like '4.7'.")
    if not (isinstance(statement, str) and statement.strip()):
        raise ValueError(
            f"statement of ({number}) is {statement!r}, but must say in words what is "
            "checked."
        )
    rtol = real(f"rtol of ({number})", rtol, least=0)
    atol = real(f"atol of ({number})", atol, least=0)
    if resolution is not None:
        resolution = real(f"resolution of ({number})", resolution, above=0)
    given = {"standard_error": standard_error, "resolution": resolution}
    # Numbers and expressions may be one object, whichever way one came to them.
    if left is right and hasattr(left, "__len__"):
        raise ValueError(
            f"({number}) compares one object with itself: left and right must "
            "come from different computations."
        )
    if _is_symbolic(left) or _is_symbolic(right):
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{name} of ({number}) is {value}, but must be left out: its "
                    "sides are symbolic, and agree exactly or not at all."
                )
        method, gap = "symbolic", 0.0
        problem = _compare_symbolic(number, left, right)
    else:
        left = _as_numbers(f"left of ({number})", left)
        right = _as_numbers(f"right of ({number})", right)
        _check_shapes(number, left, right)
        method, tolerance = "numbers", atol + rtol * np.abs(right)
        if standard_error is not None:
            method = f"Monte Carlo, {STANDARD_ERRORS} standard errors"
            name = f"standard_error of ({number})"
            tolerance = STANDARD_ERRORS * _as_error(name, standard_error, left.shape)
        gap = float(np.abs(left - right).max())
        problem = _compare_numbers(left, right, tolerance, resolution, method)
    if problem:
        raise CheckError(f"✗ ({number}) {statement}\n  {problem}")
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


def _is_symbolic(side, within=False):
    """Whether a side is SymPy's, or holds symbols; numbers of SymPy in a list do not.

    SymPy is imported by whoever passes an expression, never by this module.
    """
    if isinstance(side, np.ndarray):
        side = side.tolist() if side.dtype == object else ()
    if isinstance(side, (list, tuple)):
        return any(_is_symbolic(part, within=True) for part in side)
    return hasattr(side, "free_symbols") and bool(not within or side.free_symbols)


def _compare_symbolic(number, left, right):
    """Return what speaks against two sides, if anything does."""
    import sympy

    sides = (
        _as_expressions(f"left of ({number})", left),
        _as_expressions(f"right of ({number})", right),
    )
    _check_shapes(number, *sides)
    for one, other in zip(*(side.flat for side in sides), strict=True):
        difference = sympy.simplify(one - other)
        if difference != 0:
            return _unequal(left, right, f"left - right = {difference}")
        term = sympy.Add.make_args(sympy.expand(one))[0]
        if sympy.simplify(one + (term if term != 0 else 1) - other) == 0:
            return "This check cannot fail: it also passes with a term too many."


def _as_expressions(name, side):
    """Return a side as an array of SymPy expressions."""
    import sympy

    if isinstance(side, sympy.MatrixExpr):
        try:
            side = side.as_explicit()
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} is {side}, of no known shape: check its elements."
            ) from None
    if hasattr(side, "tolist"):  # SymPy's matrices and arrays, and NumPy's
        side = plain_array(name, side).tolist()
    elements = np.array(side, dtype=object)
    for place, element in np.ndenumerate(elements):
        try:
            # Of a text, SymPy would make a formula.
            value = sympy.sympify(element, strict=True)
        except sympy.SympifyError:
            value = None
        if not isinstance(value, sympy.Expr):
            raise ValueError(
                f"{name} holds {element!r}, but must be expressions; of an equation or "
                "inequality, give both sides."
            )
        if value is sympy.nan or value.is_infinite:
            raise ValueError(f"{name} holds {element}, but must be finite.")
        elements[place] = value
    return elements


def _compare_numbers(left, right, tolerance, resolution, method):
    """Return what speaks against two sides, if anything does."""
    gap, size, by_chance = np.abs(left - right), np.abs(left), method != "numbers"
    if not np.all(gap <= tolerance):
        worst = np.argmax(gap - tolerance)
        limit = f"allowed {tolerance.flat[worst]:.3e}"
        if by_chance:
            error = tolerance.flat[worst] / STANDARD_ERRORS
            limit = f"one standard error {error:.3e}"
        return _unequal(left, right, f"|Δ| = {gap.flat[worst]:.3e}, {limit}")
    shift, what = resolution, f"{resolution:g}" if resolution else "1 %"
    if resolution is None:
        shift = 0.01 * np.where(size == 0, size.max(), size)
    if not np.any(shift):
        why = "1 % of zero is zero: state the resolution= it must notice"
    elif by_chance and np.any(tolerance >= shift):
        why = (
            f"{STANDARD_ERRORS} standard errors are {tolerance.max():.3g}, more than "
            f"the resolution {np.min(shift):.3g}: draw more samples"
        )
    # Of all directions, towards the right side is where the moved one comes closest.
    elif not by_chance and np.any(np.abs(gap - shift) <= tolerance):
        why = f"it also passes with the left side off by {what}"
    else:
        return None
    return f"This check cannot fail: {why}."


def _unequal(left, right, gap):
    return f"left  {left}\n  right {right}\n  {gap}"


def _as_error(name, error, shape):
    error = real_array(name, error)
    if np.any(error < 0) or not np.any(error > 0):
        raise ValueError(f"{name} is {error}, but must be positive and finite.")
    return np.broadcast_to(real_array(name, error, shape if error.ndim else ()), shape)


def _as_numbers(name, side):
    array = plain_array(name, side)
    if array.dtype == object and not any(isinstance(v, CAST) for v in array.flat):
        # Fractions, numbers of SymPy or mpmath; what is none is refused below.
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            array = array.astype(complex)
            array = array if np.any(array.imag) else array.real
    if array.dtype.kind not in "iufc":
        raise ValueError(
            f"{name} is {array} ({array.dtype}), but must be numbers; of a comparison, "
            "give the two that it compares."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is {array}, but must be finite.")
    return array.astype(complex if array.dtype.kind == "c" else float)


def _check_shapes(number, left, right):
    if left.shape != right.shape:
        raise ValueError(
            f"({number}) compares shape {left.shape} with shape {right.shape}: "
            "give both sides one shape."
        )
    if left.size == 0:
        raise ValueError(f"left and right of ({number}) are empty: nothing is checked.")
