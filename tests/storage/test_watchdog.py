"""A PostgreSQL that does not answer."""

import os
import signal
from contextlib import closing
from datetime import timedelta
from threading import current_thread

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from rheostat.storage import watchdog
from rheostat.storage.engine import Database
from rheostat.storage.watchdog import Watchdog
from tests.postgres import PostgresServer
from tests.waiting import Stopwatch, eventually


def test_waiting_for_a_database_that_does_not_answer_ends_in_an_error(postgres: PostgresServer) -> None:
    engine = create_engine(postgres.create_database())
    with closing(Watchdog(1.0)) as watching:
        watching.watch(engine)
        with engine.connect() as connection:
            backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            os.kill(backend, signal.SIGSTOP)
            watch = Stopwatch()
            try:
                with pytest.raises(OperationalError) as ended:
                    connection.execute(text("SELECT 1"))
            finally:
                os.kill(backend, signal.SIGCONT)
            assert ended.value.connection_invalidated
            assert watch.seconds() < 30
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


class DrivenClock:
    """The watchdog's clock, which a test drives; and how often the watchdog has looked."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self._looks = 0

    def __call__(self) -> float:
        self._looks += current_thread().name == "watchdog"
        return self.now_seconds

    def pass_by(self, seconds: float) -> None:
        """Let time pass, and the watchdog look."""
        self.now_seconds += seconds
        before = self._looks
        # Twice: it reads the clock before it looks.
        eventually(lambda: self._looks >= before + 2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> DrivenClock:
    driven = DrivenClock()
    monkeypatch.setattr(watchdog, "monotonic", driven)
    monkeypatch.setattr(watchdog, "_LOOK_SECONDS", 0.01)
    return driven


def test_a_connection_that_is_returned_in_time_stays_open(postgres: PostgresServer, clock: DrivenClock) -> None:
    engine = create_engine(postgres.create_database(), pool_size=1)
    backends = set()
    with closing(Watchdog(1.5)) as watching:
        watching.watch(engine)
        for _ in range(5):
            with engine.connect() as connection:
                backends.add(connection.scalar(text("SELECT pg_backend_pid()")))
                clock.pass_by(1)
            clock.pass_by(2)
    engine.dispose()
    assert len(backends) == 1


def test_a_session_that_is_kept_for_long_keeps_its_connection(postgres: PostgresServer, clock: DrivenClock) -> None:
    database = Database(postgres.create_database(), statement_timeout=timedelta(seconds=100))
    backends = set()
    with closing(database), closing(database.session()) as session:
        for _ in range(5):
            backends.add(session.write(lambda connection: connection.scalar(text("SELECT pg_backend_pid()"))))
            clock.pass_by(1000)
    assert len(backends) == 1
