"""Crash loops: a batch size whose trials end before their first epoch is left out for a while.

A crash says nothing certain of the batch size, so that policies learn nothing from it; but one that comes every time
must not be proposed for ever. After two crashes in a row the policy chooses among the other batch sizes. A size that
has not trained yet is left out, too, where a smaller one from the default on crashes: what fails with size is tried
smaller first. A size comes back after a number of trials that doubles with every further crash, and at once when a
trial of it trains. Crashes from before anything has trained on the placement count once at most from then on: they
were rather the trainer's than the batch size's.

State: ``trained``, the batch sizes that have trained; ``crashed``, by batch size the numbers of the trials that crashed
in a row; ``early``, the same of those that crashed before anything had trained. It is a fold over the times in the
trials' own rows, and nothing is lost of a crash, so that one which turns out to be none can be taken back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rheostat.domain.history import History
from rheostat.domain.job import Draft
from rheostat.domain.records import TrialRecord
from rheostat.errors import NoBatchSizeLeft
from rheostat.policy.interface import Choice, Situation, State
from rheostat.policy.interface import Job as PolicyJob

LEFT_OUT_AFTER = 2
"""Crashes in a row after which a batch size is left out."""

PAUSE_TRIALS = 32
"""Trials of the job for which it then is; twice as many with every further crash."""

SILENT_AFTER = timedelta(seconds=150)
"""The SDK renews a lease every minute, so that a trial of it is not silent for so long unless it was killed."""

_MOST_KEPT = 64
_CRASHED = ("cancelled", "failed", "abandoned")
_NONE: State = {"trained": [], "crashed": {}, "early": {}}


def follow(
    draft: Draft, before: TrialRecord, after: TrialRecord, at: datetime, *, was_interrupted: bool = False
) -> TrialRecord:
    """Note that a trial has trained, crashed, or is heard of again; return it with the time of that.

    Args:
        draft: What the decision changes.
        before: The trial as it was.
        after: The trial as it is now.
        at: The time.
        was_interrupted: Whether somebody ended it from outside.
    """
    if after.state == before.state and after.epochs == before.epochs:
        return after
    first_epoch_at, crashed_at = after.first_epoch_at, None
    if first_epoch_at is None and (after.epochs or 0.0) > (after.started_at_epoch or 0.0):
        first_epoch_at = at
    if first_epoch_at is None and after.state in _CRASHED and not was_interrupted:
        crashed_at = before.crashed_at or at
    if (first_epoch_at, crashed_at) == (before.first_epoch_at, before.crashed_at):
        return after
    view = draft.view(draft.placement(after.placement))
    state = draft.crashes.get(view, _NONE)
    if crashed_at != before.crashed_at:
        state = _without_crash(state, after) if crashed_at is None else _crashed(state, after)
    if first_epoch_at != before.first_epoch_at:
        state = _trained(state, after.batch_size)
    draft.crashes[view] = state
    return replace(after, first_epoch_at=first_epoch_at, crashed_at=crashed_at)


def fold_all(draft: Draft, history: History) -> None:
    """Derive the crashes of all placements from their trials; a placement that had a state keeps one."""
    for key, parts in draft.job.states.items():
        if "crashes" in parts:
            draft.crashes[draft.view(draft.placement(key))] = _NONE
    events = [(time, trial.number, trial) for trial in history.beginnings() if (time := _time(trial)) is not None]
    for _, _, trial in sorted(events, key=lambda event: event[:2]):
        view = draft.view(draft.placement(trial.placement))
        state = draft.crashes.get(view, _NONE)
        draft.crashes[view] = _trained(state, trial.batch_size) if trial.first_epoch_at else _crashed(state, trial)


def suspects(running: Iterable[TrialRecord], node: str | None, now: datetime, lease: timedelta) -> list[TrialRecord]:
    """Return the trials of a node that were never heard of since they began, and by now look like killed ones.

    Their leases may last for long. They count against their batch size only for what the same node is answered next:
    a trainer without heartbeats may be in its first epoch.
    """
    return [
        trial
        for trial in running
        if node is not None
        and trial.node == node
        and trial.first_epoch_at is None
        and trial.lease_expires_at <= trial.created_at + lease
        and now - trial.created_at > SILENT_AFTER
    ]


def choose(draft: Draft, view: PolicyJob, situation: Situation, silent: Sequence[TrialRecord] = ()) -> Choice:
    """Return the batch size of a new trial: the policy's choice among those that are not left out.

    Where all are, they take turns: the default first, then smaller ones.

    Args:
        draft: What the decision changes.
        view: The placement.
        situation: What surrounds the decision.
        silent: Those of its :func:`suspects`.

    Raises:
        PolicyFailed: The policy raised, or chose what is not permitted.
        NoBatchSizeLeft: The policy has nothing left to try.
    """
    state = draft.crashes.get(view, _NONE)
    for trial in silent:
        state = _crashed(state, trial)
    crashing = _left_out(state, view, situation.permitted)
    if not crashing or view.published is not None:  # the published order tries a batch size again that crashes
        return draft.advisor.choose(view, situation)
    permitted = tuple(size for size in situation.permitted if size not in crashing)
    why = "; ".join(f"{size} is {status}" for size, status in crashing.items())
    try:
        if permitted:
            choice = draft.advisor.choose(view, replace(situation, permitted=permitted))
            return replace(choice, reason=f"{choice.reason}; {why}")
    except NoBatchSizeLeft:
        why = f"nothing else is left to try; {why}"
    return Choice(_least_crashing(state, view, tuple(crashing)), f"the next in turn: {why}")


def left_out(draft: Draft, view: PolicyJob, batch_sizes: Sequence[int]) -> dict[int, str]:
    """Return which batch sizes are left out for now, each with the reason."""
    return _left_out(draft.crashes.get(view, _NONE), view, batch_sizes)


def _left_out(state: State, view: PolicyJob, batch_sizes: Sequence[int]) -> dict[int, str]:
    default = view.default_batch_size
    reasons: dict[int, str] = {}
    cause: int | None = None
    for size in batch_sizes:
        numbers = _in_a_row(state, size)
        back_at = _back_at(numbers)
        if view.trial_number < back_at:
            reasons[size] = (
                f"left out until trial {back_at}: its last {len(numbers)} trials did not reach their first epoch"
            )
            cause = size if cause is None and size >= default else cause
        elif cause is not None and size not in state["trained"]:
            reasons[size] = f"left out while {cause} is: smaller ones are tried first"
    return reasons


def _least_crashing(state: State, view: PolicyJob, batch_sizes: Sequence[int]) -> int:
    def turn(size: int) -> tuple[int, bool, int]:
        is_larger = size > view.default_batch_size
        crashes = len(_in_a_row(state, size))
        return max(crashes, LEFT_OUT_AFTER) if is_larger else crashes, is_larger, abs(size - view.default_batch_size)

    return min(batch_sizes, key=turn)


def _back_at(numbers: Sequence[int]) -> int:
    """Return the number of the trial from which on a batch size may run again; 0: it may now."""
    back_at, pause = 0, PAUSE_TRIALS
    for count, number in enumerate(numbers, start=1):
        if back_at and number >= back_at:  # it had come back; those that were in flight together count once
            pause *= 2
        if count >= LEFT_OUT_AFTER:
            back_at = number + 1 + pause
    return back_at


def _time(trial: TrialRecord) -> datetime | None:
    return trial.first_epoch_at or trial.crashed_at


def _in_a_row(state: State, batch_size: int) -> list[int]:
    """Return the trials of a batch size that crashed in a row, of the early ones the last."""
    size = str(batch_size)
    return [*state["early"].get(size, ())[-1:], *state["crashed"].get(size, ())]


def _trained(state: State, batch_size: int) -> State:
    early, crashed = state["early"], state["crashed"]
    if not state["trained"]:
        early, crashed = crashed, {}
    trained = sorted({*state["trained"], batch_size})
    return {"trained": trained, "crashed": _without(crashed, batch_size), "early": _without(early, batch_size)}


def _crashed(state: State, trial: TrialRecord) -> State:
    size = str(trial.batch_size)
    numbers = sorted([*state["crashed"].get(size, ()), trial.number])[-_MOST_KEPT:]
    return {**state, "crashed": {**state["crashed"], size: numbers}}


def _without_crash(state: State, trial: TrialRecord) -> State:
    """Return the state without the crash of a trial that counted as abandoned, and is heard of again."""
    lists = {name: _without(state[name], trial.batch_size, trial.number) for name in ("crashed", "early")}
    return {**state, **lists}


def _without(crashes: Mapping[str, list[int]], batch_size: int, number: int | None = None) -> dict[str, list[int]]:
    """Return crashes without one trial of a batch size, or without all of them."""
    left = {
        size: [one for one in numbers if number is not None and one != number] if size == str(batch_size) else numbers
        for size, numbers in crashes.items()
    }
    return {size: numbers for size, numbers in left.items() if numbers}
