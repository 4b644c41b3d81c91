"""The epoch-cost model: what an epoch of each batch size costs on a placement, at its best power limit.

``g = log(epoch cost)`` is known as soon as an arm was profiled, nearly known when a survey measured it, and guessed
for the others. A share ``rho`` of an
epoch's cost shrinks with the number of its steps, the rest does not::

    mean    log(rho 2^-d + 1 - rho), a mixture over 25 values of rho
    kernel  4 + 0.1^2 d d' + 0.1^2 exp(-((x - x') / 1.5)^2 / 2) + 0.01^2 [same arm]

The mixture starts as a Beta distribution whose mean follows from how busy the GPU is at the default batch size, and
is reweighted by how well each ``rho`` explains the arms that were profiled. On a further GPU model the first one's
posterior stands in for the mixture. The constants were fitted on published training traces (Zeus, NSDI 2023).
"""

from collections.abc import Sequence
from functools import lru_cache
from math import exp

import numpy as np

from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.recommender.epochs import Posterior
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.normal import Array

LEVEL_DEVIATION = 2.0
SLOPE_DEVIATION = 0.10
SMOOTH_DEVIATION, SMOOTH_OCTAVES = 0.10, 1.5
ARM_DEVIATION = 0.01
OTHER_GPU_DEVIATION = 0.15
"""Slope and smooth deviation from the shape that another GPU model showed."""

JITTER = 1e-6
"""Variance of an epoch cost that a run measured: as good as none, but the matrices stay regular."""

SURVEY_DEVIATION = 0.03
"""Standard deviation of the log epoch cost that a survey measured."""

SHARES: Array = np.linspace(0.02, 0.98, 25)
"""Values of ``rho``."""

SHARE_WEIGHT = 3.0
"""How many observations the guess from the GPU's utilisation is worth."""

_USUAL_SLOWDOWN = 1.15


def step_bound_share(measurements: Sequence[PowerMeasurement], max_power_watts: float, gpu_count: int) -> float:
    """Return the expected ``rho`` of a GPU that was measured at the default batch size.

    A GPU that draws little at its top limit (``u`` of its maximum power) and does not mind a limit of half the
    maximum (``slow``, its time there over that at the top) waits for steps rather than computes, so larger batches
    will pay: ``1 / (1 + exp((u - 0.6) / 0.12 + (min(slow, 1.6) - 1.15) / 0.12))``, the exponent within +-4.

    Args:
        measurements: Of several limits, of the same batch size; those without time or energy are ignored.
        max_power_watts: Highest limit of one GPU times their number.
        gpu_count: Their number.
    """
    whole = [m for m in measurements if m.time_seconds and m.energy_joules]
    if not whole:
        return 0.5
    half_power = 0.5 * max_power_watts / gpu_count
    top = max(whole, key=lambda m: m.power_limit_watts)
    half = min(whole, key=lambda m: (abs(m.power_limit_watts - half_power), m.power_limit_watts))
    assert top.time_seconds
    assert top.energy_joules
    assert half.time_seconds
    busy = top.energy_joules / top.time_seconds / max_power_watts
    slow = _USUAL_SLOWDOWN
    if half.power_limit_watts < 0.8 * top.power_limit_watts:
        slow = half.time_seconds / top.time_seconds
    exponent = (busy - 0.6) / 0.12 + (min(slow, 1.6) - _USUAL_SLOWDOWN) / 0.12
    return 1.0 / (1.0 + exp(min(max(exponent, -4.0), 4.0)))


@lru_cache(maxsize=32)
def share_means(grid: Grid) -> Array:
    """Return the prior mean of ``g`` under each ``rho``, of shape (shares, arms)."""
    means: Array = np.log(SHARES[:, None] * 2.0**-grid.distance + 1.0 - SHARES[:, None])
    return means


def posterior(
    grid: Grid, log_costs: Array, expected_share: float, shape: Array | None, surveyed: Sequence[bool] = ()
) -> Posterior:
    """Return the belief of ``g``.

    While no arm was measured only differences between arms mean anything.

    Args:
        grid: The arms.
        log_costs: Log of the measured epoch cost of each arm; NaN where it was not measured.
        expected_share: What :func:`step_bound_share` expects of ``rho``.
        shape: What another placement believes of ``g``, in place of the mixture; None: there is none.
        surveyed: Of which arms the measured cost comes from a survey; empty: of none.
    """
    shape_bytes = None if shape is None else shape.tobytes()
    return _posterior(grid, log_costs.tobytes(), expected_share, shape_bytes, tuple(surveyed))


@lru_cache(maxsize=128)  # most decisions rest on the same figures as the one before
def _posterior(
    grid: Grid, log_cost_bytes: bytes, expected_share: float, shape_bytes: bytes | None, surveyed: tuple[bool, ...]
) -> Posterior:
    log_costs = np.frombuffer(log_cost_bytes)
    shape = None if shape_bytes is None else np.frombuffer(shape_bytes)
    if shape is None:
        means, weights = share_means(grid), _share_log_weights(expected_share)
        slope, smooth = SLOPE_DEVIATION, SMOOTH_DEVIATION
    else:
        means, weights = shape[None, :], np.zeros(1)
        slope = smooth = OTHER_GPU_DEVIATION
    seen = np.nonzero(~np.isnan(log_costs))[0]
    kernel = _kernel(grid, LEVEL_DEVIATION**2 if len(seen) else 0.0, slope, smooth)
    if not len(seen):
        mean = _normalised(weights) @ means
        return _frozen(mean, kernel + _between(means, mean, _normalised(weights)))
    nearest = seen[np.argmin(np.abs(grid.distance[seen]))]
    level = log_costs[nearest]
    means = means - means[:, [nearest]]
    variance = [SURVEY_DEVIATION**2 if surveyed and surveyed[arm] else JITTER for arm in seen]
    inverse = np.linalg.inv(kernel[np.ix_(seen, seen)] + np.diag(variance))
    residuals = log_costs[seen] - level - means[:, seen]
    likelihood = -0.5 * np.einsum("ki,ij,kj->k", residuals, inverse, residuals)
    share = _normalised(weights + likelihood)
    gain = inverse @ kernel[seen, :]
    each = means + residuals @ gain
    mean = share @ each
    covariance = kernel - kernel[:, seen] @ gain + _between(each, mean, share)
    return _frozen(mean + level, covariance)


def _frozen(mean: Array, covariance: Array) -> Posterior:
    """Return a posterior that many may share."""
    mean.flags.writeable = covariance.flags.writeable = False
    return Posterior(mean, covariance)


@lru_cache(maxsize=32)
def _kernel(grid: Grid, level: float, slope: float, smooth: float) -> Array:
    kernel: Array = (
        level
        + slope**2 * np.outer(grid.distance, grid.distance)
        + grid.smooth(smooth, SMOOTH_OCTAVES)
        + ARM_DEVIATION**2 * np.eye(len(grid))
    )
    return kernel


def _share_log_weights(expected_share: float) -> Array:
    """Return the log of a Beta density, ``Beta(0.5 + 3 r, 0.5 + 3 (1 - r))``, at each ``rho``."""
    rising = 0.5 + SHARE_WEIGHT * expected_share - 1.0
    falling = 0.5 + SHARE_WEIGHT * (1.0 - expected_share) - 1.0
    weights: Array = rising * np.log(SHARES) + falling * np.log(1.0 - SHARES)
    return weights


def _normalised(log_weights: Array) -> Array:
    weights = np.exp(log_weights - log_weights.max())
    normalised: Array = weights / weights.sum()
    return normalised


def _between(each: Array, mean: Array, share: Array) -> Array:
    """Return the covariance between the members of a mixture."""
    apart = each - mean
    covariance: Array = (apart.T * share) @ apart
    return covariance
