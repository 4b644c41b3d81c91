"""Gaussian Thompson sampling over the surviving batch sizes (NSDI 2023, section 4.4, algorithm 1 and 2).

The costs of an arm are taken as normal with a variance that is learnt from them. With a flat prior the mean of
``n`` costs of variance ``v`` is distributed as ``N(mean, v / n)``, with another one as its normal conjugate posterior;
one draw an arm, and the lowest wins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np

NORMAL_95 = 1.959963984540054
"""Half-width of the central 95 % of a standard normal."""


class Prior(NamedTuple):
    """A normal belief about an expected cost: its mean in joules, and its precision; 0 says nothing."""

    mean: float = 0.0
    precision: float = 0.0


FLAT = Prior()


@dataclass(frozen=True, slots=True)
class ArmCosts:
    """The costs of one arm, as sufficient statistics.

    Attributes:
        count: How many costs.
        mean: Their mean in joules.
        squares: Sum of squared deviations from the mean (Welford 1962).
        window: The latest costs, oldest first, where only those count; else empty.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    window: tuple[float, ...] = ()

    def add(self, cost: float, window_size: int) -> "ArmCosts":
        """Return the statistics with one more cost; with a window only its latest ``window_size`` count."""
        if window_size > 0:
            window = (*self.window, cost)[-window_size:]
            mean = sum(window) / len(window)
            return ArmCosts(len(window), mean, sum((c - mean) ** 2 for c in window), window)
        count = self.count + 1
        mean = self.mean + (cost - self.mean) / count
        return ArmCosts(count, mean, self.squares + (cost - self.mean) * (cost - mean))

    @property
    def variance(self) -> float:
        """Population variance of the costs; 0 for a single one."""
        return max(self.squares, 0.0) / self.count if self.count else 0.0

    @property
    def standard_error(self) -> float:
        """Standard deviation of the belief about the mean."""
        return sqrt(self.variance / self.count) if self.count else float("inf")

    def belief(self, prior: Prior = FLAT) -> tuple[float, float]:
        """Return mean and standard deviation of the belief about the expected cost; without costs the prior's own."""
        if not self.count:
            return prior.mean, sqrt(1.0 / prior.precision) if prior.precision else float("inf")
        spread = self.variance / self.count
        weight = prior.precision * spread
        return (self.mean + weight * prior.mean) / (1.0 + weight), sqrt(spread / (1.0 + weight))


def sample_lowest(
    arms: Mapping[int, ArmCosts], random: np.random.Generator, prior: Prior = FLAT
) -> tuple[int, dict[int, float]]:
    """Draw one expected cost an arm and return the arm of the lowest draw, with all draws.

    Arms are drawn in ascending order of batch size, so a generator in the same state gives the same draws.
    """
    sizes = sorted(arms)
    means, deviations = zip(*(arms[size].belief(prior) for size in sizes), strict=True)
    drawn = random.normal(means, deviations)
    draws = dict(zip(sizes, drawn.tolist(), strict=True))
    return min(draws, key=lambda size: draws[size]), draws
