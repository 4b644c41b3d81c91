"""A server that is told to stop finishes what it has begun."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

import psycopg
import pytest

from tests.postgres import PostgresServer
from tests.serving import SETTINGS, V100, migrate, serving
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_database()
    migrate(url)
    yield url
    postgres.drop_database(url)


def test_a_request_in_flight_is_answered_before_the_server_stops(postgres_url: str, tmp_path: Path) -> None:
    plain = postgres_url.replace("postgresql+psycopg", "postgresql")
    with serving(postgres_url, tmp_path / "log") as server, psycopg.connect(plain) as other:
        server.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
        with ThreadPoolExecutor() as pool:
            other.execute("SELECT 1 FROM jobs FOR UPDATE")
            answer = pool.submit(server.client.post, "/v1/jobs/nightly/predict", json={"gpu": V100})
            _wait_until_somebody_waits(plain)
            stopped = pool.submit(server.terminate)
            sleep(0.3)
            assert not answer.done()
            assert not stopped.done()
            other.rollback()
            assert answer.result().status_code == 201
            assert stopped.result() == 0
        trials = other.execute("SELECT trial_id FROM trials").fetchall()
        assert trials == [(answer.result().json()["trial_id"],)]


def _wait_until_somebody_waits(url: str) -> None:
    give_up_at = monotonic() + PATIENCE_SECONDS
    with psycopg.connect(url, autocommit=True) as watcher:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while watcher.execute(query).fetchone() == (0,):
            assert monotonic() < give_up_at
            sleep(0.02)
