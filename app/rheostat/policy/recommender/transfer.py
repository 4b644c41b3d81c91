"""What the other placements of a job know: epochs to the target depend on the batch size alone.

Their converged runs count here, too, but together for no more than a few runs of an arm, so that a placement's own
runs prevail. Costs do not carry over; their shape over the batch sizes does (:mod:`.epoch_cost`).
"""

from collections.abc import Sequence

from rheostat.policy.recommender.evidence import Arm, Evidence, Tally

MOST_RUNS = 4.0
"""Runs of one arm that all other placements together stand for."""


def pool(own: Evidence, others: Sequence[Evidence]) -> Evidence:
    """Return a placement's evidence with what the others know of the epochs and learning curves."""
    if not others:
        return own
    levels = own.levels or next((other.levels for other in others if other.levels), ())
    alike = [other for other in others if other.levels == levels]
    arms = {}
    for size, arm in own.arms.items():
        borrowed = Tally()
        for other in others:
            borrowed = borrowed.plus(other.arms.get(size, Arm()).epochs)
        weight = min(1.0, MOST_RUNS / borrowed.count) if borrowed.count else 1.0
        censored = [arm.censored, *(other.arms.get(size, Arm()).censored for other in others)]
        curves = [arm.curve, *(other.arms.get(size, Arm()).curve for other in alike)]
        arms[size] = arm._replace(
            epochs=arm.epochs.plus(borrowed.scaled(weight)),
            censored=max(censored, key=lambda observation: observation[0]),
            curve=_sum_curves([curve for curve in curves if curve]),
        )
    return own._replace(arms=arms, levels=levels)


def _sum_curves(curves: Sequence[tuple[tuple[float, int], ...]]) -> tuple[tuple[float, int], ...]:
    return tuple(
        (sum(total for total, _ in level), sum(count for _, count in level)) for level in zip(*curves, strict=True)
    )
