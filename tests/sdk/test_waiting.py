"""How long a trainer waits for a server that hangs, drips, is slow or comes back: at most a bounded time, once."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import sleep

import pytest

from rheostat import Client, PowerLimitMeasurement
from rheostat.schemas.fields import Action, TrialState
from rheostat.schemas.power import PowerLimitAnswer
from rheostat.schemas.trials import ObserveAnswer, ObserveRequest
from rheostat.sdk.outbox import deliver_spool
from rheostat.sdk.spool import spool_files
from tests.sdk.examples import GPU, JOB, SETTINGS, TRIAL
from tests.sdk.scripted_server import Reply, ScriptedServer, Seen, Trouble
from tests.waiting import Stopwatch, eventually

ANSWER_SECONDS = 1.0
# What does not wait takes a millisecond; this much is for a machine that is busy with something else.
AT_ONCE_SECONDS = 0.7


@dataclass
class SlowServer:
    """Registers and predicts at once, and answers reports as a test says."""

    observing: Trouble | None = None
    entering: Trouble | None = None
    delay_seconds: float = 0.0
    state: TrialState = "running"
    may_answer: Event = field(default_factory=Event)

    def __call__(self, seen: Seen) -> Reply | Trouble:
        if seen.method == "PUT":
            return self.entering or Reply(200, JOB)
        if seen.path.endswith("/predict"):
            return self.entering or Reply(201, TRIAL)
        if seen.path.endswith("/heartbeat"):
            return Reply(503)
        sleep(self.delay_seconds)
        self.may_answer.wait(20)
        if self.observing is not None:
            return self.observing
        if "/power/" in seen.path:
            return Reply(200, PowerLimitAnswer(power_limit_watts=200, profile_power_limits_watts=[]))
        action: Action = "continue" if self.state == "running" else "stop"
        return Reply(200, ObserveAnswer(state=self.state, action=action, reason="so", power_limit_watts=None))


@dataclass
class Bench:
    """A trainer's side and the server's, together."""

    script: SlowServer
    server: ScriptedServer
    client: Client

    def metrics(self) -> list[float]:
        """The metrics that arrived, in order."""
        return [seen.body["metric"] for seen in self.server.seen if seen.path.endswith(f"{'0' * 32}/observe")]


@pytest.fixture
def bench() -> Iterator[Bench]:
    script = SlowServer()
    script.may_answer.set()
    with (
        ScriptedServer(script) as server,
        Client(server.url, timeout_seconds=3.0, retry_for_seconds=3.0, answer_seconds=ANSWER_SECONDS) as client,
    ):
        yield Bench(script, server, client)
        script.may_answer.set()


@pytest.mark.parametrize("trouble", [Trouble.HANG, Trouble.DRIBBLE, Trouble.DRIBBLE_HEADERS, Trouble.RESET])
def test_a_report_waits_once_and_later_ones_and_the_end_are_bounded(bench: Bench, trouble: Trouble) -> None:
    with bench.client.trial("nightly", SETTINGS, GPU) as trial:
        bench.script.observing = trouble
        watch = Stopwatch()
        assert trial.report(0.1) == "continue"
        assert watch.seconds() < ANSWER_SECONDS + AT_ONCE_SECONDS
        watch = Stopwatch()
        for metric in (0.2, 0.3, 0.4, 0.5):
            assert trial.report(metric) == "continue"
        assert trial.measured([PowerLimitMeasurement(power_limit_watts=250, cost=1.0)]) is None
        assert watch.seconds() < AT_ONCE_SECONDS
        watch = Stopwatch()
    assert watch.seconds() < ANSWER_SECONDS + AT_ONCE_SECONDS


def test_a_report_that_was_not_answered_in_time_is_on_disk(bench: Bench, spool: Path) -> None:
    with bench.client.trial("nightly", SETTINGS, GPU) as trial:
        bench.script.observing = Trouble.HANG
        watch = Stopwatch()
        trial.report(0.1)
        eventually(lambda: [len(left.requests) for left in spool_files(spool)] == [1])
        assert watch.seconds() < ANSWER_SECONDS + AT_ONCE_SECONDS  # a kill now loses nothing


def test_what_was_not_sent_in_time_waits_for_a_later_run(bench: Bench, spool: Path) -> None:
    with bench.client.trial("nightly", SETTINGS, GPU) as trial:
        bench.script.observing = Trouble.HANG
        for metric in (0.1, 0.2, 0.3):
            trial.report(metric)
    (left,) = spool_files(spool)
    reports = [ObserveRequest.model_validate_json(request.body or "") for request in left.requests]
    assert [report.metric for report in reports] == [0.1, 0.2, 0.3, None]
    assert reports[-1].outcome == "failed"
    bench.script.observing = None
    bench.server.seen.clear()
    assert deliver_spool(bench.client, spool) == 0
    assert bench.metrics() == [0.1, 0.2, 0.3, None]


@pytest.mark.parametrize("trouble", [Trouble.HANG, Trouble.DRIBBLE_HEADERS])
def test_entry_is_bounded_as_a_whole(bench: Bench, trouble: Trouble) -> None:
    bench.script.entering = trouble
    watch = Stopwatch()
    with bench.client.trial("nightly", SETTINGS, GPU) as trial:
        assert trial.trial_id is None
        assert watch.seconds() < 3.0 + AT_ONCE_SECONDS


def test_a_late_decision_to_stop_holds_at_the_next_report(bench: Bench) -> None:
    with bench.client.trial("nightly", SETTINGS, GPU) as trial:
        bench.script.state = "stopped"
        bench.script.may_answer.clear()
        assert trial.report(0.1) == "continue"
        bench.script.may_answer.set()
        eventually(lambda: trial._reporter._answer is not None)
        bench.script.may_answer.clear()
        assert trial.report(0.2) == "stop"
        bench.script.may_answer.set()


def test_reports_wait_again_once_the_server_is_back_in_time(bench: Bench) -> None:
    with bench.client.trial("nightly", SETTINGS, GPU) as trial:
        bench.script.observing = Trouble.RESET
        trial.report(0.1)
        bench.script.observing = None
        eventually(lambda: not trial._reporter._outbox.waits)
        bench.script.state = "stopped"
        assert trial.report(0.2) == "stop"


def test_a_server_that_is_always_late_holds_up_one_report(bench: Bench) -> None:
    bench.script.delay_seconds = ANSWER_SECONDS + 0.3
    with bench.client.trial("nightly", SETTINGS, GPU) as trial:
        trial.report(0.1)
        eventually(lambda: not trial._reporter._outbox.waits)
        watch = Stopwatch()
        trial.report(0.2)
        assert watch.seconds() < AT_ONCE_SECONDS


def test_no_report_pays_for_a_backlog_which_goes_out_in_order(bench: Bench, spool: Path) -> None:
    with bench.client.trial("nightly", SETTINGS, GPU) as trial:
        bench.script.observing = Trouble.RESET
        metrics = [number / 1000 for number in range(300)]
        for number, metric in enumerate(metrics):
            trial.report(metric, epoch=(number + 1) / 100)
        eventually(lambda: [len(left.requests) for left in spool_files(spool)] == [300])
        tried = len(bench.metrics())
        bench.script.observing = None
        bench.script.delay_seconds = 0.02
        trial._reporter._outbox.retry_now()
        eventually(lambda: len(bench.metrics()) > tried + 1)
        watch = Stopwatch()
        assert trial.report(0.5, epoch=4) == "continue"
        assert watch.seconds() < AT_ONCE_SECONDS
        watch = Stopwatch()
    assert watch.seconds() < ANSWER_SECONDS + 2 * AT_ONCE_SECONDS
    deliver_spool(bench.client, spool)
    sent = list(dict.fromkeys(bench.metrics()))
    assert sent == [*metrics, 0.5, None]


def test_measurements_are_recorded_once_however_often_they_are_sent(bench: Bench) -> None:
    with bench.client.trial("nightly", SETTINGS, GPU) as trial:
        bench.script.observing = Trouble.RESET
        trial.measured([PowerLimitMeasurement(power_limit_watts=250, cost=1.0)])
        bench.script.observing = None
    sent = [seen for seen in bench.server.seen if seen.path.endswith("/power/observe")]
    assert len(sent) > 1
    assert len({seen.headers["Idempotency-Key"] for seen in sent}) == 1


def test_the_time_to_wait_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_ANSWER_SECONDS", "0.25")
    with Client("http://127.0.0.1:1") as client:
        assert client.trial("nightly", SETTINGS, GPU)._options.answer_seconds == 0.25
    monkeypatch.setenv("RHEOSTAT_ANSWER_SECONDS", "soon")
    with pytest.raises(Exception, match="RHEOSTAT_ANSWER_SECONDS is 'soon'"):
        Client("http://127.0.0.1:1")
