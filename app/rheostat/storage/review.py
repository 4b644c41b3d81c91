"""Looking back at a job in SQL: measured power limits, a trial's reports, and what was used on each day."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias

from sqlalchemy import RowMapping, Select, and_, case, false, func, or_, select, tuple_

from rheostat.domain.health import LOOK_BACK, RecentTrial
from rheostat.domain.job import Job
from rheostat.domain.records import ObservationRecord, PlacementKey, PowerMeasurementRecord
from rheostat.storage.history import StoredHistory
from rheostat.storage.tables import observations, power_measurements, trials

Rows: TypeAlias = Callable[[Select[*tuple[Any, ...]]], Sequence[RowMapping]]

_OBSERVATION = [column for column in observations.c if column.name != "observation_pk"]
_MEASUREMENT = [c for c in power_measurements.c if c.name not in ("power_measurement_pk", "placement_pk")]

_RECENT = [trials.c[name] for name in RecentTrial._fields if name != "placement"]


def latest_measurements(history: StoredHistory, placement: PlacementKey) -> list[PowerMeasurementRecord]:
    """Return the latest measurement of each batch size and power limit of a placement."""
    measured, placement_pk = power_measurements.c, history.placement_pks[placement]
    latest = (
        select(func.max(measured.sequence))
        .where(measured.placement_pk == placement_pk, measured.outcome.is_(None))
        .group_by(measured.batch_size, measured.power_limit_watts)
    )
    query = select(*_MEASUREMENT).where(measured.placement_pk == placement_pk, measured.sequence.in_(latest))
    return [PowerMeasurementRecord(placement=placement, **row) for row in history.rows(query)]


def observations_of(history: StoredHistory, trial_id: str, *, skip: int, limit: int) -> list[ObservationRecord]:
    """Return up to ``limit`` reports of a trial in the order of their epochs, without the first ones."""
    query = select(*_OBSERVATION).where(observations.c.trial_id == trial_id)
    query = query.order_by(observations.c.epoch, observations.c.closing).offset(skip).limit(limit)
    return [ObservationRecord(**row) for row in history.rows(query)]


def thinned_observations(history: StoredHistory, trial_id: str, *, most: int) -> tuple[list[ObservationRecord], int]:
    """Return about so many reports of a trial, evenly spread in the order of their epochs, and how many there are.

    The last one is among them: figures are totals, so that it says what the trial has taken.
    """
    its = observations.c.trial_id == trial_id
    total = history.rows(select(func.count().label("total")).where(its))[0]["total"]
    step = max(1, -(-total // most))
    order = (observations.c.epoch, observations.c.closing)
    numbered = select(*_OBSERVATION, func.row_number().over(order_by=order).label("at")).where(its).subquery()
    kept = or_(numbered.c.at % step == 0, numbered.c.at == total)
    query = select(*(numbered.c[column.name] for column in _OBSERVATION)).where(kept).order_by(numbered.c.at)
    return [ObservationRecord(**row) for row in history.rows(query)], total


def use_by_day(rows: Rows, placement_pks: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    """Return what the trials of placements used, by the day (UTC) on which they ended.

    What a trial that has not ended has used counts on the day on which it began.

    Args:
        rows: Returns the rows of a query.
        placement_pks: The placements.
    """
    later = trials.alias()
    carried_on = select(later.c.resumes, later.c.placement_pk).where(later.c.resumes.is_not(None))
    day = func.date(func.coalesce(trials.c.ended_at, trials.c.created_at))
    converged, no_energy = trials.c.state == "converged", trials.c.energy_joules.is_(None)
    query = (
        select(
            trials.c.placement_pk,
            day.label("day"),
            func.count().label("runs"),
            func.sum(case((converged, 1), else_=0)).label("converged_runs"),
            func.coalesce(func.sum(trials.c.energy_joules), 0.0).label("energy_joules"),
            func.coalesce(func.sum(trials.c.time_seconds), 0.0).label("time_seconds"),
            func.sum(case((no_energy, 1), else_=0)).label("runs_without_energy"),
            func.sum(case((and_(no_energy, converged), 1), else_=0)).label("converged_without_energy"),
            func.coalesce(func.sum(case((no_energy, trials.c.time_seconds), else_=0.0)), 0.0).label(
                "seconds_without_energy"
            ),
        )
        .where(
            trials.c.placement_pk.in_(placement_pks),
            trials.c.epochs > 0,
            tuple_(trials.c.trial_id, trials.c.placement_pk).not_in(carried_on),
        )
        .group_by(trials.c.placement_pk, day)
        .order_by(day)
    )
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows(query):
        figures = {name: row[name] for name in row.keys() - {"placement_pk", "day"}}
        found.setdefault(row["placement_pk"], []).append({"day": date.fromisoformat(str(row["day"])), **figures})
    return found


def recent_trials(
    rows: Rows, next_numbers: Mapping[int, int], keys: Mapping[int, PlacementKey]
) -> dict[int, list[RecentTrial]]:
    """Return the latest trials of some jobs, newest first, by the jobs' rows.

    Args:
        rows: Returns the rows of a query.
        next_numbers: By the row of each job the number of its next trial.
        keys: The placements by their rows.
    """
    found: dict[int, list[RecentTrial]] = {job_pk: [] for job_pk in next_numbers}
    # Each job's own number as a value: from one in another row PostgreSQL cannot tell how few trials there are.
    recent = or_(
        false(),
        *(
            and_(trials.c.job_pk == job_pk, trials.c.number >= number - LOOK_BACK)
            for job_pk, number in next_numbers.items()
        ),
    )
    for row in rows(select(trials.c.job_pk, trials.c.placement_pk, *_RECENT).where(recent)):
        figures: dict[str, Any] = {**row}
        found[figures.pop("job_pk")].append(RecentTrial(keys[figures.pop("placement_pk")], **figures))
    return {job_pk: sorted(recent, key=lambda trial: -trial.number) for job_pk, recent in found.items()}


def recent_trials_of(job: Job, history: StoredHistory) -> list[RecentTrial]:
    """Return the latest trials of a job, newest first."""
    keys = {pk: key for key, pk in history.placement_pks.items()}
    return recent_trials(history.rows, {history.job_pk: job.next_trial_number}, keys)[history.job_pk]
