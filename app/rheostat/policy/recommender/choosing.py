"""Choosing a batch size: the best known one, one that is worth trying, or what is left when all goes wrong."""

import numpy as np

from rheostat.errors import NoBatchSizeLeft
from rheostat.policy.interface import Choice, Situation
from rheostat.policy.recommender import acquisition, words
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.closing import CLOSED_FROM
from rheostat.policy.recommender.knowledge import Knowledge

MOST_EXPLORED = 2
"""Batch sizes that may be tried in vain before the best known one runs."""

PATIENCE = 4
"""Runs in vain of one batch size, after many of all, before another takes its place."""


def choose(known: Knowledge, situation: Situation) -> Choice:
    """Return the batch size of a new trial; before any success the default.

    Raises:
        NoBatchSizeLeft: None that is permitted has converged, and all of them have failed.
    """
    permitted = np.array([size in situation.permitted for size in known.grid.batch_sizes])
    if known.belief is None or not (known.belief.converged & permitted).any():
        return _first(known, situation)
    if known.is_safe_mode:
        return _safe(known, known.belief, permitted)
    if not known.belief.measured.any():
        return _elsewhere(known.belief, permitted)
    return _weigh(known, known.belief, situation, permitted)


def _weigh(known: Knowledge, belief: Belief, situation: Situation, permitted: np.ndarray) -> Choice:
    sizes, fruitless = known.grid.batch_sizes, known.own.fruitless
    foreseen = belief
    for size in situation.pending:
        foreseen = foreseen.foresee(known.grid.index(size))
    best = foreseen.best(belief.converged & permitted)
    assert best is not None
    open_arms = permitted & np.array([size not in known.closed for size in sizes])
    allowed = open_arms & np.array([size not in fruitless for size in sizes])
    may_explore = len(fruitless) < MOST_EXPLORED
    prospect = acquisition.weigh(
        foreseen,
        best,
        allowed=allowed & may_explore,
        open_arms=open_arms,
        stopped_before=np.array([bool(known.own.arms[size].stop_costs) for size in sizes]),
        learned=known.own.learned,
        beta_knob=known.job.beta_knob,
    )
    arm = int(np.argmax(prospect.score))
    if arm == best:
        return Choice(sizes[arm], words.best_known(belief, best, may_explore=may_explore))
    return Choice(sizes[arm], words.exploration(belief, best, arm, prospect))


def _first(known: Knowledge, situation: Situation) -> Choice:
    """Choose while none that is permitted has converged: the default, then ever smaller ones, then larger ones.

    Then all of them once more, since a run may fail for other reasons than its batch size. Trials that start together
    begin with the default's neighbours: at that one a second run would teach little more, and as soon as one has
    converged the others are judged by it.
    """
    job, default = known.job, known.job.default_batch_size
    in_vain = {size: 2.0 * known.own.arms[size].failures for size in situation.permitted}
    left = [size for size, failures in in_vain.items() if failures < 2.0 * CLOSED_FROM]
    if not left:
        tried = ", ".join(map(str, situation.permitted))
        raise NoBatchSizeLeft(
            f"No batch size of {job.job_id} is left to try on {job.gpu_count} x {job.gpu_model}: "
            f"no run of {tried} reached the target within {job.max_epochs} epochs.",
            hint="Add other batch sizes (PATCH batch_sizes), or register the job under a new id with an easier target "
            "or more max_epochs.",
        )
    in_vain = {size: in_vain[size] + len(known.own.arms[size].stop_costs) for size in left}
    fewest = min(in_vain.values())
    smaller = [size for size in reversed(left) if size <= default and in_vain[size] == fewest]
    larger = [size for size in left if size > default and in_vain[size] == fewest]
    size = [*smaller, *larger][0]
    if size in situation.pending:
        beside = [other for other in (*smaller[1:2], *larger[:1], *smaller[2:3]) if other not in situation.pending]
        if beside:
            return Choice(beside[0], f"nothing has converged yet, and {size} runs already: a batch size beside it")
    if size == default and fewest == 0:
        return Choice(size, f"the default: nothing has converged yet on {job.gpu_model}")
    return Choice(size, "nothing that fits has converged yet: the default first, then smaller ones, then larger ones")


def _elsewhere(belief: Belief, permitted: np.ndarray) -> Choice:
    """Choose while no epoch cost is known for sure, as for the first run on a further GPU."""
    best = belief.best(belief.converged & permitted)
    assert best is not None
    return Choice(belief.grid.batch_sizes[best], "the best known, for what an epoch costs on this GPU is not known yet")


def _safe(known: Knowledge, belief: Belief, permitted: np.ndarray) -> Choice:
    """Choose after many runs in vain: the cheapest of those that failed least."""
    sizes, fruitless = known.grid.batch_sizes, known.own.fruitless
    candidates = [
        at for at, size in enumerate(sizes) if permitted[at] and (belief.converged[at] or size not in known.closed)
    ]
    at = min(candidates, key=lambda at: (fruitless.get(sizes[at], 0) // PATIENCE, belief.log_cost[at]))
    return Choice(
        sizes[at], f"{known.fruitless} runs in a row did not converge: the cheapest of those that failed least"
    )
