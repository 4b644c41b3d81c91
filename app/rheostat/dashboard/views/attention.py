"""What an operator should look at."""

from dataclasses import dataclass
from typing import Literal

from rheostat.dashboard.views import arms
from rheostat.dashboard.words import gpu
from rheostat.schemas.server import JobDetail
from rheostat.schemas.summary import JobSummary


@dataclass(frozen=True, slots=True)
class Attention:
    """Something to look at, and what to do about it."""

    job_id: str
    level: Literal["error", "warning", "note"]
    text: str
    hint: str = ""


def attention(summary: JobSummary) -> list[Attention]:
    """Return what to look at in a job, the gravest first."""
    return [*troubles(summary), *_orders(summary.job)]


def troubles(summary: JobSummary) -> list[Attention]:
    """Return what to look at in a job beside what an operator ordered, the gravest first."""
    job_id = summary.job.job_id
    found = []
    if summary.failure is not None:
        found.append(Attention(job_id, "error", summary.failure, "The default batch size is used meanwhile."))
    for placement in () if summary.estimates is None else summary.estimates.placements:
        found += [
            Attention(job_id, "warning", f"Batch size {arm.batch_size} is {arm.status}.", "Look at its trials' logs.")
            for arm in arms.left_out(placement)
            if "did not reach their first epoch" in arm.status
        ]
        account = placement.account
        if account is not None and account.budget_runs is not None and account.balance_runs < -account.budget_runs:
            where = gpu(placement.gpu.model, placement.gpu.count)
            found.append(
                Attention(job_id, "warning", f"{account.standing[0].upper()}{account.standing[1:]} on {where}.")
            )
    return found + _of_latest(summary)


def _orders(job: JobDetail) -> list[Attention]:
    control, found = job.control, []
    if control is not None and control.pin is not None:
        text = f"Pinned to batch size {control.pin.batch_size}: nothing is explored."
        found.append(Attention(job.job_id, "note", text))
    if control is not None and control.pause is not None:
        found.append(Attention(job.job_id, "note", "Exploring is paused."))
    return found


def _of_latest(summary: JobSummary) -> list[Attention]:
    latest = summary.latest
    if latest is None:
        return [Attention(summary.job.job_id, "note", "Registered, but never run.", "Call predict, or `rheostat run`.")]
    if latest.state in ("abandoned", "oom", "failed"):
        return [
            Attention(
                summary.job.job_id,
                "warning",
                f"The latest run, {latest.number}, {_ENDED[latest.state]}: {latest.state_reason}.",
            )
        ]
    if latest.warnings:
        return [Attention(summary.job.job_id, "warning", latest.warnings[0])]
    return []


_ENDED = {"abandoned": "was abandoned", "oom": "ran out of memory", "failed": "failed"}
