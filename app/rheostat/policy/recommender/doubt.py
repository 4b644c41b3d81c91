"""Lies: a run so far from all expectation that it is believed only when another one says the same.

A metric that jumps to its target by mistake, or a unit that is off by a thousand, would else make an arm look
unbeatable or ruined for good, and with it set the bar that stops all other runs.
"""

from dataclasses import replace
from math import log

from rheostat.policy.recommender.evidence import Tally

DOUBTFUL = log(8.0)
"""A figure is doubted when its logarithm is off by more than that ..."""

DOUBTFUL_DEVIATIONS = 5.0
"""... and by more than so many standard deviations of what was expected."""

AGREEMENT = log(2.0)
"""Two doubted figures this close confirm each other."""


def admit(tally: Tally, value: float, expected: tuple[float, float] | None, window_size: int) -> Tally:
    """Return an arm's tally after a run.

    A doubted value is put aside. When the next doubted one agrees with it, the two replace what was believed.

    Args:
        tally: What the arm's runs told so far.
        value: Logarithm of what this one tells.
        expected: Mean and variance of what it was expected to tell; None: nothing to go by.
        window_size: How many latest runs count; 0: all.
    """
    if expected is not None:
        mean, variance = expected
        if abs(value - mean) > max(DOUBTFUL, DOUBTFUL_DEVIATIONS * variance**0.5):
            if tally.doubted is None or abs(value - tally.doubted) > AGREEMENT:
                return replace(tally, doubted=value)
            return Tally().add(tally.doubted, window_size).add(value, window_size)
    return tally.add(value, window_size)
