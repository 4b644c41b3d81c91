"""Lies: a run so far from all expectation that it is believed only when another one says the same.

A metric that jumps to its target by mistake, or a unit that is off by a thousand, would else make an arm look
unbeatable or ruined for good, and with it set the bar that stops all other runs.
"""

from dataclasses import replace
from math import log, sqrt

from rheostat.policy.recommender.evidence import Tally

DOUBTFUL = log(8.0)
"""A figure is doubted when its logarithm is off by more than that ..."""

DOUBTFUL_DEVIATIONS = 5.0
"""... and by more than so many standard deviations of what was expected."""

AGREEMENT = log(2.0)
"""Two doubted figures this close confirm each other."""


def is_doubtful(value: float, expected: tuple[float, float]) -> bool:
    """Return whether a logarithm is too far from its expected mean and variance to be believed at once."""
    mean, variance = expected
    return abs(value - mean) > max(DOUBTFUL, DOUBTFUL_DEVIATIONS * sqrt(variance))


def admit(tally: Tally, value: float, expected: tuple[float, float] | None, window_size: int) -> tuple[Tally, bool]:
    """Return an arm's tally after a run, and whether what was believed before turned out false.

    A doubted value is put aside. When the next doubted one agrees with it, the two replace what was believed. Where
    a single run is all that contradicts it, the dearer of the two is believed until a third decides: a bar that is
    too low stops good runs, one that is too high only stops bad ones late.

    Args:
        tally: What the arm's runs told so far.
        value: Logarithm of what this one tells.
        expected: Mean and variance of what it was expected to tell; None: nothing to go by.
        window_size: How many latest runs count; 0: all.
    """
    if expected is None or not is_doubtful(value, expected):
        return tally.add(value, window_size), False
    if tally.doubted is not None and abs(value - tally.doubted) <= AGREEMENT:
        return Tally().add(tally.doubted, window_size).add(value, window_size), True
    if tally.count == 1.0 and value > tally.total:
        return replace(Tally().add(value, window_size), doubted=tally.total), True
    return replace(tally, doubted=value), False
