"""The server is killed in the middle; nothing is lost and the decisions go on as if nothing had happened."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.postgres import PostgresServer
from tests.serving import SETTINGS, V100, Serving, migrate, serving

JOULES = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}


def _recur(http: httpx.Client, job: str) -> tuple[int, int, str]:
    """Run one trial to its end and return its number, its batch size and how it ended."""
    trial: dict[str, Any] = http.post(f"/v1/jobs/{job}/predict", json={"gpu": V100}).raise_for_status().json()
    observe = f"/v1/trials/{trial['trial_id']}/observe"
    joules = JOULES[trial["batch_size"]] * (1 + 0.01 * (trial["number"] % 3))
    half = {"epoch": 1, "metric": 0.5, "energy_joules": joules / 2, "time_seconds": 1.0}
    whole = {"epoch": 2, "metric": 0.95, "energy_joules": joules, "time_seconds": 2.0}
    answer = http.post(observe, json=half).raise_for_status().json()
    if answer["action"] == "continue":
        answer = http.post(observe, json=whole).raise_for_status().json()
    return trial["number"], trial["batch_size"], answer["state"]


def _prepare(database_url: str) -> str:
    if not database_url.startswith("sqlite"):
        migrate(database_url)
    return database_url


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_decisions_go_on_as_if_the_server_had_never_been_killed(database_url: str, tmp_path: Path, policy: str) -> None:
    with serving(_prepare(database_url), tmp_path / "log") as server:
        for job in ("whole", "broken"):
            server.client.put(f"/v1/jobs/{job}", json=SETTINGS | {"policy": policy}).raise_for_status()
        whole = [_recur(server.client, "whole") for _ in range(20)]
        broken: list[tuple[int, int, str]] = []
        for _ in range(20):
            if len(broken) in (3, 12):
                server.kill()
                server.start()
            broken.append(_recur(server.client, "broken"))
        assert broken == whole
        trials = server.client.get("/v1/jobs/broken/trials", params={"limit": 200}).json()["trials"]
        assert [(trial["number"], trial["batch_size"], trial["state"]) for trial in reversed(trials)] == whole
        assert len({size for _, size, _ in whole}) > 1


def test_a_server_that_is_told_to_stop_stops_cleanly(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        assert server.client.get("/readyz").status_code == 200
        assert server.terminate() in (0, -15)
        assert "Traceback" not in server.log()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    return postgres.create_database()


def test_two_servers_on_one_database_number_trials_without_twins(postgres_url: str, tmp_path: Path) -> None:
    migrate(postgres_url)
    with serving(postgres_url, tmp_path / "a") as a, serving(postgres_url, tmp_path / "b") as b:
        servers: list[Serving] = [a, b]

        def register(at: int) -> int:
            return servers[at % 2].client.put("/v1/jobs/hot", json=SETTINGS).status_code

        def predict(at: int) -> int:
            answer = servers[at % 2].client.post("/v1/jobs/hot/predict", json={"gpu": V100})
            number: int = answer.raise_for_status().json()["number"]
            return number

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(register, range(8))) == [200] * 7 + [201]
            assert sorted(pool.map(predict, range(40))) == list(range(1, 41))


def test_an_unmigrated_database_is_told_and_not_a_failure(postgres_url: str, tmp_path: Path) -> None:
    with serving(postgres_url, tmp_path / "log") as server:
        for path in ("/readyz", "/v1/jobs"):
            answer = server.client.get(path)
            assert answer.status_code == 503
            assert answer.json()["code"] == "schema_outdated"
            assert "rheostat db upgrade" in answer.json()["hint"]
        migrate(postgres_url)
        assert server.client.get("/readyz").status_code == 200


def test_a_restarted_postgresql_fails_no_request(postgres: PostgresServer, postgres_url: str, tmp_path: Path) -> None:
    migrate(postgres_url)
    with serving(postgres_url, tmp_path / "log") as server:
        server.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
        postgres.stop("fast")
        down = server.client.get("/v1/jobs")
        assert (down.status_code, down.json()["retryable"]) == (503, True)
        postgres.start()
        assert _recur(server.client, "nightly") == (1, 32, "converged")
