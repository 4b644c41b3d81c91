"""PostgreSQL is restarted, crashes, has no connection left, and its disk is full."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.faults.invariants import check
from tests.faults.load import JOB, Trainers, register
from tests.postgres import PostgresServer, StopMode
from tests.serving import V100, migrate, serving
from tests.waiting import eventually


@pytest.fixture(scope="module")
def small() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own, durable, that lets in eight."""
    with PostgresServer(fsync="on", full_page_writes="on", max_connections="8") as server:
        yield server


def _connect(url: str) -> psycopg.Connection:
    target = make_url(url)
    return psycopg.connect(
        host=str(target.query["host"]), user="postgres", dbname=target.database, port=5432, autocommit=True
    )


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_under_load_loses_nothing(small: PostgresServer, tmp_path: Path, mode: StopMode) -> None:
    url = small.create_database()
    migrate(url)
    with serving(url, tmp_path / "log") as server:
        register(str(server.client.base_url))
        with Trainers([str(server.client.base_url)]) as trainers:
            for _ in range(2):
                trainers.wait_for_reports(20)
                small.stop(mode)
                small.start()
            trainers.wait_for_reports(5)
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
    with ExitStack() as taken, ExitStack() as stack:
        try:
            while True:
                taken.callback(_connect(url).close)
        except psycopg.OperationalError:
            pass  # so it is full, before the server has a connection that it would keep
        server = stack.enter_context(serving(url, tmp_path / "log"))
        refused = server.client.get(f"/v1/jobs/{JOB}")
        assert (refused.status_code, refused.json()["retryable"]) == (503, True)
        taken.close()
        register(str(server.client.base_url))
        with Trainers([str(server.client.base_url)], count=2) as trainers:
            trainers.wait_for_reports(10)
    check(url, trainers.said)


# Rows that leave no room in their pages.
FILL = """
INSERT INTO observations (trial_id, epoch, closing, received_at, answered_state, answered_reason)
SELECT trial_id, 1000 + row, false, now(), 'running', repeat('x', 900)
FROM (SELECT trial_id FROM trials LIMIT 1) AS a_trial, generate_series(1, 17000) AS row
"""


def test_a_full_disk_is_told_and_passes(small: PostgresServer, tmp_path: Path) -> None:
    """No file may grow beyond what the table of reports has, which is more than a segment of the journal takes."""
    url = small.create_database()
    migrate(url)
    with serving(url, tmp_path / "log") as server:
        register(str(server.client.base_url))
        with Trainers([str(server.client.base_url)]) as trainers:
            trainers.wait_for_reports(21)
            with _connect(url) as connection:
                connection.execute(FILL)
                ((size,),) = connection.execute("SELECT pg_relation_size('observations')").fetchall()
            assert size > 2**24
            small.stop()
            with _longest_file(size):
                small.start()
            eventually(lambda: "No space left" in server.log() or "File too large" in server.log())
            small.stop()
            small.start()
            trainers.wait_for_reports(21)
        assert "Traceback" not in server.log()  # which would hide what is wrong from the person on call
    check(url, trainers.said)
    assert {status for status, _ in trainers.said.refusals} == {503}


@contextmanager
def _longest_file(size: int) -> Iterator[None]:
    """Let processes that are started meanwhile write no file beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
