"""An operator's control of a job: a pinned batch size, a pause of exploring, and one forced trial.

A forced trial comes before a pin, and a pin before a pause. Where an ordered batch size does not fit the GPU's memory,
the trial gets what it would get without the order, and its reason says so; a force then waits for a GPU that it fits.
Policies learn from ordered trials as from any other. They are the operator's will: only what happens in the run and
`max_epochs` end them, not the cost bound and not the learning curve.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rheostat.domain import crashes
from rheostat.domain.job import Draft, Job
from rheostat.domain.policy_states import key_of
from rheostat.domain.records import TrialRecord
from rheostat.policy.advisor import Advisor, PowerAdvice
from rheostat.policy.interface import Choice, Situation
from rheostat.policy.interface import Job as PolicyJob

_WORDS = {"force": "forced for this trial by an operator", "pin": "pinned by an operator"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new trial trains with.

    Attributes:
        choice: Its batch size.
        power: Its power limit, or what to measure first.
        is_ordered: Whether an operator ordered it.
    """

    choice: Choice
    power: PowerAdvice
    is_ordered: bool = False


def choose(draft: Draft, view: PolicyJob, situation: Situation, silent: Sequence[TrialRecord] = ()) -> Plan:
    """Return what a new trial trains with: what an operator ordered, else the policy's choice; a force is used up.

    Args:
        draft: What the decision changes.
        view: The placement.
        situation: What surrounds the decision.
        silent: As for :func:`rheostat.domain.crashes.choose`.

    Raises:
        PolicyFailed: The policy raised, or chose what is not permitted.
        NoBatchSizeLeft: The policy has nothing left to try.
    """
    control, job = draft.job.control or {}, draft.job
    notes = []
    for kind, words in _WORDS.items():
        ordered = control.get(kind)
        if ordered is None:
            continue
        size = ordered["batch_size"]
        if size not in situation.permitted:
            notes.append(f"{size}, {words}, does not fit this GPU")
            continue
        if kind == "force":
            draft.job = replace(job, control=without(control, "force"))
        advised = _limit(ordered, view)
        power_advice = power(job, draft.advisor, view, size) if advised is None else PowerAdvice(advised)
        if advised is None and ordered["power_limit_watts"] is not None:
            notes.append(f"{ordered['power_limit_watts']} W cannot be set on this GPU")
        return Plan(Choice(size, "; ".join([_because(words, ordered), *notes])), power_advice, is_ordered=True)
    is_paused = "pause" in control
    choice = _best_known(draft, view, situation) if is_paused else crashes.choose(draft, view, situation, silent)
    choice = replace(choice, reason="; ".join([*notes, choice.reason]))
    return Plan(choice, power(job, draft.advisor, view, choice.batch_size))


def go_on(draft: Draft, view: PolicyJob, choice: Choice, before: TrialRecord | None) -> Plan:
    """Return what a trial trains with that goes on from an earlier one: as that did, whatever is ordered now.

    Raises:
        PolicyFailed: The policy raised, or advised a limit that the job does not have.
    """
    is_ordered = before is not None and before.is_ordered
    return Plan(choice, power(draft.job, draft.advisor, view, choice.batch_size), is_ordered=is_ordered)


def power(job: Job, advisor: Advisor, view: PolicyJob, batch_size: int, *, is_before_run: bool = False) -> PowerAdvice:
    """Return the power limit for a batch size, or what to measure first: nothing while exploring is paused.

    An ordered limit holds as long as it is pinned, or a trial that was given it runs. Before a run the figures of a
    survey do.

    Raises:
        PolicyFailed: The policy raised, or advised a limit that the job does not have.
    """
    pin = (job.control or {}).get("pin")
    if pin is not None and pin["batch_size"] == batch_size and (pinned := _limit(pin, view)) is not None:
        return PowerAdvice(pinned)
    for trial in job.running.values():
        is_of_it = (trial.batch_size, trial.placement) == (batch_size, key_of(view))
        if trial.is_ordered and is_of_it and trial.power_limit_watts is not None:
            return PowerAdvice(trial.power_limit_watts)
    ask = advisor.power_before_run if is_before_run else advisor.power
    advice = ask(view, batch_size)
    if advice.power_limit_watts is None and is_paused(job):
        return PowerAdvice(advisor.best_measured_limit(view, batch_size))
    return advice


def is_paused(job: Job) -> bool:
    """Return whether exploring is paused: no power limit is measured."""
    return "pause" in (job.control or {})


def ends_exploring(job: Job) -> str | None:
    """Return why no batch size is surveyed: the job is paused or pinned; None: it is neither."""
    control = job.control or {}
    if "pause" in control:
        return _because("exploring is paused by an operator", control["pause"])
    return _because(f"{control['pin']['batch_size']} is {_WORDS['pin']}", control["pin"]) if "pin" in control else None


def _best_known(draft: Draft, view: PolicyJob, situation: Situation) -> Choice:
    why = _because("exploring is paused by an operator", (draft.job.control or {})["pause"])
    crashing = crashes.left_out(draft, view, situation.permitted)
    working = tuple(size for size in situation.permitted if size not in crashing) or situation.permitted
    best = draft.advisor.best_known(view, replace(situation, permitted=working))
    if best is not None:
        return replace(best, reason=f"{best.reason}; {why}")
    fitting = [size for size in working if size <= view.default_batch_size]
    return Choice(max(fitting, default=min(working)), f"the default: nothing has converged yet; {why}")


def without(control: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any] | None:
    """Return what is ordered of a job without one kind of order."""
    return {name: order for name, order in (control or {}).items() if name != kind} or None


def _because(words: str, ordered: Mapping[str, Any]) -> str:
    return words if ordered["reason"] is None else f"{words}: {ordered['reason']}"


def _limit(ordered: Mapping[str, Any], view: PolicyJob) -> int | None:
    """Return the power limit of an order, if it can be set on these GPUs."""
    limit, limits = ordered["power_limit_watts"], view.power_limits_watts
    return limit if limit is not None and is_within_limits(limit, limits) else None


def is_within_limits(limit: int, limits: Sequence[int]) -> bool:
    """Return whether a power limit lies within those that can be set on some GPU."""
    return bool(limits) and min(limits) <= limit <= max(limits)
