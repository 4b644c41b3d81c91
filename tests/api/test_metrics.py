"""Metrics: requests and what they changed are counted, for all workers of a server."""

from pathlib import Path

import httpx
import pytest

from rheostat.api.metrics import Metrics
from rheostat.api.request_record import RequestRecord
from rheostat.domain.events import Event, PolicyFailureTolerated, TrialEnded, TrialStarted
from rheostat.errors import PolicyFailed
from rheostat.service import Counts
from tests.serving import V100, Serving, serving


def _parsed(page: str) -> dict[str, float]:
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def samples(answer: httpx.Response) -> dict[str, float]:
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return _parsed(answer.raise_for_status().text)


@pytest.mark.usefixtures("http")
def test_requests_are_counted_by_template_and_no_job_is_a_label(server: Serving) -> None:
    before = samples(server.client.get("/metrics"))
    for job in ("nightly", "weekly"):
        server.client.get(f"/v1/jobs/{job}")
    server.client.get("/v1/unknown-route/1")
    server.client.request("PROPFIND", "/v1/jobs")
    after = samples(server.client.get("/metrics"))

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    assert grown('rheostat_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="200"}') == 1
    assert grown('rheostat_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"}') == 1
    assert grown('rheostat_http_requests_total{method="GET",route="none",status="404"}') == 1
    assert grown('rheostat_http_requests_total{method="other",route="/v1/jobs",status="405"}') == 1
    assert grown('rheostat_http_request_duration_seconds_count{method="GET",route="/v1/jobs/{job_id}"}') == 2
    assert grown('rheostat_problems_total{code="job_not_found"}') == 1
    assert "nightly" not in str(after)
    assert "unknown-route" not in str(after)


@pytest.mark.usefixtures("http")
def test_a_trial_is_counted_once_however_often_it_is_reported(server: Serving) -> None:
    before = samples(server.client.get("/metrics"))
    key = {"Idempotency-Key": "counted-once"}
    done = {"epoch": 1, "metric": 0.95, "energy_joules": 12.5, "time_seconds": 2.0}
    for _ in range(3):
        trial = server.client.post("/v1/jobs/nightly/predict", json={"gpu": V100}, headers=key).json()
    running = samples(server.client.get("/metrics"))
    for _ in range(3):
        server.client.post(f"/v1/trials/{trial['trial_id']}/observe", json=done).raise_for_status()
    after = samples(server.client.get("/metrics"))
    names = {
        "rheostat_trials_started_total": 1.0,
        'rheostat_trials_ended_total{state="converged"}': 1.0,
        'rheostat_trial_energy_joules_total{state="converged"}': 12.5,
        'rheostat_trial_time_seconds_total{state="converged"}': 2.0,
    }
    assert {name: after[name] - before.get(name, 0.0) for name in names} == names
    assert running["rheostat_trials_running"] - after["rheostat_trials_running"] == 1
    assert after["rheostat_jobs"] >= 1
    assert after["rheostat_database_up"] == 1


def test_a_worker_reports_the_metrics_of_all(tmp_path: Path) -> None:
    """Two processes that share a directory, as workers do, and one that was killed."""
    shared = tmp_path / "metrics"
    shared.mkdir()
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    name = 'rheostat_http_requests_total{method="GET",route="/v1/jobs",status="200"}'
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(shared)}
    with serving(url, tmp_path / "a", **environment) as a, serving(url, tmp_path / "b", **environment) as b:
        for server, times in ((a, 3), (b, 4)):
            for _ in range(times):
                server.client.get("/v1/jobs").raise_for_status()
        assert samples(a.client.get("/metrics"))[name] == samples(b.client.get("/metrics"))[name] == 7
        b.kill()
        assert samples(a.client.get("/metrics"))[name] == 7


def test_the_shared_directory_is_deleted_with_the_server(tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log"
    with serving(url, log, "--workers", "2", TMPDIR=str(tmp_path)) as server:
        assert list(tmp_path.glob("rheostat-metrics-*"))
        server.terminate()
        assert not list(tmp_path.glob("rheostat-metrics-*"))


def _counted(*events: Event, problem: str | None = None, status: int = 200) -> dict[str, float]:
    metrics = Metrics()
    record = RequestRecord("id", problem=problem, events=events)
    metrics.count("POST", "/v1/jobs/{job_id}/predict", status, 0.01, record)
    return _parsed(metrics.page(None).decode())


def test_events_are_counted() -> None:
    counted = _counted(
        TrialEnded("t0", "abandoned"),
        TrialStarted("t1", 64),
        TrialEnded("t2", "converged", 12.5, 2.0),
        TrialEnded("t3", "converged", 0.5),
        PolicyFailureTolerated("trial t2 continues", PolicyFailed("raised")),
    )
    assert counted["rheostat_trials_started_total"] == 1
    assert counted['rheostat_trials_ended_total{state="abandoned"}'] == 1
    assert counted['rheostat_trials_ended_total{state="converged"}'] == 2
    assert counted['rheostat_trials_ended_total{state="oom"}'] == 0
    assert counted['rheostat_trial_energy_joules_total{state="converged"}'] == 13
    assert counted['rheostat_trial_time_seconds_total{state="converged"}'] == 2
    assert counted["rheostat_policy_failures_tolerated_total"] == 1


def test_a_problem_is_counted_by_its_code() -> None:
    counted = _counted(problem="job_not_found", status=404)
    assert counted['rheostat_problems_total{code="job_not_found"}'] == 1
    assert counted['rheostat_http_requests_total{method="POST",route="/v1/jobs/{job_id}/predict",status="404"}'] == 1
    assert counted["rheostat_trials_started_total"] == 0


def test_the_page_has_what_the_database_holds_if_it_answers() -> None:
    page = _parsed(Metrics().page(Counts(jobs=3, running_trials=2)).decode())
    assert (page["rheostat_database_up"], page["rheostat_jobs"], page["rheostat_trials_running"]) == (1, 3, 2)
    without = _parsed(Metrics().page(None).decode())
    assert without["rheostat_database_up"] == 0
    assert "rheostat_jobs" not in without
