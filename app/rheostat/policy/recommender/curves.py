"""Learning curves: when a running run will reach its target, judged by the metric levels on the way.

Levels are metric values that a first converged run passed. Per arm and level the mean of ``log(epoch at the level /
epochs to the target)`` over converged runs is kept; their average over the arms, weighted by ``exp(-|dx| / 2)``, is
the reference of an arm: runs of similar batch sizes pass the levels at similar shares of their way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from rheostat.policy.learning_curve import LearningCurve, Target
from rheostat.policy.recommender.evidence import Arm
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.normal import truncated_above

MOST_LEVELS = 24
FEWEST_LEVELS = 2

REFERENCE_DEVIATION = 0.30
"""Standard deviation of a run's way from the reference, as a share of the reference's logarithm."""

FORGETTING = 0.5
"""Weight that an arm one octave away loses, as an exponent."""

_LEAST_VARIANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Expectation:
    """Mean and variance of a run's log epochs to the target."""

    mean: float
    variance: float


def choose_levels(curve: LearningCurve, target: Target) -> tuple[float, ...]:
    """Return the levels that a converged run passed before its target, or none when it was evaluated too rarely."""
    passed = [metric for _, metric in curve.points if not target.reached(metric)]
    if len(passed) < FEWEST_LEVELS:
        return ()
    step = -(-len(passed) // MOST_LEVELS)
    return tuple(passed[::step])


def with_curve(arm: Arm, curve: LearningCurve, log_epochs: float, levels: Sequence[float], target: Target) -> Arm:
    """Return an arm after a converged run whose evaluations are known."""
    known = arm.curve or tuple((0.0, 0) for _ in levels)
    return arm._replace(
        curve=tuple(
            (total, count) if epoch is None else (total + log(epoch) - log_epochs, count + 1)
            for (total, count), epoch in zip(known, curve.reached_each(levels, target), strict=True)
        ),
    )


def reference(grid: Grid, arms: Mapping[int, Arm], batch_size: int, levels: Sequence[float]) -> list[float | None]:
    """Return the log share of the way at which runs of a batch size pass each level; None where it is unknown."""
    here = grid.octaves[grid.index(batch_size)]
    shares: list[float | None] = []
    for level in range(len(levels)):
        weighted = weight = 0.0
        for octave, size in zip(grid.octaves, grid.batch_sizes, strict=True):
            arm = arms.get(size)
            if arm is None or not arm.curve or not arm.curve[level][1]:
                continue
            total, count = arm.curve[level]
            nearness = exp(-FORGETTING * abs(float(octave - here)))
            weighted += nearness * total / count
            weight += nearness
        shares.append(weighted / weight if weight else None)
    return shares


def expect(
    prior: Expectation,
    noise: float,
    curve: LearningCurve,
    *,
    levels: Sequence[float],
    shares: Sequence[float | None],
    target: Target,
) -> Expectation:
    """Return what a running run's curve makes of its expected log epochs, but for its not having converged yet.

    The last level that it passed, at epoch ``t``, observes them as ``log t - ref`` with the variance
    ``(0.30 ref)^2 + (half a gap / t)^2 + noise``. The next level, not passed by now, bounds them from below: a
    truncation, matched by its moments.

    Args:
        prior: The expectation at the launch, seed noise included.
        noise: Variance from seed to seed.
        curve: The run's evaluations.
        levels: From the easiest.
        shares: The :func:`reference` of the run's arm.
        target: Decides which metric is better.
    """
    if curve.epoch <= 0:
        return prior
    mean, variance = prior.mean, prior.variance
    last, epoch = _last_passed(curve, levels, target)
    if epoch is not None:
        share = shares[last]
        if share is not None:
            seen = (REFERENCE_DEVIATION * share) ** 2 + (0.5 * curve.gap / epoch) ** 2 + noise
            precision = 1.0 / variance + 1.0 / seen
            mean = (mean / variance + (log(epoch) - share) / seen) / precision
            variance = 1.0 / precision
    following = shares[last + 1] if last + 1 < len(levels) else None
    if following is not None:
        spread = variance + (REFERENCE_DEVIATION * following) ** 2 + noise
        bound = log(curve.epoch + 0.5 * curve.gap) - following
        if bound > mean - 2.0 * sqrt(spread):
            cut_mean, cut_variance = truncated_above(mean, spread, bound)
            gain = variance / spread
            mean += gain * (cut_mean - mean)
            variance = max(variance - gain * gain * (spread - cut_variance), _LEAST_VARIANCE)
    return Expectation(mean, variance)


def _last_passed(curve: LearningCurve, levels: Sequence[float], target: Target) -> tuple[int, float | None]:
    """Return the position of the hardest level that was passed, and at which epoch; (-1, None) of none."""
    for at in range(len(levels) - 1, -1, -1):
        epoch = curve.reached(levels[at], target)
        if epoch is not None:
            return at, epoch
    return -1, None
