"""Power limits measured between training steps: the real agent over the fake NVML, and the real server."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import pytest

from rheostat import Client, JobSettings
from rheostat.schemas.power import PowerLimitMeasurement, PredictPowerLimitRequest
from rheostat.schemas.server import Gpu
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.trial import RunningTrial
from tests.agent.agents import Agent, as_privileged
from tests.nvml.fake import HW_SLOWDOWN, UNKNOWN, Call, FakeNvml
from tests.sdk.server_process import ServerProcess
from tests.sdk.training import FakeTraining
from tests.waiting import PATIENCE_SECONDS, Stopwatch, eventually

pytestmark = as_privileged

TEN_LIMITS = list(range(120, 301, 20))


def settings(limits_watts: list[int], eta_knob: float = 0.5, **others: Any) -> JobSettings:
    return JobSettings(
        batch_sizes=[32, 64],
        default_batch_size=32,
        max_epochs=50,
        power_limits_watts=limits_watts,
        eta_knob=eta_knob,
        seed=1,
        **others,
    )


class Node:
    """A node with an agent, a server, and a trainer's clients of both."""

    def __init__(
        self, fake: FakeNvml, directory: Path, server: ServerProcess, stack: ExitStack, site: str = ""
    ) -> None:
        self.gpu = fake.gpus[0]
        self.agent = stack.enter_context(Agent(fake, directory, site))
        self.agent.start()
        self.server = server
        self.job_id = f"job-{uuid4().hex}"
        self.client = stack.enter_context(Client(self.server.url, retry_for_seconds=0.2))
        self.node_agent = stack.enter_context(NodeAgent(self.agent.socket))

    def trial(self, job: JobSettings) -> RunningTrial:
        return self.client.trial(self.job_id, job, node_agent=self.node_agent)

    def measured_watts(self) -> list[int]:
        """The limits that the server has measurements of."""
        trial = self.client.list_trials(self.job_id).trials[0]
        question = PredictPowerLimitRequest(batch_size=trial.batch_size, gpu=trial.gpu)
        left = self.client.predict_power_limit(self.job_id, question).profile_power_limits_watts
        job = self.client.get_job(self.job_id).settings.power_limits_watts or []
        return sorted(set(job) - set(left), reverse=True)


@pytest.fixture
def node(fake: FakeNvml, tmp_path: Path, server: ServerProcess) -> Iterator[Node]:
    with ExitStack() as stack:
        yield Node(fake, tmp_path, server, stack)


def test_steps_that_were_not_shown_are_asked_for(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    with node.trial(settings([300, 200])) as trial:
        assert trial.profile_power_limits_watts
        trial.report(0.0)
    assert "iterate over trial.steps(loader)" in caplog.text
    caplog.clear()
    with node.trial(settings([300, 200])) as trial:
        list(trial.steps([1, 2]))
        trial.report(0.0)
    assert "trial.steps(loader)" not in caplog.text


def train_until(trial: RunningTrial, training: FakeTraining, condition: Callable[[], bool]) -> None:
    give_up_at = monotonic() + PATIENCE_SECONDS
    for _ in trial.steps(range(100_000)):
        training.step()
        assert monotonic() < give_up_at
        if condition():
            return


def is_measuring(trial: RunningTrial) -> bool:
    return trial._profiler is not None and trial._profiler.is_running


def train_while_measuring(trial: RunningTrial, training: FakeTraining) -> None:
    train_until(trial, training, lambda: not is_measuring(trial))


def test_ten_limits_are_measured_in_few_steps_with_interruptions(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.1)
    watch = Stopwatch()
    with node.trial(settings(TEN_LIMITS)) as trial:
        assert trial.profile_power_limits_watts == tuple(sorted(TEN_LIMITS, reverse=True))
        for number, _ in enumerate(trial.steps(range(10_000))):
            training.step()
            if number == 25:
                training.rest(1.0)
                trial.report(0.5, epoch=0.1)
            if number == 60:
                training.rest(0.7)  # an evaluation that is not reported
            node.gpu.state.forced_reasons = HW_SLOWDOWN if 40 <= number < 45 else 0
            if not is_measuring(trial):
                break
        # Ten steps of warm-up and forty measured ones for each of ten limits would be 500. Uneven ones, as on a busy
        # machine, are measured for longer.
        is_disturbed = watch.is_disturbed()
        assert training.steps < (4000 if is_disturbed else 400)
        assert node.gpu.limit_watts == trial.power_limit_watts
        costs = training.costs(TEN_LIMITS, 0.5)
        assert trial.power_limit_watts is not None
        # The costs around the best limit are so flat that 40 W beside it are within 0.5 %; at 300 W it is 1 % more.
        assert costs[trial.power_limit_watts] < (1.05 if is_disturbed else 1.005) * min(costs.values())
    assert node.gpu.limit_watts == 300


def test_a_later_recurrence_confirms_one_limit_instead_of_sweeping(node: Node) -> None:
    job = settings([150, 200, 300], eta_knob=1.0, exploration_budget_runs=0)
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(job) as trial:
        train_while_measuring(trial, training)
        best = trial.power_limit_watts
    assert best is not None
    sets, steps = len(node.gpu.sets_watts()), training.steps
    with node.trial(job) as trial:
        assert trial.power_limit_watts == best == node.gpu.limit_watts
        train_while_measuring(trial, training)
        assert trial.power_limit_watts == best == node.gpu.limit_watts
    assert node.gpu.sets_watts()[sets:] == [best, 300]
    assert training.steps - steps < steps / 2


def test_limits_above_the_draw_are_not_tried(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.05, load=0.4)
    node.gpu.state.dynamic_watts = 200  # it draws some 120 W, and limits from 240 W up do not bind
    with node.trial(settings([110, 250, 270, 300])) as trial:
        train_while_measuring(trial, training)
        assert node.measured_watts() == [300, 270, 250, 110]
    assert node.gpu.sets_watts()[0] == 110
    assert 270 not in node.gpu.sets_watts()


def test_a_foreign_limit_is_left_and_training_goes_on(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 300])) as trial:
        for number, _ in enumerate(trial.steps(range(10_000))):
            training.step()
            if number == 10:
                node.gpu.limit_watts = 180
            if number > 10 and not is_measuring(trial):
                break
        assert node.measured_watts() == []
        assert trial.report(0.1) == "continue"
        assert node.gpu.limit_watts == 180
    assert node.gpu.limit_watts == 180


def test_without_the_server_the_sweep_ends_at_the_limit_where_it_began(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 300])) as trial:
        for _ in trial.steps(range(10_000)):
            training.step()
            if node.gpu.limit_watts == 200:
                node.server.kill()
                break
        train_while_measuring(trial, training)
        assert node.gpu.limit_watts == 300
        assert trial.report(0.1) == "continue"
    assert node.gpu.limit_watts == 300
    node.server.start()


def test_the_end_of_a_trial_ends_its_measuring_and_restores_at_once(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 300])) as trial:
        for _ in trial.steps(range(10_000)):
            training.step()
            if node.gpu.limit_watts == 200:
                break
        watch = Stopwatch()
    assert watch.seconds() < 5
    assert node.gpu.limit_watts == 300
    sleep(0.2)
    assert node.gpu.limit_watts == 300


def test_energy_is_measured_from_the_start_to_the_last_report(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([300])) as trial:
        begin = node.gpu.energy_joules()
        for _ in range(30):
            training.step()
        training.rest(0.0)
        trial.report(0.1)
        truth = node.gpu.energy_joules() - begin
        assert trial.energy_source == "counter"
        reported = node.client.get_trial(trial.trial_id or "").energy_joules
    assert reported == pytest.approx(truth, rel=0.03)


def test_an_admins_cap_is_kept_and_no_limit_above_it_is_asked_for(node: Node) -> None:
    node.gpu.limit_watts = 250
    eventually(lambda: node.node_agent.gpus()[0].highest_settable_watts == 250)
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 250, 300])) as trial:
        assert trial.profile_power_limits_watts == (250, 150)
        train_while_measuring(trial, training)
    assert max(node.gpu.sets_watts()) == 250
    assert node.gpu.limit_watts == 250


def test_a_cap_during_the_sweep_cuts_the_sweep_but_not_the_training(node: Node) -> None:
    node.gpu.state.enforced_cap_mw = 220_000
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 250, 300])) as trial:
        train_while_measuring(trial, training)
        assert node.measured_watts() == [200, 150]


def test_with_few_limits_the_best_of_them_is_set(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.05)
    for limits in ([200], [150, 300]):
        node.job_id = f"job-{uuid4().hex}"
        with node.trial(settings(limits, eta_knob=1.0)) as trial:
            train_while_measuring(trial, training)
            assert trial.power_limit_watts == node.gpu.limit_watts == limits[0]


def test_the_best_of_what_a_cap_left_is_set_where_the_server_waits_for_the_rest(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 300], eta_knob=1.0)) as trial:
        node.gpu.state.enforced_cap_mw = 220_000
        train_while_measuring(trial, training)
        assert trial.power_limit_watts is None
        assert node.gpu.limit_watts == 150


def test_when_the_agent_was_away_the_limit_found_comes_back_and_the_sweep_goes_on(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 300])) as trial:
        train_until(trial, training, lambda: node.gpu.limit_watts == 200)
        node.agent.kill()
        begin = monotonic()
        train_until(trial, training, lambda: monotonic() > begin + 3)
        node.agent.start()
        train_while_measuring(trial, training)
        assert node.measured_watts() == [300, 200, 150]
        assert node.gpu.limit_watts == trial.power_limit_watts
    assert node.gpu.sets_watts()[:3] == [200, 300, 200]


def test_a_lease_that_was_renewed_does_not_count_as_one_limit_that_stayed(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 300])) as trial:
        train_until(trial, training, lambda: node.gpu.limit_watts == 200)
        assert trial._gpus.lease is not None
        node.agent.ask("DELETE", f"/v1/leases/{trial._gpus.lease.lease_id}")  # as when it expired
        assert node.gpu.limit_watts == 300
        train_while_measuring(trial, training)
        assert node.measured_watts() == [300, 200, 150]
        assert node.gpu.limit_watts == trial.power_limit_watts
    assert node.gpu.limit_watts == 300


def test_after_a_gpu_was_lost_for_a_moment_the_sweep_goes_on(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 300])) as trial:
        train_until(trial, training, lambda: node.gpu.limit_watts == 200)
        node.gpu.lose()
        begin = monotonic()
        train_until(trial, training, lambda: monotonic() > begin + 1.5)
        node.gpu.heal()
        train_while_measuring(trial, training)
        assert node.measured_watts() == [300, 200, 150]
        assert node.gpu.limit_watts == trial.power_limit_watts


def test_energy_that_stays_unknown_ends_the_sweep_at_the_limit_found_and_is_said(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 300])) as trial:
        train_until(trial, training, lambda: node.gpu.limit_watts == 200)
        for call in (Call.GET_ENERGY, Call.GET_SAMPLES, Call.GET_POWER, Call.GET_INSTANT, Call.GET_AVERAGE):
            node.gpu.fail(call, UNKNOWN)
        train_while_measuring(trial, training)
        assert node.gpu.limit_watts == 300
        node.gpu.heal()
    assert caplog.text.count("Profiling of power limits ends") == 1


def test_an_error_of_ours_ends_the_sweep_at_the_limit_found(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    training = FakeTraining(node.gpu, 0.05)
    with node.trial(settings([150, 200, 300])) as trial:
        train_until(trial, training, lambda: node.gpu.limit_watts == 200)

        def fail(measurements: Sequence[PowerLimitMeasurement]) -> None:
            raise RuntimeError("a mistake")

        monkeypatch.setattr(trial._reporter, "measured", fail)
        train_while_measuring(trial, training)
        assert node.gpu.limit_watts == 300


def test_epochs_of_tenths_of_a_second_are_measured(node: Node) -> None:
    training = FakeTraining(node.gpu, 0.04)
    with node.trial(settings([150, 300])) as trial:
        epochs = 0
        while epochs == 0 or is_measuring(trial):
            for _ in trial.steps(range(4)):
                training.step()
            training.rest(0.02)
            epochs += 1
            assert epochs < 100
        assert node.gpu.limit_watts == trial.power_limit_watts


def test_where_the_site_forbids_limits_nothing_is_measured_and_nobody_is_warned(
    fake: FakeNvml, tmp_path: Path, server: ServerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        node = Node(fake, tmp_path, server, stack, site="[limits]\nchange = false")
        limited = Gpu(model="Fake V100", min_power_limit_watts=100, max_power_limit_watts=300)
        with node.client.trial(node.job_id, settings([150]), limited, node_agent=node.node_agent) as trial:
            train_until(trial, FakeTraining(node.gpu, 0.05), lambda: not is_measuring(trial))
            trial.report(0.5)
    assert node.gpu.sets_watts() == []
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
