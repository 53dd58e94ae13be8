"""A functional and its derivatives, in symbols and on a grid.

Source: Gelfand and Fomin (1963), Calculus of Variations, sections 4 and 12.
"""

import contextlib
import functools
import math
import warnings

from utils import arguments

import numpy as np
import sympy
from scipy.integrate import quad
from sympy.core.function import AppliedUndef

EPSILON = np.finfo(float).eps

x = sympy.Symbol("x", real=True)
y = sympy.Function("y")
# To differentiate by y and by y' as if they were variables; no one else has these.
Y, SLOPE = sympy.Dummy("y", real=True), sympy.Dummy("slope", real=True)
BACK = {Y: y(x), SLOPE: y(x).diff(x)}


class Functional:
    """The functional F[y] = ∫ L(x, y, y') dx over an interval.

    On a grid x_0 < ... < x_(n-1), it becomes a function of n numbers, the values of y
    there: the sum over the cells of h L((x_i + x_(i+1)) / 2, (y_i + y_(i+1)) / 2,
    (y_(i+1) - y_i) / h), h being the cell's length. Its error is of second order.

    Parameters
    ----------
    lagrangian : SymPy expression
        L in terms of `x`, `y(x)` and `y(x).diff(x)`, all of this module; all else in it
        is real numbers, and functions that NumPy or SciPy have, as erf and gamma.
    interval : tuple of float
        The ends (a, b), finite, a below b; numbers of SymPy, as pi, will do.

    Raises
    ------
    ValueError
        If the Lagrangian has a free parameter, a complex number, a matrix, a higher
        derivative, a kink, or a function that cannot be computed, which is named; or
        if the interval is none.

    Examples
    --------
    >>> length = Functional(sympy.sqrt(1 + y(x).diff(x) ** 2), (0, 1))
    >>> round(length.value(x**2), 9)
    1.478942858
    >>> length.euler_lagrange(3 * x - 1)
    0
    """

    def __init__(self, lagrangian, interval):
        what = "a SymPy expression in x, y(x) and y(x).diff(x)"
        self.lagrangian = _check_expression("lagrangian", lagrangian, what).doit()
        self.interval = _check_interval(interval)
        self._plain = _check_lagrangian(self.lagrangian)
        self._first = by_y, by_slope = self._plain.diff(Y), self._plain.diff(SLOPE)
        self._second = by_y.diff(Y), by_y.diff(SLOPE), by_slope.diff(SLOPE)
        self.is_algebraic = not self._plain.has(SLOPE)
        expressions = [self._plain, *self._first, *self._second]
        require(
            not any(e.has(sympy.DiracDelta) for e in expressions),
            f"lagrangian is {self.lagrangian}, which has a kink, but must be twice "
            "differentiable in y and y'.",
        )
        self._compiled = _compile("lagrangian", (x, Y, SLOPE), expressions)
        self._density = _compile("lagrangian", (x, Y, SLOPE), self._plain)

    def __repr__(self):
        return f"Functional({self.lagrangian}, {self.interval})"

    def value(self, function, grid=None, *, derivative=None):
        """Return F[y], a number: by quadrature, or discretized if there is a grid.

        Parameters
        ----------
        function : SymPy expression in `x`, callable, or array-like of shape (n,)
            The function y; an array holds its values on the grid.
        grid : array-like, shape (n,), optional
            Increasing, from a to b. Needed for an array; there, an expression or a
            callable is sampled.
        derivative : callable, optional
            The derivative of a callable; needed without a grid, if there is a y' in L.
        """
        if grid is not None:
            grid = check_grid(grid, self.interval)
            samples = sample("function", function, grid)
            return float(discretize(self, samples, grid)[0])
        if not callable(function):
            function = _check_function("function", function)
            return _quadrature(self._insert(self._plain, function), self.interval)
        slope = derivative or (self.is_algebraic and (lambda t: 0.0))
        require(
            callable(slope),
            "derivative is missing, or no callable: with a callable, give its "
            "derivative as a callable too, or give function as a SymPy expression.",
        )

        def density(t):
            places = ("function", function(t)), ("derivative", slope(t))
            return self._density(t, *(np.float64(arguments.real(*p)) for p in places))

        return _quadrature(density, self.interval)

    def derivative(self):
        """Return δF/δy = ∂L/∂y - d/dx ∂L/∂y', a SymPy expression."""
        by_y, by_slope = (part.xreplace(BACK) for part in self._first)
        return by_y - by_slope.diff(x)

    def euler_lagrange(self, expression):
        """Return δF/δy at a SymPy expression, simplified: 0 if it is stationary."""
        expression = _check_function("expression", expression)
        return sympy.simplify(self.derivative().subs(y(x), expression).doit())

    def directional(self, function, direction):
        """Return d/dε F[y + ε η] at ε = 0, for SymPy expressions y and η.

        It is ∫ (∂L/∂y η + ∂L/∂y' η') dx, with the effect of the ends.
        """
        function = _check_function("function", function)
        direction = _check_function("direction", direction)
        by_y, by_slope = self._first
        change = by_y * direction + by_slope * direction.diff(x)
        return _quadrature(self._insert(change, function), self.interval)

    def beltrami(self):
        """Return y' ∂L/∂y' - L, constant along solutions if there is no x in L.

        Raises
        ------
        ValueError
            If there is an x in L, so that it need not be constant.
        """
        require(
            sympy.simplify(self._plain.diff(x)) == 0,
            f"lagrangian is {self.lagrangian}, which depends on x itself: Beltrami's "
            "identity needs one that depends on y and y' alone.",
        )
        return (SLOPE * self._first[1] - self._plain).xreplace(BACK)

    def gradient(self, samples, grid):
        """Return δF/δy on the grid, shape (n,): ∂F/∂y_i over the length of node i.

        That length reaches half-way to the neighbours. The error is of second order
        inside; at the ends, ∓∂L/∂y' over that length is added, which must vanish if
        the end is free.
        """
        samples, grid = self._check_samples(samples, grid)
        return discretize(self, samples, grid)[2] / node_lengths(grid)

    def hessian(self, samples, grid):
        """Return ∂²F/∂y_i∂y_i, shape (n,), and ∂²F/∂y_i∂y_(i+1), shape (n - 1,).

        All other second derivatives of the discretized functional are zero.
        """
        return discretize(self, *self._check_samples(samples, grid))[4:]

    @functools.cached_property
    def _bends_by_y(self):
        return sympy.simplify(self._second[0]) != 0

    @functools.cached_property
    def _bends_by_slope(self):
        return sympy.simplify(self._second[2]) != 0

    @staticmethod
    def _insert(plain, expression):
        values = {Y: expression, SLOPE: expression.diff(x)}
        return _compile("function", (x,), plain.xreplace(values))

    def _check_samples(self, samples, grid):
        grid = check_grid(grid, self.interval)
        return sample("samples", samples, grid), grid


def discretize(functional, samples, grid):
    """Return the value, the gradient and the Hessian of the discretized functional.

    Value and gradient are each followed by the sum of the absolute values of their
    terms; the Hessian is its diagonal and the one beside that. All but the value and
    its size are arrays, of shape (n,), the last of shape (n - 1,).
    """
    h = np.diff(grid)
    with np.errstate(all="ignore"):
        if functional.is_algebraic:
            # Without a y', midpoints would not notice a zigzag, +1, -1, +1, ..., added
            # to y. The trapezoidal rule does, and its Hessian is diagonal.
            lengths, zero = node_lengths(grid), np.zeros(len(grid))
            tables = functional._compiled(grid, samples, zero)
            value, by_y, _, by_yy, _, _ = (lengths * table for table in tables)
            sizes = np.sum(np.abs(value)), np.abs(by_y)
            return np.sum(value), sizes[0], by_y, sizes[1], by_yy, np.zeros(len(h))
        middle, mean = (grid[1:] + grid[:-1]) / 2, (samples[1:] + samples[:-1]) / 2
        tables = functional._compiled(middle, mean, np.diff(samples) / h)
        value, u, p, uu, up, pp = (h * table for table in tables)
    # By the chain rule: a node counts half in the mean, and ∓1 / h in the slope.
    u, p, uu, up, pp = u / 2, p / h, uu / 4, up / h, pp / h**2
    size = np.abs(u) + np.abs(p)
    return (
        np.sum(value),
        np.sum(np.abs(value)),
        to_nodes(u - p, u + p),
        to_nodes(size, size),
        to_nodes(uu - up + pp, uu + up + pp),
        uu - pp,
    )


def node_lengths(grid):
    """Return the length that each node has: half of the cells beside it."""
    return np.convolve(np.diff(grid), [0.5, 0.5])


def to_nodes(left, right):
    """Add what each cell gives to its left and its right node, shape (n,)."""
    return np.append(left, 0.0) + np.append(0.0, right)


def _quadrature(integrand, interval):
    def finite(t):
        # NumPy's numbers, unlike Python's, divide by zero without an exception.
        value = integrand(np.float64(t))
        require(
            np.isrealobj(value) and np.isfinite(value),
            f"function leaves the domain of the Lagrangian: that is {value} at {t}.",
        )
        return float(value)

    with np.errstate(all="ignore"):
        # An integral of 0 has no relative error: it is small beside that of |L|.
        shares = (np.arange(16) + 0.5) / 16
        size = np.ptp(interval) * np.mean(
            [abs(finite(interval[0] + share * np.ptp(interval))) for share in shares]
        )
        return quad(finite, *interval, epsabs=1e-13 * size, epsrel=1e-10, limit=200)[0]


def require(condition, message):
    """Raise a ValueError with a message, unless a condition holds."""
    if not condition:
        raise ValueError(message)


def _check_lagrangian(lagrangian):
    """Return the Lagrangian in terms of x, Y and SLOPE."""
    derivatives = lagrangian.atoms(sympy.Derivative)
    require(
        all(derivative.derivative_count == 1 for derivative in derivatives),
        f"lagrangian is {lagrangian}, which has a higher derivative, but may have y(x) "
        "and y(x).diff(x) alone.",
    )
    plain = lagrangian.xreplace({BACK[SLOPE]: SLOPE}).xreplace({BACK[Y]: Y})
    strange = plain.free_symbols - {x, Y, SLOPE} | plain.atoms(AppliedUndef)
    names = ", ".join(sorted(map(str, strange)))
    require(
        not strange,
        f"lagrangian is {lagrangian}, which has {names} in it, but may have numbers, "
        "x, y(x) and y(x).diff(x) alone: with the x and y of utils.functionals, which "
        "are to be imported.",
    )
    return plain


def _check_expression(name, value, what):
    """Return a value as a SymPy expression of real numbers."""
    expression = None
    if isinstance(value, np.ndarray):
        arguments.plain_array(name, value)
    with contextlib.suppress(sympy.SympifyError):
        expression = sympy.sympify(value, strict=True)  # evaluates no strings
    require(
        isinstance(expression, sympy.Expr),
        f"{name} is {value!r:.80}, but must be {what}.",
    )
    strange = next(filter(_is_strange, sympy.preorder_traversal(expression)), None)
    require(
        strange is None,
        f"{name} is {value!r:.80}, which has {strange} in it, but must be of finite "
        "real numbers, and no matrix.",
    )
    return expression


def _is_strange(part):
    if not isinstance(part, sympy.Expr):
        return False
    number = part.is_number and (part.is_real is False or part is sympy.nan)
    return number or part.is_Matrix or part.is_commutative is False


def _check_function(name, value):
    """Return a function of x as a SymPy expression."""
    what = "an expression in the x of utils.functionals; samples need their grid"
    expression = _check_expression(name, value, what)
    require(
        expression.free_symbols <= {x} and not expression.has(AppliedUndef),
        f"{name} is {value!r:.80}, but must be an expression in the x of "
        "utils.functionals alone.",
    )
    return expression


def _compile(name, symbols, expression):
    """Return a SymPy expression, or a list of them, as a function of arrays.

    Raises
    ------
    ValueError
        If NumPy and SciPy cannot compute it as real numbers, with the part in the way.
    """

    def compiled(parts):
        many = isinstance(parts, list)
        try:
            function = sympy.lambdify(symbols, parts, ["scipy", "numpy"], cse=many)
            values = function(*np.full((len(symbols), 2), 0.5))
            for value in values if many else [values]:
                arguments.real_array(name, value, finite=False)
        except Exception:  # of many kinds, by what is amiss
            return None
        return function

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function = compiled(expression)
        if function:
            return function
        parts = (
            part
            for part in sympy.postorder_traversal(expression)
            if isinstance(part, sympy.Expr) and part.free_symbols <= set(symbols)
        )
        first = next((p for p in parts if not compiled(p)), sympy.Symbol("a function"))
    raise ValueError(
        f"{name} has {first.xreplace(BACK)} in it or in its derivatives, of which "
        "NumPy and SciPy have no real values for an array."
    )


def sample(name, function, grid):
    """Return the values of a function on a grid, shape (n,): a new array."""
    if isinstance(function, sympy.Basic):
        function = _compile(name, (x,), _check_function(name, function))
    if callable(function):
        function = arguments.called(name, function, grid)
    values = arguments.real_array(name, function)
    require(
        values.shape in ((), grid.shape),
        f"{name} has shape {values.shape}, but must be one value at each of the "
        f"{len(grid)} points of the grid.",
    )
    return values + np.zeros(grid.shape)


def check_number(name, value, **bounds):
    """Return a real number as a float; one of SymPy's will do, as pi."""
    if isinstance(value, sympy.Expr) and value.is_number and value.is_real:
        value = float(value)
    return arguments.real(name, value, **bounds)


def _check_interval(interval):
    try:
        a, b = (check_number("interval", end) for end in interval)
    except (TypeError, ValueError):
        a = b = math.nan
    require(
        a < b and math.isfinite(b - a),
        f"interval is {interval!r:.80}, but must be two finite numbers (a, b), a "
        "below b.",
    )
    return a, b


def check_grid(grid, interval):
    """Return a grid that increases from end to end of an interval, shape (n,)."""
    grid = arguments.real_array("grid", grid, ("n",))
    require(
        len(grid) >= 3, f"grid has {len(grid)} points, but must have 3 points or more."
    )
    require(np.all(np.diff(grid) > 0), "grid must increase from point to point.")
    slack = 1e-12 * (interval[1] - interval[0]) + 4 * EPSILON * max(map(abs, interval))
    require(
        all(abs(grid[i] - interval[i]) <= slack for i in (0, -1)),
        f"grid spans {grid[0]:.9g} to {grid[-1]:.9g}, but must span {interval}.",
    )
    return grid
