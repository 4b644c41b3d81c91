"""Trials and their observations in SQL."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, literal, or_, select, update

from rheostat.storage.records import ObservationRecord, Totals, TrialRecord
from rheostat.storage.tables import observations, trials

CHANGING = (
    "state",
    "state_reason",
    "epochs",
    "metric",
    "energy_joules",
    "time_seconds",
    "curve",
    "sequence",
    "lease_expires_at",
    "ended_at",
)
_OBSERVATION = [column for column in observations.c if column.name != "observation_pk"]


class Trials:
    """The trials, within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, trial_id: str) -> TrialRecord | None:
        """Return a trial."""
        return self._one(trials.c.trial_id == trial_id)

    def find_by_key(self, job_pk: int, idempotency_key: str) -> TrialRecord | None:
        """Return the trial that a job made for an idempotency key."""
        return self._one(and_(trials.c.job_pk == job_pk, trials.c.idempotency_key == idempotency_key))

    def running(self, job_pk: int, limit: int | None = None) -> list[TrialRecord]:
        """Return the trials recorded as running, in the order of their numbers; leases may have run out."""
        query = select(trials).where(trials.c.job_pk == job_pk, trials.c.state == "running").order_by(trials.c.number)
        if limit is not None:
            query = query.limit(limit)
        return [TrialRecord(**row) for row in self._connection.execute(query).mappings()]

    def count_running(self, now: datetime) -> int:
        """Return how many trials of all jobs run, as far as their leases tell."""
        query = select(func.count()).where(trials.c.state == "running", trials.c.lease_expires_at >= now)
        return self._connection.execute(query).scalar_one()

    def page(
        self, job_pk: int, *, state: str | None, now: datetime, before: int | None, limit: int
    ) -> list[TrialRecord]:
        """Return up to ``limit`` trials, newest first, of numbers under ``before``.

        A trial recorded as running whose lease is over counts as abandoned.
        """
        query = select(trials).where(trials.c.job_pk == job_pk)
        if before is not None:
            query = query.where(trials.c.number < before)
        overdue = and_(trials.c.state == "running", trials.c.lease_expires_at < now)
        if state == "running":
            query = query.where(trials.c.state == "running", trials.c.lease_expires_at >= now)
        elif state == "abandoned":
            query = query.where(or_(trials.c.state == "abandoned", overdue))
        elif state is not None:
            query = query.where(trials.c.state == state)
        query = query.order_by(trials.c.number.desc()).limit(limit)
        return [TrialRecord(**row) for row in self._connection.execute(query).mappings()]

    def add(self, trial: TrialRecord) -> None:
        """Insert a trial."""
        self._connection.execute(insert(trials).values(asdict(trial)))

    def save(self, trial: TrialRecord) -> None:
        """Store what reports and leases change in a trial."""
        values = {name: getattr(trial, name) for name in CHANGING}
        self._connection.execute(update(trials).where(trials.c.trial_id == trial.trial_id).values(values))

    def abandon(self, trial_ids: Sequence[str], now: datetime, reason: str) -> None:
        """Mark trials as abandoned."""
        query = update(trials).where(trials.c.trial_id.in_(trial_ids))
        self._connection.execute(query.values(state="abandoned", state_reason=reason, ended_at=now))

    def concluded(self, placement_pk: int) -> list[TrialRecord]:
        """Return the trials of a placement that taught something, in the order in which they did."""
        query = (
            select(trials)
            .where(trials.c.placement_pk == placement_pk, trials.c.sequence.is_not(None))
            .order_by(trials.c.sequence)
        )
        return [TrialRecord(**row) for row in self._connection.execute(query).mappings()]

    def totals(self, placement_pk: int, *, converged: bool = False, batch_size: int | None = None) -> list[Totals]:
        """Return what the trials of a placement came to: all that trained, or the converged ones of a batch size."""
        energy, seconds = trials.c.energy_joules, trials.c.time_seconds
        query = select(
            func.count().label("runs"),
            func.sum(trials.c.epochs).label("epochs"),
            func.sum(energy).label("energy_joules"),
            func.sum(seconds).label("time_seconds"),
            literal(None).label("cost"),
        ).where(trials.c.placement_pk == placement_pk, trials.c.epochs > 0)
        if converged:
            query = query.where(trials.c.state == "converged")
        if batch_size is not None:
            query = query.where(trials.c.batch_size == batch_size)
        query = query.group_by(energy.is_(None), seconds.is_(None))
        return [Totals(**row) for row in self._connection.execute(query).mappings()]

    def _one(self, condition: ColumnElement[bool]) -> TrialRecord | None:
        row = self._connection.execute(select(trials).where(condition)).mappings().one_or_none()
        return None if row is None else TrialRecord(**row)


class Observations:
    """The reports of trials, within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, trial_id: str, epoch: float, *, closing: bool) -> ObservationRecord | None:
        """Return the report of an epoch."""
        return self._first(trial_id, and_(observations.c.epoch == epoch, observations.c.closing == closing))

    def before(self, trial_id: str, epoch: float) -> ObservationRecord | None:
        """Return the latest report of an earlier epoch."""
        return self._first(trial_id, observations.c.epoch < epoch, observations.c.epoch.desc())

    def after(self, trial_id: str, epoch: float) -> ObservationRecord | None:
        """Return the first report of a later epoch."""
        return self._first(trial_id, observations.c.epoch > epoch, observations.c.epoch)

    def of_trial(self, trial_id: str) -> list[ObservationRecord]:
        """Return all reports of a trial by epoch."""
        query = select(*_OBSERVATION).where(observations.c.trial_id == trial_id)
        query = query.order_by(observations.c.epoch, observations.c.closing)
        return [ObservationRecord(**row) for row in self._connection.execute(query).mappings()]

    def add(self, observation: ObservationRecord) -> None:
        """Insert a report."""
        self._connection.execute(insert(observations).values(asdict(observation)))

    def _first(
        self, trial_id: str, condition: ColumnElement[bool], *order: ColumnElement[Any]
    ) -> ObservationRecord | None:
        query = select(*_OBSERVATION).where(observations.c.trial_id == trial_id, condition)
        row = self._connection.execute(query.order_by(*order).limit(1)).mappings().one_or_none()
        return None if row is None else ObservationRecord(**row)
