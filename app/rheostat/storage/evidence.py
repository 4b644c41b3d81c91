"""Whole runs and power measurements in SQL."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, insert, literal, select

from rheostat.storage.records import PowerMeasurementRecord, RunRecord, Totals
from rheostat.storage.tables import power_measurements, runs

_MEASUREMENT = [column for column in power_measurements.c if column.name != "power_measurement_pk"]


class Runs:
    """Whole runs that no trial stands for, within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find_by_key(self, job_pk: int, idempotency_key: str) -> RunRecord | None:
        """Return the run that a job recorded under an idempotency key."""
        query = select(runs).where(runs.c.job_pk == job_pk, runs.c.idempotency_key == idempotency_key)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else RunRecord(**row)

    def add(self, run: RunRecord) -> None:
        """Insert a run."""
        self._connection.execute(insert(runs).values(asdict(run)))

    def of_placement(self, placement_pk: int) -> list[RunRecord]:
        """Return the runs of a placement, in the order in which they came."""
        query = select(runs).where(runs.c.placement_pk == placement_pk).order_by(runs.c.sequence)
        return [RunRecord(**row) for row in self._connection.execute(query).mappings()]

    def totals(self, placement_pk: int, *, converged: bool = False, batch_size: int | None = None) -> list[Totals]:
        """Return what the runs of a placement came to: all, or the converged ones of a batch size."""
        energy, seconds = runs.c.energy_joules, runs.c.time_seconds
        query = select(
            func.count().label("runs"),
            literal(None).label("epochs"),
            func.sum(energy).label("energy_joules"),
            func.sum(seconds).label("time_seconds"),
            func.sum(runs.c.cost).label("cost"),
        ).where(runs.c.placement_pk == placement_pk)
        if converged:
            query = query.where(runs.c.converged.is_not(False))
        if batch_size is not None:
            query = query.where(runs.c.batch_size == batch_size)
        query = query.group_by(energy.is_(None), seconds.is_(None))
        return [Totals(**row) for row in self._connection.execute(query).mappings()]


class PowerMeasurements:
    """Measured power limits, within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, measurements: Sequence[PowerMeasurementRecord]) -> None:
        """Insert measurements."""
        self._connection.execute(insert(power_measurements), [asdict(m) for m in measurements])

    def latest(
        self, placement_pk: int, batch_size: int, power_limit_watts: int | None = None
    ) -> PowerMeasurementRecord | None:
        """Return the latest measurement of a batch size, or of one of its limits."""
        conditions: list[Any] = [
            power_measurements.c.placement_pk == placement_pk,
            power_measurements.c.batch_size == batch_size,
        ]
        if power_limit_watts is not None:
            conditions.append(power_measurements.c.power_limit_watts == power_limit_watts)
        query = select(*_MEASUREMENT).where(*conditions)
        query = query.order_by(power_measurements.c.sequence.desc()).limit(1)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else PowerMeasurementRecord(**row)

    def of_placement(self, placement_pk: int) -> list[PowerMeasurementRecord]:
        """Return the measurements of a placement, in the order in which they came."""
        query = select(*_MEASUREMENT).where(power_measurements.c.placement_pk == placement_pk)
        query = query.order_by(power_measurements.c.sequence)
        return [PowerMeasurementRecord(**row) for row in self._connection.execute(query).mappings()]
