"""Early stopping of a running trial: by its cost, or by its learning curve."""

from dataclasses import replace
from math import exp

from rheostat.policy.cost import cost_text
from rheostat.policy.estimates import Account
from rheostat.policy.interface import Progress
from rheostat.policy.recommender import stopping
from rheostat.policy.recommender.account import most_joules
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.evidence import safe_log
from rheostat.policy.recommender.knowledge import Knowledge
from rheostat.policy.recommender.outliers import is_outlier
from rheostat.policy.recommender.stopping import Bound

WORTH_FINISHING, ALMOST_SURE = 0.05, 0.9
"""What is spent is spent: a run that will reach its target within this share of a run of the best known arm, with this
probability, is not stopped for what it has cost."""


def early_stop(known: Knowledge, progress: Progress) -> str | None:
    """Return why a running trial should be stopped, or None to let it go on.

    Before anything has converged nothing is stopped, nor while only the cost of whole runs is known, nor after many
    runs in a row that did not converge.
    """
    belief = known.belief
    if belief is None or not belief.knows_epochs or known.is_safe_mode:
        return None
    if progress.epoch <= 0 or not progress.cost:
        return None
    trained = _trained_cost(known, progress, progress.cost)
    bound = _bound(known, belief, progress, trained)
    if bound is None:
        return None
    left = known.job.max_epochs - progress.epoch
    if stopping.passes(bound, trained, min(progress.curve.gap, left)) and not _is_nearly_done(
        known, belief, progress, bound
    ):
        fixed = progress.cost - trained
        return (
            f"its cost, {cost_text(progress.cost)}, would pass {cost_text(bound.cap + fixed)} by the next evaluation; "
            f"a run of the best known batch size is expected to cost {cost_text(bound.restart_cost)}"
        )
    return _should_stop(known, belief, progress, bound)


def _trained_cost(known: Knowledge, progress: Progress, cost: float) -> float:
    """Return what the epochs of a run cost so far.

    What went by before its first step is spent, whatever is decided. Where neither this run nor an earlier one tells
    how much that was, all that is beyond the known cost of its epochs is taken for it: after the first report nothing
    contradicts that.
    """
    epoch_cost = known.epoch_cost_joules(progress.batch_size)
    if progress.fixed_cost is None and known.usually_fixed is None and epoch_cost is not None:
        return min(cost, epoch_cost * progress.epoch)
    return known.trained_cost(cost, progress.fixed_cost, batch_size=progress.batch_size, epochs=progress.epoch)


def _bound(known: Knowledge, belief: Belief, progress: Progress, trained: float) -> Bound | None:
    """Return the costs that decide about the run whose epochs cost so much so far, or None when they are not known."""
    beta_knob = known.job.beta_knob
    if belief.reference_cost is None or beta_knob is None or trained <= 0.0:
        return None
    epoch_cost, known_cost = trained / progress.epoch, known.epoch_cost_joules(progress.batch_size)
    if known_cost is not None and not is_outlier(safe_log(known_cost), (safe_log(epoch_cost), 0.0)):
        epoch_cost = known_cost
    at = known.grid.index(progress.batch_size)
    if at == belief.best_converged and belief.weights[at] <= 1.0:
        return None  # the reference cost is its own single run, which this one confirms or refutes
    converged = belief.converged[at]
    bound = stopping.cost_bound(
        belief.reference_cost,
        epoch_cost,
        beta_knob,
        belief.runs.of(progress.batch_size),
        converged_before=converged,
        fixed_cost=belief.fixed_cost,
    )
    account = _account_of_exploration(known, belief, at)
    if account is not None and known.pooled.levels:
        bound = replace(bound, cap=min(bound.cap, most_joules(account) - belief.fixed_cost))
    return bound


def _is_nearly_done(known: Knowledge, belief: Belief, progress: Progress, bound: Bound) -> bool:
    """Return whether a run will almost surely reach its target at little more than what is spent already."""
    if progress.curve.epoch <= 0 or not known.pooled.levels:
        return False
    expectation = known.by_curve(belief.runs, progress.batch_size, progress.curve)
    more = WORTH_FINISHING * bound.restart_cost / bound.epoch_cost
    return stopping.chance_of_ending(expectation, progress.curve, more) > ALMOST_SURE


def _account_of_exploration(known: Knowledge, belief: Belief, at: int) -> Account | None:
    """Return the account that bounds a run of an arm: of one that never converged, once the default has."""
    default = known.grid.index(known.job.default_batch_size)
    return known.account if belief.converged[default] and not belief.converged[at] else None


def _should_stop(known: Knowledge, belief: Belief, progress: Progress, bound: Bound) -> str | None:
    at, curve = known.grid.index(progress.batch_size), progress.curve
    if curve.epoch <= 0 or belief.converged[at]:
        return None
    expectation = known.by_curve(belief.runs, progress.batch_size, curve)
    arm = known.own.arms[progress.batch_size]
    if arm.stops and max(map(known.job.price, arm.stops)) < stopping.COMMITTED_BELOW * bound.reference_cost:
        return None
    account, cost = _account_of_exploration(known, belief, at), progress.cost or 0.0
    is_overdrawn = account is not None and cost > max(account.left_runs, 0.0) * account.default_cost_joules
    at_launch = belief.runs.of(progress.batch_size)
    if not stopping.should_stop(expectation, curve, bound, at_launch=at_launch, for_later_runs=not is_overdrawn):
        return None
    return (
        f"after {curve.epoch:g} epochs its learning curve predicts about {exp(expectation.mean):.3g} to the target; "
        f"a run of the best known batch size is expected to cost {cost_text(bound.restart_cost)}, "
        f"as much as {bound.restart_cost / bound.epoch_cost:.3g} epochs of this run"
    )
