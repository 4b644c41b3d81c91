"""Outlier rejection: a result far outside its predictive distribution is held back until a second run confirms it.

A metric that jumps to its target by mistake, or a unit that is off by a thousand, would otherwise make an arm look
unbeatable or ruin it for good, and with it set the reference cost that stops all other runs.
"""

from dataclasses import replace
from math import log, sqrt

from rheostat.policy.recommender.evidence import Tally

OUTLIER_LOG_RATIO = log(8.0)
"""A value is an outlier when its logarithm is off by more than this ..."""

OUTLIER_DEVIATIONS = 5.0
"""... and by more than this many predictive standard deviations."""

AGREEMENT = log(2.0)
"""Two outliers this close confirm each other."""


def is_outlier(value: float, predicted: tuple[float, float], log_ratio: float = OUTLIER_LOG_RATIO) -> bool:
    """Return whether a logarithm is too far from its predictive mean and variance to be accepted at once."""
    mean, variance = predicted
    return abs(value - mean) > max(log_ratio, OUTLIER_DEVIATIONS * sqrt(variance))


def admit(tally: Tally, value: float, predicted: tuple[float, float] | None, window_size: int) -> tuple[Tally, bool]:
    """Return an arm's tally after a run, and whether the earlier values turned out to be wrong.

    An outlier is held back. When the next outlier agrees with it, the two replace the earlier values. Where the arm has
    only a single earlier run, the more expensive of the two is used until a third decides: a reference cost that is too
    low stops good runs, one that is too high only stops bad ones late.

    Args:
        tally: Of the arm's earlier runs.
        value: Logarithm of this run's figure.
        predicted: Its predictive mean and variance; None: there is no prediction.
        window_size: How many latest runs count; 0: all.
    """
    if predicted is None or not is_outlier(value, predicted):
        return tally.add(value, window_size), False
    if tally.held_back is not None and abs(value - tally.held_back) <= AGREEMENT:
        return Tally().add(tally.held_back, window_size).add(value, window_size), True
    if tally.count == 1.0 and value > tally.total:
        return replace(Tally().add(value, window_size), held_back=tally.total), True
    return replace(tally, held_back=value), False
