"""Decisions about a job as a whole: register, update, rebuild, delete."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from rheostat.domain import crashes, judging
from rheostat.domain.evidence import add_up, depends_on, derive_again, makes_room
from rheostat.domain.history import History
from rheostat.domain.job import Decision, Draft, Job, stored_settings
from rheostat.domain.placements import wire_gpu
from rheostat.domain.records import AuditNote
from rheostat.errors import FieldError, InvalidInput, JobBusy, JobDiffers
from rheostat.schemas.control import JobControl
from rheostat.schemas.server import JobDetail, JobSettings, JobUpdate, Placement


def new_job(job_id: str, settings: JobSettings, seed: int, now: datetime) -> Job:
    """Return a job that has not run yet; the seed counts where the settings give none."""
    return Job(
        job_id=job_id,
        settings=settings,
        registered_settings=settings.model_dump(mode="json"),
        seed=seed if settings.seed is None else settings.seed,
        created_at=now,
        updated_at=now,
    )


def register(job: Job) -> Decision[tuple[JobDetail, bool]]:
    """Register a new job.

    Raises:
        InvalidInput: There is no such policy.
    """
    job.find_policy(job.settings.policy)
    return Decision((job_detail(job), True), job, audit=AuditNote(job.created_at, "register_job", {}))


def register_again(job: Job, settings: JobSettings) -> Decision[tuple[JobDetail, bool]]:
    """Find a job registered with the same settings: with those of its registration, or with those of now.

    Settings that were changed since (:func:`update`) stay changed: a trainer that registers its job at every start
    does not undo what an operator did.

    Raises:
        JobDiffers: It is registered with other settings.
        InvalidInput: There is no such policy.
    """
    job.find_policy(settings.policy)
    registered = stored_settings(job.registered_settings)  # with defaults for what came with a later version
    if settings not in (registered, job.settings):
        raise _differs(job.job_id, job.settings.model_dump(mode="json"), settings.model_dump(mode="json"))
    return Decision((job_detail(job), False), job)


def update(job: Job, history: History, request: JobUpdate, now: datetime) -> Decision[JobDetail]:
    """Change settings of a job; what its policy keeps becomes as if they had always been so.

    Its state is derived from the evidence again where it depends on what changes. What earlier runs say of another
    target is in :mod:`rheostat.domain.judging`.

    Raises:
        InvalidInput: There is no such policy, a present batch size is missing, or the settings do not fit together.
        NoPowerLimitFits: None of the power limits lies in the range of a GPU that the job has run on.
        PolicyFailed: The policy raised.
        RefoldNeeded: The policy's state takes too long to derive for a decision.
    """
    changes = request.model_dump(exclude_unset=True)
    _check_only_adds(job.settings, changes.get("batch_sizes"))
    settings = _changed(job.settings, changes)
    job.find_policy(settings.policy)
    draft = Draft(replace(job, settings=settings, judging=judging.changed(job, settings), updated_at=now))
    if depends_on(job, draft.job) or not makes_room(draft, job):
        derive_again(draft, history)
    return draft.decided(job_detail(draft.job), audit=AuditNote(now, "update_job", changes))


def rebuild(job: Job, history: History, now: datetime, *, with_sums: bool = True) -> Decision[int]:
    """Derive the policy's state from the recorded evidence; the answer is how many pieces there were.

    Args:
        job: The job.
        history: Its past.
        now: The time.
        with_sums: Whether to derive from all trials, too, what is no policy's state; see :func:`has_right_sums`.

    Raises:
        PolicyFailed: The policy raised.
        RefoldNeeded: The policy's state takes too long to derive for a decision.
    """
    draft = Draft(job)
    pieces = derive_again(draft, history)
    if with_sums:
        _sum_up(draft, history)
    return draft.decided(pieces, audit=AuditNote(now, "rebuild_job", {}))


def has_right_sums(job: Job, history: History) -> bool:
    """Return whether the crashes that a job holds, and the sums of its runs, are those of its trials."""
    draft = Draft(job)
    _sum_up(draft, history)
    return not draft.states.changes()


def complete(job: Job, history: History, *, with_policy: bool = True) -> Decision[None]:
    """Derive all that an older version kept in another form, or not at all.

    Args:
        job: The job.
        history: Its past.
        with_policy: Whether to derive the policy's state, too.

    Raises:
        InvalidInput: The policy is no longer installed.
        PolicyFailed: The policy raised.
        RefoldNeeded: The policy's state takes too long to derive for a decision.
    """
    draft = Draft(job)
    if with_policy:
        derive_again(draft, history)
    _sum_up(draft, history)
    return draft.decided(None)


def delete(job: Job, *, force: bool, now: datetime) -> Decision[None]:
    """Delete a job with all that was learned from it.

    Raises:
        JobBusy: Trials are running, and ``force`` is not given.
    """
    running = [trial for trial in job.running.values() if trial.lease_expires_at >= now]
    if running and not force:
        raise JobBusy(
            f"{len(running)} trials of {job.job_id} are running.",
            hint="Wait for them, or delete with ?force=true; their reports are refused then.",
        )
    return Decision(None, None, audit=AuditNote(now, "delete_job", {"trials": job.next_trial_number - 1}))


def job_detail(job: Job) -> JobDetail:
    """Return a job as the wire shows it."""
    return JobDetail(
        job_id=job.job_id,
        settings=job.settings,
        effective_seed=job.seed,
        trials=job.next_trial_number - 1,
        placements=[
            Placement(gpu=wire_gpu(placement), smallest_oom_batch_size=placement.closed_from_batch_size)
            for placement in job.placements.values()
        ],
        control=None if job.control is None else JobControl.model_validate(job.control, strict=False),
        created_at=job.created_at,
        updated_at=job.updated_at,
    )


def _differs(job_id: str, known: Mapping[str, Any], wanted: Mapping[str, Any]) -> JobDiffers:
    fields = [
        FieldError(name, f"registered as {known.get(name)!r}, now {value!r}")
        for name, value in wanted.items()
        if known.get(name) != value
    ]
    return JobDiffers(
        f"{job_id} is registered with other settings: {', '.join(f.field for f in fields)}.",
        hint="Change them with PATCH (`rheostat jobs set`, or on_conflict=update in the trainer), register the job "
        "under another id, or delete it first.",
        fields=fields,
    )


def _changed(settings: JobSettings, changes: Mapping[str, Any]) -> JobSettings:
    try:
        return JobSettings.model_validate({**settings.model_dump(), **changes})
    except ValidationError as error:
        fields = [
            FieldError(".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, "))
            for one in error.errors(include_url=False)
        ]
        raise InvalidInput(f"{fields[0].field} {fields[0].message}.", fields=fields) from error


def _check_only_adds(settings: JobSettings, batch_sizes: list[int] | None) -> None:
    if batch_sizes is None:
        return
    missing = sorted(set(settings.batch_sizes) - set(batch_sizes))
    if missing:
        raise InvalidInput(
            f"Batch sizes can be added, not removed: {missing} are missing.",
            hint="Send all present batch sizes and the new ones.",
            fields=[FieldError("batch_sizes", f"must contain {missing}")],
        )


def _sum_up(draft: Draft, history: History) -> None:
    add_up(draft, history)
    crashes.fold_all(draft, history)
