"""Choosing a batch size: the best known one, one that is worth trying, or what is left when all goes wrong."""

import numpy as np

from rheostat.errors import NoBatchSizeLeft
from rheostat.policy.interface import Choice, Job, Situation
from rheostat.policy.recommender import acquisition, words
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.knowledge import Knowledge

MOST_EXPLORED = 2
"""Batch sizes that may be tried in vain before the best known one runs."""

PATIENCE = 4
"""Runs in vain of one batch size, after many of all, before another takes its place."""


def choose(known: Knowledge, situation: Situation) -> Choice:
    """Return the batch size of a new trial; before any success the default.

    Raises:
        NoBatchSizeLeft: None has converged, and all that are permitted have failed.
    """
    belief, sizes = known.belief, known.grid.batch_sizes
    permitted = np.array([size in situation.permitted for size in sizes])
    if belief is None or not (belief.converged & permitted).any():
        return _first(known.job, situation, known.closed)
    if known.is_safe_mode:
        return _safe(known, belief, permitted)
    if not belief.measured.any():
        return _elsewhere(belief, permitted)
    for size in situation.pending:
        belief = belief.foresee(known.grid.index(size))
    return _weigh(known, belief, permitted)


def _weigh(known: Knowledge, belief: Belief, permitted: np.ndarray) -> Choice:
    sizes, fruitless = known.grid.batch_sizes, known.own.fruitless
    best = belief.best(belief.converged & permitted)
    assert best is not None
    open_arms = permitted & np.array([size not in known.closed for size in sizes])
    allowed = open_arms & np.array([size not in fruitless for size in sizes])
    prospect = acquisition.weigh(
        belief,
        best,
        allowed=allowed if len(fruitless) < MOST_EXPLORED else np.zeros_like(allowed),
        open_arms=open_arms,
        stopped_before=np.array([bool(known.own.arms[size].stop_costs) for size in sizes]),
        learned=known.own.learned,
        beta_knob=known.job.beta_knob,
    )
    arm = int(np.argmax(prospect.score))
    if arm == best:
        return Choice(sizes[arm], words.best_known(belief, best))
    return Choice(sizes[arm], words.exploration(belief, best, arm, prospect))


def _first(job: Job, situation: Situation, closed: dict[int, str]) -> Choice:
    """Choose while nothing has converged: the default, then ever smaller batch sizes, then larger ones.

    Trials that start together begin with the default's neighbours: at that one a second run would teach little more,
    and as soon as one has converged the others are judged by it.
    """
    default = job.default_batch_size
    smaller = [size for size in reversed(situation.permitted) if size <= default and size not in closed]
    larger = [size for size in situation.permitted if size > default and size not in closed]
    size = next(iter((*smaller, *larger)), None)
    if size is not None and size in situation.pending:
        beside = [other for other in (*smaller[1:2], *larger[:1], *smaller[2:3]) if other not in situation.pending]
        if beside:
            return Choice(beside[0], f"nothing has converged yet and {size} runs already: a neighbour of the default")
    if size is None:
        tried = ", ".join(map(str, situation.permitted))
        raise NoBatchSizeLeft(
            f"No batch size of {job.job_id} is left to try on {job.gpu_count} x {job.gpu_model}: "
            f"no run of {tried} reached the target within {job.max_epochs} epochs.",
            hint="Add other batch sizes (PATCH batch_sizes), or register the job under a new id with an easier target "
            "or more max_epochs.",
        )
    if size == default:
        return Choice(size, f"the default: nothing has converged yet on {job.gpu_model}")
    failed = ", ".join(str(other) for other in situation.permitted if other in closed)
    why = f"did not converge: {failed}" if failed else f"the default {default} does not fit"
    return Choice(size, f"nothing has converged yet ({why}); smaller batch sizes are tried first, then larger ones")


def _elsewhere(belief: Belief, permitted: np.ndarray) -> Choice:
    """Choose while no epoch cost is known for sure, as for the first run on a further GPU."""
    best = belief.best(belief.converged & permitted)
    assert best is not None
    return Choice(belief.grid.batch_sizes[best], "the best known, for what an epoch costs on this GPU is not known yet")


def _safe(known: Knowledge, belief: Belief, permitted: np.ndarray) -> Choice:
    """Choose after many runs in vain: the cheapest of those that failed least; it will not be stopped."""
    sizes, fruitless = known.grid.batch_sizes, known.own.fruitless
    candidates = [
        at for at, size in enumerate(sizes) if permitted[at] and (belief.converged[at] or size not in known.closed)
    ]
    at = min(candidates, key=lambda at: (fruitless.get(sizes[at], 0) // PATIENCE, belief.log_cost[at]))
    return Choice(
        sizes[at],
        f"{known.fruitless} runs in a row did not converge: the cheapest of those that failed least, not to be stopped",
    )
