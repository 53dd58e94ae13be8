from decimal import Decimal
from fractions import Fraction

from utils import checks
from utils.checks import CheckError, check, ledger

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

X = sympy.Symbol("x")


@pytest.fixture(autouse=True)
def empty_ledger(monkeypatch):
    monkeypatch.setattr(checks, "_ledger", {})


def test_a_check_prints_one_line_and_enters_the_ledger(capsys):
    check("4.7", "sum of integers", sum(range(101)), 100 * 101 / 2)
    assert capsys.readouterr().out == "✓ (4.7) sum of integers: |Δ| = 0.0e+00\n"
    (entry,) = ledger()
    assert (entry.number, entry.method, entry.gap) == ("4.7", "numbers", 0.0)


def test_a_wrong_equation_raises_with_number_both_sides_and_gap():
    with pytest.raises(CheckError) as caught:
        check("4.7", "sum of integers", 5051.0, 5050.0)
    for part in ("(4.7)", "sum of integers", "5051.0", "5050.0", "1.000e+00"):
        assert part in str(caught.value)
    with pytest.raises(CheckError, match="empty"):
        ledger()


@settings(max_examples=200, deadline=None)
@given(
    right=st.floats(1e-6, 1e6),
    relative_gap=st.floats(-0.5, 0.5),
    rtol=st.floats(1e-9, 1.0),
)
def test_what_passes_agrees_and_could_have_failed(right, relative_gap, rtol):
    """Whatever the tolerance, a gap of 1 % or more never passes."""
    left = right * (1 + relative_gap)
    try:
        check("1.1", "property", left, right, rtol=rtol)
    except CheckError:
        return
    assert abs(left - right) <= rtol * right * (1 + 1e-9)
    assert abs(relative_gap) < 0.0101
    assert rtol < 0.0101


@pytest.mark.parametrize(
    "tolerance", [{"rtol": 0.011}, {"atol": 0.06}, {"rtol": 0.005, "atol": 0.04}]
)
def test_a_tolerance_that_hides_one_percent_is_refused(tolerance):
    with pytest.raises(CheckError, match="cannot fail"):
        check("4.7", "too tolerant", 5.0, 5.0, **tolerance)


def test_every_element_of_an_array_must_be_able_to_fail():
    with pytest.raises(CheckError, match="cannot fail"):
        check("4.7", "small elements hide", [100.0, 0.5], [100.0, 0.5], atol=0.1)
    check("4.7", "zeros count by the largest", [1.0, 0.0], [1.0, 0.0])


def test_zero_needs_a_stated_resolution():
    with pytest.raises(CheckError, match=r"zero\n.*state the resolution"):
        check("4.7", "zero", 0.0, 0.0)
    check("4.7", "zero", 1e-12, 0.0, atol=1e-9, resolution=1e-6)
    with pytest.raises(CheckError, match="off by 1e-12"):
        check("4.7", "zero", 0.0, 0.0, atol=1e-9, resolution=1e-12)


@pytest.mark.parametrize("resolution", [np.nan, np.inf, 0.0, -1.0])
@pytest.mark.parametrize("error", [None, 1e-3])
def test_a_resolution_is_a_positive_number(resolution, error):
    with pytest.raises(ValueError, match=r"resolution of \(4.7\) is .*above 0"):
        check("4.7", "x", 1.0, 1.0, standard_error=error, resolution=resolution)


def test_one_wrong_element_is_found():
    left = np.arange(1.0, 7.0).reshape(2, 3)
    wrong = left.copy()
    wrong[1, 1] *= 1.001
    with pytest.raises(CheckError, match=r"1\.998e-03|2\.00\de-03|5\.0+e-03"):
        check("4.7", "array", left, wrong)


def test_monte_carlo_agrees_within_five_standard_errors(capsys):
    check("4.1", "mean", 1.004, 1.0, standard_error=0.001)
    assert "✓ (4.1)" in capsys.readouterr().out
    with pytest.raises(CheckError, match=r"one standard error 1\.000e-03"):
        check("4.1", "mean", 1.006, 1.0, standard_error=0.001)


def test_a_monte_carlo_error_must_meet_its_resolution():
    with pytest.raises(CheckError, match="draw more samples"):
        check("4.1", "noisy", 1.0, 1.0, standard_error=0.003)
    check("4.1", "noisy, said so", 1.0, 1.0, standard_error=0.003, resolution=0.02)
    with pytest.raises(ValueError, match="positive and finite"):
        check("4.1", "no error", 1.0, 1.0, standard_error=0.0)


def test_each_element_of_a_monte_carlo_array_has_its_own_error():
    with pytest.raises(CheckError):
        check("4.1", "two", [1.0, 2.0], [1.0, 2.05], standard_error=[1e-3, 1e-3])


def test_symbolic_sides():
    x = sympy.Symbol("x")
    check("2.1", "binomial", (x + 1) ** 2, x**2 + 2 * x + 1)
    assert ledger()[0].method == "symbolic"
    with pytest.raises(CheckError, match="left - right = x"):
        check("2.1", "wrong", (x + 1) ** 2 + x, x**2 + 2 * x + 1)
    y = sympy.Function("y")(x)
    check("2.2", "product rule", (x * y).diff(x), y + x * y.diff(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("seven", "x", 1.0, 1.0), "'4.7'"),
        ((4.7, "x", 1.0, 1.0), "number is 4.7, but must be a string"),
        (("4.7", "", 1.0, 1.0), "statement"),
        (("4.7", 44, 1.0, 1.0), r"statement of \(4.7\) is 44"),
        (("4.7", "x", [1.0, 2.0], [1.0]), "one shape"),
        (("4.7", "x", [1.0, 2.0], 1.5), "one shape"),
        (("4.7", "x", np.nan, np.nan), r"left of \(4.7\) is nan.* finite"),
        (("4.7", "x", 1.0, np.inf), r"right of \(4.7\) is inf.* finite"),
        (("4.7", "x", [], []), "empty"),
        (("4.7", "x", True, True), r"left of \(4.7\) is True .*two that it compares"),
        (("4.7", "x", 1.0, "1"), r"right of \(4.7\) is 1 .*must be numbers"),
        (("4.7", "x", [None], [1.0]), "left .*must be numbers"),
        (("4.7", "x", np.ma.masked_array([1.0, 2.0], [0, 1]), [1.0, 9.0]), "masked"),
        (("4.7", "x", X, "x"), r"right of \(4.7\) holds 'x'"),
        (("4.7", "x", sympy.Eq(X, 1), sympy.Eq(X, 1)), "give both sides"),
        (("4.7", "x", X - sympy.oo, sympy.oo), "must be finite"),
        (("4.7", "x", sympy.Matrix(), sympy.Matrix()), "empty"),
        (("4.7", "x", sympy.eye(2) * X, [X, 0]), "one shape"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        check(*arguments)


@pytest.mark.parametrize("name", ["rtol", "atol", "standard_error", "resolution"])
@pytest.mark.parametrize("value", [-1.0, np.nan, 1j, "0.1", [[0.1], [0.1, 0.1]]])
def test_a_tolerance_is_a_number_from_zero(name, value):
    with pytest.raises(ValueError, match=rf"{name} of \(4\.7\)"):
        check("4.7", "x", [1.0, 2.0], [1.0, 2.0], **{name: value})


@pytest.mark.parametrize("name", ["standard_error", "resolution"])
def test_symbols_have_no_error(name):
    with pytest.raises(ValueError, match=rf"{name} of \(4\.7\) .* left out"):
        check("4.7", "x", X + X, 2 * X, **{name: 0.1})


def test_one_object_is_not_two_sides():
    for values in (np.ones(3), [1.0], sympy.Matrix([X])):
        with pytest.raises(ValueError, match="different computations"):
            check("4.7", "itself", values, values)
    # SymPy keeps one object for each symbol and small number.
    check("4.7", "two ways to x", X**2 / X, X)


@pytest.mark.parametrize(
    ("left", "right", "options"),
    [
        ([1 + 1j], [1 - 5j], {}),
        (1 + 1e-3j, 1.0, {}),
        (np.exp(1j * np.pi), -1 + 1e-5j, {}),
        ([1 + 1j], [1 - 5j], {"standard_error": 1e-3}),
        ([sympy.I], [2j], {}),
    ],
)
def test_imaginary_parts_count(left, right, options):
    with pytest.raises(CheckError, match="Δ"):
        check("4.7", "complex", left, right, **options)


def test_complex_numbers_agree_by_their_distance(capsys):
    check("4.7", "Euler", [np.exp(1j * np.pi), 2j], [-1 + 1e-9j, 2j])
    check("4.7", "zeros", [1j, 0], [1j, 0])
    assert capsys.readouterr().out.startswith("✓ (4.7) Euler: |Δ| = 1.0e-09")
    # 1 % of the left side, in the imaginary direction, is within this tolerance.
    with pytest.raises(CheckError, match="off by 1 %"):
        check("4.7", "too tolerant", [2.0, 1 + 0.02j], [2.0, 1 + 0.01j], atol=0.0101)


EQUAL = [
    (sympy.Matrix([[X, 1], [0, 2 * X]]) ** 2, [[X**2, 3 * X], [0, 4 * X**2]]),
    (sympy.ImmutableMatrix([X + X]), sympy.Matrix([2 * X])),
    (sympy.Matrix([[1, 2]]) * 2, np.array([[2, 4]])),
    (2 * sympy.MatrixSymbol("A", 2, 1), sympy.MatrixSymbol("A", 2, 1) * 2),
    (sympy.Array([X, 1]) * 2, (2 * X, 2)),
    ([X * X, 1], np.array([X**2, 1])),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_symbols_in_matrices_and_lists_agree_one_by_one(left, right):
    check("2.1", "equal", left, right)
    assert ledger()[0].method == "symbolic"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (sympy.Matrix([[X, 1]]), sympy.Matrix([[X, 2]])),
        (sympy.Matrix([[1, 2]]), [[1, 1]]),
        ([X, X], (X, -X)),
        (sympy.MatrixSymbol("A", 2, 1), -sympy.MatrixSymbol("A", 2, 1)),
    ],
)
def test_one_wrong_element_among_symbols_is_found(left, right):
    with pytest.raises(CheckError, match="left - right = "):
        check("2.1", "unequal", left, right)


@pytest.mark.parametrize(
    "third", [Fraction(1, 3), Decimal(1) / 3, mpmath.mpf(1) / 3, sympy.Rational(1, 3)]
)
def test_numbers_of_other_packages_are_numbers(third):
    check("1.1", "a third", [third, 2], [1 / 3, 2])
    assert ledger()[0].method == "numbers"
    with pytest.raises(CheckError):
        check("1.1", "a third", [third, 2], [0.334, 2])


def test_the_ledger_is_a_table_in_the_order_of_the_equations():
    for number in ("4.10", "4.2", "4.2"):
        check(number, "a < b", 1.0, 1.0)
    table = ledger()
    assert [entry.number for entry in table] == ["4.2", "4.10"]
    page = table._repr_html_()
    assert page.count("<tr>") == 3
    assert "a &lt; b" in page
    assert "(4.10) a < b" in repr(table)
