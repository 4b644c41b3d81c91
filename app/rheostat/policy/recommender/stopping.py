"""Stopping a run that is not worth its cost, and what a stopped run still teaches.

After each evaluation the expected remainder of the run is weighed against giving up and running the best known arm,
which costs C0. An arm that might turn out better than that is worth some more epochs than its own remainder says.
"""

from dataclasses import dataclass
from math import exp, log, sqrt

from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.recommender.curves import Expectation
from rheostat.policy.recommender.normal import truncated_above, upper_tail

NEVER_CONVERGES = 0.05
"""Chance that an arm which never converged does not converge at all."""

HOPELESS = 1e-4
"""A run that should have converged by now but for this chance is stopped."""

WORTH_OF_HOPE = 10.0
"""How many times the improvement over C0 that a run may bring is counted."""

MARGIN = 1.02

DEADLINES = 8

KNOWN_DEVIATIONS = 3.0
"""An arm that converged before may run on until this much beyond what it is expected to need."""

COMMITTED_BELOW = 0.35
"""An arm that was only ever stopped below this share of C0 gets a run that only the cost bound stops."""

WEAKEST_SITE = 0.25
"""Precision that a stopped run tells with at least."""

_ROUNDING = 1.0 + 1e-9


@dataclass(frozen=True, slots=True)
class Bound:
    """What a running run is measured by, in joules.

    Attributes:
        bar: C0, what a run of the best known arm is expected to cost.
        cap: Cost that it may not pass.
        epoch_cost: What an epoch costs.
    """

    bar: float
    cap: float
    epoch_cost: float


def cost_bound(
    bar: float, epoch_cost: float, beta_knob: float, expectation: Expectation, *, converged_before: bool
) -> Bound:
    """Return the bound of a run: ``beta_knob`` C0, and for an arm that converged before at least what it may need."""
    cap = beta_knob * bar
    if converged_before:
        cap = max(cap, exp(expectation.mean + KNOWN_DEVIATIONS * sqrt(expectation.variance)) * epoch_cost)
    return Bound(bar, cap, epoch_cost)


def passes(bound: Bound, cost: float, epochs: float) -> bool:
    """Return whether a run that cost so much would pass its bound by the next evaluation, so many epochs on."""
    return cost + bound.epoch_cost * epochs > bound.cap * _ROUNDING


def is_hopeless(expectation: Expectation, curve: LearningCurve, bound: Bound) -> bool:
    """Return whether it is cheaper to give a run up now than to let it go on, for how long ever.

    ``y = log(epochs)`` is normal by the learning curve, ``S = P(y > log(n + gap / 2))``, and the chance that it never
    converges ``pf = q / (q + (1 - q) S)``. Each of 8 deadlines costs the epochs until it converges or the deadline
    comes, and a fresh run at C0 if it did not converge by then; all by the partial expectations of the lognormal. It is
    stopped when the best of these, less the improvement over C0 that is hoped for, costs more than C0.

    Args:
        expectation: Of ``y``, but for the run's not having converged yet.
        curve: Its evaluations.
        bound: What it is measured by.
    """
    now, half_gap = curve.epoch, 0.5 * curve.gap
    mean, deviation = expectation.mean, sqrt(expectation.variance)
    here = (log(now + half_gap) - mean) / deviation
    survival = upper_tail(here)
    if survival < HOPELESS:
        return True
    alive = 1.0 - NEVER_CONVERGES / (NEVER_CONVERGES + (1.0 - NEVER_CONVERGES) * survival)
    expected = exp(mean + 0.5 * expectation.variance)
    restart = bound.bar / bound.epoch_cost
    last = max(bound.cap / bound.epoch_cost, now + 2.0 * half_gap)
    cheapest = float("inf")
    for step in range(1, DEADLINES + 1):
        deadline = now + (last - now) * step / DEADLINES
        then = (log(deadline + half_gap) - mean) / deviation
        done = alive * (survival - upper_tail(then)) / survival
        spent = alive * expected * (upper_tail(here - deviation) - upper_tail(then - deviation)) / survival
        cheapest = min(cheapest, spent - now * done + (1.0 - done) * (deadline - now + restart))
    level = (log(restart) - mean) / deviation
    hoped = 0.0
    if level > here:
        better = restart * (survival - upper_tail(level))
        better -= expected * (upper_tail(here - deviation) - upper_tail(level - deviation))
        hoped = alive * max(better, 0.0) / survival
    return cheapest - WORTH_OF_HOPE * hoped > MARGIN * restart


def not_yet(expectation: Expectation, epochs: float, gap: float) -> Expectation:
    """Return the expectation of a run that did not converge in so many epochs, evaluated every ``gap`` epochs."""
    bound = log(epochs + 0.5 * gap)
    return Expectation(*truncated_above(expectation.mean, expectation.variance, bound))


def site(prior: Expectation, by_curve: Expectation, noise: float, epochs: float, gap: float) -> tuple[float, float]:
    """Return what a run that did not converge tells of its arm: precision, and precision times mean.

    The curve's expectation, cut off below the epochs that it ran, divided by the expectation at its launch.

    Args:
        prior: At the launch, seed noise included.
        by_curve: By the learning curve.
        noise: Variance from seed to seed.
        epochs: How long it ran.
        gap: Epochs between its evaluations.
    """
    cut = not_yet(by_curve, epochs, gap)
    precision = 1.0 / cut.variance - 1.0 / prior.variance
    told = cut.mean
    if precision > WEAKEST_SITE:
        told = (cut.mean / cut.variance - prior.mean / prior.variance) / precision
    precision = 1.0 / (1.0 / max(precision, WEAKEST_SITE) + noise)
    return precision, precision * told
