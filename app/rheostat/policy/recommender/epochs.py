"""The epochs model: how many epochs each batch size needs to the target, with its doubt.

``f = log(epochs to target)`` is a Gaussian process over the arms, shared by all placements of a job. With ``d``
octaves from the default::

    mean    anchor + 0.20 d + 0.08 bend(d)
    kernel  1 + 0.50^2 d d' + 0.06^2 bend bend' + 0.20^2 exp(-((x - x') / 1.5)^2 / 2) + 0.05^2 [same arm]

The mean says that larger batches need more epochs, the more so the larger they are; the kernel says how much jobs
differ in that. The constants were fitted on published training traces (those of Zeus, NSDI 2023).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.normal import Array

SLOPE_MEAN, SLOPE_DEVIATION = 0.20, 0.50
BEND_MEAN, BEND_DEVIATION = 0.08, 0.06
LEVEL_DEVIATION = 1.0
SMOOTH_DEVIATION, SMOOTH_OCTAVES = 0.20, 1.5
ARM_DEVIATION = 0.05

NOISE_DEVIATION = 0.10
"""What the logarithm of the epochs differs by from seed to seed, before anything was seen of it ..."""

NOISE_WEIGHT = 4.0
"""... and how many degrees of freedom that guess is worth."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """A Gaussian belief of one logarithm per arm: mean of shape (arms,), covariance of shape (arms, arms)."""

    mean: Array
    covariance: Array

    @property
    def variance(self) -> Array:
        """Variance of each arm."""
        variance: Array = np.maximum(np.diag(self.covariance), 0.0)
        return variance

    def foresee(self, arm: int, noise: float) -> "Posterior":
        """Return the belief after a run of an arm that is still in flight: less doubt, the same mean."""
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


def seed_noise(counts: Array, sums: Array, squares: Array) -> float:
    """Return the variance of ``f`` from run to run of the same arm, pooled over the arms.

    ``(4 * 0.1^2 + sum(S2 - S1^2 / n)) / (4 + sum(n - 1))`` over the arms that ran: few runs say little of one
    arm's noise, all together say enough.

    Args:
        counts: Converged runs of each arm.
        sums: Sums of their log epochs.
        squares: Sums of the squares.
    """
    ran = counts >= 1.0
    within = float(np.sum(squares[ran] - sums[ran] ** 2 / counts[ran]))
    freedom = float(np.sum(counts[ran] - 1.0))
    return (NOISE_WEIGHT * NOISE_DEVIATION**2 + max(within, 0.0)) / (NOISE_WEIGHT + freedom)


def condition(mean: Array, covariance: Array, precision: Array, weighted: Array) -> Posterior:
    """Return a Gaussian belief after noisy observations of some arms.

    Args:
        mean: Prior mean.
        covariance: Prior covariance.
        precision: One over the variance of what was observed of each arm; 0 where nothing was.
        weighted: Precision times the observed value.
    """
    seen = np.nonzero(precision > 0)[0]
    if not len(seen):
        return Posterior(mean, covariance)
    value = weighted[seen] / precision[seen]
    triangle = np.linalg.cholesky(covariance[np.ix_(seen, seen)] + np.diag(1.0 / precision[seen]))
    whitened = np.linalg.solve(triangle, covariance[seen, :])
    posterior_mean: Array = mean + whitened.T @ np.linalg.solve(triangle, value - mean[seen])
    return Posterior(posterior_mean, covariance - whitened.T @ whitened)
