"""Choosing a batch size: the best known one, one that is worth trying, or a fallback when runs do not converge."""

from collections.abc import Sequence
from dataclasses import replace
from operator import and_

import numpy as np

from rheostat.errors import NoBatchSizeLeft
from rheostat.policy.interface import Choice, PowerLimitOptimizer, Situation
from rheostat.policy.recommender import account, acquisition, explanations, surveying
from rheostat.policy.recommender.acquisition import Prospect
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.closing import CLOSED_FROM
from rheostat.policy.recommender.knowledge import Knowledge

MOST_EXPLORED = 2
"""Batch sizes that may be tried without success before the best known one runs."""

REACH_OCTAVES = 2.0
"""How far from the nearest that converged a batch size may be tried: farther off the belief is little but its prior.
With 3 the first tries were the farthest, and what they lost kept the near ones out; 1 finds what is far too late."""

_ROUNDING = 1e-9

_UNKNOWN_MODEL = "unknown"
"""As trainers call a GPU that nothing names."""

PATIENCE = 4
"""In safe mode, unsuccessful runs of one batch size before the next one is tried."""


def choose(known: Knowledge, situation: Situation, power_limits: PowerLimitOptimizer | None = None) -> Choice:
    """Return the batch size of a new trial; before any success the default, or what a survey predicts.

    Raises:
        NoBatchSizeLeft: None that is permitted has converged, and all of them have failed.
    """
    choice = _choose(known, situation, power_limits)
    if known.job.target is None and len(known.grid.batch_sizes) == 1:
        return replace(choice, reason=explanations.power_only(known))
    return choice


def _choose(known: Knowledge, situation: Situation, power_limits: PowerLimitOptimizer | None) -> Choice:
    belief = known.belief
    if belief is None:
        return surveying.first(known, situation, power_limits) or _first(known, situation)
    permitted = [size in situation.permitted for size in known.grid.batch_sizes]
    best = belief.best(map(and_, belief.converged, permitted))
    if best is None:
        return _first(known, situation)
    if known.is_safe_mode:
        return _safe(known, belief, permitted)
    if not any(belief.measured):
        return _elsewhere(belief, best)
    choice = _weigh(known, belief, best, situation, permitted)
    if known.account is None:
        return choice
    return replace(choice, reason=f"{choice.reason}; {known.account.standing}")


def best_known(known: Knowledge, situation: Situation) -> Choice | None:
    """Return the best known batch size of those that are permitted, or None where none of them has converged."""
    belief, sizes = known.belief, known.grid.batch_sizes
    if belief is None:
        return None
    best = belief.best(map(and_, belief.converged, [size in situation.permitted for size in sizes]))
    return None if best is None else Choice(sizes[best], "best known batch size")


def _weigh(known: Knowledge, belief: Belief, best: int, situation: Situation, permitted: Sequence[bool]) -> Choice:
    """Choose between the best known batch size and those that a run may teach about."""
    sizes, unconverged = known.grid.batch_sizes, known.own.unconverged
    may_explore = len(unconverged) < MOST_EXPLORED
    open_arms = [may and size not in known.closed for size, may in zip(sizes, permitted, strict=True)]
    allowed = [
        may_explore and is_open and size not in unconverged for size, is_open in zip(sizes, open_arms, strict=True)
    ]
    allowed = list(map(and_, allowed, _within_reach(belief)))
    if not any(may_run for arm, may_run in enumerate(allowed) if arm != best):
        return Choice(sizes[best], explanations.best_known(belief, best, may_explore=may_explore))
    predicted = belief
    for size in situation.pending:
        predicted = predicted.with_pending_run(known.grid.index(size))
    prospect = acquisition.weigh(
        predicted,
        best,
        allowed=allowed,
        open_arms=open_arms,
        stopped_before=[bool(known.own.arms[size].stops) for size in sizes],
        learned=known.own.learned,
        beta_knob=known.job.beta_knob,
    )
    affordable = _affordable(known, predicted, best, situation, prospect)
    arm = int(np.where(affordable, prospect.score, -np.inf).argmax())
    if arm != best:
        return Choice(sizes[arm], explanations.exploration(belief, best, arm, prospect))
    is_held_back = arm != int(prospect.score.argmax())
    reason = explanations.best_known(
        belief, best, may_explore=may_explore, held_back_by=known.account if is_held_back else None
    )
    return Choice(sizes[arm], reason)


def _within_reach(belief: Belief) -> list[bool]:
    """Return which arms lie near enough to one that converged: the next of each side always."""
    octaves = belief.grid.octaves.tolist()
    known = [octave for octave, done in zip(octaves, belief.converged, strict=True) if done]
    first, last = belief.converged.index(True), len(octaves) - 1 - list(belief.converged)[::-1].index(True)
    return [
        first - 1 <= arm <= last + 1 or min(abs(octave - other) for other in known) <= REACH_OCTAVES + _ROUNDING
        for arm, octave in enumerate(octaves)
    ]


def _affordable(known: Knowledge, predicted: Belief, best: int, situation: Situation, prospect: Prospect) -> list[bool]:
    """Return which arms the account against the default allows to run: the best known one and the default always."""
    if known.account is None:
        return [True] * len(known.grid)
    pending = [known.grid.index(size) for size in situation.pending]
    worth = prospect.score.tolist()
    affordable = account.affordable(known.account, predicted, best, pending, known.job.beta_knob, worth=worth)
    affordable[best] = affordable[known.grid.index(known.job.default_batch_size)] = True
    return affordable


def _first(known: Knowledge, situation: Situation) -> Choice:
    """Choose while none that is permitted has converged: the default, then smaller and smaller ones, then larger ones.

    Then all of them once more, since a run may fail for other reasons than its batch size. Trials that start together
    begin with the default's neighbours: at that one a second run would teach little more, and as soon as one has
    converged the others are judged by it.
    """
    job, default = known.job, known.job.default_batch_size
    unsuccessful = {size: 2.0 * known.own.arms[size].failures for size in situation.permitted}
    left = [size for size, failures in unsuccessful.items() if failures < 2.0 * CLOSED_FROM]
    if not left:
        tried = ", ".join(map(str, situation.permitted))
        raise NoBatchSizeLeft(
            f"No batch size of {job.job_id} is left to try on {job.gpu_count} x {job.gpu_model}: "
            f"no run of {tried} reached the target within {job.max_epochs} epochs.",
            hint="Add other batch sizes (PATCH batch_sizes), or register the job under a new id with an easier target "
            "or more max_epochs.",
        )
    unsuccessful = {size: unsuccessful[size] + len(known.own.arms[size].stops) for size in left}
    fewest = min(unsuccessful.values())
    smaller = [size for size in reversed(left) if size <= default and unsuccessful[size] == fewest]
    larger = [size for size in left if size > default and unsuccessful[size] == fewest]
    size = [*smaller, *larger][0]
    if size in situation.pending:
        beside = [other for other in (*smaller[1:2], *larger[:1], *smaller[2:3]) if other not in situation.pending]
        if beside:
            return Choice(beside[0], f"nothing has converged yet, and {size} is running: a neighbour of it")
    if size == default and fewest == 0:
        where = "this machine (GPU not known)" if job.gpu_model == _UNKNOWN_MODEL else job.gpu_model
        return Choice(size, f"the default: nothing has converged yet on {where}")
    return Choice(
        size, "no batch size that fits has converged yet: first the default, then smaller ones, then larger ones"
    )


def _elsewhere(belief: Belief, best: int) -> Choice:
    """Choose the first run on a further GPU."""
    what = "known from a survey alone" if belief.has_level else "not known yet"
    return Choice(belief.grid.batch_sizes[best], f"best known batch size; the cost of an epoch on this GPU is {what}")


def _safe(known: Knowledge, belief: Belief, permitted: Sequence[bool]) -> Choice:
    """Choose after many runs that did not converge: the cheapest of those that failed least."""
    sizes, unconverged = known.grid.batch_sizes, known.own.unconverged
    candidates = [
        at for at, size in enumerate(sizes) if permitted[at] and (belief.converged[at] or size not in known.closed)
    ]
    at = min(candidates, key=lambda at: (unconverged.get(sizes[at], 0) // PATIENCE, belief.log_cost[at]))
    return Choice(
        sizes[at],
        f"{known.unconverged_runs} runs in a row did not converge: the cheapest of those with the fewest failures",
    )
