"""Closed arms: batch sizes that are not tried any more, and why.

Every run of an arm that did not converge adds to its score. A run of all its epochs counts in full, and so does one
that was stopped near the cost bound; one that was stopped halfway counts half, an early stop nothing. A failure counts
half, too, when its trainer ended the run before, or when nothing of the job had converged yet: the batch size need not
be to blame. An arm that never
converged is closed from a score of 1 on. Convergence fails at the ends of the range, not in its middle: when such an
arm lies outside of those that converged, everything beyond it is closed, too; between two that converged one failure is
forgiven.

Nothing is closed for ever: a job that has recurred twice as often may fail once more at the same arm.

Stops are judged by the current reference cost: those that a false one caused close nothing once it is corrected.
"""

from rheostat.policy.cost import NOTHING
from rheostat.policy.recommender.evidence import Arm, Evidence, Price

CLOSED_FROM = 1.0

REOPENED_AFTER = 50
"""Converged runs after which one more failure is allowed; the next ones after twice, four times as many."""

NEAR_THE_BOUND = 0.8
"""Share of the cost bound from which a stop counts in full."""

HALFWAY = 0.35
"""Share of the best arm's cost from which a stop counts half."""


def score(arm: Arm, price: Price, reference_cost: float | None, beta_knob: float | None) -> float:
    """Return how much counts against an arm.

    Args:
        arm: What was seen of it.
        price: What an outlay costs.
        reference_cost: C0, the expected cost of the best known arm in joules; None: unknown.
        beta_knob: The cost bound in units of C0; None: no run is stopped.
    """
    if reference_cost is None or beta_knob is None:
        return arm.failures
    near = NEAR_THE_BOUND * beta_knob * reference_cost
    halfway = HALFWAY * reference_cost
    return arm.failures + sum(1.0 if cost >= near else 0.5 for cost in map(price, arm.stops) if cost >= halfway)


def closed(evidence: Evidence, price: Price, reference_cost: float | None, beta_knob: float | None) -> dict[int, str]:
    """Return the closed batch sizes, each with the reason.

    Args:
        evidence: Of the placement, pooled with what the others know of convergence.
        price: As for :func:`score`.
        reference_cost: As for :func:`score`.
        beta_knob: As for :func:`score`.
    """
    allowed = CLOSED_FROM + max(0, (evidence.learned // REOPENED_AFTER).bit_length())
    sizes = list(evidence.arms)
    converged = [size for size in sizes if evidence.arms[size].converged > 0]
    reasons: dict[int, str] = {}
    for size in sizes:
        arm = evidence.arms[size]
        if not (arm.failures or arm.stops) or arm.converged > 0:
            continue
        is_between = bool(converged) and converged[0] < size < converged[-1]
        forgiven = min(arm.failures, 1.0) if is_between else 0.0
        if score(arm, price, reference_cost, beta_knob) - forgiven < allowed:
            continue
        reasons[size] = "closed: its runs did not converge"
        beyond: list[int] = []
        if converged and size < converged[0]:
            beyond = [other for other in sizes if other < size]
        elif converged and size > converged[-1]:
            beyond = [other for other in sizes if other > size]
        for other in beyond:
            reasons.setdefault(other, f"closed: {size} did not converge, and this one lies beyond it")
    return reasons


def reopened(evidence: Evidence) -> Evidence:
    """Return the evidence without anything that was ruled out: the evidence against it turned out to be wrong."""
    arms = {
        size: arm._replace(censored=(0.0, 0.0), failures=0.0, lost=NOTHING, stops=(), paid=0)
        for size, arm in evidence.arms.items()
    }
    return evidence._replace(arms=arms, wasted=NOTHING)
