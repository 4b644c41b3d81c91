"""The history of a job in SQL, read within the transaction of the decision that asks for it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    RowMapping,
    Select,
    Table,
    and_,
    false,
    func,
    null,
    or_,
    select,
    true,
    tuple_,
)

from rheostat.domain.history import Beginning, Derived, History, LatestMeasurements
from rheostat.domain.job import Job
from rheostat.domain.records import (
    Evidence,
    ObservationRecord,
    Paid,
    PlacementKey,
    PowerMeasurementRecord,
    PredictedTrial,
    RunRecord,
    TrialRecord,
)
from rheostat.domain.refold import Refold, RefoldNeeded
from rheostat.storage.stored_job import StoredJob, trial_of
from rheostat.storage.tables import observations, power_measurements, runs, trials

ROWS_AT_ONCE = 1000
"""So many rows of a long history are in memory at a time."""

MOST_AT_ONCE = 32
"""Pieces of evidence that a decision folds while its job is locked: others wait for that."""

_OBSERVATION = [column for column in observations.c if column.name != "observation_pk"]


_BEGINNING = [
    trials.c.placement_pk,
    trials.c.number,
    trials.c.batch_size,
    trials.c.first_epoch_at,
    trials.c.crashed_at,
]


_PREDICTED = [trials.c.placement_pk, *(trials.c[name] for name in PredictedTrial._fields if name != "placement")]


_PAID_OF_TRIAL = [
    true().label("is_trial"),
    trials.c.batch_size,
    trials.c.state == "converged",
    trials.c.epochs,
    trials.c.energy_joules,
    trials.c.time_seconds,
    null().label("cost"),
    trials.c.metered_joules,
    trials.c.metered_from_seconds,
    trials.c.metered_to_seconds,
    trials.c.energy_estimate,
]
_PAID_OF_RUN = [
    false().label("is_trial"),
    runs.c.batch_size,
    runs.c.converged.is_not(False),
    runs.c.epochs,
    runs.c.energy_joules,
    runs.c.time_seconds,
    runs.c.cost,
    *(null().label(name) for name in ("metered_joules", "metered_from_seconds", "metered_to_seconds", "estimate")),
]
"""The fields of :class:`rheostat.domain.records.Paid`, in its order."""


class Page(NamedTuple):
    """Some of the evidence of a job: what there is before a place, and how many places there are from that one on."""

    evidence: list[Evidence]
    before: int
    left: int


def latest_measurements(placement_pks: Collection[int]) -> Select[*tuple[Any, ...]]:
    """Return the query of the latest measurement of each batch size under each power limit of placements."""
    columns = power_measurements.c
    its = columns.placement_pk.in_(placement_pks)
    latest = (
        select(columns.placement_pk, func.max(columns.sequence))
        .where(its)
        .group_by(columns.placement_pk, columns.batch_size, columns.power_limit_watts)
    )
    return select(power_measurements).where(its, tuple_(columns.placement_pk, columns.sequence).in_(latest))


class StoredHistory(History):
    """The history of one job.

    Args:
        connection: The transaction.
        stored: The job.
        flush: Writes what was decided before in the same transaction, so that it is read, too.
        refold: Policy states that were derived for the decision, as far as they are; None: none were.
    """

    def __init__(
        self,
        connection: Connection,
        stored: StoredJob,
        flush: Callable[[], None] = lambda: None,
        refold: Refold | None = None,
    ) -> None:
        self._connection = connection
        self._next_sequence = stored.job.next_sequence
        self._refold = refold
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

    def trials(
        self, *, state: str | None, now: datetime, before: int | None, limit: int, tag: str | None = None
    ) -> list[TrialRecord]:
        """Return up to ``limit`` trials, newest first, of numbers under ``before``.

        A trial recorded as running whose lease has expired counts as abandoned. A tag is ``key=value``, or a key.
        """
        query = select(trials).where(trials.c.job_pk == self._job_pk)
        if tag is not None:
            key, _, value = tag.partition("=")
            found = trials.c.tags[key].as_string()
            query = query.where(trials.c.tags.is_not(null()), found == value if value else found.is_not(None))
        if before is not None:
            query = query.where(trials.c.number < before)
        is_running, is_overdue = trials.c.state == "running", trials.c.lease_expires_at < now
        if state is None:
            parts = [query]
        elif state == "running":
            parts = [query.where(is_running, ~is_overdue)]
        else:
            parts = [query.where(trials.c.state == state)]
        if state == "abandoned":
            parts.append(query.where(is_running, is_overdue))  # one query for both would read all that are abandoned
        rows = [row for part in parts for row in self._rows(part.order_by(trials.c.number.desc()).limit(limit))]
        found = [trial_of(row, self._placement_keys) for row in rows]
        return sorted(found, key=lambda trial: -trial.number)[:limit]

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

    def latest_measurement(self, placement: PlacementKey, batch_size: int) -> PowerMeasurementRecord | None:
        """Return the latest measurement of a batch size."""
        if placement not in self._placement_pks:
            return None
        query = select(power_measurements).where(
            power_measurements.c.placement_pk == self._placement_pks[placement],
            power_measurements.c.batch_size == batch_size,
        )
        query = query.order_by(power_measurements.c.sequence.desc()).limit(1)
        return next((self._measurement(row) for row in self._rows(query)), None)

    def latest_measurements(self, placement: PlacementKey) -> LatestMeasurements:
        """Return the latest measurement of each batch size under each power limit."""
        if placement not in self._placement_pks:
            return {}
        return self.by_size_and_limit(self._rows(latest_measurements([self._placement_pks[placement]])))

    def measurements_by_key(self, idempotency_key: str) -> list[PowerMeasurementRecord]:
        """Return the measurements that were recorded under an idempotency key, in the order of their request."""
        query = select(power_measurements).where(
            power_measurements.c.placement_pk.in_(self._placement_pks.values()),
            power_measurements.c.idempotency_key == idempotency_key,
        )
        return [self._measurement(row) for row in self._rows(query.order_by(power_measurements.c.sequence))]

    def evidence(self, since: int = 1, before: int | None = None) -> list[Evidence]:
        """Return what a policy learns from, in its order, from one place up to another."""

        def placed(table: Table) -> Sequence[RowMapping]:
            within = [table.c.sequence >= since] if before is None else [table.c.sequence.between(since, before - 1)]
            # By placement, as the indexes are.
            return self._rows(select(table).where(table.c.placement_pk.in_(self._placement_pks.values()), *within))

        evidence: list[Evidence] = [trial_of(row, self._placement_keys) for row in placed(trials)]
        evidence += [self._run(row) for row in placed(runs)]
        evidence += [self._measurement(row) for row in placed(power_measurements)]
        return sorted(evidence, key=lambda piece: piece.sequence or 0)

    def page(self, since: int, length: int) -> Page:
        """Return the evidence of so many places from one on."""
        before = min(since + length, self._next_sequence)
        return Page(self.evidence(since, before), before, self._next_sequence - before)

    def derived(self, job: Job) -> Derived:
        """Return the policy states of a job, derived from all evidence: what is derived already, and the rest.

        Raises:
            PolicyFailed: The policy raised.
            RefoldNeeded: The rest takes too long while the job is locked.
        """
        refold = self._refold
        if refold is None or not refold.is_of(job):
            refold = Refold.begin(job)
        if job.next_sequence - refold.next_sequence > MOST_AT_ONCE:
            raise RefoldNeeded(refold)
        return refold.take(self.evidence(refold.next_sequence), job.next_sequence).result

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

    def beginnings(self) -> list[Beginning]:
        """Return those of the trials that are known to have trained, or to have crashed before that."""
        began = or_(trials.c.first_epoch_at.is_not(None), trials.c.crashed_at.is_not(None))
        query = select(*_BEGINNING).where(trials.c.job_pk == self._job_pk, began)
        return [Beginning(self._placement_keys[pk], *rest) for pk, *rest in self._executed(query)]

    def predicted(self, since: int) -> list[PredictedTrial]:
        """Return those of the trials with a predicted cost that came to an end, from a number on."""
        ended = (trials.c.sequence.is_not(None), trials.c.predicted_cost.is_not(None))
        query = select(*_PREDICTED).where(trials.c.job_pk == self._job_pk, trials.c.number >= since, *ended)
        return [PredictedTrial(self._placement_keys[pk], *rest) for pk, *rest in self._executed(query)]

    def paid(self, placement: PlacementKey) -> Iterator[Paid]:
        """Iterate over the trials that trained and have ended, and over the whole runs."""
        placement_pk, later = self._placement_pks[placement], trials.alias()
        carried_on = select(later.c.resumes).where(later.c.placement_pk == placement_pk, later.c.resumes.is_not(None))
        ended = select(*_PAID_OF_TRIAL).where(
            trials.c.placement_pk == placement_pk,
            trials.c.epochs > 0,
            trials.c.state != "running",
            trials.c.trial_id.not_in(carried_on),
        )
        self._flush()
        for query in ended, select(*_PAID_OF_RUN).where(runs.c.placement_pk == placement_pk):
            with self._connection.execute(query.execution_options(yield_per=ROWS_AT_ONCE)) as rows:
                yield from (Paid(*row) for row in rows)

    @property
    def job_pk(self) -> int:
        """The row of the job."""
        return self._job_pk

    @property
    def placement_pks(self) -> Mapping[PlacementKey, int]:
        """The rows of the job's placements."""
        return self._placement_pks

    def rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[RowMapping]:
        """Return the rows of a query; :mod:`rheostat.storage.review` has those for people who look back."""
        return self._rows(query)

    @cached_property
    def _placement_keys(self) -> dict[int, PlacementKey]:
        return {pk: key for key, pk in self._placement_pks.items()}

    def by_size_and_limit(self, rows: Iterable[RowMapping]) -> LatestMeasurements:
        """Return the measurements of rows, by batch size and power limit."""
        found = map(self._measurement, rows)
        return {(measurement.batch_size, measurement.power_limit_watts): measurement for measurement in found}

    def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[RowMapping]:
        return self._executed(query).mappings().all()

    def _executed(self, query: Select[*tuple[Any, ...]]) -> CursorResult[*tuple[Any, ...]]:
        self._flush()
        return self._connection.execute(query)

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
