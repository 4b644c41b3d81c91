"""A server that is down, dies or talks nonsense: training goes on, and every report arrives once when it is back."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import pytest

from rheostat import Client, Gpu, JobSettings, PowerLimitMeasurement, Target
from rheostat.errors import ServerUnreachable
from rheostat.schemas.trials import ObserveRequest
from rheostat.sdk import reporter
from rheostat.sdk.outbox import Outbox, WarnOnce, deliver_spool
from rheostat.sdk.server import observe_request, register_job_request
from rheostat.sdk.spool import RequestQueue, spool_files
from tests.sdk.scripted_server import Reply, ScriptedServer, Seen, Trouble
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS, Stopwatch, eventually

SETTINGS = JobSettings(
    batch_sizes=[32, 64, 128],
    default_batch_size=64,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
    max_epochs=10,
    seed=1,
)
GPU = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url, timeout_seconds=5, retry_for_seconds=0.2, answer_seconds=1.0) as client:
        yield client


def epochs_reported(directory: Path) -> list[float]:
    """The epochs of all reports that the server holds, in the order in which they came."""
    database = sqlite3.connect(directory / "rheostat.db")
    try:
        return [epoch for (epoch,) in database.execute("SELECT epoch FROM observations ORDER BY observation_pk")]
    finally:
        database.close()


def test_a_run_that_begins_without_the_server_is_recorded_once_when_it_is_back(
    server: ServerProcess, client: Client, spool: Path
) -> None:
    server.kill()
    with client.trial("nightly", SETTINGS, GPU) as trial:
        assert (trial.trial_id, trial.batch_size) == (None, 64)
        assert trial.report(0.5, energy_joules=100, time_seconds=10) == "continue"
        assert trial.report(0.95, energy_joules=200, time_seconds=20) == "stop"
    assert len(spool_files(spool)) == 1
    server.start()
    assert deliver_spool(client, spool) == 0
    assert deliver_spool(client, spool) == 0
    (placement,) = client.estimates("nightly").placements
    assert {arm.batch_size: arm.runs for arm in placement.arms} == {32: 0, 64: 1, 128: 0}
    assert sum(arm.runs for arm in client.estimates("nightly").placements[0].arms) == 1


def test_every_report_of_a_lost_server_arrives_once_and_in_order(
    server: ServerProcess, client: Client, tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "_SHORTEST_HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(reporter, "_LONGEST_HEARTBEAT_SECONDS", 0.1)
    with client.trial("nightly", SETTINGS, GPU) as trial:
        trial.report(0.1)
        eventually(lambda: not trial._reporter._outbox.waits)  # on a busy machine it is answered late
        server.kill()
        for metric in (0.2, 0.3, 0.4):
            assert trial.report(metric) == "continue"
        eventually(lambda: [len(left.requests) for left in spool_files(spool)] == [3])
        server.start()
        give_up_at = monotonic() + PATIENCE_SECONDS
        while spool_files(spool):
            assert monotonic() < give_up_at, "no heartbeat has found the server again"
            sleep(0.05)
        trial.report(0.95)
    assert epochs_reported(tmp_path) == [1, 2, 3, 4, 5]
    assert client.list_trials("nightly").trials[0].state == "converged"


def test_what_one_run_leaves_the_next_one_sends(
    server: ServerProcess, client: Client, tmp_path: Path, spool: Path
) -> None:
    with client.trial("nightly", SETTINGS, GPU) as trial:
        trial.report(0.1)
        server.kill()
        trial.report(0.95)
    server.start()
    with client.trial("nightly", SETTINGS, GPU):
        give_up_at = monotonic() + PATIENCE_SECONDS
        while spool_files(spool):
            assert monotonic() < give_up_at
            sleep(0.02)
    assert epochs_reported(tmp_path) == [1, 2, 0]
    assert [trial.state for trial in client.list_trials("nightly").trials] == ["cancelled", "converged"]


def test_a_failure_without_the_server_is_recorded_later(server: ServerProcess, client: Client, spool: Path) -> None:
    def train() -> None:
        with client.trial("nightly", SETTINGS, GPU) as trial:
            trial.report(0.1)
            server.kill()
            trial.report(0.2)
            raise MemoryError

    with pytest.raises(MemoryError):
        train()
    server.start()
    assert deliver_spool(client, spool) == 0
    (trial,) = client.list_trials("nightly").trials
    assert (trial.state, trial.epochs) == ("oom", 2)


def test_a_measured_power_limit_waits_too(server: ServerProcess, client: Client, spool: Path) -> None:
    with client.trial("nightly", SETTINGS, GPU) as trial:
        server.kill()
        assert trial.measured([PowerLimitMeasurement(power_limit_watts=250, cost=100.0)]) is None
        server.start()
    assert spool_files(spool) == []


@pytest.mark.parametrize(
    "answer",
    [
        Reply(500, "Internal Server Error"),
        Reply(200, "<html>Please log in</html>"),
        Reply(200, {"surprise": True}),
        Reply(429, "slow down"),
        Reply(401, "who are you?"),
        Trouble.RESET,
    ],
    ids=["500", "garbage", "other JSON", "429", "401", "reset"],
)
def test_a_report_stays_queued_until_a_rheostat_server_answers(answer: Reply | Trouble, spool: Path) -> None:
    def talk(seen: Seen) -> Reply | Trouble:
        return answer

    with ScriptedServer(talk) as server, Client(server.url, retry_for_seconds=0.0) as client:
        queue = RequestQueue(client.base_url, spool)
        queue.append(observe_request("0" * 32, ObserveRequest(epoch=1.0, metric=0.5)))
        queue.close()
        assert deliver_spool(client, spool) == 1
    assert len(spool_files(spool)) == 1


def test_the_end_of_a_run_waits_for_a_slow_disk_once(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rheostat.sdk.spool.os.fsync", lambda _: sleep(0.05))
    request = register_job_request("nightly", SETTINGS)
    with Client("http://127.0.0.1:1", retry_for_seconds=0.0) as client:
        outbox = Outbox(client, WarnOnce(), 0.0, lambda _: None)
        for _ in range(200):
            outbox.put(lambda: request)
        watch = Stopwatch()
        outbox.close(0.0)
        assert watch.seconds() < 4  # 10 s, if each waited by itself
    (left,) = spool_files(spool)
    assert len(left.requests) == 200


def test_a_thread_that_wakes_up_after_the_end_sends_nothing(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_closed, wait_for_work = Event(), Outbox._next_incoming

    def late(outbox: Outbox) -> object:
        is_closed.wait(60)
        return wait_for_work(outbox)

    monkeypatch.setattr(Outbox, "_next_incoming", late)
    request = register_job_request("nightly", SETTINGS)
    with Client("http://127.0.0.1:1", retry_for_seconds=0.0) as client:
        outbox = Outbox(client, WarnOnce(), 0.0, lambda _: None)
        outbox.put(lambda: request)
        outbox.close(0.0)
        is_closed.set()
        assert outbox._thread is not None
        outbox._thread.join(PATIENCE_SECONDS)  # an exception in it fails the test
    (left,) = spool_files(spool)
    assert list(left.requests) == [request]


def test_requests_for_another_server_are_left_alone(spool: Path) -> None:
    queue = RequestQueue("http://elsewhere:1", spool)
    queue.append(register_job_request("nightly", SETTINGS))
    queue.close()
    with Client("http://127.0.0.1:1", retry_for_seconds=0.0) as client:
        assert deliver_spool(client, spool) == 0
        assert len(spool_files(spool)) == 1
        with pytest.raises(ServerUnreachable):
            client.list_jobs()
