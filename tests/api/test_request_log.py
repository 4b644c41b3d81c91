"""Every request has an id, one line in the log and one answer, whatever happens."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from rheostat.api.metrics import Metrics
from rheostat.api.request_log import RequestLog
from rheostat.api.request_record import record_of
from rheostat.domain.events import Event, PolicyFailureTolerated, TrialEnded, TrialStarted
from rheostat.errors import PolicyFailed
from tests.api.asgi import ask
from tests.serving import SETTINGS, V100, Serving, serving
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    home = tmp_path_factory.mktemp("logged")
    with serving(f"sqlite:///{home / 'rheostat.db'}", home / "log", RHEOSTAT_LOG_FORMAT="json") as running:
        running.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
        yield running


def _lines(server: Serving, request_id: str) -> list[dict[str, Any]]:
    """Return the log lines of a request; the last of them is written right after the answer."""
    give_up_at = monotonic() + PATIENCE_SECONDS
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
    (started,), (ended,) = _lines(server, "log-1"), _lines(server, "log-2")
    assert (started["job_id"], started["trial_id"]) == ("nightly", trial["trial_id"])
    assert started["batch_size"] == trial["batch_size"]
    assert (ended["job_id"], ended["trial_id"], ended["ended"]) == ("nightly", trial["trial_id"], "converged")
    assert (ended["status"], ended["actor"], ended["namespace"], ended["level"]) == (200, "local", "default", "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", ended["time"])
    assert 0 < ended["duration_seconds"] < 30


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ü"])
def test_an_invalid_request_id_is_replaced(server: Serving, given: str) -> None:
    answer = server.client.get("/v1/jobs", headers={b"X-Request-ID": given.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def test_a_given_request_id_is_returned_with_errors_too(server: Serving) -> None:
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
            text.client.get("/v1/x%0AERROR%20all%20is%20lost%1B%5B2J%00%E2%80%AE")
        assert "\nERROR" not in text.log()
        assert r"GET /v1/x\nERROR all is lost\x1b[2J\x00\u202e 404" in text.log()


def test_successful_probes_are_not_logged(server: Serving) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        _ask(server, "probe", "GET", path).raise_for_status()
    _ask(server, "afterwards", "GET", "/v1/jobs").raise_for_status()
    assert _lines(server, "afterwards")
    assert '"probe"' not in server.log()


def test_a_request_has_one_line_and_every_line_is_json(server: Serving) -> None:
    _ask(server, "only-1", "GET", "/v1/jobs/nightly")
    _lines(server, "only-1")
    lines = [line for line in server.log().splitlines() if "Rheostat listens on" not in line]
    assert [line for line in lines if not line.startswith("{")] == []
    assert len([line for line in lines if "only-1" in line]) == 1


def test_an_unexpected_error_is_logged_with_its_traceback_and_not_shown(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("a secret")

    with capture_logs() as lines:
        answer = ask(app, "/v1/broken", headers={"X-Request-ID": "boom"})
    assert answer.status == 500
    problem = json.loads(answer.body)
    assert (problem["code"], problem["detail"]) == ("internal", "Internal server error.")
    assert b"secret" not in answer.body
    assert answer.headers["x-request-id"] == "boom"
    (line,) = lines
    assert (line["status"], line["problem"], line["log_level"]) == (500, "internal", "error")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "a secret"
    assert ask(app, "/healthz").status == 200


def test_an_answer_that_breaks_off_is_not_completed(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks_off(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"), capture_logs() as lines:
        ask(RequestLog(breaks_off, Metrics()))
    assert lines[0]["status"] == 200
    assert caplog.records[0].exc_info is not None


def _changing(*events: Event) -> RequestLog:
    """Return an application whose requests change what these events say."""

    async def change(scope: Scope, _: Receive, send: Send) -> None:
        record_of(scope).events = events
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return RequestLog(change, Metrics())


def test_the_line_of_a_request_has_what_it_changed() -> None:
    with capture_logs() as lines:
        ask(_changing(TrialEnded("t0", "abandoned"), TrialEnded("t1", "abandoned"), TrialStarted("t2", 64)))
        ask(_changing(TrialEnded("t2", "converged", 12.5, None)))
        ask(_changing())
    started, ended, nothing = lines
    assert (started["trial_id"], started["batch_size"], started["abandoned"]) == ("t2", 64, 2)
    assert (ended["ended"], ended["energy_joules"]) == ("converged", 12.5)
    assert not {"trial_id", "abandoned", "ended", "energy_joules", "time_seconds"} & nothing.keys()
    assert not {"batch_size", "abandoned", "time_seconds"} & ended.keys()


def test_a_tolerated_failure_of_a_policy_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    error = PolicyFailed("The policy raised ZeroDivisionError.")
    ask(_changing(PolicyFailureTolerated("trial t1 continues", error)))
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "a policy failed; trial t1 continues")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_what_callers_choose_is_logged_up_to_a_limit() -> None:
    with capture_logs() as lines:
        ask(RequestLog(FastAPI(), Metrics()), "/" + "x" * 10_000)
    assert len(lines[0]["path"]) == 300
    assert len(lines[0]["event"]) < 400
