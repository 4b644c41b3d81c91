"""What a reporter decides by itself; how it talks to a server is in test_trial.py and test_outbox.py."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic_ns
from typing import Any

import pytest

from rheostat import Gpu, JobSettings, Target
from rheostat.schemas.trials import ObserveRunRequest, PredictRequest, TrialProgress
from rheostat.sdk.client import Client
from rheostat.sdk.gpu_energy import Energy
from rheostat.sdk.reporter import Reporter, heartbeat_pause
from rheostat.sdk.spool import spool_directory, spool_files
from tests.sdk.examples import GOES_ON, JOB, TRIAL
from tests.sdk.scripted_server import Reply, ScriptedServer
from tests.waiting import eventually

NAN = float("nan")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GPU = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)
WITHOUT_TARGET = JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=3)


@pytest.mark.parametrize(
    ("lease_left", "pause_seconds"),
    [
        (timedelta(seconds=90), 30),
        (timedelta(hours=1), 60),
        (timedelta(seconds=1), 1),
        (timedelta(hours=-1), 1),
    ],
    ids=["a third of the lease", "at most a minute", "at least a second", "with another clock"],
)
def test_heartbeats_come_three_to_a_lease_within_bounds(lease_left: timedelta, pause_seconds: float) -> None:
    assert heartbeat_pause(NOW + lease_left, NOW) == pause_seconds


def queued_runs(epochs: float, time_seconds: float) -> list[ObserveRunRequest]:
    """Report one evaluation without a server, and return the runs that are queued at the end."""
    with Client("http://127.0.0.1:1", retry_for_seconds=0.0) as client:
        reporter = Reporter(client, "nightly", WITHOUT_TARGET, 32)
        assert reporter.start(PredictRequest(gpu=GPU), None) is None
        reporter.report(0.5, epochs, None, time_seconds)
        reporter.close(None, None)
    requests = [request for left in spool_files(spool_directory()) for request in left.requests]
    return [
        ObserveRunRequest.model_validate_json(request.body or "") for request in requests if request.method == "POST"
    ]


@pytest.mark.parametrize(("epochs", "converged"), [(3, True), (2, False)])
def test_a_run_without_a_target_has_converged_after_its_epochs_also_without_the_server(
    epochs: float, converged: bool
) -> None:
    (run,) = queued_runs(epochs, time_seconds=10.0)
    assert (run.converged, run.time_seconds) == (converged, 10)


def decisions(metrics: list[float], settings: JobSettings) -> list[str]:
    """Report evaluations without a server, and return what each was answered."""
    with Client("http://127.0.0.1:1", retry_for_seconds=0.0) as client:
        reporter = Reporter(client, "nightly", settings, 32)
        assert reporter.start(PredictRequest(gpu=GPU), None) is None
        answers: list[str] = [reporter.report(metric, None, None, 10.0 * at)[0] for at, metric in enumerate(metrics, 1)]
        reporter.close(None, None)
    return answers


def test_a_metric_that_is_no_number_ends_a_run_without_the_server_too() -> None:
    settings = WITHOUT_TARGET.model_copy(
        update={"max_epochs": 9, "target": Target(metric="acc", value=0.9, direction="maximize")}
    )
    assert decisions([NAN, NAN, 0.1, inf, NAN, NAN], settings) == ["continue"] * 5 + ["stop"]
    assert not [request for left in spool_files(spool_directory()) for request in left.requests]
    never = settings.model_copy(update={"diverged_after_reports": None})
    assert decisions([NAN] * 5, never) == ["continue"] * 5


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    replies = {"PUT": Reply(200, JOB), "/predict": Reply(201, TRIAL)}
    with ScriptedServer(lambda seen: replies.get(seen.method, replies.get(seen.path[-8:], Reply(200, GOES_ON)))) as it:
        yield it


def bodies(server: ScriptedServer) -> list[dict[str, Any]]:
    return [seen.body for seen in server.seen if seen.path.endswith("/observe")]


def test_a_report_has_the_energy_and_for_how_long_nobody_counted(server: ScriptedServer) -> None:
    with Client(server.url) as client:
        reporter = Reporter(client, "nightly", WITHOUT_TARGET, 32)
        reporter.start(PredictRequest(gpu=GPU), None)
        reporter.report(0.5, 1, lambda: Energy(100.0), None)
        reporter.report(0.5, 2, lambda: None, None)
        reporter.report(0.5, 2.5, lambda: Energy(250.0, unknown_seconds=4.0), None)
        reporter.close(None, Energy(300.0, unknown_seconds=4.0))
    seen = [(body["energy_joules"], body.get("energy_known_from_seconds")) for body in bodies(server)]
    assert seen == [(100, None), (None, None), (250, 4), (300, 4)]


def test_what_went_by_before_the_first_step_is_reported_with_its_energy(server: ScriptedServer) -> None:
    with Client(server.url) as client:
        reporter = Reporter(client, "nightly", WITHOUT_TARGET, 32)
        reporter.start(PredictRequest(gpu=GPU), None)
        reporter.begin()
        reporter.first_step(monotonic_ns() + 2_000_000_000, lambda: Energy(40.0))
        eventually(lambda: reporter._setup_joules is not None)
        reporter.report(0.5, 1, lambda: Energy(100.0), None)
        reporter.report(0.5, 2, lambda: Energy(200.0), 9.0)
        reporter.close(None, None)
    first, of_its_own_clock, _ = bodies(server)
    assert first["setup_seconds"] == pytest.approx(2.0, abs=0.5)
    assert first["setup_joules"] == 40.0
    assert "setup_seconds" not in of_its_own_clock


@pytest.mark.parametrize("hidden", [{"warnings"}, {"progress"}])
def test_it_is_not_reported_to_a_server_that_does_not_know_it_nor_of_a_trial_that_goes_on(hidden: set[str]) -> None:
    known = (
        TRIAL.model_copy(
            update={"progress": TrialProgress(epoch=1, metric=None, energy_joules=None, time_seconds=None)}
        )
        if hidden == {"progress"}
        else TRIAL
    )
    launched = known.model_dump(mode="json", exclude=hidden - {"progress"})
    replies = {"PUT": Reply(200, JOB), "/predict": Reply(201, launched)}
    with (
        ScriptedServer(lambda seen: replies.get(seen.method, replies.get(seen.path[-8:], Reply(200, GOES_ON)))) as it,
        Client(it.url) as client,
    ):
        reporter = Reporter(client, "nightly", WITHOUT_TARGET, 32)
        reporter.start(PredictRequest(gpu=GPU), None)
        reporter.first_step(monotonic_ns(), lambda: None)
        reporter.report(0.5, 1, None, None)
        reporter.close(None, None)
    assert all("setup_seconds" not in body for body in bodies(it))


def test_what_the_server_warns_of_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    trial = TRIAL.model_copy(update={"warnings": ["a loss that is to rise"]})
    answer = GOES_ON.model_copy(update={"warnings": ["a loss that is to rise", "50 against 0.96"]})
    replies = {"PUT": Reply(200, JOB), "/predict": Reply(201, trial)}
    with (
        ScriptedServer(lambda seen: replies.get(seen.method, replies.get(seen.path[-8:], Reply(200, answer)))) as it,
        Client(it.url) as client,
    ):
        reporter = Reporter(client, "nightly", WITHOUT_TARGET, 32)
        reporter.start(PredictRequest(gpu=GPU), None)
        for epoch in (1, 2):
            reporter.report(0.5, epoch, None, None)
        reporter.close(None, None)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "a loss that is to rise",
        "50 against 0.96",
    ]


def test_a_total_that_cannot_be_read_at_the_end_is_not_repeated(server: ScriptedServer) -> None:
    with Client(server.url) as client:
        reporter = Reporter(client, "nightly", WITHOUT_TARGET, 32)
        reporter.start(PredictRequest(gpu=GPU), None)
        reporter.report(0.5, 1, lambda: Energy(100.0), None)
        reporter.report(0.5, 2, 150.0, None)
        reporter.close(None, None)
    assert [body["energy_joules"] for body in bodies(server)] == [100, 150, None]


def test_a_total_never_goes_back(server: ScriptedServer) -> None:
    with Client(server.url) as client:
        reporter = Reporter(client, "nightly", WITHOUT_TARGET, 32)
        reporter.start(PredictRequest(gpu=GPU), None)
        reporter.report(0.5, 1, lambda: Energy(100.0), None)
        reporter.report(0.5, 2, lambda: Energy(99.9), None)
        reporter.close(None, Energy(99.8))
    assert [body["energy_joules"] for body in bodies(server)] == [100, 100, 100]


def test_a_run_without_the_server_is_recorded_with_its_energy() -> None:
    with Client("http://127.0.0.1:1", retry_for_seconds=0.0) as client:
        reporter = Reporter(client, "nightly", WITHOUT_TARGET, 32)
        reporter.start(PredictRequest(gpu=GPU), None)
        reporter.report(0.5, 3, lambda: Energy(100.0), 10.0)
        reporter.close(None, Energy(120.0))
    (left,) = spool_files(spool_directory())
    run = ObserveRunRequest.model_validate_json(left.requests[-1].body or "")
    assert (run.energy_joules, run.time_seconds) == (100, 10)


def test_a_failure_while_the_energy_is_asked_for_holds_up_no_report(server: ScriptedServer) -> None:
    def fail() -> Energy:
        raise ZeroDivisionError

    with Client(server.url) as client:
        reporter = Reporter(client, "nightly", WITHOUT_TARGET, 32)
        reporter.start(PredictRequest(gpu=GPU), None)
        reporter.report(0.5, 1, fail, None)
        reporter.report(0.5, 2, None, None)
        reporter.close(None, None)
    assert [body["epoch"] for body in bodies(server)] == [2, 2]


@pytest.mark.parametrize("time_seconds", [0.0, float("nan")])
def test_a_run_at_no_known_cost_is_not_recorded(time_seconds: float) -> None:
    assert queued_runs(3, time_seconds) == []
