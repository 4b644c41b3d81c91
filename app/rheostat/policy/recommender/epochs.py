"""The epochs model: how many epochs each batch size needs to the target, with its uncertainty.

``f = log(epochs to target)`` is a Gaussian process over the arms, shared by all placements of a job. With ``d``
octaves from the default::

    mean    anchor + 0.12 d + 0.08 bend(d)
    kernel  1 + 0.50^2 d d' + 0.06^2 bend bend' + 0.20^2 exp(-((x - x') / 1.5)^2 / 2) + 0.05^2 [same arm]

By the mean, larger batches need more epochs, the more so the larger they are; the kernel is how much jobs differ in
that. The constants were fitted on published training traces (those of Zeus, NSDI 2023).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from rheostat.policy.recommender.evidence import Tally
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.normal import Array

SLOPE_MEAN, SLOPE_DEVIATION = 0.12, 0.50
BEND_MEAN, BEND_DEVIATION = 0.08, 0.06
LEVEL_DEVIATION = 1.0
SMOOTH_DEVIATION, SMOOTH_OCTAVES = 0.20, 1.5
ARM_DEVIATION = 0.05

NOISE_DEVIATION = 0.10
"""What the logarithm of the epochs differs by from seed to seed, before anything was seen of it ..."""

NOISE_WEIGHT = 4.0
"""... and how many degrees of freedom that guess is worth."""


@dataclass(frozen=True)
class Posterior:
    """A Gaussian belief of one logarithm per arm: mean of shape (arms,), covariance of shape (arms, arms)."""

    mean: Array
    covariance: Array

    @cached_property
    def variance(self) -> Array:
        """Variance of each arm."""
        variance: Array = np.maximum(self.covariance.diagonal(), 0.0)
        return variance

    def with_pending_run(self, arm: int, noise: float) -> "Posterior":
        """Return the belief given a pending run of an arm: a smaller variance, the same mean."""
        column = self.covariance[:, arm]
        removed = np.outer(column, column) / (self.covariance[arm, arm] + noise)
        return Posterior(self.mean, self.covariance - removed)


@lru_cache(maxsize=32)
def prior_mean(grid: Grid) -> Array:
    """Return the prior mean of ``f``, but for the anchor."""
    mean: Array = SLOPE_MEAN * grid.distance + BEND_MEAN * grid.bend
    mean.flags.writeable = False  # many share it
    return mean


@lru_cache(maxsize=32)
def prior_covariance(grid: Grid) -> Array:
    """Return the prior covariance of ``f``."""
    covariance: Array = (
        LEVEL_DEVIATION**2
        + SLOPE_DEVIATION**2 * np.outer(grid.distance, grid.distance)
        + BEND_DEVIATION**2 * np.outer(grid.bend, grid.bend)
        + grid.smooth(SMOOTH_DEVIATION, SMOOTH_OCTAVES)
        + ARM_DEVIATION**2 * np.eye(len(grid))
    )
    covariance.flags.writeable = False
    return covariance


def seed_noise(tallies: Iterable[Tally]) -> float:
    """Return the variance of ``f`` from run to run of the same arm, pooled over the arms.

    ``(4 * 0.1^2 + sum(S2 - S1^2 / n)) / (4 + sum(n - 1))`` over the arms that ran: few runs of one
    arm say little of its noise, but all arms together say enough.

    Args:
        tallies: Of the log epochs of each arm's converged runs.
    """
    ran = [tally for tally in tallies if tally.count >= 1.0]
    squares = [tally.squares - tally.total * tally.total / tally.count for tally in ran]
    within, freedom = map(float, np.add.reduce([squares, [tally.count - 1.0 for tally in ran]], axis=1))
    return (NOISE_WEIGHT * NOISE_DEVIATION**2 + max(within, 0.0)) / (NOISE_WEIGHT + freedom)


def condition(mean: Array, covariance: Array, precision: Sequence[float], weighted: Sequence[float]) -> Posterior:
    """Return a Gaussian belief after noisy observations of some arms.

    Args:
        mean: Prior mean.
        covariance: Prior covariance.
        precision: One over the variance of what was observed of each arm; 0 where nothing was.
        weighted: Precision times the observed value.
    """
    seen = [arm for arm, known in enumerate(precision) if known > 0]
    if not seen:
        return Posterior(mean, covariance)
    rows = covariance[seen]
    observed = rows[:, seen]
    observed.flat[:: len(seen) + 1] += [1.0 / precision[arm] for arm in seen]
    off = np.array([weighted[arm] / precision[arm] for arm in seen]) - mean[seen]
    triangle = np.linalg.cholesky(observed)
    whitened = np.linalg.solve(triangle, rows)
    posterior_mean: Array = mean + whitened.T @ np.linalg.solve(triangle, off)
    return Posterior(posterior_mean, covariance - whitened.T @ whitened)
