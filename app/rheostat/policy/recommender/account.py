"""The account against the default: what exploring has cost a placement, and what the better arms have saved it since.

In runs of the default, with ``D`` the expected cost of a success at the default::

    balance = sum over converged runs of (1 - expected cost of the run's arm / D) - joules of the other runs / D

Converged runs count by what is expected of their arm now, not by what they happened to cost: luck is no credit. What
an arm that converges now and then loses on failures is part of that expectation, and the default's failures are what
doing nothing would have cost, too: neither counts among the other runs. An
exploration is made only while the balance, less what it may lose, stays above ``-exploration_budget_runs``
(conservative bandits: Wu, Shariff, Lattimore, Szepesvari 2016). While it runs, what is left of the budget bounds it.
A job that goes on for long may lose one run in a hundred, so that no early loss ends exploring for good. When evidence
turns out to be wrong or out of date, the account starts anew.
"""

from collections.abc import Sequence
from math import exp, inf

import numpy as np

from rheostat.policy.estimates import Account
from rheostat.policy.recommender import stopping
from rheostat.policy.recommender.acquisition import DRAWS
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.evidence import Evidence, Price
from rheostat.policy.recommender.normal import Array

SPREAD = 0.5
"""Standard deviations by which an exploration may lose more than expected. With a whole one no neighbour of the
default could ever be tried, since a stopped run alone may cost more than the usual budget."""

STOPPED_AT = 1.5
"""What a run costs, in runs of the best known arm, that is stopped because it is not worth continuing."""

OVERDRAFT_RUNS = 0.5
"""How far a run may take the account beyond the budget before it is stopped."""

ADVANCE_SHARE, MOST_ADVANCED_RUNS = 0.05, 0.5
"""Share of what an exploration is expected to win over the horizon that it may take the account beyond the budget, and
the most of it: the longer a job recurs, the more likely an arm that was held back is worth its try."""

LONG_RUN_SHARE = 0.01
"""Share of the budget that every run adds, once these are more than the budget itself."""

LEAST_RUNS = 1.1
"""What an exploration may cost at least before the account stops it: one as good as the default is not thrown away."""

_LARGEST_LOG = 50.0


def open_account(evidence: Evidence, price: Price, belief: Belief, default: int, budget: float | None) -> Account:
    """Return the account of a placement.

    Args:
        evidence: Of the placement alone.
        price: What an outlay costs.
        belief: Of its arms.
        default: The arm of the default.
        budget: How far behind the default exploring may take it; None: without bound.
    """
    unit = belief.run_cost(default)
    costs = belief.fixed_cost + np.exp(np.array(belief.log_cost))
    counts = np.array([evidence.arms[size].paid for size in belief.grid.batch_sizes])
    relative = costs / unit
    saved = float(counts @ np.maximum(1.0 - relative, 0.0))
    spent = float(counts @ np.maximum(relative - 1.0, 0.0)) + price(evidence.wasted) / unit
    grown = None if budget is None else budget * max(1.0, LONG_RUN_SHARE * float(counts.sum()))
    return Account(saved - spent, grown, unit, saved)


def affordable(
    account: Account,
    belief: Belief,
    best: int,
    pending: Sequence[int],
    beta_knob: float | None,
    *,
    worth: Sequence[float] | None = None,
) -> list[bool]:
    """Return which arms may be explored: those that can lose nothing, or little more than is left.

    Args:
        account: Of the placement.
        belief: Of its arms.
        best: The best known arm.
        pending: The arms of trials in flight, which may lose as much.
        beta_knob: A run is stopped at this multiple of what the best known arm costs; None: never.
        worth: What exploring each arm is expected to win over the horizon, in runs of the best known; None: nothing.
    """
    if not account.budget_runs:
        return [account.budget_runs is None] * len(belief.grid)
    losses = _losses(account, belief, best, inf if beta_knob is None else min(beta_knob, STOPPED_AT))
    left = account.left_runs - sum(max(losses[arm], 0.0) for arm in pending)
    unit = exp(belief.log_cost[best]) / account.default_cost_joules
    advances = [min(max(ADVANCE_SHARE * unit * win, 0.0), MOST_ADVANCED_RUNS) for win in worth or [0.0] * len(losses)]
    return [loss <= max(left + advance, 0.0) for loss, advance in zip(losses, advances, strict=True)]


def most_joules(account: Account) -> float:
    """Return what an exploring run may cost whose learning curve is known."""
    return max(account.left_runs + OVERDRAFT_RUNS, LEAST_RUNS) * account.default_cost_joules


def _losses(account: Account, belief: Belief, best: int, stopped_at: float) -> list[float]:
    """Return how many runs of the default a run of each arm may lose against it, its spread included.

    A run that is stopped is paid for, and followed by one of the best known arm; each begins with its fixed part. That
    is why a run goes on for longer where the fixed part is large, as in :func:`.stopping.cost_bound`.
    """
    fixed = belief.fixed_cost / exp(belief.log_cost[best])
    stopped_at = stopped_at * (1.0 + fixed) - fixed
    deviation = np.sqrt(belief.log_cost_variance + belief.noise)
    relative = np.array(belief.log_cost) - belief.log_cost[best]
    costs = np.exp(np.minimum(relative + DRAWS[0][:, None] * deviation, _LARGEST_LOG))
    never: Array = np.where(belief.converged, 0.0, stopping.NEVER_CONVERGES if stopped_at < inf else 0.0)
    wasted = 1.0 + min(stopped_at, _LARGEST_LOG) + 2.0 * fixed
    costs = np.where((costs > stopped_at) & ~np.array(belief.converged), wasted, costs + fixed)
    mean = (1.0 - never) * costs.mean(axis=0) + never * wasted
    square = (1.0 - never) * (costs * costs).mean(axis=0) + never * wasted * wasted
    deviation = np.sqrt(np.maximum(square - mean * mean, 0.0))
    unit = exp(belief.log_cost[best]) / account.default_cost_joules
    losses: list[float] = ((mean + SPREAD * deviation) * unit - 1.0).tolist()
    return losses
