"""Crash loops: a batch size whose trials end before their first epoch is left out for a while.

A crash says nothing certain of the batch size, so that policies learn nothing from it; but one that comes every time
must not be proposed again and again. After two crashes in a row the policy chooses among the other batch sizes. A size
that has not trained yet is left out, too, where a smaller one from the default on crashes: what fails with size is
tried smaller first. A size comes back after a number of trials that doubles with every further crash, and at once when
a trial of it trains. Crashes from before anything has trained on the placement count once at most from then on: they
were rather the trainer's than the batch size's.

State: ``trained``, by batch size when a trial of it last began to train; ``first``, when one of any batch size first
did; ``crashed``, by batch size when its trials crashed since it last trained. Each of these moments is the time and the
number of the trial. They are a fold over the times in the trials' own rows that gives the same in any order, since a
clock may jump; and a crash that turns out to be none can be taken back.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from rheostat.domain.history import Beginning, History
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
_NOTHING_ELSE = "since nothing else is left"
_CRASHED = ("cancelled", "failed", "abandoned")
_NONE: State = {"trained": {}, "first": None, "crashed": {}}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Moment: TypeAlias = list[int]
"""Microseconds since 1970, and the number of a trial."""


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
    after = replace(after, first_epoch_at=first_epoch_at, crashed_at=crashed_at)
    if crashed_at is None and before.crashed_at is not None:
        state = _without_crash(state, after)
    draft.crashes[view] = _with_beginning(state, after)
    return after


def carry_on(draft: Draft, trial: TrialRecord) -> None:
    """Note what a new trial has from the one that it goes on from."""
    if trial.first_epoch_at is not None:
        view = draft.view(draft.placement(trial.placement))
        draft.crashes[view] = _with_beginning(draft.crashes.get(view, _NONE), trial)


def fold_all(draft: Draft, history: History) -> None:
    """Derive the crashes of all placements from their trials; a placement that had a state keeps one."""
    states = dict.fromkeys((key for key, parts in draft.job.states.items() if "beginnings" in parts), _NONE)
    for trial in history.beginnings():
        states[trial.placement] = _with_beginning(states.get(trial.placement, _NONE), trial)
    for key, state in states.items():
        draft.crashes[draft.view(draft.placement(key))] = state


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
        state = _crashed(state, trial.batch_size, _moment(trial.created_at, trial))
    crashing = _left_out(state, view, situation.permitted)
    if not crashing or view.published is not None:  # the published order tries a batch size again that crashes
        return draft.advisor.choose(view, situation)
    permitted = tuple(size for size in situation.permitted if size not in crashing)
    with suppress(NoBatchSizeLeft):
        if permitted:
            choice = draft.advisor.choose(view, replace(situation, permitted=permitted))
            why = "; ".join(f"{size} is {status}" for size, status in crashing.items())
            return replace(choice, reason=f"{choice.reason}; {why}")
    size = _least_crashing(state, view, tuple(crashing))
    return Choice(size, _nothing_else(state, size, crashing))


def left_out(draft: Draft, view: PolicyJob, batch_sizes: Sequence[int]) -> dict[int, str]:
    """Return which batch sizes are left out for now, each with the reason."""
    state = draft.crashes.get(view, _NONE)
    found = _left_out(state, view, batch_sizes)
    if len(found) < len(batch_sizes):
        return found
    return {
        size: f"tried in turn, {_NOTHING_ELSE}: {f'its last {crashes} trials' if crashes else 'smaller ones'} "
        "did not reach their first epoch"
        for size, crashes in ((size, len(_in_a_row(state, size))) for size in found)
    }


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


def _nothing_else(state: State, size: int, crashing: Collection[int]) -> str:
    """Return why a batch size is tried though it, and all others, are left out."""
    crashed = [one for one in crashing if _in_a_row(state, one)]
    *others, last = map(str, crashed)
    names = f"{', '.join(others)} and {last}" if others else last
    both, their = {1: ("", "its"), 2: (" both", "their")}.get(len(crashed), (" all", "their"))
    wait = ", and larger ones wait for that" if len(crashed) < len(crashing) else ""
    again = "again" if size in crashed else "now"
    return f"{names}{both} crashed before {their} first epoch{wait}; {size} is tried {again}, {_NOTHING_ELSE}"


def _back_at(numbers: Sequence[int]) -> int:
    """Return the number of the trial from which on a batch size may run again; 0: it may now."""
    back_at, pause = 0, PAUSE_TRIALS
    for count, number in enumerate(numbers, start=1):
        if back_at and number >= back_at:  # it had come back; those that were in flight together count once
            pause *= 2
        if count >= LEFT_OUT_AFTER:
            back_at = number + 1 + pause
    return back_at


def _in_a_row(state: State, batch_size: int) -> list[int]:
    """Return the trials of a batch size that crashed in a row, of those before anything trained the last."""
    crashes, first = state["crashed"].get(str(batch_size), ()), state["first"]
    early = [crash for crash in crashes if first is not None and crash < first]
    return sorted(number for _, number in [*early[-1:], *crashes[len(early) :]])


def _with_beginning(state: State, trial: TrialRecord | Beginning) -> State:
    if trial.first_epoch_at is not None:
        return _trained(state, trial.batch_size, _moment(trial.first_epoch_at, trial))
    if trial.crashed_at is not None:
        return _crashed(state, trial.batch_size, _moment(trial.crashed_at, trial))
    return state


def _trained(state: State, batch_size: int, moment: _Moment) -> State:
    size = str(batch_size)
    latest = max(state["trained"].get(size, moment), moment)
    crashed = {**state["crashed"], size: [crash for crash in state["crashed"].get(size, ()) if crash > latest]}
    return {
        "trained": {**state["trained"], size: latest},
        "first": moment if state["first"] is None else min(state["first"], moment),
        "crashed": _without_empty(crashed),
    }


def _crashed(state: State, batch_size: int, moment: _Moment) -> State:
    size = str(batch_size)
    if moment <= state["trained"].get(size, []):
        return state
    crashes = sorted([*state["crashed"].get(size, ()), moment])[-_MOST_KEPT:]
    return {**state, "crashed": {**state["crashed"], size: crashes}}


def _without_crash(state: State, trial: TrialRecord) -> State:
    """Return the state without the crash of a trial that counted as abandoned, and is heard of again."""
    size = str(trial.batch_size)
    left = [crash for crash in state["crashed"].get(size, ()) if crash[1] != trial.number]
    return {**state, "crashed": _without_empty({**state["crashed"], size: left})}


def _without_empty(crashed: Mapping[str, list[_Moment]]) -> dict[str, list[_Moment]]:
    return {size: crashes for size, crashes in crashed.items() if crashes}


def _moment(at: datetime, trial: TrialRecord | Beginning) -> _Moment:
    return [(at - _EPOCH) // timedelta(microseconds=1), trial.number]
