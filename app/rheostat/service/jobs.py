"""Jobs: register, change, show, delete, rebuild."""

import secrets
from collections.abc import Iterable
from typing import Any

from rheostat.errors import FieldError, InvalidInput, JobBusy, JobDiffers, JobNotFound
from rheostat.policy.registry import load_policy
from rheostat.schemas.server import JobDetail, JobPage, JobSettings, JobUpdate, Placement
from rheostat.service.context import Service
from rheostat.service.fold import rebuild
from rheostat.service.open_job import OpenJob, wire_gpu
from rheostat.storage.engine import Transaction
from rheostat.storage.jobs import Jobs, Placements
from rheostat.storage.records import JobRecord, PlacementRecord
from rheostat.storage.trials import Trials


def register_job(service: Service, job_id: str, settings: JobSettings) -> tuple[JobDetail, bool]:
    """Register a job, or find it registered with the same settings.

    Settings that were changed since (:func:`update_job`) stay changed: a trainer that registers its job at every
    start does not undo what an operator did.

    Returns:
        The job, and whether it is new.

    Raises:
        JobDiffers: It is registered with other settings.
        InvalidInput: There is no such policy.
    """
    load_policy(settings.policy)
    wanted = settings.model_dump(mode="json")

    def work(connection: Transaction) -> tuple[JobDetail, bool]:
        jobs = Jobs(connection)
        known = jobs.find(service.namespace, job_id, lock=True)
        if known is not None:
            if wanted not in (known.registered_settings, known.settings):
                raise _differs(known, wanted)
            return _detail(known, Placements(connection).of_jobs([known.job_pk])), False
        seed = secrets.randbits(53) if settings.seed is None else settings.seed
        made = jobs.add(service.namespace, job_id, wanted, seed, service.now())
        service.audit(connection, "register_job", job_id)
        return _detail(made, []), True

    return service.database.write(work)


def update_job(service: Service, job_id: str, update: JobUpdate) -> JobDetail:
    """Change the knobs of a job; its state is derived anew, as if they had always been so.

    Raises:
        JobNotFound: There is no such job.
        InvalidInput: There is no such policy, or a present batch size is missing.
    """

    def work(connection: Transaction) -> JobDetail:
        record = require(Jobs(connection).find(service.namespace, job_id, lock=True), job_id)
        settings = JobSettings.model_validate(record.settings)
        changes = update.model_dump(exclude_unset=True)
        _check_only_adds(settings, changes.get("batch_sizes"))
        load_policy(changes.get("policy", settings.policy))
        changed = settings.model_copy(update=changes)
        Jobs(connection).save_settings(record.job_pk, changed.model_dump(mode="json"), service.now())
        record = require(Jobs(connection).find(service.namespace, job_id), job_id)
        job = OpenJob(connection, record)
        rebuild(job)
        service.audit(connection, "update_job", job_id, changes)
        return _detail(record, job.placements)

    return service.database.write(work)


def get_job(service: Service, job_id: str) -> JobDetail:
    """Return a job.

    Raises:
        JobNotFound: There is no such job.
    """

    def work(connection: Transaction) -> JobDetail:
        record = require(Jobs(connection).find(service.namespace, job_id), job_id)
        return _detail(record, Placements(connection).of_jobs([record.job_pk]))

    return service.database.read(work)


def list_jobs(service: Service, *, cursor: str | None, limit: int) -> JobPage:
    """Return a page of jobs in the order of their ids, those after the cursor."""

    def work(connection: Transaction) -> JobPage:
        records = Jobs(connection).page(service.namespace, after=cursor or "", limit=limit + 1)
        page = records[:limit]
        placements = Placements(connection).of_jobs([record.job_pk for record in page])
        return JobPage(
            jobs=[_detail(job, [p for p in placements if p.job_pk == job.job_pk]) for job in page],
            next_cursor=page[-1].job_id if len(records) > limit else None,
        )

    return service.database.read(work)


def delete_job(service: Service, job_id: str, *, force: bool) -> None:
    """Delete a job with all that was learnt from it.

    Raises:
        JobNotFound: There is no such job.
        JobBusy: Trials are running, and ``force`` is not given.
    """

    def work(connection: Transaction) -> None:
        record = require(Jobs(connection).find(service.namespace, job_id, lock=True), job_id)
        now = service.now()
        running = [t for t in Trials(connection).running(record.job_pk) if t.lease_expires_at >= now]
        if running and not force:
            raise JobBusy(
                f"{len(running)} trials of {job_id} are running.",
                hint="Wait for them, or delete with ?force=true; their reports are refused then.",
            )
        Jobs(connection).delete(record.job_pk)
        service.audit(connection, "delete_job", job_id, {"trials": record.next_trial_number - 1})

    service.database.write(work)


def rebuild_job(service: Service, job_id: str) -> int:
    """Derive the policy's state of a job anew from the raw observations.

    Returns:
        How many pieces of evidence were folded.

    Raises:
        JobNotFound: There is no such job.
    """

    def work(connection: Transaction) -> int:
        job = OpenJob(connection, require(Jobs(connection).find(service.namespace, job_id, lock=True), job_id))
        service.audit(connection, "rebuild_job", job_id)
        return rebuild(job)

    return service.database.write(work)


def require(record: JobRecord | None, job_id: str) -> JobRecord:
    """Return a job that must exist.

    Raises:
        JobNotFound: It does not.
    """
    if record is None:
        raise JobNotFound(f"There is no job {job_id!r}.", hint="Register it first: PUT /v1/jobs/{job_id}.")
    return record


def _detail(record: JobRecord, placements: Iterable[PlacementRecord]) -> JobDetail:
    return JobDetail(
        job_id=record.job_id,
        settings=JobSettings.model_validate(record.settings),
        effective_seed=record.seed,
        trials=record.next_trial_number - 1,
        placements=[Placement(gpu=wire_gpu(p), smallest_oom_batch_size=p.smallest_oom_batch_size) for p in placements],
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def _differs(known: JobRecord, wanted: dict[str, Any]) -> JobDiffers:
    fields = [
        FieldError(name, f"registered as {known.registered_settings.get(name)!r}, now {value!r}")
        for name, value in wanted.items()
        if known.registered_settings.get(name) != value
    ]
    return JobDiffers(
        f"{known.job_id} is registered with other settings: {', '.join(f.field for f in fields)}.",
        hint="Register it under another id, change the knobs with PATCH, or delete it first.",
        fields=fields,
    )


def _check_only_adds(settings: JobSettings, batch_sizes: list[int] | None) -> None:
    if batch_sizes is None:
        return
    missing = sorted(set(settings.batch_sizes) - set(batch_sizes))
    if missing:
        raise InvalidInput(
            f"Batch sizes can be added, not taken away: {missing} are missing.",
            hint="Send all present batch sizes and the new ones.",
            fields=[FieldError("batch_sizes", f"must contain {missing}")],
        )
