"""The history of a job in SQL, read within the transaction of the decision that asks for it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, or_, select

from rheostat.domain.history import History
from rheostat.domain.records import (
    Evidence,
    ObservationRecord,
    PlacementKey,
    PowerMeasurementRecord,
    RunRecord,
    TrialRecord,
)
from rheostat.storage.stored_job import StoredJob, trial_of
from rheostat.storage.tables import observations, power_measurements, runs, trials

ROWS_AT_ONCE = 1000
"""So many rows of a long history are in memory at a time."""

_OBSERVATION = [column for column in observations.c if column.name != "observation_pk"]


class StoredHistory(History):
    """The history of one job.

    Args:
        connection: The transaction.
        stored: The job.
        flush: Writes what was decided before in the same transaction, so that it is read, too.
    """

    def __init__(self, connection: Connection, stored: StoredJob, flush: Callable[[], None] = lambda: None) -> None:
        self._connection = connection
        self._job_pk = stored.row.job_pk
        self._placement_pks = stored.placement_pks
        self._flush = flush

    def trial(self, trial_id: str) -> TrialRecord | None:
        """Return a trial of the job."""
        return self._trial(trials.c.trial_id == trial_id)

    def trial_numbered(self, number: int) -> TrialRecord | None:
        """Return the trial of a number."""
        return self._trial(trials.c.number == number)

    def trial_by_key(self, idempotency_key: str) -> TrialRecord | None:
        """Return the trial that was made for an idempotency key."""
        return self._trial(trials.c.idempotency_key == idempotency_key)

    def trial_resuming(self, trial_id: str) -> TrialRecord | None:
        """Return the trial that carries on the totals of another one."""
        return self._trial(trials.c.resumes == trial_id)

    def trials(self, *, state: str | None, now: datetime, before: int | None, limit: int) -> list[TrialRecord]:
        """Return up to ``limit`` trials, newest first, of numbers under ``before``.

        A trial recorded as running whose lease has expired counts as abandoned.
        """
        query = select(trials).where(trials.c.job_pk == self._job_pk)
        if before is not None:
            query = query.where(trials.c.number < before)
        overdue = and_(trials.c.state == "running", trials.c.lease_expires_at < now)
        if state == "running":
            query = query.where(trials.c.state == "running", trials.c.lease_expires_at >= now)
        elif state == "abandoned":
            query = query.where(or_(trials.c.state == "abandoned", overdue))
        elif state is not None:
            query = query.where(trials.c.state == state)
        return [
            trial_of(row, self._placement_keys)
            for row in self._rows(query.order_by(trials.c.number.desc()).limit(limit))
        ]

    def observation(self, trial_id: str, epoch: float, *, closing: bool) -> ObservationRecord | None:
        """Return a trial's report of an epoch."""
        return self._observation(trial_id, and_(observations.c.epoch == epoch, observations.c.closing == closing))

    def observation_before(self, trial_id: str, epoch: float) -> ObservationRecord | None:
        """Return a trial's latest report of an earlier epoch."""
        return self._observation(trial_id, observations.c.epoch < epoch, observations.c.epoch.desc())

    def observation_after(self, trial_id: str, epoch: float) -> ObservationRecord | None:
        """Return a trial's first report of a later epoch."""
        return self._observation(trial_id, observations.c.epoch > epoch, observations.c.epoch)

    def run_by_key(self, idempotency_key: str) -> RunRecord | None:
        """Return the run that was recorded under an idempotency key."""
        query = select(runs).where(runs.c.job_pk == self._job_pk, runs.c.idempotency_key == idempotency_key)
        return next((self._run(row) for row in self._rows(query)), None)

    def latest_measurement(
        self, placement: PlacementKey, batch_size: int, power_limit_watts: int | None = None
    ) -> PowerMeasurementRecord | None:
        """Return the latest measurement of a batch size, or of one of its power limits."""
        if placement not in self._placement_pks:
            return None
        query = select(power_measurements).where(
            power_measurements.c.placement_pk == self._placement_pks[placement],
            power_measurements.c.batch_size == batch_size,
        )
        if power_limit_watts is not None:
            query = query.where(power_measurements.c.power_limit_watts == power_limit_watts)
        query = query.order_by(power_measurements.c.sequence.desc()).limit(1)
        return next((self._measurement(row) for row in self._rows(query)), None)

    def measurements_by_key(self, idempotency_key: str) -> list[PowerMeasurementRecord]:
        """Return the measurements that were recorded under an idempotency key, in the order of their request."""
        query = select(power_measurements).where(
            power_measurements.c.placement_pk.in_(self._placement_pks.values()),
            power_measurements.c.idempotency_key == idempotency_key,
        )
        return [self._measurement(row) for row in self._rows(query.order_by(power_measurements.c.sequence))]

    def evidence(self) -> list[Evidence]:
        """Return all that a policy learns from, in its order."""
        concluded = select(trials).where(trials.c.job_pk == self._job_pk, trials.c.sequence.is_not(None))
        evidence: list[Evidence] = [trial_of(row, self._placement_keys) for row in self._rows(concluded)]
        evidence += [self._run(row) for row in self._rows(select(runs).where(runs.c.job_pk == self._job_pk))]
        measured = select(power_measurements).where(power_measurements.c.placement_pk.in_(self._placement_pks.values()))
        evidence += [self._measurement(row) for row in self._rows(measured)]
        return sorted(evidence, key=lambda piece: piece.sequence or 0)

    def has_trained(self, placement: PlacementKey, batch_size: int) -> bool:
        """Return whether a trial of a batch size has run an epoch, or a part of one, on a placement."""
        if placement not in self._placement_pks:
            return False
        trained = select(trials.c.trial_id).where(
            trials.c.placement_pk == self._placement_pks[placement],
            trials.c.batch_size == batch_size,
            trials.c.epochs > 0,
        )
        return bool(self._rows(trained.limit(1)))

    def beginnings(self) -> list[TrialRecord]:
        """Return the trials that are known to have trained, or to have crashed before that."""
        began = or_(trials.c.first_epoch_at.is_not(None), trials.c.crashed_at.is_not(None))
        query = select(trials).where(trials.c.job_pk == self._job_pk, began)
        return [trial_of(row, self._placement_keys) for row in self._rows(query)]

    def paid(self, placement: PlacementKey) -> Iterator[TrialRecord | RunRecord]:
        """Iterate over the trials that trained and have ended, and over the whole runs."""
        placement_pk, later = self._placement_pks[placement], trials.alias()
        carried_on = select(later.c.resumes).where(later.c.placement_pk == placement_pk, later.c.resumes.is_not(None))
        ended = select(trials).where(
            trials.c.placement_pk == placement_pk,
            trials.c.epochs > 0,
            trials.c.state != "running",
            trials.c.trial_id.not_in(carried_on),
        )
        for row in self._streamed(ended):
            yield trial_of(row, self._placement_keys)
        for row in self._streamed(select(runs).where(runs.c.placement_pk == placement_pk)):
            yield self._run(row)

    @cached_property
    def _placement_keys(self) -> dict[int, PlacementKey]:
        return {pk: key for key, pk in self._placement_pks.items()}

    def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[RowMapping]:
        self._flush()
        return self._connection.execute(query).mappings().all()

    def _streamed(self, query: Select[*tuple[Any, ...]]) -> Iterator[RowMapping]:
        """Iterate over rows that may be too many to hold at once."""
        self._flush()
        with self._connection.execute(query.execution_options(yield_per=ROWS_AT_ONCE)) as result:
            yield from result.mappings()

    def _trial(self, condition: ColumnElement[bool]) -> TrialRecord | None:
        query = select(trials).where(trials.c.job_pk == self._job_pk, condition)
        return next((trial_of(row, self._placement_keys) for row in self._rows(query)), None)

    def _observation(
        self, trial_id: str, condition: ColumnElement[bool], *order: ColumnElement[Any]
    ) -> ObservationRecord | None:
        query = select(*_OBSERVATION).where(observations.c.trial_id == trial_id, condition).order_by(*order).limit(1)
        return next((ObservationRecord(**row) for row in self._rows(query)), None)

    def _run(self, row: RowMapping) -> RunRecord:
        fields: dict[str, Any] = {**row}
        del fields["job_pk"]
        return RunRecord(placement=self._placement_keys[fields.pop("placement_pk")], **fields)

    def _measurement(self, row: RowMapping) -> PowerMeasurementRecord:
        fields: dict[str, Any] = {**row}
        del fields["power_measurement_pk"]
        return PowerMeasurementRecord(placement=self._placement_keys[fields.pop("placement_pk")], **fields)
