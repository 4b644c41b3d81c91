"""A big database, made at once: one job with a long past, and many small jobs beside it.

A few hundred real recurrences are played through the service. Their rows are then copied in bulk, each copy with a
number, a time and figures of its own, so that every row is one that the server could have written. What the policies
know stays that of the real recurrences: `rheostat jobs rebuild` derives it from all. What runs took is summed.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Connection, RowMapping, Table, insert, select, update

from rheostat import service as use_cases
from rheostat.domain import registration
from rheostat.schemas.power import ObservePowerLimitRequest
from rheostat.schemas.server import Gpu, JobSettings
from rheostat.schemas.trials import ObserveRequest, PredictRequest, Trial
from rheostat.service import Service
from rheostat.storage.engine import Database
from rheostat.storage.migrations import upgrade
from rheostat.storage.tables import jobs, observations, placements, policy_states, power_measurements, trials

BIG_JOB = "big"
SMALL_JOB = "small"

BATCH_SIZES = [8, 16, 32, 64, 128, 256]
GPUS = (
    Gpu(model="V100", count=1, min_power_limit_watts=100, max_power_limit_watts=250),
    Gpu(model="A40", count=2, min_power_limit_watts=100, max_power_limit_watts=300),
)

PLAYED = 240
"""Real recurrences of a big job: enough of each ending, and some seconds to play."""

_FEWEST_PLAYED = 30

SMALL_TRIALS = 3

_LEASE = timedelta(minutes=15)
_OUTCOMES = {"cancelled": 4, "failed": 4, "oom": 1}
"""What a trainer may end a run with, and after which epoch it does."""

_FATES = ("misses", "unmetered", "cancelled", "failed", "falls silent")
_SILENT_AFTER = 4

_EVERY = timedelta(minutes=5)
_LONGEST = 12
_ROWS_A_STATEMENT = 5000
_SUMS = {"energy_joules", "metered_joules", "metered_from_seconds", "metered_to_seconds", "time_seconds",
         "energy_known_from_seconds", "setup_seconds", "setup_joules"}  # fmt: skip
_TIMES = {"created_at", "lease_expires_at", "ended_at", "first_epoch_at", "crashed_at", "received_at"}


def fill(
    url: str,
    *,
    length: int = 100_000,
    small_jobs: int = 5000,
    reports: int = 0,
    policy: str = "rheostat",
) -> None:
    """Fill an empty database, and bring its schema to head before.

    Args:
        url: An SQLite or PostgreSQL URL.
        length: How many trials the big job has.
        small_jobs: How many small jobs there are.
        reports: About how many reports the big job has; every trial has one at least.
        policy: The policy of all jobs.
    """
    played = min(max(length // 10, _FEWEST_PLAYED), PLAYED, length)
    database = Database(url)
    upgrade(database)
    clock = _Clock(datetime.now(UTC) - _EVERY * (length + played))
    service = Service.of(database, _LEASE, clock)
    try:
        _play(service, clock, BIG_JOB, policy=policy, recurrences=played, gpus=GPUS)
        _play(service, clock, SMALL_JOB, policy=policy, recurrences=SMALL_TRIALS, gpus=GPUS[:1])
        lengthen(database, BIG_JOB, length, reports=reports)
        service.jobs.change(service.job(BIG_JOB), registration.complete, alone=True).result()
        multiply(database, SMALL_JOB, small_jobs)
    finally:
        service.close()


def lengthen(database: Database, job_id: str, length: int, *, reports: int = 0) -> None:
    """Give a job that many trials by copies of those that have ended, each with its last report and earlier ones.

    Args:
        database: Where the job is, in the default namespace, with ended trials.
        job_id: The job.
        length: How many trials it has afterwards.
        reports: About how many reports it has afterwards.
    """
    database.write(lambda connection: _lengthen(connection, job_id, length, max(reports // length, 1)))


def multiply(database: Database, job_id: str, times: int) -> None:
    """Copy a job of one placement, with all that was learned and recorded of it, under ids that begin with its own."""
    database.write(lambda connection: _multiply(connection, job_id, times))


def _lengthen(connection: Connection, job_id: str, length: int, most_reports: int) -> None:
    job = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).one()
    ended = select(trials).where(trials.c.job_pk == job.job_pk, trials.c.ended_at.is_not(None))
    originals = connection.execute(ended.order_by(trials.c.number)).mappings().all()
    seen = {trial["trial_id"]: _last_reports(connection, trial["trial_id"], most_reports) for trial in originals}
    sequence, random = job.next_sequence, Random(f"{job_id} {job.next_trial_number}")
    copies = _Bulk(connection, trials)
    reported = _Bulk(connection, observations, copies)
    for number in range(job.next_trial_number, length + 1):
        original = random.choice(originals)
        factor, later = random.uniform(0.9, 1.1), _EVERY * (number - original["number"])
        changes = {"trial_id": _new_id(random), "number": number, "idempotency_key": None}
        if original["sequence"] is not None:
            changes["sequence"], sequence = sequence, sequence + 1
        copies.add(_copied(original, factor, later) | changes)
        for report in seen[original["trial_id"]]:
            reported.add(_copied(report, factor, later) | {"trial_id": changes["trial_id"]})
    reported.flush()
    counters = {"next_trial_number": max(length + 1, job.next_trial_number), "next_sequence": sequence}
    its = jobs.c.job_pk == job.job_pk
    connection.execute(update(jobs).where(its).values(version=jobs.c.version + 1, **counters))


def _multiply(connection: Connection, job_id: str, times: int) -> None:
    job = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).mappings().one()
    placement = connection.execute(select(placements).where(placements.c.job_pk == job["job_pk"])).mappings().one()
    states = _of_placement(connection, policy_states, placement["placement_pk"])
    measurements = _of_placement(connection, power_measurements, placement["placement_pk"])
    originals = connection.execute(select(trials).where(trials.c.job_pk == job["job_pk"])).mappings().all()
    seen = {trial["trial_id"]: _last_reports(connection, trial["trial_id"], 2 * _LONGEST) for trial in originals}
    names = [f"{job_id}-{number:05}" for number in range(1, times + 1)]
    job_pks = _insert_numbered(connection, jobs, [{**_values(job, "job_pk"), "job_id": name} for name in names])
    placed = [{**_values(placement, "placement_pk"), "job_pk": job_pk} for job_pk in job_pks]
    random = Random(job_id)
    learned, measured = _Bulk(connection, policy_states), _Bulk(connection, power_measurements)
    copies = _Bulk(connection, trials)
    reported = _Bulk(connection, observations, copies)
    for keys in zip(job_pks, _insert_numbered(connection, placements, placed), strict=True):
        below = dict(zip(("job_pk", "placement_pk"), keys, strict=True))
        for state in states:
            learned.add({**state, "placement_pk": below["placement_pk"]})
        for measurement in measurements:
            measured.add({**_values(measurement, "power_measurement_pk"), "placement_pk": below["placement_pk"]})
        for trial in originals:
            trial_id = _new_id(random)
            copies.add({**trial, **below, "trial_id": trial_id})
            for report in seen[trial["trial_id"]]:
                reported.add({**report, "trial_id": trial_id})
    for rows in (learned, measured, reported):
        rows.flush()


class _Clock:
    def __init__(self, time: datetime) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time


class _Bulk:
    """Rows of a table, inserted by the thousands; those that they refer to before them."""

    def __init__(self, connection: Connection, table: Table, parents: "_Bulk | None" = None) -> None:
        self._connection = connection
        self._parents = parents
        self._insert = insert(table)
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS_A_STATEMENT:
            self.flush()

    def flush(self) -> None:
        if self._parents is not None:
            self._parents.flush()
        if self._rows:
            self._connection.execute(self._insert, self._rows)
        self._rows = []


def _play(service: Service, clock: _Clock, job_id: str, *, policy: str, recurrences: int, gpus: Sequence[Gpu]) -> None:
    """Play real recurrences of a job: runs that converge, miss the target, run out of memory, and fall silent."""
    settings = {
        "batch_sizes": BATCH_SIZES,
        "default_batch_size": 64,
        "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"},
        "max_epochs": _LONGEST,
        "policy": policy,
        "seed": 1,
    }
    use_cases.register_job(service, job_id, JobSettings.model_validate(settings)).result()
    random = Random(1)
    for number in range(1, recurrences + 1):
        clock.time += _EVERY
        asked = PredictRequest(gpu=gpus[number % len(gpus)], node=f"node-{number % 7}")
        _train(service, use_cases.predict(service, job_id, asked, None).result().answer, asked.gpu, random)


def _train(service: Service, trial: Trial, gpu: Gpu, random: Random) -> None:
    """Report a run as its trainer would: each fate but the usual one meets one run in twelve."""
    fate = (*_FATES, "")[min(random.randrange(12), len(_FATES))]
    needed = 5 + abs(BATCH_SIZES.index(trial.batch_size) - 2) + random.randrange(3)
    epoch_seconds = random.uniform(9.5, 10.5)
    watts = (trial.power_limit_watts or 220) * random.uniform(0.85, 0.95)
    if trial.batch_size == BATCH_SIZES[-1]:
        fate = "oom"
    if trial.profile_power_limits_watts:
        _profile(service, trial, gpu)
    for epoch in (half / 2 for half in range(1, 2 * _LONGEST + 1)):
        seconds = epoch * epoch_seconds
        metric = 0.3 if fate == "misses" else min(0.9 * epoch / needed, 0.93)
        figures = {"energy_joules": None if fate == "unmetered" else watts * seconds, "time_seconds": seconds}
        ended = fate if epoch == _OUTCOMES.get(fate) else None
        report = ObserveRequest.model_validate({"epoch": epoch, "metric": metric, "outcome": ended, **figures})
        answer = use_cases.observe(service, trial.trial_id, report).result().answer
        if answer.action == "stop" or (fate == "falls silent" and epoch == _SILENT_AFTER):
            return


def _profile(service: Service, trial: Trial, gpu: Gpu) -> None:
    """Measure all power limits that were asked for, as the trainer does in the first epoch of a batch size."""
    measurements = [
        {
            "power_limit_watts": watts,
            "time_seconds": 5.0 + 500 / watts,
            "energy_joules": 0.9 * watts * (5.0 + 500 / watts),
            "steps": 100,
            "steps_per_epoch": 100,
        }
        for watts in trial.profile_power_limits_watts
    ]
    body = {"batch_size": trial.batch_size, "gpu": gpu, "measurements": measurements}
    measured = ObservePowerLimitRequest.model_validate(body)
    use_cases.observe_power_limit(service, trial.job_id, measured, None).result()


def _copied(row: Mapping[Any, Any], factor: float, later: timedelta) -> dict[str, Any]:
    """Return a row of a run that took so much more energy and time, at another time."""
    copy = dict(row)
    for name in _SUMS & row.keys():
        copy[name] = None if row[name] is None else row[name] * factor
    for name in _TIMES & row.keys():
        copy[name] = None if row[name] is None else row[name] + later
    if first := row.get("first_report"):
        copy["first_report"] = {
            name: value if name == "place" or value is None else value * factor for name, value in first.items()
        }
    return copy


def _last_reports(connection: Connection, trial_id: str, most: int) -> list[dict[str, Any]]:
    query = select(observations).where(observations.c.trial_id == trial_id).order_by(observations.c.epoch.desc())
    rows = connection.execute(query.limit(most)).mappings().all()
    return [_values(row, "observation_pk") for row in reversed(rows)]


def _of_placement(connection: Connection, table: Table, placement_pk: int) -> Sequence[RowMapping]:
    return connection.execute(select(table).where(table.c.placement_pk == placement_pk)).mappings().all()


def _values(row: RowMapping, key: str) -> dict[str, Any]:
    """Return a row without its key, for another one like it."""
    values: dict[str, Any] = {**row}
    del values[key]
    return values


def _insert_numbered(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> Sequence[int]:
    """Insert rows and return the keys that the database gave them, in their order."""
    (key,) = table.primary_key
    return connection.execute(insert(table).returning(key, sort_by_parameter_order=True), rows).scalars().all()


def _new_id(random: Random) -> str:
    return UUID(int=random.getrandbits(128)).hex


def main(
    *,
    url: Annotated[str, typer.Option(help="SQLite or PostgreSQL URL of an empty database.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials of the big job.")] = 100_000,
    jobs: Annotated[int, typer.Option(min=1, help="Number of small jobs.")] = 5000,
    reports: Annotated[
        int, typer.Option(min=0, help="About how many reports the big job has; at least one a trial.")
    ] = 0,
    policy: Annotated[str, typer.Option(help="Policy of all jobs.")] = "rheostat",
) -> None:
    """Fill a database with one big job and many small ones."""
    fill(url, length=trials, small_jobs=jobs, reports=reports, policy=policy)


if __name__ == "__main__":
    typer.run(main)
