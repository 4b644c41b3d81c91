"""PostgreSQL is restarted, crashes, and has no connection left."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import sleep

import psycopg
import pytest
from sqlalchemy import make_url

from tests.faults.invariants import check
from tests.faults.load import JOB, Trainers, register
from tests.postgres import PostgresServer, StopMode
from tests.serving import V100, migrate, serving


@pytest.fixture(scope="module")
def small() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own, durable, that lets in eight."""
    with PostgresServer(fsync="on", full_page_writes="on", max_connections="8") as server:
        yield server


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_under_load_loses_nothing(small: PostgresServer, tmp_path: Path, mode: StopMode) -> None:
    url = small.create_database()
    migrate(url)
    with serving(url, tmp_path / "log") as server:
        register(str(server.client.base_url))
        with Trainers([str(server.client.base_url)]) as trainers:
            for _ in range(2):
                before = len(trainers.said.reports)
                while len(trainers.said.reports) < before + 20:
                    sleep(0.01)
                small.stop(mode)
                small.start()
            before = len(trainers.said.reports)
            while len(trainers.said.reports) < before + 5:
                sleep(0.01)
    check(url, trainers.said)
    assert {status for status, _ in trainers.said.refusals} <= {503}


def test_the_first_predict_after_a_restart_succeeds(small: PostgresServer, tmp_path: Path) -> None:
    url = small.create_database()
    migrate(url)
    with serving(url, tmp_path / "log") as server:
        register(str(server.client.base_url))
        for number in (1, 2):
            assert server.client.post(f"/v1/jobs/{JOB}/predict", json={"gpu": V100}).json()["number"] == number
        small.stop("fast")
        small.start()
        assert server.client.post(f"/v1/jobs/{JOB}/predict", json={"gpu": V100}).json()["number"] == 3


def test_no_connection_left_is_told_and_passes(small: PostgresServer, tmp_path: Path) -> None:
    url = small.create_database()
    migrate(url)
    target = make_url(url)
    with serving(url, tmp_path / "log") as server, ExitStack() as taken:
        try:
            while True:
                connection = psycopg.connect(
                    host=str(target.query["host"]), user="postgres", dbname=target.database, port=5432
                )
                taken.callback(connection.close)
        except psycopg.OperationalError:
            pass  # so it is full
        refused = server.client.get(f"/v1/jobs/{JOB}")
        assert (refused.status_code, refused.json()["retryable"]) == (503, True)
        taken.close()
        register(str(server.client.base_url))
        with Trainers([str(server.client.base_url)], count=2) as trainers:
            while len(trainers.said.reports) < 10:
                sleep(0.01)
    check(url, trainers.said)
