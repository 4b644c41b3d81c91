"""A PostgreSQL that stands still."""

import os
import signal
from contextlib import closing
from time import monotonic

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from rheostat.storage.watchdog import Watchdog
from tests.postgres import PostgresServer


def test_who_waits_for_a_database_that_stands_still_is_told(postgres: PostgresServer) -> None:
    engine = create_engine(postgres.create_database())
    with closing(Watchdog(1.0)) as watchdog:
        watchdog.watch(engine)
        with engine.connect() as connection:
            backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            os.kill(backend, signal.SIGSTOP)
            began = monotonic()
            try:
                with pytest.raises(OperationalError) as told:
                    connection.execute(text("SELECT 1"))
            finally:
                os.kill(backend, signal.SIGCONT)
            assert told.value.connection_invalidated
            assert monotonic() - began < 30
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


def test_what_is_given_back_in_time_is_left_alone(postgres: PostgresServer) -> None:
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
