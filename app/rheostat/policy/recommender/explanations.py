"""Explanations of the recommender's decisions and estimates, as users read them."""

from math import exp, sqrt

from rheostat.policy.cost import cost_text
from rheostat.policy.estimates import UNKNOWN, Account, ArmEstimate, Estimate
from rheostat.policy.recommender.acquisition import Prospect
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.evidence import Arm
from rheostat.policy.recommender.knowledge import Knowledge
from rheostat.policy.recommender.normal import NORMAL_95


def best_known(belief: Belief, best: int, *, may_explore: bool, held_back_by: Account | None = None) -> str:
    """Return why the best known arm runs.

    Args:
        belief: Of all arms.
        best: The best known one.
        may_explore: Whether another might have run.
        held_back_by: The account against the default that keeps one from running that is worth trying.
    """
    if len(belief.grid.batch_sizes) == 1:
        return f"the only batch size: {_expected_cost(belief, best)}"
    if held_back_by is not None:
        runs = "run" if held_back_by.budget_runs == 1.0 else "runs"
        why = (
            "no exploration, since it might cost more than is left of the budget of "
            f"{held_back_by.budget_runs:.3g} {runs} of the default"
        )
    elif may_explore:
        why = "exploring another would cost more than it is expected to save"
    else:
        why = "no exploration, since the last runs of others did not converge"
    return f"best known batch size: {_expected_cost(belief, best)}; {why}"


def power_only(known: Knowledge) -> str:
    """Return why a run of a job without a target and of one batch size trains as it does."""
    if not known.job.power_limits_watts:
        return "power limit only; without an agent nothing is changed or saved"
    belief = known.belief
    if belief is None or not any(belief.converged):
        return "power limit only: no run has ended yet"
    return f"power limit only: {_expected_cost(belief, 0)}"


def exploration(belief: Belief, best: int, arm: int, prospect: Prospect) -> str:
    """Return why another arm than the best known one runs."""
    unit = exp(belief.log_cost[best])
    return (
        f"exploration: {_expected_cost(belief, arm)}; expected to save {cost_text(prospect.gain[arm] * unit)} in each "
        f"later run, for about {cost_text(max(prospect.extra[arm], 0.0) * unit)} more in this one; best known batch "
        f"size: {belief.grid.batch_sizes[best]}, {_expected_cost(belief, best)}"
    )


def _expected_cost(belief: Belief, arm: int) -> str:
    figure = _run_cost(belief, arm)
    assert figure.mean is not None
    return f"expected cost {cost_text(figure.mean)} (95 % interval {figure.low:.4g} to {figure.high:.4g})"


def _run_cost(belief: Belief, arm: int) -> Estimate:
    """Return the expected cost of a run of an arm: what goes by before its first step, and its epochs."""
    return interval(belief.log_cost[arm], float(belief.log_cost_variance[arm]), belief.noise, belief.fixed_cost)


def interval(log_mean: float, variance: float, noise: float = 0.0, fixed: float = 0.0) -> Estimate:
    """Return mean and 95 % interval of a lognormal figure.

    Args:
        log_mean: Mean of its logarithm.
        variance: How uncertain that is.
        noise: Variance of the single run around it: it lifts the mean, and does not widen the interval of the mean.
        fixed: What is added to the figure.
    """
    lift = 0.5 * noise
    margin = NORMAL_95 * sqrt(variance)
    centre = log_mean + lift
    return Estimate(
        mean=fixed + exp(centre + min(0.5 * variance, margin)),
        low=fixed + exp(centre - margin),
        high=fixed + exp(centre + margin),
    )


def arm_estimate(known: Knowledge, batch_size: int, chance: float | None) -> ArmEstimate:
    """Return the estimates of an arm, with the probability that it is the cheapest."""
    belief, arm = known.belief, known.pooled.arms[batch_size]
    closed = known.closed.get(batch_size)
    at = known.grid.index(batch_size)
    if belief is None:
        epoch_cost = UNKNOWN
        if any(known.prices.are_seen):
            costs = known.prices.posterior(known.grid)
            epoch_cost = interval(costs.mean[at], costs.variance[at])
        return ArmEstimate(batch_size, arm.runs, closed or "nothing has converged yet", epoch_cost=epoch_cost)
    if not belief.has_level:
        epochs = interval(belief.epochs.mean[at], belief.epochs.variance[at], belief.noise)
        return ArmEstimate(
            batch_size, arm.runs, closed or "the cost of an epoch is not known on this GPU yet", epochs=epochs
        )
    return ArmEstimate(
        batch_size,
        arm.runs,
        closed or _status(belief, arm, at),
        cost=_run_cost(belief, at),
        # Those of a history that has none are only what its costs make of them.
        epochs=UNKNOWN
        if not belief.knows_epochs or (arm.whole_costs.count and not arm.epochs.count)
        else interval(belief.epochs.mean[at], belief.epochs.variance[at], belief.noise),
        epoch_cost=interval(belief.epoch_costs.mean[at], belief.epoch_costs.variance[at])
        if belief.knows_epochs
        else UNKNOWN,
        probability_best=chance,
    )


def _status(belief: Belief, arm: Arm, at: int) -> str:
    best = belief.best_converged
    if best is not None and belief.converged[at]:
        above = belief.run_cost(at) / belief.run_cost(best) - 1.0
        return "best known" if at == best else f"converged, {100.0 * above:.0f} % above the best known"
    if arm.stops:
        return "stopped, never converged"
    return "has not converged yet" if arm.runs else "not tried yet"
