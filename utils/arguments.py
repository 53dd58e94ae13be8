"""Arguments, checked: the value that a function works with, or an error that names it.

What looks like numbers and is not what it looks like is refused: complex numbers lose
their imaginary part when cast, masked arrays their mask, strings and dates are cast
without a word, and NaN spreads.
"""

from numbers import Integral, Real

import numpy as np


def integer(name, value, *, least=1, most=None):
    """Return an integer, NumPy's among them, as an int.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : int
        A bool is none.
    least, most : int
        The smallest allowed, and the largest, if there is one.

    Raises
    ------
    ValueError
        If the value is no integer, or beyond these.

    Examples
    --------
    >>> integer("num_samples", np.int8(3))
    3
    """
    value = _unboxed(value)
    whole = isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))
    if not whole or value < least or (most is not None and value > most):
        what = {0: "an integer, 0 or above", 1: "a positive integer"}.get(
            least, f"an integer of {least} or more"
        )
        if most is not None:
            what = f"an integer from {least} to {most}"
        raise ValueError(f"{name} is {_shown(value)}, but must be {what}.")
    return int(value)


def integers(name, value, *, at_least=0):
    """Return a tuple of positive integers, or raise a ValueError that names it.

    Parameters
    ----------
    name : str
    value : sequence of int
    at_least : int
        How many there must be.

    Returns
    -------
    tuple of int
    """
    try:
        sizes = tuple(integer(name, size) for size in value)
    except (TypeError, ValueError):
        sizes = None
    if sizes is None or len(sizes) < at_least:
        raise ValueError(
            f"{name} is {value!r}, but must be a sequence of positive integers, "
            "such as (32,) or (32, 32)."
        )
    return sizes


def real(name, value, *, above=None, least=None, most=None, below=None):
    """Return a finite real number as a float.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : float
        An integer or a number of NumPy will do; a bool, a string or a complex number
        will not.
    above, least, most, below : float, optional
        Bounds, of which the outer two are excluded.

    Raises
    ------
    ValueError
        If the value is no such number, is not finite, or beyond a bound.

    Examples
    --------
    >>> real("scale", 2, above=0)
    2.0
    """
    value = _unboxed(value)
    good = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    if good:
        number = _as_float(value)
        good = (
            np.isfinite(number)
            and (above is None or number > above)
            and (least is None or number >= least)
            and (most is None or number <= most)
            and (below is None or number < below)
        )
    if not good:
        bounds = (
            ("above", above),
            ("at least", least),
            ("at most", most),
            ("below", below),
        )
        text = " and ".join(
            f"{word} {end:g}" for word, end in bounds if end is not None
        )
        raise ValueError(
            f"{name} is {_shown(value)}, but must be a finite number"
            f"{', ' * bool(text)}{text}."
        )
    return number


def boolean(name, value):
    """Return True or False, NumPy's among them, as a bool.

    Raises
    ------
    ValueError
        If it is neither: the text "False" would count as true.
    """
    value = _unboxed(value)
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} is {_shown(value)}, but must be True or False.")
    return bool(value)


def real_array(name, value, shape=None, *, finite=True):
    """Return real numbers as an array of floats.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : array-like
        Of real numbers. Float arrays of double precision are not copied.
    shape : tuple of int and str, optional
        The shape asked for; a letter stands for any length, 0 among them.
    finite : bool
        Whether NaN and infinity are refused.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        If the numbers are not real, masked, of another shape, or not finite.

    Examples
    --------
    >>> real_array("z", [[1, 2]], ("n", 2))
    array([[1., 2.]])
    """
    array = plain_array(name, value)
    if array.dtype.kind == "O" and all(isinstance(v, Real) for v in array.flat):
        # Fractions, and integers beyond 64 bits.
        array = np.array([_as_float(v) for v in array.flat]).reshape(array.shape)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be real numbers, but is {_shown(value)} ({array.dtype})."
        )
    if shape is not None and not _fits(array.shape, shape):
        wanted = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        raise ValueError(f"{name} has shape {array.shape}, but must have ({wanted}).")
    array = array.astype(float, copy=False)
    if finite and not np.isfinite(array).all():
        bad = array[~np.isfinite(array)].flat[0]
        raise ValueError(f"{name} holds {bad}, but must be finite.")
    return array


def plain_array(name, value):
    """Return `value` as NumPy has it, of any type, if nothing in it is masked.

    Raises
    ------
    ValueError
        If it is no array: rows of different lengths, say; or if values are masked.
    """
    parts = value if isinstance(value, (list, tuple)) else ()
    if np.ma.is_masked(value) or any(map(np.ma.is_masked, parts)):
        raise ValueError(
            f"{name} is a masked array, and the values behind the mask would be taken "
            "for real ones: drop them first, or fill them in."
        )
    try:
        return np.asarray(value)
    except Exception as error:  # what an array-like does when asked is its own affair
        raise ValueError(f"{name} is no array: {error}") from error


def covariance_root(name, covariances):
    """Return the lower Cholesky factors of covariances, shape (..., d, d).

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    covariances : ndarray

    Raises
    ------
    ValueError
        If one is not symmetric, to rounding, or not positive definite.

    Examples
    --------
    >>> covariance_root("prior", np.diag([4.0, 9.0]))
    array([[2., 0.],
           [0., 3.]])
    """
    # The root reads one half only. An entry may be zero but for rounding, which is in
    # units of products of deviations.
    deviations = np.sqrt(np.abs(np.diagonal(covariances, axis1=-2, axis2=-1)))
    slack = 1e-6 * deviations[..., None] * deviations[..., None, :]
    if np.any(np.abs(covariances - covariances.swapaxes(-2, -1)) > slack):
        raise ValueError(f"{name} must be symmetric.")
    try:
        return np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(covariances).min()
        raise ValueError(
            f"{name} must be positive definite, but has the eigenvalue {least:.3g}."
        ) from None


def called(name, function, x):
    """Return what a function gives for an array.

    Raises
    ------
    ValueError
        If it takes none.
    """
    try:
        return function(x)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} has no values for an array: {error}. It must take one, as np.sin "
            "does, and math.sin does not."
        ) from error


def choice(name, value, choices):
    """Return one of several settings, as it stands in `choices`.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : object
        Equal to one of them: 1 and 1.0 are the same.
    choices : sequence

    Raises
    ------
    ValueError
        If it is none of them.

    Examples
    --------
    >>> choice("link", "logit", ("logit", "identity"))
    'logit'
    """
    value = _unboxed(value)
    for known in choices:
        equal = value == known  # of an array an array, which is no answer
        if isinstance(equal, (bool, np.bool_)) and equal:
            return known
    *first, last = map(repr, choices)
    raise ValueError(
        f"{name} is {_shown(value)}, but must be {', '.join(first)} or {last}."
    )


def rng(name, seed):
    """Return NumPy's generator for a seed.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    seed : None, int, numpy.random.SeedSequence, Generator, BitGenerator or RandomState
        None for fresh entropy. A generator is used as it is, and moves on.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(seed, np.random.RandomState):
        return np.random.Generator(seed._bit_generator)
    try:
        if isinstance(seed, (bool, float)):
            raise TypeError("not an integer")
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(_bad_seed(name, seed)) from None


def random_state(name, seed):
    """Return NumPy's older generator, which scikit-learn's estimators draw with.

    Parameters, and what is raised, are those of `rng`. An int gives the numbers that
    scikit-learn draws for it.
    """
    if seed is None:
        return np.random.mtrand._rand  # as scikit-learn has it: np.random.seed's
    if isinstance(seed, np.random.RandomState):
        return seed
    if isinstance(seed, (np.random.Generator, np.random.BitGenerator)):
        return np.random.RandomState(getattr(seed, "bit_generator", seed))
    if isinstance(seed, np.random.SeedSequence):
        return np.random.RandomState(np.random.MT19937(seed))
    try:
        return np.random.RandomState(integer(name, seed, least=0))
    except ValueError:
        raise ValueError(_bad_seed(name, seed)) from None


def _bad_seed(name, seed):
    return (
        f"{name} is {_shown(seed)}, but must be None, an integer of 0 or more, or a "
        "SeedSequence or generator of numpy.random."
    )


def _unboxed(value):
    """Return the number in an array or a tensor that holds only one."""
    if getattr(value, "shape", None) == () and not np.ma.isMaskedArray(value):
        return np.asarray(value)[()]
    return value


def _as_float(value):
    try:
        return float(value)
    except OverflowError:  # integers and fractions beyond 1e308
        return float("inf")


def _fits(shape, wanted):
    return len(shape) == len(wanted) and all(
        isinstance(side, str) or side == length
        for length, side in zip(shape, wanted, strict=True)
    )


def _shown(value):
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
