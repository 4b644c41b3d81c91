"""Before the first run: what a survey should measure, and which batch size its measurements make the likely best.

A trainer that can make a few steps at any batch size learns within seconds what an epoch of each costs. How many epochs
each needs stays unknown until it has run, so another batch size than the default runs first only where the cheaper
epochs outweigh the prior of the epochs model with part of its spread::

    score = prior mean of f + log(epoch cost / that of the default) + 0.35 prior deviation of f;  the default's is 0
"""

from dataclasses import replace
from math import isnan, log, nan

import numpy as np

from rheostat.policy.cost import select
from rheostat.policy.interface import Choice, Job, PowerLimitOptimizer, Situation
from rheostat.policy.recommender import epochs
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.knowledge import Knowledge
from rheostat.policy.recommender.normal import Array
from rheostat.policy.surveys import NO_SURVEY, Survey, SurveyStep

CAUTION = 0.35
"""Share of the deviation of the epochs that counts against another batch size than the default in the first run."""


def plan(known: Knowledge, situation: Situation, power_limits: PowerLimitOptimizer | None) -> Survey:
    """Return what to measure next: the power limits at the default, then every other batch size at the best of them.

    The nearest come first, so that a survey that is broken off has measured what matters most.
    """
    if power_limits is None:
        return NO_SURVEY
    if situation.pending or any(arm.runs for arm in known.own.arms.values()):
        return replace(NO_SURVEY, reason="runs measure what they need themselves once the first is under way")
    if len(situation.permitted) == 1:
        return replace(NO_SURVEY, reason="there is only one batch size to run")
    default = base(known.job, situation)
    steps = [
        _step(known.job, size, power_limits)
        for size in sorted(situation.permitted, key=lambda size: abs(np.log2(size / default)))
    ]
    if steps[0] is not None:
        return Survey((steps[0],), reason=f"first {default}, under each power limit that can be set")
    left = tuple(step for step in steps if step is not None)
    return Survey(left, reason="then the other batch sizes" if left else "all that is worth measuring is measured")


def first(known: Knowledge, situation: Situation, power_limits: PowerLimitOptimizer | None = None) -> Choice | None:
    """Return the batch size that a survey predicts to be the cheapest, or None where the default should run first."""
    job, grid = known.job, known.grid
    default = base(job, situation)
    log_costs = dict(zip(grid.batch_sizes, known.prices.log_costs.tolist(), strict=True))
    if power_limits is not None and isnan(log_costs[default]):
        log_costs = {size: _log_cost_of_example(job, size, power_limits) for size in grid.batch_sizes}
    may_explore = job.first_run == "predicted" and job.exploration_budget_runs != 0.0
    if not may_explore or known.own.unconverged or isnan(log_costs[default]):
        return None
    scores = dict(zip(grid.batch_sizes, _prior(grid, grid.index(default)).tolist(), strict=True))
    scores = {
        size: scores[size] + log_costs[size] - log_costs[default]
        for size in situation.permitted
        if size not in situation.pending and not isnan(log_costs[size])
    }
    if default in scores:
        scores[default] = 0.0
    if not scores:
        return None
    best = min(scores, key=scores.__getitem__)
    if best == default or scores[best] >= 0.0:
        return None
    saved = 100.0 * (1.0 - np.exp(log_costs[best] - log_costs[default]))
    return Choice(
        best,
        f"predicted by the survey: an epoch costs {saved:.0f} % less than at {default}, and nothing has converged yet",
    )


def base(job: Job, situation: Situation) -> int:
    """Return the default, or what fits of it."""
    smaller = [size for size in situation.permitted if size <= job.default_batch_size]
    return max(smaller, default=min(situation.permitted))


def _step(job: Job, batch_size: int, power_limits: PowerLimitOptimizer) -> SurveyStep | None:
    left = power_limits.survey_plan(job, batch_size)
    if left or (not job.power_limits_watts and not power_limits.measurements(job, batch_size)):
        return SurveyStep(batch_size, left)
    return None


def _log_cost_of_example(job: Job, batch_size: int, power_limits: PowerLimitOptimizer) -> float:
    """Return what one example costs where the steps of an epoch are unknown: an epoch has as many at any batch size."""
    steps = [m for m in power_limits.measurements(job, batch_size) if not m.of_an_epoch]
    return log(select(steps, max_slowdown=job.max_slowdown).cost / batch_size) if steps else nan


def _prior(grid: Grid, default: int) -> Array:
    """Return by how much the log epochs of each arm exceed the default's a priori, with caution."""
    variance = epochs.prior_covariance(grid).diagonal() - epochs.LEVEL_DEVIATION**2 - epochs.ARM_DEVIATION**2
    mean = epochs.prior_mean(grid)
    cautious: Array = mean - mean[default] + CAUTION * np.sqrt(variance)
    return cautious
