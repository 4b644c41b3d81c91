"""What goes wrong in a change, in its thread or in its database stays with that change."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, Thread
from time import sleep
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from rheostat import service as use_cases
from rheostat.domain.history import History
from rheostat.domain.job import Changes, Decision, Job
from rheostat.domain.records import PlacementRecord, RunRecord
from rheostat.errors import DatabaseUnavailable, Unavailable
from rheostat.schemas.trials import PredictRequest
from rheostat.service import Service
from rheostat.storage.engine import Database
from rheostat.storage.history import StoredHistory
from rheostat.storage.job_store import JobStore
from rheostat.storage.tables import jobs, placements, trials
from tests.domain.examples import A40, JOB, V100, Clock, settings
from tests.service.examples import done, predict, register
from tests.waiting import PATIENCE_SECONDS, eventually

only_postgresql = pytest.mark.parametrize("migrated", ["postgresql"], indirect=True)
only_sqlite = pytest.mark.parametrize("migrated", ["sqlite"], indirect=True)


@pytest.fixture
def other(service: Service) -> Iterator[Service]:
    """The same service as another process has it."""
    database = Database(service.database.url.render_as_string(hide_password=False))
    made = replace(service, database=database, jobs=JobStore(database))
    yield made
    made.jobs.close()
    database.close()


class Holding:
    """A transaction of another process that stays open for the length of a block."""

    def __init__(self, database: Database, work: Callable[[Connection], object]) -> None:
        self._release = Event()
        self._entered = Event()
        self._work = work
        self._thread = Thread(target=database.write, args=(self._hold,))

    def _hold(self, connection: Connection) -> None:
        self._work(connection)
        self._entered.set()
        assert self._release.wait(PATIENCE_SECONDS)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._entered.wait(PATIENCE_SECONDS)

    def __exit__(self, *exception: object) -> None:
        self._release.set()
        self._thread.join(PATIENCE_SECONDS)


def _lock(connection: Connection) -> None:
    connection.execute(select(jobs).where(jobs.c.job_id == JOB).with_for_update())


def _behind_the_first(service: Service) -> list[int]:
    """Return how many changes of each locked job wait behind those that wait for its lock."""
    return [len(changes) for changes in list(service.jobs._locked.values())]


def _predict(service: Service, job_id: str = JOB) -> Any:
    return use_cases.predict(service, job_id, PredictRequest(gpu=V100), None)


def test_a_decision_that_leaves_its_thread_does_not_take_the_writer_with_it(service: Service) -> None:
    register(service)

    def leave(_: Job, __: History) -> Decision[None]:
        raise SystemExit(3)  # as a policy may that calls sys.exit

    left = service.change(service.job(JOB), leave)
    assert _predict(service).result(PATIENCE_SECONDS).answer.number == 1
    with pytest.raises(BaseException):  # noqa: B017, PT011 - any answer is better than none
        left.result(PATIENCE_SECONDS)


@only_postgresql
def test_no_thread_for_a_locked_job_does_not_stop_the_writer(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(service)
    register(service, "another")
    start = Thread.start

    def refuse(thread: Thread) -> None:
        if thread.name == "locked-job":
            raise RuntimeError("can't start new thread")
        start(thread)

    with Holding(other.database, _lock):
        with monkeypatch.context() as limited:
            limited.setattr(Thread, "start", refuse)
            refused = _predict(service)
            eventually(refused.done)
        assert _predict(service, "another").result(PATIENCE_SECONDS).answer.number == 1
    assert _predict(service).result(PATIENCE_SECONDS).answer.number == 1
    with pytest.raises((Unavailable, RuntimeError)):
        refused.result(PATIENCE_SECONDS)


@only_postgresql
def test_a_job_that_is_deleted_and_registered_again_while_it_is_locked_is_there(
    service: Service, other: Service
) -> None:
    register(service)
    with Holding(other.database, _lock):
        first = _predict(service)
        eventually(lambda: _behind_the_first(service) == [0])
        deleted = use_cases.delete_job(service, JOB, force=True)
        eventually(lambda: _behind_the_first(service) == [1])
        registered = use_cases.register_job(service, JOB, settings())
        eventually(lambda: _behind_the_first(service) == [2])
    done(first)
    done(deleted)
    assert done(registered)[1]
    assert predict(service).number == 1


@only_postgresql
def test_a_registration_that_waits_for_another_does_not_delay_other_jobs(service: Service, other: Service) -> None:
    register(service, "another")

    def register_slowly(connection: Connection) -> None:
        row = dict(connection.execute(select(jobs)).mappings().one())
        del row["job_pk"]
        connection.execute(insert(jobs).values(row | {"job_id": JOB}))

    with Holding(other.database, register_slowly):
        registered = use_cases.register_job(service, JOB, settings())
        sleep(0.2)
        assert _predict(service, "another").result(PATIENCE_SECONDS).answer.number == 1
    assert not done(registered)[1]


@pytest.mark.parametrize("count", [6000])
def test_a_job_with_thousands_of_lost_trials_can_be_predicted(service: Service, clock: Clock, count: int) -> None:
    register(service)
    predict(service)

    def lose(connection: Connection) -> None:
        row = dict(connection.execute(select(trials)).mappings().one())
        twins = [row | {"trial_id": uuid4().hex, "number": number} for number in range(2, count + 1)]
        connection.execute(insert(trials), twins)
        connection.execute(update(jobs).values(next_trial_number=count + 1, version=7))

    service.database.write(lose)
    clock.turn(service.lease * 2)
    assert predict(service).number == count + 1


@only_sqlite
def test_a_commit_that_fails_does_not_spoil_the_connection(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    register(service)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(SQLiteDialect_pysqlite, "do_commit", fail)
        with pytest.raises(DatabaseUnavailable):
            predict(service)
    assert predict(service).number == 1


@only_sqlite
def test_of_a_change_that_cannot_be_written_nothing_stays(service: Service) -> None:
    register(service)
    predict(service, A40)

    def overflow(job: Job, _: History) -> Decision[None]:
        new = PlacementRecord("V100", 1, 100, 250)
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        run = RunRecord(uuid4().hex, new.key, None, 2**70, 1.0, None, None, True, 1, moment)
        after = replace(job, next_sequence=2, placements={**job.placements, new.key: new})
        return Decision(None, after, Changes(placements=(new,), runs=(run,)))

    with pytest.raises((OverflowError, Unavailable)):
        service.change(service.job(JOB), overflow).result(PATIENCE_SECONDS)
    known = service.database.read(lambda connection: connection.execute(select(placements.c.gpu_model)).scalars().all())
    assert known == ["A40"]
    assert predict(service, V100).number == 2


def test_a_change_after_the_end_is_refused_at_once(service: Service) -> None:
    register(service)
    service.jobs.close()
    with pytest.raises(Unavailable):
        _predict(service).result(PATIENCE_SECONDS)


@only_postgresql
def test_a_change_whose_statement_takes_too_long_fails_by_itself(service: Service) -> None:
    register(service)
    entered, release = Event(), Event()

    def hold(job: Job, _: History) -> Decision[None]:
        entered.set()
        assert release.wait(PATIENCE_SECONDS)
        return Decision(None, job)

    def dawdle(job: Job, history: History) -> Decision[None]:
        assert isinstance(history, StoredHistory)
        history._connection.execute(text("SET LOCAL statement_timeout = 50"))
        history._connection.execute(text("SELECT pg_sleep(1)"))
        return Decision(None, job)

    service.change(service.job(JOB), hold)
    assert entered.wait(PATIENCE_SECONDS)
    good = [_predict(service) for _ in range(2)]
    bad = service.change(service.job(JOB), dawdle)
    good.append(_predict(service))
    release.set()
    with pytest.raises(Unavailable):
        bad.result(PATIENCE_SECONDS)
    assert [change.result(PATIENCE_SECONDS).answer.number for change in good] == [1, 2, 3]


def test_a_trial_that_runs_again_stands_where_the_database_has_it(service: Service, clock: Clock) -> None:
    register(service)
    lost = predict(service)
    clock.turn(service.lease * 2)
    predict(service)
    done(use_cases.heartbeat(service, lost.trial_id))
    read = JobStore(service.database)
    cached, fresh = [
        store.read(service.job(JOB), lambda job, _: [trial.number for trial in job.running.values()])
        for store in (service.jobs, read)
    ]
    assert cached == fresh == [1, 2]
