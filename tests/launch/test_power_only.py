"""Jobs whose batch size stays as it is: the real agent over the fake NVML, and the real server."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest

from rheostat import Client, JobSettings
from rheostat.errors import ConfigurationError
from rheostat.launch.settings import given_settings
from rheostat.launch.step_limits import OutputSteps
from rheostat.launch.steps import StepReader
from rheostat.sdk.node_agent import NodeAgent
from tests.agent.agents import Agent, as_privileged
from tests.launch.runs import Run, ended
from tests.sdk.server_process import ServerProcess
from tests.sdk.training import FakeTraining
from tests.waiting import PATIENCE_SECONDS

LIMITS = [150, 300]
ENERGY_ALONE = ("--power-only", "--eta-knob", "1", "--power-limits", "150,300")


class Measured(FakeTraining):
    """Training on a fake GPU whose energy is known, and what it would have been at the highest limit."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent.fake.gpus[0], 0.05)
        self.gpu = agent.fake.gpus[0]
        self.saved = 0.0
        self._give_up_at = monotonic() + PATIENCE_SECONDS
        self.step()  # warm
        self._joules, self._work = self.gpu.energy_joules(), self.gpu.work()

    def saved_share(self) -> float:
        """The share of energy that was saved since it began."""
        spent, work = self.gpu.energy_joules() - self._joules, self.gpu.work() - self._work
        return 1 - spent / (work * self.costs([300], 1.0)[300])

    def has_saved(self) -> bool:
        """Whether a fifth of the energy was saved so far, what profiling took included."""
        assert monotonic() < self._give_up_at
        self.saved = self.saved_share()
        return self.saved > 0.2


@contextmanager
def training_behind(
    path: Path, training: FakeTraining, is_over: Callable[[int], bool], line: str = ""
) -> Iterator[str]:
    """Train in a thread for whoever reads the pipe, which ends with the training; yield a command that reads it."""

    def train() -> None:
        with path.open("w", buffering=1) as pipe:
            for number in count(1):
                training.step()
                pipe.write(line.format(number))
                if is_over(number):
                    break
        training.rest(0)

    os.mkfifo(path)
    thread = Thread(target=train, daemon=True)
    thread.start()
    yield f"cat {path}"
    thread.join()


def best_limit(client: Client, job: str) -> int | None:
    (arm,) = client.estimates(job).placements[0].arms
    return arm.power_limit_watts


@as_privileged
def test_a_single_run_of_one_batch_size_uses_less_energy_than_at_the_highest_limit(
    client: Client, job: str, agent: Agent
) -> None:
    training = Measured(agent)
    once = JobSettings.power_only(max_epochs=1, eta_knob=1.0, power_limits_watts=LIMITS)
    with NodeAgent(agent.socket) as node, client.trial(job, once, node_agent=node) as trial:
        for _ in trial.steps(range(100_000)):
            training.step()
            if trial.power_limit_watts == 150 and training.has_saved():
                break
    assert training.saved > 0.2
    assert agent.fake.gpus[0].limit_watts == 300
    (run,) = client.list_trials(job).trials
    assert run.state == "converged"
    assert run.energy_joules is not None


@as_privileged
def test_a_single_command_that_shows_its_steps_uses_less_energy_than_at_the_highest_limit(
    server: ServerProcess, client: Client, job: str, agent: Agent, tmp_path: Path
) -> None:
    training = Measured(agent)
    with training_behind(tmp_path / "pipe", training, lambda _: training.has_saved(), "loss 0.5, step {}\r") as command:
        run = ended(server.url, job, command, *ENERGY_ALONE, "--step-pattern", "step {step}")
    assert run.code == 0, run.err
    assert "The command trains on at 150 W, the best power limit." in run.err
    assert training.saved > 0.2
    (trial,) = client.list_trials(job).trials
    assert trial.state == "converged"


@as_privileged
def test_each_run_of_a_command_that_shows_nothing_measures_one_limit_until_the_best_is_known(
    server: ServerProcess, client: Client, job: str, agent: Agent, tmp_path: Path
) -> None:
    in_force = []
    for number in (1, 2, 3):
        with (
            training_behind(tmp_path / f"pipe-{number}", Measured(agent), lambda steps: steps == 25) as command,
            Run(server.url, job, f"echo begun; {command}", *ENERGY_ALONE) as run,
        ):
            run.until("begun")
            in_force.append(agent.fake.gpus[0].limit_watts)
            assert run.code == 0, run.err
    assert in_force == [300, 150, 150]
    assert best_limit(client, job) == 150
    assert {trial.state for trial in client.list_trials(job).trials} == {"converged"}


def test_a_run_that_was_not_trained_in_teaches_nothing(client: Client, job: str) -> None:
    with client.trial(job, JobSettings.power_only(max_epochs=3)):
        pass
    assert client.list_trials(job).trials[0].state == "cancelled"


def test_power_only_needs_no_setting_and_takes_what_is_given() -> None:
    assert given_settings({}, None, power_only=True) == JobSettings.power_only(max_epochs=1)
    given = given_settings({"batch_sizes": [64], "eta_knob": 1.0}, None, power_only=True)
    assert given == JobSettings.power_only(max_epochs=1, batch_size=64, eta_knob=1.0)
    with pytest.raises(ConfigurationError, match="leaves the batch size as it is"):
        given_settings({"batch_sizes": [32, 64]}, None, power_only=True)


def test_the_batch_size_of_a_command_that_asks_for_one_must_be_given(server: ServerProcess, job: str) -> None:
    run = ended(server.url, job, "exit 0", "--power-only", arguments=("{batch_size}",))
    assert run.code == 125
    assert "--default-batch-size" in run.err


@pytest.mark.parametrize(
    ("line", "step"),
    [
        (" 37%|███▋      | 37/100 [00:03<00:06, 10.0it/s]", 37),
        ("37/100 [==========>.................] - ETA: 6s - loss: 0.31", 37),
        ("step 1200: loss 2.31", 1200),
        ("iter 100: loss 2.3121, time 130.12ms", 100),
        ("Epoch: [3][ 10/5005]\tTime  0.310 ( 0.352)", 10),
    ],
)
def test_a_pattern_of_the_page_reads_the_lines_that_it_is_for(line: str, step: int) -> None:
    page = (Path(__file__).parents[2] / "docs" / "power-only.md").read_text()
    table = page[page.index("| the command writes") :]
    patterns = re.findall(r"`(?:--step-pattern )?'([^`]*\{step\}[^`]*)'`", table)
    assert [read for pattern in patterns if (read := StepReader(pattern)(line)) is not None] == [step]


def test_an_evaluation_between_steps_is_no_part_of_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 0
    monkeypatch.setattr("rheostat.launch.step_limits.monotonic_ns", lambda: now_ns)
    steps = OutputSteps("step {step}")
    for number in range(1, 8):
        now_ns += 3_000_000_000 if number == 6 else 100_000_000
        steps.feed(1, f"step {10 * number}\n".encode())
    marks = [steps.next_mark(1e18) for _ in range(7)]
    assert [mark.is_first for mark in marks if mark is not None] == [True, *[False] * 4, True, False]
    assert [mark.steps for mark in marks if mark is not None][-1] == 61
