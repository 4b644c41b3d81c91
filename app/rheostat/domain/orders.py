"""An operator's orders: pin a batch size, pause exploring, force one trial. See :mod:`rheostat.domain.control`."""

from dataclasses import replace
from datetime import datetime
from typing import Literal

from rheostat.domain.control import is_within_limits, without
from rheostat.domain.job import Changes, Decision, Job
from rheostat.domain.placements import where_fits
from rheostat.domain.records import AuditNote
from rheostat.domain.registration import job_detail
from rheostat.errors import Conflict, FieldError, InvalidInput
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.server import JobDetail

Kind = Literal["pin", "pause", "force"]


def order(
    job: Job, kind: Literal["pin", "force"], request: OrderRequest, now: datetime, *, by: str | None = None
) -> Decision[JobDetail]:
    """Pin a batch size, or force one trial of it, in place of an earlier order of that kind.

    What only a survey found not to fit in memory is opened: a run is to show it.

    Raises:
        UnknownBatchSize: The batch size is not one of the job's.
        InvalidInput: The power limit lies outside of every GPU's range.
        Conflict: The batch size is known not to fit on any of the GPUs that the job runs on.
    """
    _check(job, request)
    opened = {key: where_fits(placement, request.batch_size) for key, placement in job.placements.items()}
    changed = tuple(placement for key, placement in opened.items() if placement != job.placements[key])
    decision = _ordered(replace(job, placements=opened) if changed else job, kind, request, now, by)
    return replace(decision, changes=Changes(placements=changed)) if changed else decision


def pause(job: Job, request: PauseRequest, now: datetime, *, by: str | None = None) -> Decision[JobDetail]:
    """Pause exploring: trials run the best known batch size until it is resumed."""
    return _ordered(job, "pause", request, now, by)


def withdraw(job: Job, kind: Kind, now: datetime) -> Decision[JobDetail]:
    """Withdraw an order; where there is none, nothing changes."""
    if kind not in (job.control or {}):
        return Decision(job_detail(job), job)
    after = replace(job, control=without(job.control, kind), updated_at=now)
    action = {"pin": "unpin_job", "pause": "resume_job", "force": "unforce_job"}[kind]
    return Decision(job_detail(after), after, audit=AuditNote(now, action, {}))


def _ordered(
    job: Job, kind: Kind, request: OrderRequest | PauseRequest, now: datetime, by: str | None
) -> Decision[JobDetail]:
    details = request.model_dump(mode="json")
    kept = {**details, "since": now.isoformat(), "by": by}
    after = replace(job, control={**(job.control or {}), kind: kept}, updated_at=now)
    return Decision(job_detail(after), after, audit=AuditNote(now, f"{kind}_job", details))


def _check(job: Job, request: OrderRequest) -> None:
    size, limit = request.batch_size, request.power_limit_watts
    job.check_batch_size(size)
    ooms = [placement.smallest_oom_batch_size for placement in job.placements.values()]
    if ooms and all(oom is not None and oom <= size for oom in ooms):
        raise Conflict(
            f"Batch size {size} does not fit the memory of any GPU that {job.job_id} has run on: "
            f"{min(oom for oom in ooms if oom is not None)} ran out of memory.",
            hint="Order a smaller batch size.",
            fields=[FieldError("batch_size", "is known to run out of memory")],
        )
    ranges = [view.power_limits_watts for view in map(job.view, job.placements.values())]
    ranges = ranges or [tuple(job.settings.power_limits_watts or (limit or 0,))]
    if limit is not None and not any(is_within_limits(limit, limits) for limits in ranges):
        known = ", ".join(f"{min(limits)} to {max(limits)}" for limits in ranges if limits) or "none can be set"
        raise InvalidInput(
            f"A power limit of {limit} W cannot be set on any GPU that {job.job_id} has run on.",
            fields=[FieldError("power_limit_watts", f"must lie within the job's limits of a GPU: {known}")],
        )
