"""What decisions write, kept until the end of a transaction or until something is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import BindParameter, Connection, Table, bindparam, delete, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import UserDefinedType

from rheostat.domain.job import NO_CHANGES, Changes, Job
from rheostat.domain.records import PlacementKey, PlacementRecord, TrialRecord
from rheostat.storage.statements import Parameters, Statement, execute_groups
from rheostat.storage.stored_job import JobRow, StoredJob, new_version
from rheostat.storage.tables import (
    DELETED,
    jobs,
    observations,
    placements,
    policy_states,
    power_measurements,
    runs,
    trials,
)

_CHANGING = (
    "state",
    "state_reason",
    "epochs",
    "metric",
    "energy_joules",
    "metered_joules",
    "metered_from_seconds",
    "metered_to_seconds",
    "energy_estimate",
    "time_seconds",
    "curve",
    "sequence",
    "lease_expires_at",
    "ended_at",
    "started_at_epoch",
    "epoch_shift",
    "repeated_epochs",
    "is_restarted",
    "setup_seconds",
    "setup_joules",
    "first_report",
    "warning",
    "first_epoch_at",
    "crashed_at",
    "idempotency_key",
    "tags",
    "nodes",
)


class _JsonText(UserDefinedType[str]):
    """JSON that is text already."""

    cache_ok = True


@dataclass(frozen=True, slots=True)
class _Write:
    """One statement that a decision executes.

    Attributes:
        statement: The statement.
        parameters: Its parameters.
        replaces: The row whose earlier writes it makes needless: a job's, or that of a part of a state. None: none.
    """

    statement: Statement
    parameters: Parameters
    replaces: int | tuple[int, str] | None = None


class Writes:
    """The writes of one transaction, in order.

    Args:
        connection: The transaction; it holds the lock of every job that is changed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pending: list[list[_Write]] = []

    def add_job(self, namespace: str, job: Job) -> StoredJob:
        """Insert a new job and return it."""
        row: dict[str, Any] = {
            "namespace": namespace,
            "job_id": job.job_id,
            "settings": job.settings.model_dump(mode="json"),
            "registered_settings": job.registered_settings,
            "seed": job.seed,
            "next_trial_number": job.next_trial_number,
            "next_sequence": job.next_sequence,
            "created_at": job.created_at,
            "updated_at": job.updated_at,
            "version": new_version(),
            "control": job.control,
            "judging": job.judging,
        }
        key = self._connection.execute(insert(jobs).values(row)).inserted_primary_key
        assert key is not None
        return StoredJob(JobRow(key[0], row["version"]), {}, job)

    def delete_job(self, job_pk: int) -> None:
        """Take a job out of its namespace, where its id is free from now on; see :mod:`rheostat.storage.deletion`."""
        self.flush()
        gone = {"namespace": DELETED, "job_id": str(job_pk), "version": new_version()}
        self._connection.execute(update(jobs).where(jobs.c.job_pk == job_pk).values(gone))

    def add(self, before: StoredJob, job: Job, changes: Changes) -> StoredJob:
        """Collect what a decision changes, and return the job as it is then stored."""
        job_pk = before.row.job_pk
        if job is before.job and changes == NO_CHANGES:
            return before
        placement_pks = self._save_placements(job_pk, before.placement_pks, changes.placements)
        after = StoredJob(JobRow(job_pk, new_version()), placement_pks, job)
        if job.settings is not before.job.settings or job.control is not before.job.control:
            settings = job.settings.model_dump(mode="json")
            orders = {"control": job.control, "judging": job.judging}
            values = {"settings": settings, "updated_at": job.updated_at, **orders}
            self._connection.execute(update(jobs).where(jobs.c.job_pk == job_pk).values(values))
        if changes.trials and any(trial.idempotency_key is not None for trial in changes.started):
            # A changed trial may leave its key to a new one: one statement for both would be refused.
            self._pending.append(_writes(job_pk, placement_pks, Changes(trials=changes.trials)))
            changes = replace(changes, trials=())
        counters = _Write(_UPDATE_JOB, _job_parameters(after), replaces=job_pk)
        self._pending.append([counters, *_writes(job_pk, placement_pks, changes)])
        self._save_evidence(job_pk, placement_pks, changes)
        return after

    def flush(self) -> None:
        """Write what is pending; of several writes of the same job or state only the last."""
        last = {write.replaces: write for writes in self._pending for write in writes}
        groups = (
            [
                (write.statement, write.parameters)
                for write in writes
                if write.replaces is None or last[write.replaces] is write
            ]
            for writes in self._pending
        )
        execute_groups(self._connection, [group for group in groups if group])
        self._pending.clear()

    def _save_placements(
        self, job_pk: int, known: Mapping[PlacementKey, int], changed: Sequence[PlacementRecord]
    ) -> Mapping[PlacementKey, int]:
        """Write new and changed placements, and return the rows of all: other rows refer to them."""
        if not changed:
            return known
        placement_pks = dict(known)
        for placement in changed:
            if placement.key in known:
                row = update(placements).where(placements.c.placement_pk == known[placement.key])
                self._connection.execute(row.values(asdict(placement)))
            else:
                new = insert(placements).values(job_pk=job_pk, **asdict(placement))
                key = self._connection.execute(new).inserted_primary_key
                assert key is not None
                placement_pks[placement.key] = key[0]
        return placement_pks

    def _save_evidence(self, job_pk: int, placement_pks: Mapping[PlacementKey, int], changes: Changes) -> None:
        """Write whole runs and measurements, which are rare."""
        for run in changes.runs:
            values = asdict(run) | {"job_pk": job_pk, "placement_pk": placement_pks[run.placement]}
            del values["placement"]
            self._connection.execute(insert(runs).values(values))
        for measurement in changes.measurements:
            values = asdict(measurement) | {"placement_pk": placement_pks[measurement.placement]}
            del values["placement"]
            self._connection.execute(insert(power_measurements).values(values))


def _writes(job_pk: int, placement_pks: Mapping[PlacementKey, int], changes: Changes) -> list[_Write]:
    """Return what writes the trials, reports and states of a decision."""
    writes: list[_Write] = []
    for statement, changed in ((_INSERT_TRIAL, changes.started), (_UPDATE_TRIAL, changes.trials)):
        writes += [_Write(statement, _trial_parameters(trial, job_pk, placement_pks)) for trial in changed]
    for observation in changes.observations:
        writes.append(_Write(_INSERT_OBSERVATION, {name: getattr(observation, name) for name in _OBSERVATION}))
    for (placement, part), change in changes.states.items():
        key = placement_pks[placement], part
        row = {"placement_pk": key[0], "part": part, "state": change and change.text}
        writes.append(_Write(_DELETE_STATE if change is None else _SAVE_STATE, row, replaces=key))
    return writes


def _job_parameters(stored: StoredJob) -> Parameters:
    return {
        "of_job_pk": stored.row.job_pk,
        "version": stored.row.version,
        "next_trial_number": stored.job.next_trial_number,
        "next_sequence": stored.job.next_sequence,
    }


def _trial_parameters(trial: TrialRecord, job_pk: int, placement_pks: Mapping[PlacementKey, int]) -> Parameters:
    values = {name: getattr(trial, name) for name in _TRIAL}
    values |= {"of_trial_id": trial.trial_id, "job_pk": job_pk, "placement_pk": placement_pks[trial.placement]}
    return values


def _bind(table: Table, name: str, parameter: str | None = None) -> BindParameter[Any]:
    return bindparam(parameter or name, type_=table.c[name].type)


def _binds(table: Table, names: Iterable[str]) -> dict[str, BindParameter[Any]]:
    return {name: _bind(table, name) for name in names}


_OBSERVATION = tuple(column.name for column in observations.c if column.name != "observation_pk")
_TRIAL = tuple(column.name for column in trials.c if column.name not in ("job_pk", "placement_pk"))

_UPDATE_JOB = Statement(
    update(jobs)
    .where(jobs.c.job_pk == _bind(jobs, "job_pk", "of_job_pk"))
    .values(_binds(jobs, ("version", "next_trial_number", "next_sequence")))
)
_INSERT_TRIAL = Statement(insert(trials).values(_binds(trials, (*_TRIAL, "job_pk", "placement_pk"))))

_UPDATE_TRIAL = Statement(
    update(trials)
    .where(trials.c.trial_id == _bind(trials, "trial_id", "of_trial_id"))
    .values(_binds(trials, _CHANGING))
)
_INSERT_OBSERVATION = Statement(insert(observations).values(_binds(observations, _OBSERVATION)))

_STATE = {**_binds(policy_states, ("placement_pk", "part")), "state": bindparam("state", type_=_JsonText())}
_POSTGRESQL_STATE = postgresql.insert(policy_states).values(_STATE)
_SQLITE_STATE = sqlite.insert(policy_states).values(_STATE)
_SAVE_STATE = Statement(
    _POSTGRESQL_STATE.on_conflict_do_update(
        index_elements=["placement_pk", "part"], set_={"state": _POSTGRESQL_STATE.excluded.state}
    ),
    sqlite=_SQLITE_STATE.on_conflict_do_update(
        index_elements=["placement_pk", "part"], set_={"state": _SQLITE_STATE.excluded.state}
    ),
)
_DELETE_STATE = Statement(
    delete(policy_states).where(
        policy_states.c.placement_pk == _bind(policy_states, "placement_pk"),
        policy_states.c.part == _bind(policy_states, "part"),
    )
)
