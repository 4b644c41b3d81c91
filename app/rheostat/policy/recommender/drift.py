"""Drift: the data of a recurring job change, and with them how many epochs a batch size needs.

A two-sided cumulative sum (Page 1954) over what converged arms are expected to need: with ``z = (log n - m) / sqrt(v)``
of each run, clipped, ``up = max(0, up + z - 1)`` and ``down = max(0, down - z - 1)``; above 8 the evidence is out of
date. It then keeps its mean, but only the weight of one observation with a standard deviation of 0.5.
"""

from rheostat.policy.recommender import closing
from rheostat.policy.recommender.evidence import Arm, Evidence, Tally

SLACK = 1.0
ALARM = 8.0
CLIP = 4.0

OUTDATED_DEVIATION = 0.5


def follow(drift: tuple[float, float], deviation: float) -> tuple[float, float]:
    """Return the cumulative sums after a run that was off by so many standard deviations."""
    z = max(-CLIP, min(CLIP, deviation))
    up, down = drift
    return max(0.0, up + z - SLACK), max(0.0, down - z - SLACK)


def is_alarm(drift: tuple[float, float]) -> bool:
    """Return whether the evidence is out of date."""
    return max(drift) > ALARM


def discount(evidence: Evidence, noise: float) -> Evidence:
    """Return evidence that is out of date: the means stay, the weight and all that was ruled out go.

    Args:
        evidence: Of a placement.
        noise: Variance of the log epochs from run to run.
    """
    weight = noise / OUTDATED_DEVIATION**2
    arms = {size: _outweighed(arm, weight) for size, arm in evidence.arms.items()}
    return closing.reopened(evidence._replace(arms=arms))._replace(drift=(0.0, 0.0), learned=0)


def _outweighed(arm: Arm, weight: float) -> Arm:
    share = _share(arm.whole_costs, weight)
    return arm._replace(
        epochs=arm.epochs.scaled(_share(arm.epochs, weight)),
        whole_costs=arm.whole_costs.scaled(share),
        whole=arm.whole.scaled(share),
    )


def _share(tally: Tally, weight: float) -> float:
    return min(1.0, weight / tally.count) if tally.count else 1.0
