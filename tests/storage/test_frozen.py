"""Every released schema, kept as a small database, becomes this version's with all that was in it."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, insert, select, text, update

from rheostat import service as use_cases
from rheostat.service import Service
from rheostat.service.operations import upgrade_schema
from rheostat.storage.engine import Database
from rheostat.storage.migrations import HEAD, migrations_path, schema_status, upgrade
from rheostat.storage.tables import VERSION_TABLE, jobs, metadata, policy_states
from tests.domain.examples import JOB, V100, Clock
from tests.service.examples import done, predict, register, report
from tests.storage.freeze import FROZEN, upgrade_to

RELEASES = sorted(path.stem for path in FROZEN.glob("*.sql"))


def test_no_release_is_without_its_database() -> None:
    scripts = ScriptDirectory(str(migrations_path()))
    assert (
        {"0001", "0002", "0004", "0005", "0006", "0007"}
        <= set(RELEASES)
        <= {script.revision for script in scripts.walk_revisions()}
    )
    assert scripts.get_current_head() == HEAD


def _load(revision: str, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript((FROZEN / f"{revision}.sql").read_text())
    connection.close()


def _rows(connection: Connection, reflected: MetaData) -> dict[str, list[dict[str, Any]]]:
    return {
        table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
        for table in reflected.sorted_tables
        if table.name != VERSION_TABLE
    }


def _copy(source: Database, target: Database, revision: str) -> None:
    """Fill an empty PostgreSQL of a revision with what is in an SQLite file of the same."""
    upgrade_to(target, revision)
    reflected = MetaData()

    def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        reflected.reflect(connection)
        return _rows(connection, reflected)

    rows = source.read(read)

    def write(connection: Connection) -> None:
        for table in reflected.sorted_tables:
            if rows.get(table.name):
                connection.execute(insert(table), rows[table.name])
        for name in {"jobs", "placements", "observations", "power_measurements", "audit"} & set(rows):
            key = f"{name.removesuffix('s')}_pk"
            query = f"SELECT setval(pg_get_serial_sequence('{name}', '{key}'), max({key})) FROM {name}"
            connection.execute(text(query))

    target.write(write)


def _states(database: Database, part: str = "energy") -> dict[int, Any]:
    """Return one part of all states; the energy of the frozen databases is of whole joules and seconds."""
    query = select(policy_states.c.placement_pk, policy_states.c.state).where(policy_states.c.part == part)
    return database.read(lambda connection: {row.placement_pk: row.state for row in connection.execute(query)})


def _all_states(database: Database) -> list[tuple[Any, ...]]:
    query = select(policy_states).order_by(policy_states.c.placement_pk, policy_states.c.part)
    return database.read(lambda connection: [tuple(row) for row in connection.execute(query)])


@pytest.fixture(params=RELEASES)
def released(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[tuple[Database, str]]:
    """A database of an older release on each engine, and its revision."""
    revision: str = request.param
    database = Database(database_url)
    if database.is_sqlite:
        _load(revision, database.sqlite_path)
    else:
        _load(revision, tmp_path / "frozen.db")
        frozen = Database(f"sqlite:///{tmp_path / 'frozen.db'}")
        _copy(frozen, database, revision)
        frozen.close()
    yield database, revision
    database.close()


def test_it_becomes_what_this_version_makes_itself(released: tuple[Database, str], tmp_path: Path) -> None:
    database, revision = released
    assert upgrade(database).current == revision
    assert schema_status(database).at_head

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return list(compare_metadata(context, metadata))

    assert database.read(differences) == []
    if database.is_sqlite:
        backups = 0 if revision == HEAD else 1
        assert len(list(tmp_path.glob(f"rheostat.db.{revision}.*.backup"))) == backups


def test_nothing_that_was_in_it_is_lost(released: tuple[Database, str]) -> None:
    database, revision = released
    old = MetaData()

    def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        old.reflect(connection)
        return _rows(connection, old)

    before = database.read(read)
    assert all(before[name] for name in ("jobs", "placements", "trials", "observations", "runs", "policy_states"))
    upgrade(database)
    # Read through the old release's eyes: it sees the same, and parts of states that it does not read.
    after = database.read(lambda c: _rows(c, old))
    before["policy_states"] = [row for row in before["policy_states"] if row["part"] != "crashes"]  # see 0007
    if revision < "0005":  # which made the sums of energy
        after["policy_states"] = [row for row in after["policy_states"] if row["part"] != "energy"]
    assert json.dumps(after, default=str) == json.dumps(before, default=str)


def test_it_works_as_if_it_had_always_been_of_this_version(released: tuple[Database, str]) -> None:
    database, _ = released
    clock = Clock()
    clock.time = datetime(2026, 1, 1, 1, tzinfo=UTC)
    service = Service.of(database, timedelta(minutes=10), clock)
    upgrade_schema(service)
    shown = use_cases.estimates(service, JOB), use_cases.savings(service, JOB)
    energy = _states(database)
    assert len(energy) == 2
    done(use_cases.rebuild_job(service, JOB))
    assert use_cases.savings(service, JOB) == shown[1]
    assert _states(database) == energy
    assert [job.job_id for job in use_cases.list_jobs(service, cursor=None, limit=9).jobs] == [JOB, "untouched"]
    register(service, policy="rheostat", eta_knob=0.75)
    trial = predict(service, V100)
    assert trial.number == 11
    assert report(service, trial, 1, metric=0.95, energy_joules=100.0, time_seconds=1.0).state == "converged"
    done(use_cases.delete_job(service, JOB, force=True))
    assert [job.job_id for job in use_cases.list_jobs(service, cursor=None, limit=9).jobs] == ["untouched"]
    service.jobs.close()


def test_its_states_are_derived_with_the_upgrade(released: tuple[Database, str]) -> None:
    database, _ = released
    service = Service.of(database)
    upgrade(database)
    added_up = use_cases.savings(service, JOB)
    upgrade_schema(service)
    states = _all_states(database)
    assert len(_states(database, "totals")) == len(use_cases.get_job(service, JOB).placements)
    assert use_cases.savings(service, JOB) == added_up
    done(use_cases.rebuild_job(service, JOB))
    assert _all_states(database) == states
    service.jobs.close()


def test_a_job_whose_policy_is_no_longer_there_keeps_its_state_and_has_its_sums(
    released: tuple[Database, str], caplog: pytest.LogCaptureFixture
) -> None:
    database, revision = released
    upgrade(database)
    service = Service.of(database)
    settings = {**use_cases.get_job(service, JOB).settings.model_dump(mode="json"), "policy": "gone"}
    query = update(jobs).where(jobs.c.job_id == JOB).values(settings=settings, version=1)
    database.write(lambda connection: connection.execute(query))
    learned = _states(database, "batch_size")
    upgrade_schema(service)
    if revision < "0007":  # which has all that is derived
        assert "run `rheostat jobs rebuild" in caplog.text
    assert _states(database, "batch_size") == learned
    assert len(_states(database, "totals")) == len(use_cases.get_job(service, JOB).placements)
    service.jobs.close()


def test_a_trial_that_ran_during_the_upgrade_is_taken_as_one_that_began_at_its_first_epoch(
    released: tuple[Database, str],
) -> None:
    database, revision = released
    reported = "epochs = 3, time_seconds = 3, energy_joules = 300"
    if revision >= "0006":  # which notes where a trial begins
        reported += ", started_at_epoch = 0, epoch_shift = 0"
    database.write(lambda connection: connection.execute(text(f"UPDATE trials SET {reported} WHERE epochs IS NULL")))
    clock = Clock()
    clock.time = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    service = Service.of(database, timedelta(minutes=10), clock)
    upgrade_schema(service)
    (running,) = use_cases.list_trials(service, JOB, state="running", cursor=None, limit=1).trials
    assert running.epochs == 3
    slower = {"metric": 0.5, "time_seconds": 5.0, "energy_joules": 500.0}
    report(service, running, 4, **slower)
    assert use_cases.get_trial(service, running.trial_id).epochs_run == 4
    service.jobs.close()
