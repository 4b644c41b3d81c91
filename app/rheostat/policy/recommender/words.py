"""What the recommender tells of its decisions, in words."""

from math import exp, sqrt

from rheostat.policy.interface import ArmEstimate, Estimate
from rheostat.policy.recommender.acquisition import Prospect
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.evidence import Arm
from rheostat.policy.recommender.knowledge import Knowledge
from rheostat.policy.recommender.normal import NORMAL_95


def best_known(belief: Belief, best: int, *, may_explore: bool) -> str:
    """Return why the best known arm runs."""
    why = "trying another is not worth what it would cost" if may_explore else "others were just tried in vain"
    return f"the best known: {_expects(belief, best)}, and {why}"


def exploration(belief: Belief, best: int, arm: int, prospect: Prospect) -> str:
    """Return why another arm than the best known one runs."""
    unit = exp(belief.log_cost[best])
    return (
        f"{_expects(belief, arm)}; hopes to learn what saves {prospect.gain[arm] * unit:.4g} J in each later run, for "
        f"about {max(prospect.extra[arm], 0.0) * unit:.4g} J more in this one; the best known is "
        f"{belief.grid.batch_sizes[best]}, which {_expects(belief, best)}"
    )


def _expects(belief: Belief, arm: int) -> str:
    figure = interval(belief.log_cost[arm], belief.log_cost_variance[arm], belief.noise)
    return f"expects {figure.mean:.4g} J a run (95 %: {figure.low:.4g} to {figure.high:.4g})"


def interval(log_mean: float, variance: float, noise: float = 0.0) -> Estimate:
    """Return mean and 95 % interval of a lognormal figure.

    Args:
        log_mean: Mean of its logarithm.
        variance: How uncertain that is.
        noise: Variance of the single run around it: it lifts the mean, and does not widen the interval of the mean.
    """
    lift = 0.5 * noise
    margin = NORMAL_95 * sqrt(variance)
    centre = log_mean + lift
    return Estimate(mean=exp(centre + min(0.5 * variance, margin)), low=exp(centre - margin), high=exp(centre + margin))


def arm_estimate(known: Knowledge, batch_size: int, chance: float | None) -> ArmEstimate:
    """Return what is believed of an arm, with the chance that it is the cheapest."""
    belief, arm = known.belief, known.pooled.arms[batch_size]
    closed = known.closed.get(batch_size)
    if belief is None:
        return ArmEstimate(batch_size, arm.runs, closed or "nothing has converged yet")
    at = belief.grid.index(batch_size)
    if not belief.measured.any():  # without a level only differences between epoch costs mean anything
        epochs = interval(belief.epochs.mean[at], belief.epochs.variance[at], belief.noise)
        return ArmEstimate(batch_size, arm.runs, closed or "what an epoch costs is not known here yet", epochs=epochs)
    return ArmEstimate(
        batch_size,
        arm.runs,
        closed or _status(belief, arm, at),
        cost=interval(belief.log_cost[at], belief.log_cost_variance[at], belief.noise),
        epochs=interval(belief.epochs.mean[at], belief.epochs.variance[at], belief.noise),
        epoch_cost=interval(belief.epoch_costs.mean[at], belief.epoch_costs.variance[at]),
        probability_best=chance,
    )


def _status(belief: Belief, arm: Arm, at: int) -> str:
    best = belief.best(belief.converged)
    if best is not None and belief.converged[at]:
        above = exp(belief.log_cost[at] - belief.log_cost[best]) - 1.0
        return "best known" if at == best else f"converged, {100.0 * above:.0f} % above the best known"
    if arm.stop_costs:
        return "stopped, never converged"
    return "has not converged yet" if arm.runs else "not tried yet"
