"""The normal distribution, as far as the recommender needs it, and the fixed draws that it averages over."""

from math import erfc, exp, pi, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NORMAL_95 = 1.959963984540054
"""Half the width of the central 95 % interval of a standard normal."""

_FAR = 6.0  # beyond so many deviations the tail is too thin for the ratio of density and tail
_LEAST_VARIANCE_KEPT = 1e-3


def upper_tail(z: float) -> float:
    """Return the probability that a standard normal is above ``z``."""
    return 0.5 * erfc(z / sqrt(2.0))


def density(z: float) -> float:
    """Return the density of a standard normal at ``z``."""
    return exp(-0.5 * z * z) / sqrt(2.0 * pi)


def truncated_above(mean: float, variance: float, bound: float) -> tuple[float, float]:
    """Return mean and variance of a normal truncated to above a bound.

    With ``z = (bound - mean) / sd`` and ``r = density(z) / upper_tail(z)`` (the inverse Mills ratio) they are
    ``mean + sd r`` and ``variance (1 - r (r - z))``. Far out, ``r`` is taken as ``z + 1/z``.
    """
    deviation = sqrt(variance)
    z = (bound - mean) / deviation
    ratio = density(z) / upper_tail(z) if z < _FAR else z + 1.0 / z
    return mean + deviation * ratio, variance * max(1.0 - ratio * (ratio - z), _LEAST_VARIANCE_KEPT)


def halton_normals(count: int) -> Array:
    """Return pairs of standard normals that fill the plane evenly, of shape (count, 2).

    The Halton sequence in the bases 2 and 3 (Halton 1960), through the inverse distribution: fixed draws, so that
    two arms are always compared under the same luck, and every decision can be repeated.
    """
    inverse = NormalDist().inv_cdf
    pairs = [[inverse(_van_der_corput(n, base)) for base in (2, 3)] for n in range(1, count + 1)]
    return np.array(pairs)


def _van_der_corput(n: int, base: int) -> float:
    """Return the digits of ``n`` mirrored at the point."""
    value, place = 0.0, 1.0
    while n:
        n, digit = divmod(n, base)
        place /= base
        value += place * digit
    return value
