import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import enumerate as threads
from time import sleep
from typing import Any

import numpy as np
import pytest

from rheostat.errors import ConfigurationError, ServerRefused
from rheostat.schemas.fields import Action, TrialState
from rheostat.schemas.power import PowerLimitAnswer, PowerLimitMeasurement
from rheostat.schemas.server import Gpu, JobDetail, JobSettings, LearningRate, Target
from rheostat.schemas.trials import HeartbeatAnswer, ObserveAnswer, Trial
from rheostat.sdk import node_agent, reporter
from rheostat.sdk.client import Client
from rheostat.sdk.trial import RunningTrial
from tests.sdk.driver_tool import install, printing
from tests.sdk.scripted_server import Reply, ScriptedServer, Seen, Trouble, problem
from tests.waiting import eventually

SETTINGS = JobSettings(
    batch_sizes=[32, 64, 128],
    default_batch_size=64,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
    max_epochs=10,
    learning_rate=LearningRate(default=0.1, scaling="linear"),
)
GPU = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)
NOW = datetime.now(UTC)
UNREACHABLE = Reply(503, "down")


@dataclass
class Rheostat:
    """What the server under a test says; `down` makes it answer nothing that helps."""

    down: bool = False
    state: TrialState = "running"
    lease: timedelta = timedelta(hours=1)
    refusals: dict[str, Reply] = field(default_factory=dict)

    def __call__(self, seen: Seen) -> Reply | Trouble:
        if self.down:
            return UNREACHABLE
        operation = seen.path.rsplit("/", 1)[-1] if seen.method == "POST" else seen.method
        if operation in self.refusals:
            return self.refusals[operation]
        answers: dict[str, Callable[[Any], Reply]] = {
            "PUT": self._register,
            "predict": self._predict,
            "observe": self._measure if "/power/" in seen.path else self._observe,
            "heartbeat": self._heartbeat,
        }
        return answers[operation](seen.body)

    def _register(self, body: Any) -> Reply:
        detail = JobDetail(
            job_id="nightly",
            settings=SETTINGS,
            effective_seed=1,
            trials=0,
            placements=[],
            created_at=NOW,
            updated_at=NOW,
        )
        return Reply(200, detail)

    def _predict(self, body: Any) -> Reply:
        trial = Trial(
            trial_id="0" * 32,
            job_id="nightly",
            number=1,
            batch_size=128,
            learning_rate=0.2,
            power_limit_watts=None,
            profile_power_limits_watts=[250, 200],
            reason="its turn",
            lease_expires_at=datetime.now(UTC) + self.lease,
        )
        return Reply(201, trial)

    def _observe(self, body: Any) -> Reply:
        state: TrialState = body.get("outcome") or self.state
        action: Action = "continue" if state == "running" else "stop"
        return Reply(200, ObserveAnswer(state=state, action=action, reason="as the test says", power_limit_watts=None))

    def _measure(self, body: Any) -> Reply:
        return Reply(200, PowerLimitAnswer(power_limit_watts=200, profile_power_limits_watts=[]))

    def _heartbeat(self, body: Any) -> Reply:
        return Reply(200, HeartbeatAnswer(state=self.state, lease_expires_at=datetime.now(UTC) + self.lease))


@dataclass
class Bench:
    """A trainer's side and the server's, together."""

    rheostat: Rheostat
    server: ScriptedServer
    client: Client

    def trial(self, max_batch_size: int | None = None) -> RunningTrial:
        return self.client.trial("nightly", SETTINGS, GPU, max_batch_size=max_batch_size)

    def reports(self) -> list[dict[str, Any]]:
        return [seen.body for seen in self.server.seen if seen.path.endswith(f"{'0' * 32}/observe")]

    def nodes(self) -> list[list[dict[str, Any]] | None]:
        """Return what each heartbeat said of the nodes."""
        beats = [seen.body for seen in self.server.seen if seen.path.endswith("/heartbeat")]
        return [beat["nodes"] if beat else None for beat in beats]

    def heartbeats(self) -> int:
        return sum(seen.path.endswith("/heartbeat") for seen in self.server.seen)


@pytest.fixture
def bench() -> Iterator[Bench]:
    rheostat = Rheostat()
    with (
        ScriptedServer(rheostat) as server,
        Client(server.url, timeout_seconds=5.0, retry_for_seconds=0.05) as client,
    ):
        yield Bench(rheostat, server, client)


@pytest.fixture
def fast_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a heartbeat every 20 ms."""
    monkeypatch.setattr(reporter, "_LONGEST_HEARTBEAT_SECONDS", 0.02)


def warnings_in(log: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings, but for the one that a process without an agent has."""
    return [text for text in all_warnings_in(log) if not text.startswith(("No agent here", "No GPU is known here"))]


def all_warnings_in(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


class TestWithAServer:
    def test_it_has_the_values_that_the_server_predicted(self, bench: Bench) -> None:
        with bench.trial() as trial:
            assert (trial.trial_id, trial.batch_size, trial.learning_rate) == ("0" * 32, 128, 0.2)
            assert (trial.power_limit_watts, trial.profile_power_limits_watts) == (None, (250, 200))
            assert trial.reason == "its turn"

    def test_it_is_asked_without_an_agent_and_without_a_description_of_the_gpus(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(node_agent, "DEFAULT_DIRECTORY", tmp_path)
        install(monkeypatch, tmp_path, printing("0, GPU-7, NVIDIA H200, 700.00, Disabled"))
        caplog.set_level(logging.INFO)
        with bench.client.trial("nightly", SETTINGS) as trial:
            assert trial.batch_size == 128
            trial.report(0.1)
        (asked,) = [seen.body["gpu"] for seen in bench.server.seen if seen.path.endswith("/predict")]
        assert (asked["model"], asked["count"], asked["enforced_limit_watts"]) == ("NVIDIA H200", 1, 700)
        (warning,) = all_warnings_in(caplog)
        assert warning == (
            f"No agent here (there is no socket at {tmp_path}/agent.sock), so power limits stay as they are and energy"
            " is not measured. Start one as root: rheostat agent (rheostat doctor says what is missing)."
        )

    @pytest.mark.parametrize(
        ("metric", "problem"),
        [(None, "None"), ("0.9", "'0.9'"), ([0.5], "a list"), (np.array([0.5, 0.6]), "a ndarray")],
    )
    def test_a_metric_that_is_no_number_is_refused_with_a_hint(self, bench: Bench, metric: Any, problem: str) -> None:
        with bench.trial() as trial, pytest.raises(ConfigurationError, match=f"is {problem}") as refused:
            trial.report(metric)
        assert "float(tensor)" in (refused.value.hint or "")

    def test_an_array_of_one_number_is_one(self, bench: Bench) -> None:
        with bench.trial() as trial:
            trial.report(np.array(0.25))
        assert bench.reports()[0]["metric"] == 0.25

    def test_what_goes_by_before_the_first_step_is_set_up(self, bench: Bench) -> None:
        with bench.trial() as trial:
            sleep(0.05)
            for _ in trial.steps([1, 2]):
                sleep(0.05)
            trial.report(0.25)
        report = bench.reports()[0]
        assert 0.05 <= report["setup_seconds"] < report["time_seconds"] - 0.09

    def test_a_loader_of_another_batch_size_is_warned_of_once(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Loader(list[int]):
            def __init__(self, batch_size: int) -> None:
                super().__init__([1, 2])
                self.batch_size = batch_size

        for batch_size, warned in ((128, 0), (64, 1)):
            caplog.clear()
            with bench.trial() as trial:
                for _ in range(2):
                    assert list(trial.steps(Loader(batch_size))) == [1, 2]
                trial.report(0.1)
            warnings = [
                text for text in warnings_in(caplog) if "batches of 64, and this run is to train with 128" in text
            ]
            assert len(warnings) == warned

    def test_a_run_that_was_out_of_memory_says_what_becomes_of_its_batch_size(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(MemoryError), bench.trial():
            raise MemoryError
        assert [text for text in warnings_in(caplog) if "batch size 128 counts as too large" in text]

    def test_measured_limits_are_answered_with_the_best(self, bench: Bench) -> None:
        with bench.trial() as trial:
            measurement = PowerLimitMeasurement(
                power_limit_watts=250, time_seconds=5.0, energy_joules=900.0, steps=50.0
            )
            assert trial.measured([measurement]) == 200
            assert (trial.power_limit_watts, trial.profile_power_limits_watts) == (200, ())

    def test_a_report_outside_of_the_block_is_a_mistake(self, bench: Bench) -> None:
        trial = bench.trial()
        with pytest.raises(ConfigurationError, match="report inside of the block"):
            trial.report(0.5)

    def test_the_server_decides_whether_to_go_on(self, bench: Bench) -> None:
        with bench.trial() as trial:
            assert trial.report(0.99) == "continue"
            bench.rheostat.state = "stopped"
            assert trial.report(0.1) == "stop"

    def test_epochs_count_themselves_from_the_last_report(self, bench: Bench) -> None:
        with bench.trial() as trial:
            trial.report(0.1)
            trial.report(0.2, epoch=1.5)
            trial.report(0.3)
        assert [report["epoch"] for report in bench.reports()[:3]] == [1, 1.5, 2.5]

    def test_unknown_energy_is_absent_and_time_is_the_wall_clock(self, bench: Bench) -> None:
        with bench.trial() as trial:
            trial.report(0.1)
        assert bench.reports()[0]["energy_joules"] is None
        assert 0 < bench.reports()[0]["time_seconds"] < 5

    def test_figures_may_come_from_numpy(self, bench: Bench) -> None:
        with bench.trial() as trial:
            trial.report(np.float32(0.5), energy_joules=np.int64(7), time_seconds=np.float64(2.5))
        report = bench.reports()[0]
        assert (report["metric"], report["energy_joules"], report["time_seconds"]) == (0.5, 7, 2.5)

    @pytest.mark.parametrize("metric", [float("nan"), float("inf"), float("-inf"), 1e301])
    def test_a_metric_that_is_not_finite_is_reported_as_diverged(self, bench: Bench, metric: float) -> None:
        with bench.trial() as trial:
            assert trial.report(0.5) == "continue"
            assert trial.report(metric) == "continue"
        assert [(report["metric"], report.get("diverged", False)) for report in bench.reports()[:2]] == [
            (0.5, False),
            (None, True),
        ]

    @pytest.mark.parametrize(
        ("metrics", "words"),
        [
            ((), "no evaluation was reported"),
            ((float("nan"),), "NaN or infinite in the only evaluation"),
            ((float("nan"),) * 2, "NaN or infinite in all 2 evaluations"),
        ],
    )
    def test_a_run_without_a_usable_metric_says_so_once_here_and_in_the_trial(
        self, bench: Bench, caplog: pytest.LogCaptureFixture, metrics: tuple[float, ...], words: str
    ) -> None:
        with bench.trial() as trial:
            for metric in metrics:
                trial.report(metric)
        (warning,) = warnings_in(caplog)
        assert words in warning
        assert words in bench.reports()[-1]["detail"]

    def test_a_diverged_run_is_told_once(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        with bench.trial() as trial:
            for _ in range(3):
                trial.report(float("nan"))
        assert warnings_in(caplog) == [
            "The run has diverged: its metric was NaN or infinite in its last 3 evaluations."
        ]

    def test_the_error_that_ends_a_run_is_told(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(ValueError, match="kernel"), bench.trial():
            raise ValueError("no kernel\nfor this shape " + "x" * 3000)
        closing = bench.reports()[-1]
        assert closing["outcome"] == "cancelled"
        assert closing["detail"].startswith("ValueError: no kernel for this shape xxx")
        assert len(closing["detail"]) == 500
        assert not warnings_in(caplog)

    def test_an_impossible_figure_does_not_stop_the_run(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        with bench.trial() as trial:
            assert trial.report(0.1, energy_joules=-5.0) == "continue"
            assert trial.report(0.95, energy_joules=-5.0) == "stop"
        assert len(warnings_in(caplog)) == 1


class TestTheEnd:
    def test_a_run_that_the_server_ended_is_not_ended_again(self, bench: Bench) -> None:
        bench.rheostat.state = "converged"
        with bench.trial() as trial:
            trial.report(0.95)
        assert len(bench.reports()) == 1

    def test_a_run_that_is_stopped_short_of_its_target_warns_of_its_model_once(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        bench.rheostat.state = "stopped"
        with bench.trial() as trial:
            assert [trial.report(0.4), trial.report(0.5)] == ["stop", "stop"]
        assert (trial.converged, trial.end_reason) == (False, "as the test says")
        (warning,) = warnings_in(caplog)
        assert "before its target: as the test says. Do not use its model" in warning

    def test_a_run_that_reaches_its_target_has_converged_and_warns_of_nothing(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        with bench.trial() as trial:
            assert (trial.report(0.5), trial.converged, trial.end_reason) == ("continue", False, None)
            bench.rheostat.state = "converged"
            assert (trial.report(0.95), trial.converged) == ("stop", True)
        assert warnings_in(caplog) == []

    def test_an_end_before_the_target_is_a_failure(self, bench: Bench) -> None:
        with bench.trial() as trial:
            trial.report(0.1, energy_joules=10.0, time_seconds=2.0)
        assert bench.reports()[-1] == {
            "epoch": 1,
            "metric": None,
            "energy_joules": 10,
            "time_seconds": 2,
            "outcome": "failed",
        }

    def test_leaving_without_a_report_is_a_cancellation(self, bench: Bench) -> None:
        with bench.trial():
            pass
        assert bench.reports()[-1]["outcome"] == "cancelled"
        assert bench.reports()[-1]["epoch"] == 0

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [
            (type("OutOfMemoryError", (RuntimeError,), {})("no room"), "oom"),
            (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB."), "oom"),
            (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), "oom"),
            (MemoryError(), "oom"),
            (KeyboardInterrupt(), "cancelled"),
            (ValueError("a bug in the trainer"), "cancelled"),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    def test_an_exception_is_reported_and_propagates(self, bench: Bench, error: BaseException, outcome: str) -> None:
        def train() -> None:
            with bench.trial() as trial:
                trial.report(0.1)
                raise error

        with pytest.raises(type(error)) as raised:
            train()
        assert raised.value is error
        assert bench.reports()[-1]["outcome"] == outcome
        assert bench.reports()[-1].get("interrupted", False) is isinstance(error, KeyboardInterrupt)


class TestWithoutAServer:
    def test_the_run_starts_with_the_default_and_one_warning(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        bench.rheostat.down = True
        with bench.trial() as trial:
            assert (trial.trial_id, trial.batch_size, trial.learning_rate) == (None, 64, 0.1)
            assert (trial.power_limit_watts, trial.profile_power_limits_watts) == (None, ())
            assert trial.report(0.5) == "continue"
            assert trial.measured([PowerLimitMeasurement(power_limit_watts=250, cost=1.0)]) is None
            assert trial.report(0.9) == "stop"
        assert len(warnings_in(caplog)) == 1
        assert bench.server.url in warnings_in(caplog)[0]

    def test_the_run_ends_with_its_epochs(self, bench: Bench) -> None:
        bench.rheostat.down = True
        with bench.trial() as trial:
            assert trial.report(0.5, epoch=9.5) == "continue"
            assert trial.report(0.5, epoch=10) == "stop"

    def test_a_node_too_small_for_the_default_gets_the_largest_that_fits(self, bench: Bench) -> None:
        bench.rheostat.down = True
        with bench.trial(max_batch_size=63) as trial:
            assert (trial.batch_size, trial.learning_rate) == (32, 0.05)

    @pytest.mark.parametrize(
        ("refusal", "words"),
        [
            (problem(401, "unauthorized", retryable=False), "It did not work."),
            (problem(500, "policy_failed", retryable=False), "It did not work."),
            (Reply(200, "<html>Please log in</html>"), "not a Trial"),
            (Trouble.RESET, "No answer to POST"),
        ],
        ids=["no token", "faulty policy", "another program", "reset"],
    )
    def test_a_server_that_fails_counts_as_unreachable_and_the_reason_says_what_happened(
        self, bench: Bench, refusal: Reply, words: str
    ) -> None:
        bench.rheostat.refusals["predict"] = refusal
        with bench.trial() as trial:
            assert trial.batch_size == 64
            assert trial.reason.startswith("the default: ")
            assert words in trial.reason

    def test_a_name_that_no_job_can_have_is_raised_before_training(self, bench: Bench) -> None:
        with (
            pytest.raises(ConfigurationError, match="'team/nightly' is not the name of a job"),
            bench.client.trial("team/nightly", SETTINGS, GPU),
        ):
            pytest.fail("training began")

    def test_the_users_own_mistake_is_raised_before_training(self, bench: Bench) -> None:
        bench.rheostat.refusals["PUT"] = problem(422, "invalid_input", retryable=False)
        with pytest.raises(ServerRefused, match="It did not work"), bench.trial():
            pytest.fail("training began")


class TestAServerLostOnTheWay:
    def test_training_goes_on_with_one_warning(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        with bench.trial() as trial:
            trial.report(0.1)
            bench.rheostat.down = True
            assert [trial.report(0.2), trial.report(0.3), trial.report(0.95)] == ["continue", "continue", "stop"]
        assert len(warnings_in(caplog)) == 1

    def test_reports_do_not_wait_for_it(self, bench: Bench) -> None:
        with bench.trial() as trial:
            bench.rheostat.down = True
            trial.report(0.1)
            tried = len(bench.server.seen)
            trial.report(0.2)
            assert len(bench.server.seen) == tried

    def test_a_final_report_that_was_queued_is_sent_at_the_end(self, bench: Bench) -> None:
        with bench.trial() as trial:
            bench.rheostat.down = True
            trial.report(0.1, energy_joules=1.0)
            trial.report(0.95, energy_joules=2.0)
            bench.rheostat.down = False
            bench.rheostat.state = "converged"
        final = bench.reports()[-1]
        assert (final["epoch"], final["metric"], final["energy_joules"]) == (2, 0.95, 2)
        assert "outcome" not in final

    def test_measuring_ends_when_the_server_is_away(self, bench: Bench) -> None:
        with bench.trial() as trial:
            bench.rheostat.down = True
            assert trial.measured([PowerLimitMeasurement(power_limit_watts=250, cost=1.0)]) is None
            assert trial.profile_power_limits_watts == ()

    def test_a_refused_report_does_not_stop_training(self, bench: Bench) -> None:
        bench.rheostat.refusals["observe"] = problem(404, "trial_not_found", retryable=False)
        with bench.trial() as trial:
            assert trial.report(0.1) == "continue"

    def test_once_a_heartbeat_is_answered_reports_are_sent_again(self, bench: Bench, fast_heartbeats: None) -> None:
        with bench.trial() as trial:
            bench.rheostat.down = True
            trial.report(0.1)
            bench.rheostat.down = False
            before = bench.heartbeats()
            eventually(lambda: bench.heartbeats() > before + 1)
            trial.report(0.2)
        assert 0.2 in [report["metric"] for report in bench.reports()]


class TestTheLease:
    def test_it_is_renewed_while_an_epoch_takes_long(self, bench: Bench, fast_heartbeats: None) -> None:
        with bench.trial():
            eventually(lambda: bench.heartbeats() >= 2)

    def test_the_first_heartbeat_says_what_the_run_trains_on_and_comes_at_once(self, bench: Bench) -> None:
        with bench.client.trial("nightly", SETTINGS, GPU, node="n1"):
            eventually(lambda: bench.heartbeats() > 0)
        nodes = bench.nodes()[0]
        assert nodes is not None
        (node,) = nodes
        assert (node["node"], node["agent"]) == ("n1", "absent")
        assert "no agent socket" in node["problems"][0]
        assert bench.heartbeats() == 1, "nothing has changed since"

    def test_what_a_server_refuses_of_its_nodes_does_not_keep_it_from_being_renewed(
        self, bench: Bench, fast_heartbeats: None
    ) -> None:
        bench.rheostat.refusals["heartbeat"] = problem(422, "invalid_input", retryable=False)
        with bench.trial():
            eventually(lambda: None in bench.nodes())
        assert bench.nodes()[0] is not None

    def test_what_a_server_that_is_away_was_not_told_of_its_nodes_is_said_again(
        self, bench: Bench, fast_heartbeats: None
    ) -> None:
        bench.rheostat.refusals["heartbeat"] = problem(503, "unavailable", retryable=True)
        with bench.trial():
            eventually(lambda: sum(nodes is not None for nodes in bench.nodes()) > 1)
            bench.rheostat.refusals.clear()
            eventually(lambda: bench.nodes()[-1] is None)

    @pytest.mark.parametrize("state", ["running", "stopped"])
    def test_no_heartbeat_is_sent_after_the_end(self, bench: Bench, state: TrialState) -> None:
        bench.rheostat.state = state
        with bench.trial() as trial:
            trial.report(0.1)
        eventually(lambda: not any(thread.name.startswith("rheostat-heartbeat") for thread in threads()))
