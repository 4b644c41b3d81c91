"""Looking back: what power limits cost, what a trial reported, what runs now, and which jobs changed."""

from dataclasses import asdict

from rheostat.domain import report, review
from rheostat.domain.placements import wire_gpu
from rheostat.schemas.report import JobReport
from rheostat.schemas.review import DayUse, ObservationPage, PlacementUse, PowerCurves, RunningTrial
from rheostat.service.context import Service
from rheostat.storage import queries


def power_curves(service: Service, job_id: str) -> PowerCurves:
    """Return what each measured power limit costs per epoch, at the job's current knobs.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.jobs.read(
        service.job(job_id),
        lambda job, history: review.power_curves(
            job, {key: history.latest_measurements(key) for key in job.placements}
        ),
    )


def list_observations(service: Service, trial_id: str, *, cursor: int | None, limit: int) -> ObservationPage:
    """Return a page of a trial's reports in the order of their epochs; the cursor counts those before it.

    Raises:
        TrialNotFound: There is no such trial.
    """
    skip = cursor or 0
    found = service.jobs.read(
        service.trial(trial_id), lambda _, history: history.observations(trial_id, skip=skip, limit=limit + 1)
    )
    return ObservationPage(
        observations=[review.wire_observation(record) for record in found[:limit]],
        next_cursor=str(skip + limit) if len(found) > limit else None,
    )


def running_trials(service: Service, *, limit: int) -> list[RunningTrial]:
    """Return the trials of all jobs that run now, those that began last first."""
    rows = queries.running_trials(service.database, service.namespace, service.now(), limit=limit)
    return [RunningTrial(**asdict(row)) for row in rows]


def job_versions(service: Service) -> dict[str, int]:
    """Return the version of every job, by its id: it changes with the job and with anything below it."""
    return queries.job_versions(service.database, service.namespace)


def use_by_day(service: Service, job_id: str) -> list[PlacementUse]:
    """Return what the runs of a job that ended on each day used.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.jobs.read(
        service.job(job_id),
        lambda job, history: [
            PlacementUse(gpu=wire_gpu(placement), days=[DayUse(**day) for day in history.use_by_day(key)])
            for key, placement in job.placements.items()
        ],
    )


def job_report(service: Service, job_id: str) -> JobReport:
    """Return what a job saved, how sure that is, and where the figures come from.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.jobs.read(service.job(job_id), report.job_report)
