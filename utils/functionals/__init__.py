"""The calculus of variations: which function makes an integral least.

For F[y] = ∫ L(x, y, y') dx from a to b, the derivative along η is ∫ (δF/δy) η dx plus
a term at the ends, with δF/δy = ∂L/∂y - d/dx ∂L/∂y'. Where F is least, δF/δy = 0 (the
Euler-Lagrange equation), and ∂L/∂y' = 0 at an end whose value is left free. Under
constraints G_j[y] = v_j, the same holds for F + sum_j mu_j (G_j - v_j).

`Functional` has this in symbols and on a grid; `minimize` solves it on the grid.
"""

from .functional import Functional, x, y
from .minimizer import Extremum, minimize

__all__ = ["Extremum", "Functional", "minimize", "x", "y"]
