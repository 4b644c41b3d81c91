"""Which arm to run next: the expected value of what a run teaches against what it costs more than the best known arm.

The knowledge gradient (Frazier, Powell, Dayanik 2008): how much cheaper the best known arm is expected to be after a
run of arm ``i`` than before it. A run moves the belief of all arms ``j`` along ``a = Cf[j, i] / sqrt(Cf[i, i] +
noise)``, and by profiling an arm that was not measured along ``c = Cg[j, i] / sqrt(Cg[i, i])``. With 96 fixed pairs of
normals (Z1, Z2)::

    U = h + Z1 a + Z2 c
    KG_i = mean[exp(U_best) - min over converged arms and i of exp(U)]

All costs are in units of ``C0``, what the epochs of a run of the best known arm are expected to cost. What a run costs
before its first step is the same for all of them, and counts once more only for a run that is stopped and made anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, sqrt

import numpy as np

from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.normal import Array, halton_normals

DRAWS = np.ascontiguousarray(halton_normals(96).T)
"""Of shape (2, 96)."""

HORIZON = 15.0
"""Future runs that profit from what is learnt, at the start ..."""

HORIZON_GROWTH = 0.8
"""... and for every run so far: a job that has recurred for long will go on for long (Lindy's law)."""

CAPPED_SHARE = 0.8
"""What trying an arm that never converged costs at most, in units of C0: early stopping ends runs that are not worth
it. An arm that was stopped before, and may run for longer the next time, may cost all that ``beta_knob`` allows."""

CLEARLY_WORSE = 0.3
"""A converged arm that is expected to be worse by more than that (a log) is stopped early, too."""

_CLOSED = 50.0
_LARGEST_DRAWS = np.abs(DRAWS).max(axis=1).tolist()
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a run of each arm is worth, arrays of shape (arms,) in units of C0.

    Attributes:
        gain: Expected saving of each later run.
        extra: Expected cost of this run beyond the best known arm's.
        score: What is maximised; minus infinity for an arm that may not run.
    """

    gain: Array
    extra: Array
    score: Array


def weigh(
    belief: Belief,
    best: int,
    *,
    allowed: Sequence[bool],
    open_arms: Sequence[bool],
    stopped_before: Sequence[bool],
    learned: int,
    beta_knob: float | None,
) -> Prospect:
    """Return what a run of each arm is worth; of one that may not run no gain is worked out.

    Args:
        belief: Of all arms.
        best: The best known arm.
        allowed: Which arms may run now.
        open_arms: Which arms may run at all: the others are no alternative.
        stopped_before: Which arms were stopped before.
        learned: Converged runs of the placement since evidence was last discounted.
        beta_knob: A run is stopped at this multiple of C0; None: never, so that nothing caps its cost.
    """
    lowest = belief.log_cost[best]
    relative = [cost - lowest if is_open else _CLOSED for cost, is_open in zip(belief.log_cost, open_arms, strict=True)]
    gain = _knowledge_gradient(belief, relative, best, allowed, open_arms)
    deviation = np.sqrt(belief.log_cost_variance + belief.noise)
    costs = np.exp(np.minimum(np.array(relative) + DRAWS[0][:, None] * deviation, _CLOSED))
    if beta_knob is not None:
        first_epoch = np.exp(np.minimum(belief.epoch_costs.mean - lowest, _CLOSED))
        share = [beta_knob - 1.0 if stopped else min(CAPPED_SHARE, beta_knob - 1.0) for stopped in stopped_before]
        anew = 1.0 + belief.fixed_cost / exp(lowest)
        most = [
            anew + max(*caps) if not converged or worse > CLEARLY_WORSE else inf
            for converged, worse, *caps in zip(belief.converged, relative, share, first_epoch.tolist(), strict=True)
        ]
        costs = np.minimum(costs, most)
    extra = costs.mean(axis=0) - 1.0
    horizon = HORIZON + HORIZON_GROWTH * learned
    score = np.where(allowed, horizon * gain - extra, -np.inf)
    score[best] = HORIZON * gain[best]
    return Prospect(gain, extra, score)


def _knowledge_gradient(
    belief: Belief, relative: Sequence[float], best: int, allowed: Sequence[bool], open_arms: Sequence[bool]
) -> Array:
    """Return the gain of the arms that may run and of the best known one; 0 of the others."""
    gain = np.zeros(len(relative))
    known = [arm for arm, is_open in enumerate(open_arms) if is_open and belief.converged[arm]]
    may_run = [arm for arm, is_allowed in enumerate(allowed) if is_allowed or arm == best]
    runs = _with_gain(belief, relative, best, may_run, known)
    if not runs:
        return gain
    scale = np.sqrt(belief.epochs.variance[runs] + belief.noise)
    draws, means = DRAWS[0], np.array(relative)
    # Shape (arm that is judged, arm that runs, draw), and (arm that runs and is judged, draw).
    moved = draws * (belief.epochs.covariance[known][:, runs] / scale)[:, :, None]
    own = draws * (belief.epochs.covariance.diagonal()[runs] / scale)[:, None]
    moved += means[known][:, None, None]
    own += means[runs][:, None]
    if not all(belief.measured[arm] for arm in runs):
        costs, draws = belief.epoch_costs, DRAWS[1]
        scale = np.sqrt([inf if belief.measured[arm] else max(float(costs.variance[arm]), 1e-12) for arm in runs])
        moved += draws * (costs.covariance[known][:, runs] / scale)[:, :, None]
        own += draws * (costs.covariance.diagonal()[runs] / scale)[:, None]
    cheapest = np.minimum(np.minimum.reduce(moved), own)
    saved = np.exp(np.minimum(moved[known.index(best)], _CLOSED)) - np.exp(np.minimum(cheapest, _CLOSED))
    gain[runs] = np.maximum(saved.mean(axis=1), 0.0)
    return gain


def _with_gain(
    belief: Belief, relative: Sequence[float], best: int, may_run: Sequence[int], known: Sequence[int]
) -> list[int]:
    """Return the arms of which a run can leave another arm cheaper than the best known one, under any of the draws."""
    epochs, costs = belief.epochs.covariance.tolist(), belief.epoch_costs.covariance.tolist()
    with_gain = []
    for arm in may_run:
        row, cost_row = epochs[arm], costs[arm]
        most = _LARGEST_DRAWS[0] / sqrt(max(row[arm], 0.0) + belief.noise)
        cost_most = 0.0 if belief.measured[arm] else _LARGEST_DRAWS[1] / sqrt(max(cost_row[arm], 1e-12))
        for other in (arm, *known):
            nearer = most * abs(row[best] - row[other]) + cost_most * abs(cost_row[best] - cost_row[other])
            if other != best and nearer > relative[other] - relative[best] - _ROUNDING:
                with_gain.append(arm)
                break
    return with_gain
