"""Early stopping of a running trial: by its cost, or by its learning curve."""

from math import exp

from rheostat.policy.interface import Progress
from rheostat.policy.recommender import stopping
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.evidence import safe_log
from rheostat.policy.recommender.knowledge import Knowledge
from rheostat.policy.recommender.outliers import is_outlier
from rheostat.policy.recommender.stopping import Bound


def early_stop(known: Knowledge, progress: Progress) -> str | None:
    """Return why a running trial should be stopped, or None to let it go on.

    Before anything has converged nothing is stopped, nor after many runs in a row that did not converge.
    """
    belief = known.belief
    if belief is None or known.is_safe_mode or progress.epoch <= 0:
        return None
    bound = _bound(known, belief, progress)
    if bound is None or progress.cost is None:
        return None
    left = known.job.max_epochs - progress.epoch
    if stopping.passes(bound, progress.cost, min(progress.curve.gap, left)):
        return (
            f"its cost, {progress.cost:.4g} J, would pass {bound.cap:.4g} J by the next evaluation; "
            f"a run of the best known batch size is expected to cost {bound.reference_cost:.4g} J"
        )
    return _should_stop(known, belief, progress, bound)


def _bound(known: Knowledge, belief: Belief, progress: Progress) -> Bound | None:
    """Return the costs that decide about the run, or None when they are not known."""
    beta_knob = known.job.beta_knob
    if belief.reference_cost is None or beta_knob is None or progress.cost is None:
        return None
    if progress.cost <= 0:
        return None
    epoch_cost, known_cost = progress.cost / progress.epoch, known.epoch_cost_joules(progress.batch_size)
    if known_cost is not None and not is_outlier(safe_log(known_cost), (safe_log(epoch_cost), 0.0)):
        epoch_cost = known_cost
    at = known.grid.index(progress.batch_size)
    if at == belief.best_converged and belief.weights[at] <= 1.0:
        return None  # the reference cost is its own single run, which this one confirms or refutes
    converged = belief.converged[at]
    return stopping.cost_bound(
        belief.reference_cost, epoch_cost, beta_knob, belief.run(progress.batch_size), converged_before=converged
    )


def _should_stop(known: Knowledge, belief: Belief, progress: Progress, bound: Bound) -> str | None:
    arm, curve = known.own.arms[progress.batch_size], progress.curve
    committed = bool(arm.stop_costs) and max(arm.stop_costs) < stopping.COMMITTED_BELOW * bound.reference_cost
    if committed or curve.epoch <= 0 or belief.converged[known.grid.index(progress.batch_size)]:
        return None
    expectation = known.by_curve(belief, progress.batch_size, curve)
    if not stopping.should_stop(expectation, curve, bound):
        return None
    return (
        f"after {curve.epoch:g} epochs its learning curve predicts about {exp(expectation.mean):.3g} to the target; "
        f"a run of the best known batch size is expected to cost {bound.reference_cost:.4g} J, "
        f"as much as {bound.reference_cost / bound.epoch_cost:.3g} epochs of this run"
    )
