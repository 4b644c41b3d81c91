"""A PostgreSQL that does not answer."""

import os
import signal
from contextlib import closing
from datetime import timedelta
from time import monotonic, sleep

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from rheostat.storage import engine as engines
from rheostat.storage.engine import Database
from rheostat.storage.watchdog import Watchdog
from tests.postgres import PostgresServer


def test_waiting_for_a_database_that_does_not_answer_ends_in_an_error(postgres: PostgresServer) -> None:
    engine = create_engine(postgres.create_database())
    with closing(Watchdog(1.0)) as watchdog:
        watchdog.watch(engine)
        with engine.connect() as connection:
            backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            os.kill(backend, signal.SIGSTOP)
            began = monotonic()
            try:
                with pytest.raises(OperationalError) as ended:
                    connection.execute(text("SELECT 1"))
            finally:
                os.kill(backend, signal.SIGCONT)
            assert ended.value.connection_invalidated
            assert monotonic() - began < 30
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


def test_a_connection_that_is_returned_in_time_stays_open(postgres: PostgresServer) -> None:
    engine = create_engine(postgres.create_database(), pool_size=1)
    with closing(Watchdog(1.5)) as watchdog:
        watchdog.watch(engine)
        backends = set()
        began = monotonic()
        while monotonic() - began < 4:
            with engine.connect() as connection:
                backends.add(connection.execute(text("SELECT pg_backend_pid(), pg_sleep(0.2)")).one()[0])
    engine.dispose()
    assert len(backends) == 1


def test_a_session_that_is_kept_for_long_keeps_its_connection(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "LOCK_TIMEOUT_SECONDS", 1)
    database = Database(postgres.create_database(), statement_timeout=timedelta(seconds=0.5))
    backends = set()
    with closing(database), closing(database.session()) as session:
        began = monotonic()
        while monotonic() - began < 4:
            backends.add(session.write(lambda connection: connection.scalar(text("SELECT pg_backend_pid()"))))
            sleep(0.1)
    assert len(backends) == 1
