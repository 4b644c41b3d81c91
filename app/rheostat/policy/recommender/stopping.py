"""When a run is not worth its cost, and what is still learnt from it as a censored observation.

After each evaluation the expected remainder of the run is compared with stopping it and running the best known arm,
which costs C0, the reference cost. An arm that might turn out to be better gets some more epochs than that.
"""

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import NamedTuple

from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.recommender.curves import Expectation
from rheostat.policy.recommender.normal import truncated_above, upper_tail

NEVER_CONVERGES = 0.05
"""Chance that an arm which never converged does not converge at all."""

MISLEADS = 0.05
"""Chance that a learning curve says nothing of a run's end: one that shot up and then takes its time, say."""

OVERDUE = 1e-4
"""A run whose chance of not having converged by now was below this is stopped."""

IMPROVEMENT_WEIGHT = 10.0
"""Weight of the expected improvement over C0: later runs profit from it, too."""

MARGIN = 1.02

DEADLINES = 8

KNOWN_DEVIATIONS = 3.0
"""An arm that converged before may run on until this much beyond what it is expected to need."""

COMMITTED_BELOW = 0.35
"""An arm that was only ever stopped below this share of C0 gets a run that only the cost bound stops."""

LEAST_PRECISION = 0.25
"""Least precision of a censored observation."""

_ROUNDING = 1.0 + 1e-9


@dataclass(frozen=True, slots=True)
class Bound:
    """The costs that decide about a running trial, in joules.

    Attributes:
        reference_cost: C0, the expected cost of the epochs of a run of the best known arm.
        cap: The most that its own epochs may cost.
        epoch_cost: Cost of an epoch.
        fixed_cost: What every run costs before its first step: spent already here, and once more in a run anew.
    """

    reference_cost: float
    cap: float
    epoch_cost: float
    fixed_cost: float = 0.0

    @property
    def restart_cost(self) -> float:
        """What a run of the best known arm is expected to cost instead, all in all."""
        return self.reference_cost + self.fixed_cost


def cost_bound(
    reference_cost: float,
    epoch_cost: float,
    beta_knob: float,
    expectation: Expectation,
    *,
    converged_before: bool,
    fixed_cost: float = 0.0,
) -> Bound:
    """Return the bound of a run: what its epochs may cost.

    With its fixed part a run may cost ``beta_knob`` times as much as one of the best known arm with the same fixed
    part, and one of an arm that converged before at least what its epochs may need.
    """
    cap = beta_knob * (reference_cost + fixed_cost) - fixed_cost
    if converged_before:
        cap = max(cap, exp(expectation.mean + KNOWN_DEVIATIONS * sqrt(expectation.variance)) * epoch_cost)
    return Bound(reference_cost, cap, epoch_cost, fixed_cost)


def passes(bound: Bound, cost: float, epochs: float) -> bool:
    """Return whether a run whose epochs cost so much would pass its bound by the next evaluation, so many later."""
    return cost + bound.epoch_cost * epochs > bound.cap * _ROUNDING


def chance_of_ending(expectation: Expectation, curve: LearningCurve, epochs: float) -> float:
    """Return how likely a run of an arm that never converged reaches its target within so many more epochs."""
    mean, deviation = expectation.mean, sqrt(expectation.variance)
    survival = upper_tail((log(curve.epoch + 0.5 * curve.gap) - mean) / deviation)
    later = upper_tail((log(curve.epoch + epochs + 0.5 * curve.gap) - mean) / deviation)
    return _alive(survival) * (survival - later) / survival if survival > 0.0 else 0.0


def chance_of_converging(expectation: Expectation, epochs: float, gap: float) -> float:
    """Return how likely a run that did not converge in so many epochs, evaluated every ``gap`` epochs, ever would."""
    return _alive(upper_tail((log(epochs + 0.5 * gap) - expectation.mean) / sqrt(expectation.variance)))


def _alive(survival: float) -> float:
    """Return how likely a run converges at all, of which this share would not have converged by now if it did."""
    return 1.0 - NEVER_CONVERGES / (NEVER_CONVERGES + (1.0 - NEVER_CONVERGES) * survival)


def should_stop(
    expectation: Expectation,
    curve: LearningCurve,
    bound: Bound,
    *,
    at_launch: Expectation | None = None,
    for_later_runs: bool = True,
) -> bool:
    """Return whether stopping now is cheaper than continuing to any later deadline.

    ``y = log(epochs)`` is normal by the learning curve, or with a small chance, should the curve mislead, as it was at
    the launch; ``S = P(y > log(n + gap / 2))``, and the chance that it never converges ``pf = q / (q + (1 - q) S)``.
    Each of 8 deadlines costs the epochs until it converges or the deadline comes, and a new run at C0 if it did not
    converge by then; all by the partial expectations of the lognormal. It is stopped when the cheapest of these, less
    the weighted expected improvement over C0, costs more than C0.

    Args:
        expectation: Of ``y``, but for the run's not having converged yet.
        curve: Its evaluations.
        bound: The costs that it is compared with.
        at_launch: What was expected of ``y`` before any evaluation; None: the curve never misleads.
        for_later_runs: Whether the expected improvement counts: what it may lose is still in the exploration budget.
    """
    now, half_gap = curve.epoch, 0.5 * curve.gap
    outlooks = [_Outlook(1.0, expectation)]
    if at_launch is not None:
        outlooks = [_Outlook(1.0 - MISLEADS, expectation), _Outlook(MISLEADS, at_launch)]
    here = log(now + half_gap)
    survival = sum(outlook.share_beyond(here) for outlook in outlooks)
    if survival < OVERDUE:
        return True
    alive = _alive(survival)
    whole_run, restart = bound.reference_cost / bound.epoch_cost, bound.restart_cost / bound.epoch_cost
    last = max(bound.cap / bound.epoch_cost, now + 2.0 * half_gap)
    cheapest = float("inf")
    for step in range(1, DEADLINES + 1):
        deadline = now + (last - now) * step / DEADLINES
        then = log(deadline + half_gap)
        done = alive * sum(outlook.share_within(here, then) for outlook in outlooks) / survival
        spent = alive * sum(outlook.epochs_within(here, then) for outlook in outlooks) / survival
        cheapest = min(cheapest, spent - now * done + (1.0 - done) * (deadline - now + restart))
    level = log(whole_run)
    improvement = 0.0
    if level > here and for_later_runs:
        better = sum(
            whole_run * outlook.share_within(here, level) - outlook.epochs_within(here, level) for outlook in outlooks
        )
        improvement = alive * max(better, 0.0) / survival
    return cheapest - IMPROVEMENT_WEIGHT * improvement > MARGIN * restart


class _Outlook(NamedTuple):
    """One expectation of a run's log epochs, and how likely it is the right one."""

    weight: float
    expectation: Expectation

    def share_beyond(self, level: float) -> float:
        return self.weight * upper_tail(self._deviations(level))

    def share_within(self, low: float, high: float) -> float:
        return self.share_beyond(low) - self.share_beyond(high)

    def epochs_within(self, low: float, high: float) -> float:
        """Return the partial expectation of the epochs themselves."""
        mean, variance = self.expectation.mean, self.expectation.variance
        deviation = sqrt(variance)
        share = upper_tail(self._deviations(low) - deviation) - upper_tail(self._deviations(high) - deviation)
        return self.weight * exp(mean + 0.5 * variance) * share

    def _deviations(self, level: float) -> float:
        return (level - self.expectation.mean) / sqrt(self.expectation.variance)


def not_yet(expectation: Expectation, epochs: float, gap: float) -> Expectation:
    """Return the expectation of a run that did not converge in so many epochs, evaluated every ``gap`` epochs."""
    bound = log(epochs + 0.5 * gap)
    return Expectation(*truncated_above(expectation.mean, expectation.variance, bound))


def censored_observation(
    prior: Expectation, by_curve: Expectation, noise: float, epochs: float, gap: float
) -> tuple[float, float]:
    """Return a run that did not converge as an observation of its arm: precision, and precision times mean.

    The curve's expectation, truncated below the epochs that it ran, divided by the expectation at its launch.

    Args:
        prior: At the launch, seed noise included.
        by_curve: By the learning curve.
        noise: Variance from seed to seed.
        epochs: How long it ran.
        gap: Epochs between its evaluations.
    """
    cut = not_yet(by_curve, epochs, gap)
    precision = 1.0 / cut.variance - 1.0 / prior.variance
    mean = cut.mean
    if precision > LEAST_PRECISION:
        mean = (cut.mean / cut.variance - prior.mean / prior.variance) / precision
    precision = 1.0 / (1.0 / max(precision, LEAST_PRECISION) + noise)
    return precision, precision * mean
