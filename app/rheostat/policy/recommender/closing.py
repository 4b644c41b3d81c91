"""Closed arms: batch sizes that are not tried any more, and why.

Every run of an arm that did not converge adds to its score: a failure counts in full, and so does a run that was
stopped near the cost bound; one that was stopped halfway counts half, an early stop nothing. An arm that never
converged is closed from a score of 1 on. Convergence fails at the ends of the range, not in its middle: when such an
arm lies outside of those that converged, everything beyond it is closed, too.
"""

from rheostat.policy.recommender.evidence import Arm, Evidence

CLOSED_FROM = 1.0

NEAR_THE_BOUND = 0.8
"""Share of the cost bound from which a stop counts in full."""

HALFWAY = 0.35
"""Share of the best arm's cost from which a stop counts half."""


def stop_score(cost: float, bar: float, beta_knob: float) -> float:
    """Return what a stopped run adds to its arm's score.

    Args:
        cost: What it cost in joules.
        bar: C0, the expected cost of the best known arm in joules.
        beta_knob: The cost bound in units of C0.
    """
    if cost >= NEAR_THE_BOUND * beta_knob * bar:
        return 1.0
    return 0.5 if cost >= HALFWAY * bar else 0.0


def closed(evidence: Evidence) -> dict[int, str]:
    """Return the closed batch sizes, each with the reason.

    Args:
        evidence: Of the placement, pooled with what the others know of convergence.
    """
    sizes = list(evidence.arms)
    converged = [size for size in sizes if evidence.arms[size].converged > 0]
    reasons: dict[int, str] = {}
    for size in sizes:
        if not _is_hopeless(evidence.arms[size]):
            continue
        reasons[size] = "closed: its runs did not converge"
        beyond: list[int] = []
        if converged and size < converged[0]:
            beyond = [other for other in sizes if other < size]
        elif converged and size > converged[-1]:
            beyond = [other for other in sizes if other > size]
        for other in beyond:
            reasons.setdefault(other, f"closed: {size} did not converge, and it lies beyond")
    return reasons


def _is_hopeless(arm: Arm) -> bool:
    return arm.converged == 0 and arm.failures >= CLOSED_FROM
