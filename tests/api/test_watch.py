"""Every request has one line in the log and is counted once, whatever became of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from tests.api.test_problems import problem
from tests.serving import SETTINGS, V100, Serving, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    home = tmp_path_factory.mktemp("watched")
    with serving(f"sqlite:///{home / 'rheostat.db'}", home / "log", RHEOSTAT_LOG_FORMAT="json") as running:
        running.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
        yield running


def _lines(server: Serving, request_id: str) -> list[dict[str, Any]]:
    """Return the lines of a request that was answered; the last of them is written right after the answer."""
    give_up_at = monotonic() + 10
    while monotonic() < give_up_at:
        lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{") and line.endswith("}")]
        found = [line for line in lines if line.get("request_id") == request_id]
        if any("status" in line for line in found):
            return found
        sleep(0.01)
    raise AssertionError(server.log())


def _ask(server: Serving, request_id: str, method: str, path: str, **request: Any) -> httpx.Response:
    headers = {"X-Request-ID": request_id} | request.pop("headers", {})
    return server.client.request(method, path, headers=headers, **request)


def test_a_trial_can_be_followed_through_the_log(server: Serving) -> None:
    trial = _ask(server, "log-1", "POST", "/v1/jobs/nightly/predict", json={"gpu": V100}).json()
    done = {"epoch": 1, "metric": 0.95, "energy_joules": 10.0, "time_seconds": 1.0}
    _ask(server, "log-2", "POST", f"/v1/trials/{trial['trial_id']}/observe", json=done).raise_for_status()
    (made,), (ended,) = _lines(server, "log-1"), _lines(server, "log-2")
    assert (made["job_id"], made["trial_id"]) == ("nightly", trial["trial_id"])
    assert (ended["job_id"], ended["trial_id"], ended["ended"]) == ("nightly", trial["trial_id"], "converged")
    assert (ended["status"], ended["actor"], ended["namespace"], ended["level"]) == (200, "local", "default", "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ended["time"])
    assert 0 < ended["duration_seconds"] < 30


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ü"])
def test_a_request_id_that_is_none_is_replaced(server: Serving, given: str) -> None:
    answer = server.client.get("/v1/jobs", headers={b"X-Request-ID": given.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def test_a_given_request_id_comes_back_with_errors_too(server: Serving) -> None:
    assert _ask(server, "id-1", "GET", "/v1/jobs").headers["x-request-id"] == "id-1"
    refused = _ask(server, "id-2", "GET", "/v1/jobs/none")
    assert (refused.status_code, refused.headers["x-request-id"]) == (404, "id-2")
    (line,) = _lines(server, "id-2")
    assert (line["status"], line["problem"], line["job_id"]) == (404, "job_not_found", "none")


def test_what_callers_send_cannot_forge_a_line(server: Serving, tmp_path: Path) -> None:
    _ask(server, "forge", "GET", "/v1/x%0A%7B%22level%22%3A%22error%22%7D")
    (line,) = _lines(server, "forge")
    assert line["path"] == '/v1/x\n{"level":"error"}'
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as text:
        for _ in range(2):  # the line of the first is written before the second is answered
            text.client.get("/v1/x%0AERROR%20all%20is%20lost")
        assert "\nERROR" not in text.log()
        assert r"GET /v1/x\nERROR all is lost 404" in text.log()


def test_probes_that_succeed_are_not_worth_a_line(server: Serving) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        _ask(server, "probe", "GET", path).raise_for_status()
    _ask(server, "afterwards", "GET", "/v1/jobs").raise_for_status()
    assert _lines(server, "afterwards")
    assert '"probe"' not in server.log()


def _samples(answer: httpx.Response) -> dict[str, float]:
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.raise_for_status().text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_requests_are_counted_by_template_and_no_job_is_a_label(server: Serving) -> None:
    before = _samples(server.client.get("/metrics"))
    for job in ("nightly", "weekly"):
        server.client.get(f"/v1/jobs/{job}")
    server.client.get("/v1/jobs-that-nobody-has/1")
    server.client.request("PROPFIND", "/v1/jobs")
    after = _samples(server.client.get("/metrics"))

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    assert grown('rheostat_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="200"}') == 1
    assert grown('rheostat_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"}') == 1
    assert grown('rheostat_http_requests_total{method="GET",route="none",status="404"}') == 1
    assert grown('rheostat_http_requests_total{method="other",route="/v1/jobs",status="405"}') == 1
    assert grown('rheostat_http_request_duration_seconds_count{method="GET",route="/v1/jobs/{job_id}"}') == 2
    assert grown('rheostat_problems_total{code="job_not_found"}') == 1
    assert "nightly" not in str(after)
    assert "nobody-has" not in str(after)


def test_a_trial_is_counted_once_however_often_it_is_reported(server: Serving) -> None:
    before = _samples(server.client.get("/metrics"))
    key = {"Idempotency-Key": "counted-once"}
    done = {"epoch": 1, "metric": 0.95, "energy_joules": 12.5, "time_seconds": 2.0}
    for _ in range(3):
        trial = server.client.post("/v1/jobs/nightly/predict", json={"gpu": V100}, headers=key).json()
    running = _samples(server.client.get("/metrics"))
    for _ in range(3):
        server.client.post(f"/v1/trials/{trial['trial_id']}/observe", json=done).raise_for_status()
    after = _samples(server.client.get("/metrics"))
    names = {
        "rheostat_trials_started_total": 1.0,
        'rheostat_trials_ended_total{state="converged"}': 1.0,
        'rheostat_trial_energy_joules_total{state="converged"}': 12.5,
        'rheostat_trial_time_seconds_total{state="converged"}': 2.0,
    }
    assert {name: after[name] - before.get(name, 0.0) for name in names} == names
    assert running["rheostat_trials_running"] - after["rheostat_trials_running"] == 1
    assert (after["rheostat_jobs"], after["rheostat_database_up"]) == (1, 1)


def test_the_workers_of_a_server_answer_for_each_other(tmp_path: Path) -> None:
    """Two processes that share the folder of their counts, as workers do, and one that died."""
    shared = tmp_path / "metrics"
    shared.mkdir()
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    name = 'rheostat_http_requests_total{method="GET",route="/v1/jobs",status="200"}'
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(shared)}
    with serving(url, tmp_path / "a", **environment) as a, serving(url, tmp_path / "b", **environment) as b:
        for server, times in ((a, 3), (b, 4)):
            for _ in range(times):
                server.client.get("/v1/jobs").raise_for_status()
        assert _samples(a.client.get("/metrics"))[name] == _samples(b.client.get("/metrics"))[name] == 7
        b.kill()
        assert _samples(a.client.get("/metrics"))[name] == 7


def test_the_folder_of_the_counts_goes_with_the_server(tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log"
    with serving(url, log, "--workers", "2", TMPDIR=str(tmp_path)) as server:
        assert list(tmp_path.glob("rheostat-metrics-*"))
        server.terminate()
        assert not list(tmp_path.glob("rheostat-metrics-*"))


SABOTAGE = """
import rheostat.service.jobs

def fail(*_):
    raise RuntimeError("secret of the house")

rheostat.service.jobs._detail = fail
"""


def test_a_failure_that_nobody_foresaw_has_an_id_a_traceback_and_no_leak(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log", PYTHONPATH=str(tmp_path), RHEOSTAT_LOG_FORMAT="json") as broken:
        answer = _ask(broken, "boom", "PUT", "/v1/jobs/x", json=SETTINGS)
        assert problem(answer, 500)["code"] == "internal"
        assert "secret of the house" not in answer.text
        assert answer.headers["x-request-id"] == "boom"
        lines = _lines(broken, "boom")
        assert [line["status"] for line in lines if "status" in line] == [500]
        assert any("secret of the house" in line.get("exception", "") for line in lines)
        assert broken.client.get("/healthz").status_code == 200


def test_a_request_has_one_line_and_every_line_is_json(server: Serving) -> None:
    _ask(server, "only-1", "GET", "/v1/jobs/nightly")
    _lines(server, "only-1")
    lines = [line for line in server.log().splitlines() if "Rheostat listens on" not in line]
    assert [line for line in lines if not line.startswith("{")] == []
    assert len([line for line in lines if "only-1" in line]) == 1
