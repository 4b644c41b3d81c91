"""Trials that go on: the same one in another process, or a new one from the checkpoint of an earlier one."""

from dataclasses import replace
from typing import Any

from rheostat.domain import energy
from rheostat.domain.events import TrialEnded
from rheostat.domain.history import History
from rheostat.domain.job import Draft
from rheostat.domain.records import OPEN, TrialRecord
from rheostat.errors import FieldError, InvalidInput
from rheostat.policy.interface import Choice
from rheostat.schemas.trials import PredictRequest, TrialProgress

_MAY_GO_ON = (*OPEN, "cancelled")

_CARRIED = (
    "first_epoch_at",
    "epochs",
    "metric",
    "curve",
    "energy_joules",
    "time_seconds",
    "metered_joules",
    "metered_from_seconds",
    "metered_to_seconds",
    "energy_estimate",
    "started_at_epoch",
    "epoch_shift",
    "repeated_epochs",
    "setup_seconds",
    "setup_joules",
    "first_report",
    "predicted_cost",
)


def progress(trial: TrialRecord) -> TrialProgress | None:
    """Return what was reported of a trial for another process to go on from; None: nothing was."""
    if trial.epochs is None:
        return None
    return TrialProgress(
        epoch=trial.epochs - (trial.epoch_shift or 0.0),
        metric=trial.metric,
        energy_joules=None if energy.is_estimated(trial) else trial.energy_joules,
        time_seconds=trial.time_seconds,
    )


def ancestor(history: History, request: PredictRequest) -> TrialRecord | None:
    """Return the trial that a new one goes on from, or the latest that went on from it; None: it begins anew.

    Raises:
        InvalidInput: The job has no such trial.
    """
    if request.resumes is None:
        return None
    found = history.trial(request.resumes) or history.trial_by_key(request.resumes)
    if found is None:
        raise InvalidInput(
            f"The job has no trial {request.resumes!r} to go on from.",
            hint="Leave `resumes` out for a run that begins anew, or give started_at_epoch.",
            fields=[FieldError("resumes", "must be a trial of this job")],
        )
    while (later := history.trial_resuming(found.trial_id)) is not None and _may_go_on(later):
        found = later
    return found


def choice_like(before: TrialRecord | None, permitted: tuple[int, ...]) -> Choice | None:
    """Return the batch size of the trial that is gone on from; None: there is none, or it does not fit here."""
    if before is None or before.epochs is None or before.batch_size not in permitted:
        return None
    return Choice(before.batch_size, f"as trial {before.number}, which it goes on from at epoch {before.epochs:g}")


def begun(
    draft: Draft, history: History, trial: TrialRecord, before: TrialRecord | None, request: PredictRequest
) -> TrialRecord:
    """Return a new trial as it begins; one that it goes on from ends, and teaches nothing by itself.

    Totals are carried on where all of them are of the same batch size on the same GPUs.
    """
    if before is None:
        return trial if request.started_at_epoch is None else replace(trial, started_at_epoch=request.started_at_epoch)
    before = draft.trials.get(before.trial_id, before)
    is_open = _may_go_on(before) and history.trial_resuming(before.trial_id) is None
    is_alike = (before.placement, before.batch_size) == (trial.placement, trial.batch_size)
    if is_open:
        why = f"goes on as trial {trial.number}"
        ended = replace(before, state="cancelled", state_reason=why, ended_at=before.ended_at or trial.created_at)
        draft.change_trial(before, ended)
        if before.state != "cancelled":
            draft.events.append(TrialEnded(before.trial_id, "cancelled"))
    if before.epochs is None or not (is_open and is_alike):
        epoch = request.started_at_epoch if request.started_at_epoch is not None else before.epochs
        return replace(trial, started_at_epoch=epoch)
    carried: dict[str, Any] = {name: getattr(before, name) for name in _CARRIED}
    carried["repeated_epochs"] = before.repeated_epochs or 0.0
    return replace(trial, **carried, resumes=before.trial_id, is_restarted=True)


def restarted(history: History, trial: TrialRecord) -> TrialRecord:
    """Return a trial whose trainer asks for it again: it goes on, unless it has ended or goes on as another one."""
    if not _may_go_on(trial):
        return trial
    if trial.state == "cancelled" and history.trial_resuming(trial.trial_id) is not None:
        return trial
    if trial.epochs is not None and not trial.is_restarted:
        trial = replace(trial, is_restarted=True, repeated_epochs=trial.repeated_epochs or 0.0)
    if trial.state == "running":
        return trial
    return replace(trial, state="running", state_reason="its trainer was started again", ended_at=None)


def _may_go_on(trial: TrialRecord) -> bool:
    return trial.state in _MAY_GO_ON and trial.sequence is None
