"""Looking back: what power limits cost, how well costs were predicted, what a trial reported, and what runs now."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from itertools import islice
from typing import Any, Literal, TypeAlias

from rheostat.domain import calibration as predictions
from rheostat.domain import registration, report, review, trial_views, trials
from rheostat.domain.health import RecentTrial, health
from rheostat.domain.job import Job
from rheostat.domain.placements import wire_gpu
from rheostat.domain.records import PlacementKey, TrialRecord
from rheostat.errors import JobNotFound, NoBatchSizeLeft, NoPowerLimitFits, PolicyFailed, RheostatError, Unavailable
from rheostat.schemas.calibration import Calibration
from rheostat.schemas.nodes import NodeReport
from rheostat.schemas.report import JobReport, ReportPage
from rheostat.schemas.review import DayUse, Node, Observation, ObservationPage, PlacementUse, PowerCurves, RunningTrial
from rheostat.schemas.rows import columns_of, csv_lines, row_of
from rheostat.schemas.server import Gpu
from rheostat.schemas.summary import JobSummary, UnreadableJob
from rheostat.schemas.trials import PredictRequest, Trial, TrialDetail
from rheostat.service.context import Service
from rheostat.service.jobs import list_jobs
from rheostat.service.trials import list_trials
from rheostat.storage import queries
from rheostat.storage import review as stored
from rheostat.storage.history import StoredHistory
from rheostat.storage.many_jobs import JobPast, read_jobs
from rheostat.storage.stored_job import Key

_Use: TypeAlias = Mapping[PlacementKey, list[dict[str, Any]]]

_log = logging.getLogger(__name__)

_TRIALS_AT_ONCE = 200
"""So many trials of an export are in memory at a time."""


def power_curves(service: Service, job_id: str) -> PowerCurves:
    """Return what each measured power limit costs per epoch, at the job's current knobs.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.jobs.read(
        service.job(job_id),
        lambda job, history: review.power_curves(
            job, {key: stored.latest_measurements(history, key) for key in job.placements}
        ),
    )


def next_run(service: Service, job_id: str, gpu: Gpu) -> Trial | None:
    """Return what a run would be answered that begins now on some GPUs: the decision, without its changes.

    Returns:
        The answer; None: there is none, as where the policy fails or no batch size fits.

    Raises:
        JobNotFound: There is no such job.
    """
    clock, request = service.clock(), PredictRequest(gpu=gpu)
    with suppress(PolicyFailed, NoBatchSizeLeft, NoPowerLimitFits):
        return service.jobs.read(
            service.job(job_id),
            lambda job, history: (
                trials.predict(job, history, request, trial_id="", idempotency_key=None, clock=clock).answer
            ),
        )
    return None


def calibration(service: Service, job_id: str) -> Calibration:
    """Return how well the costs of a job's latest trials were predicted.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.jobs.read(
        service.job(job_id),
        lambda job, history: predictions.calibration(
            job, history.predicted(job.next_trial_number - predictions.LATEST_TRIALS)
        ),
    )


def list_observations(service: Service, trial_id: str, *, cursor: int | None, limit: int) -> ObservationPage:
    """Return a page of a trial's reports in the order of their epochs; the cursor counts those before it.

    Raises:
        TrialNotFound: There is no such trial.
    """
    skip = cursor or 0
    found = service.jobs.read(
        service.trial(trial_id),
        lambda _, history: stored.observations_of(history, trial_id, skip=skip, limit=limit + 1),
    )
    return ObservationPage(
        observations=[review.wire_observation(record) for record in found[:limit]],
        next_cursor=str(skip + limit) if len(found) > limit else None,
    )


def thinned_observations(service: Service, trial_id: str, *, most: int) -> tuple[list[Observation], int]:
    """Return about so many of a trial's reports, evenly spread, the last one among them, and how many there are.

    Raises:
        TrialNotFound: There is no such trial.
    """
    found, total = service.jobs.read(
        service.trial(trial_id), lambda _, history: stored.thinned_observations(history, trial_id, most=most)
    )
    return [review.wire_observation(record) for record in found], total


def page_of_trials_csv(service: Service, job_id: str, cursor: int | None) -> tuple[str, int | None]:
    """Return some of a job's trials as CSV, newest first, and where the next ones begin; None: these are the last.

    Raises:
        JobNotFound: There is no such job.
    """
    page = list_trials(service, job_id, state=None, cursor=cursor, limit=_TRIALS_AT_ONCE)
    lines = csv_lines(columns_of(TrialDetail), map(row_of, page.trials))
    after = None if page.next_cursor is None else int(page.next_cursor)
    return "".join(lines if cursor is None else islice(lines, 1, None)), after


def running_trials(service: Service, *, limit: int) -> list[RunningTrial]:
    """Return the trials of all jobs that run now, those that began last first."""
    names = RunningTrial.model_fields
    rows = queries.running_trials(service.database, service.namespace, service.now(), names, limit=limit)
    return [RunningTrial(**row) for row in rows]


def list_nodes(service: Service, *, limit: int) -> list[Node]:
    """Return the nodes that trials ran on, as the latest trial of each shows them, the latest first."""
    now = service.now()
    running = Counter(
        node
        for row in queries.nodes_of_running(service.database, service.namespace, now)
        for node in {row["node"], *(report["node"] for report in row["nodes"] or ())} - {None}
    )
    found: dict[str, Node] = {}
    for row in queries.latest_of_nodes(service.database, service.namespace, limit=limit):
        reports = {report.node: report for report in trial_views.nodes_of(row["nodes"])}
        for node in dict.fromkeys((row["node"], *reports)):  # a trial on several nodes names one of them itself
            found.setdefault(node, _node(row, node, reports.get(node), running[node], now))
    return list(found.values())[:limit]


def list_namespaces(service: Service) -> list[str]:
    """Return the namespaces that have jobs, in alphabetical order."""
    return queries.namespaces(service.database)


def job_versions(service: Service) -> dict[str, int]:
    """Return the version of every job, by its id: it changes with the job and with anything below it."""
    return queries.job_versions(service.database, service.namespace)


def job_version(service: Service, key: Key) -> int | None:
    """Return the version of a job, as :func:`job_versions` does; None: there is no such job."""
    return queries.job_version(service.database, key)


def use_by_day(service: Service, job_id: str) -> list[PlacementUse]:
    """Return what the runs of a job used, by the day on which they ended.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.jobs.read(service.job(job_id), lambda job, history: _wire_use(job, _use(history)))


def job_summary(service: Service, job_id: str) -> JobSummary:
    """Return all that the page of a job shows of it, as of one moment, but for what it used on each day.

    Raises:
        JobNotFound: There is no such job.
    """
    now = service.now()

    def read(job: Job, history: StoredHistory) -> JobSummary:
        latest = history.trials(state=None, now=now, before=None, limit=1)
        recent = stored.recent_trials_of(job, history)
        return _summary(job, history, now, latest=latest[0] if latest else None, recent=recent, use=[])

    return service.jobs.read(service.job(job_id), read)


def job_summaries(service: Service, job_ids: Collection[str]) -> dict[str, JobSummary | UnreadableJob]:
    """Return what the list of jobs shows of some of them, by their ids; those that do not exist are left out.

    Raises:
        Unavailable: The database cannot be read.
    """
    now = service.now()

    def read(past: JobPast) -> JobSummary | UnreadableJob:
        job = past.stored.job
        try:
            return _summary(
                job, past.history, now, latest=past.latest, recent=past.recent, use=_wire_use(job, past.use)
            )
        except Exception as error:  # one job that cannot be shown must not hide the others
            return _unreadable(job.job_id, error)

    try:
        return read_jobs(service.database, service.namespace, job_ids, read)
    except Unavailable:
        raise
    except Exception as error:
        if len(job_ids) == 1:
            return {job_id: _unreadable(job_id, error) for job_id in job_ids}
    return {job_id: found for one in job_ids for job_id, found in job_summaries(service, [one]).items()}


def job_report(service: Service, job_id: str, *, since: date | None = None) -> JobReport:
    """Return what a job saved, how sure that is, and where the figures come from.

    Args:
        service: The service.
        job_id: The job.
        since: The first day (UTC) whose runs count; None: all do.

    Raises:
        JobNotFound: There is no such job.
    """

    def read(job: Job, history: StoredHistory) -> JobReport:
        whole = report.job_report(job, history, report.estimates_or_failure(job)[0])
        if since is None:
            return whole
        use = _wire_use(job, _use(history))
        return report.since(job, whole, {key: one.days for key, one in zip(job.placements, use, strict=True)}, since)

    return service.jobs.read(service.job(job_id), read)


def list_reports(service: Service, *, since: date | None, cursor: str | None, limit: int) -> ReportPage:
    """Return a page of what each job saved, in the order of their ids, those after the cursor."""
    page = list_jobs(service, cursor=cursor, limit=limit)
    reports = []
    for job in page.jobs:
        with suppress(JobNotFound):  # deleted meanwhile
            reports.append(job_report(service, job.job_id, since=since))
    return ReportPage(jobs=reports, next_cursor=page.next_cursor)


def _node(row: Mapping[str, Any], node: str, report: NodeReport | None, running: int, now: datetime) -> Node:
    is_lost = row["state"] == "running" and row["lease_expires_at"] < now
    energy: Literal["metered", "estimated", "unknown"] = "metered"
    if row["energy_estimate"] is not None:
        energy = "estimated"
    elif row["energy_joules"] is None:
        energy = "unknown"
    return Node(
        node=node,
        job_id=row["job_id"],
        trial_id=row["trial_id"],
        number=row["number"],
        state="abandoned" if is_lost else row["state"],
        gpu=None if row["gpu"] is None else Gpu.model_validate(row["gpu"]),
        power_limit_watts=row["power_limit_watts"],
        energy=energy,
        warning=row["warning"],
        report=report,
        running=running,
        seen_at=row["ended_at"] or row["created_at"],
    )


def _summary(
    job: Job,
    history: StoredHistory,
    now: datetime,
    *,
    latest: TrialRecord | None,
    recent: Sequence[RecentTrial],
    use: list[PlacementUse],
) -> JobSummary:
    estimates, failure = report.estimates_or_failure(job)
    return JobSummary(
        job=registration.job_detail(job),
        report=report.job_report(job, history, estimates),
        estimates=estimates,
        failure=failure,
        use=use,
        latest=None if latest is None else trial_views.trial_detail(job, latest, now),
        health=health(job, recent, now),
    )


def _unreadable(job_id: str, error: Exception) -> UnreadableJob:
    _log.error("the job %s cannot be shown", job_id, exc_info=error)
    message = error.message if isinstance(error, RheostatError) else f"{type(error).__name__}: see the server's log."
    return UnreadableJob(job_id=job_id, reason=message)


def _wire_use(job: Job, use: _Use) -> list[PlacementUse]:
    return [
        PlacementUse(gpu=wire_gpu(placement), days=[DayUse(**day) for day in use[key]])
        for key, placement in job.placements.items()
    ]


def _use(history: StoredHistory) -> _Use:
    found = stored.use_by_day(history.rows, history.placement_pks.values())
    return {key: found.get(pk, []) for key, pk in history.placement_pks.items()}
