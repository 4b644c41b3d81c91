"""What a reporter decides by itself; how it talks to a server is in test_trial.py and test_outbox.py."""

from datetime import UTC, datetime, timedelta

import pytest

from rheostat import Gpu, JobSettings
from rheostat.schemas.server import ObserveRunRequest, PredictRequest
from rheostat.sdk.client import Client
from rheostat.sdk.reporter import Reporter, heartbeat_pause
from rheostat.sdk.spool import spool_directory, spool_files

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


@pytest.mark.parametrize("time_seconds", [0.0, float("nan")])
def test_a_run_at_no_known_cost_is_not_recorded(time_seconds: float) -> None:
    assert queued_runs(3, time_seconds) == []
