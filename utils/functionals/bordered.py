"""Newton's equations of a function on a grid, bordered by those of constraints.

Source: Nocedal and Wright (2006), Numerical Optimization, sections 3.4 and 16.1.
"""

import numpy as np
from scipy.linalg import LinAlgError, eigvalsh_tridiagonal, solve_banded

from .functional import EPSILON


def _multiply(diagonal, off_diagonal, vector):
    """Multiply a symmetric tridiagonal matrix with a vector."""
    before = np.append(0.0, off_diagonal * vector[:-1])
    return diagonal * vector + before + np.append(off_diagonal * vector[1:], 0.0)


class BorderedSystem:
    """Newton's equations: H step + Jᵀ change = -slopes, J step = -gaps.

    H is tridiagonal, shape (N, N), and J has a row for each constraint: eliminating the
    step leaves as many equations as constraints. H is the Hessian plus a multiple of
    the metric, the `shift`.
    """

    def __init__(self, hessian, jacobian, metric):
        self.plain, self.jacobian, self.metric = hessian, jacobian, metric

    def shift_to(self, shift):
        pairs = zip(self.plain, self.metric, strict=True)
        self.shifted = diagonal, off_diagonal = [h + shift * m for h, m in pairs]
        beside = np.append(0.0, off_diagonal), np.append(off_diagonal, 0.0)
        self.bands = np.array([beside[0], diagonal, beside[1]])
        self.columns = self._divide(self.jacobian.T)
        self.schur = self.jacobian @ self.columns

    def _divide(self, right):
        return solve_banded((1, 1), self.bands, right, check_finite=False)

    def solve(self, slopes, gaps):
        direct = self._divide(slopes)
        change = np.linalg.solve(self.schur, gaps - self.jacobian @ direct)
        return -direct - self.columns @ change, change

    def curvature(self, step):
        return step @ _multiply(*self.shifted, step)

    def rounding(self, values):
        """Return what rounding of y does to the slopes, shape (N,)."""
        return 4 * EPSILON * _multiply(*map(np.abs, (*self.plain, values)))

    def count_negative(self, shift):
        """Count negative eigenvalues of H on the null space of J, at a shift.

        The bordered matrix has as many negative eigenvalues as H and -J H⁻¹ Jᵀ have
        together (Haynsworth, 1968), and one for each constraint more than H has on the
        null space (Nocedal and Wright, theorem 16.3).
        """
        self.shift_to(shift)
        diagonal, off_diagonal = self.shifted
        bound = np.max(np.abs(diagonal)) + 2 * np.max(np.abs(off_diagonal), initial=1.0)
        # With a tolerance this wide they are counted by Sturm's sequence, not computed.
        negative = eigvalsh_tridiagonal(
            diagonal,
            off_diagonal,
            select="v",
            select_range=(-bound, 0.0),
            tol=4 * bound,
            check_finite=False,
        )
        borders = np.sum(np.linalg.eigvalsh(self.schur) > 0)
        return len(negative) + borders - len(self.jacobian)

    def regularize(self, shift, descend):
        """Shift H until it is positive where it should be, and return the shift."""
        least = 1e-6 * (np.max(np.abs(self.plain[0]) / self.metric[0]) or 1.0)
        for trial in (0.0, *4.0 ** np.arange(20) * max(shift / 4, least)):
            try:
                if not self.count_negative(trial) or not descend:
                    return trial
            except LinAlgError:
                continue
        raise LinAlgError("no shift makes the Hessian positive")

    def kind(self):
        """Tell minimum, maximum and saddle apart by the number of negative curvatures.

        Counted in units in which rows have size one. In these, the lowest are of the
        order of 1 / N², and the scheme is off by that squared.
        """
        diagonal, off_diagonal = self.plain
        size = _multiply(np.abs(diagonal), np.abs(off_diagonal), np.ones(len(diagonal)))
        root = np.sqrt(np.where(size > 0, size, 1.0))
        hessian = diagonal / root**2, off_diagonal / (root[1:] * root[:-1])
        unit = np.ones(len(root)), np.zeros(len(root) - 1)
        scaled = BorderedSystem(hessian, self.jacobian / root, unit)
        zero = 16 * EPSILON + (5 / (len(root) + 1) ** 4 if off_diagonal.any() else 0.0)
        counts = {scaled.count_negative(shift) for shift in (zero, -zero)}
        if len(counts) == 2:
            return "degenerate"
        names = {len(root) - len(self.jacobian): "maximum", 0: "minimum"}
        return names.get(counts.pop(), "saddle")

    def lowest(self):
        """Return the direction of least curvature, largest 1, by inverse iteration."""
        step = np.random.default_rng(0).random(len(self.bands.T))
        for _ in range(30):
            step, _ = self.solve(
                _multiply(*self.metric, step), np.zeros(len(self.jacobian))
            )
            step /= np.max(np.abs(step))
        return step
