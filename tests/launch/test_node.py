"""The command's GPUs: the real agent over the fake NVML, and the real server."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from time import monotonic

import httpx
import pytest

from rheostat import Client, JobSettings, PowerLimitMeasurement, Target
from rheostat.launch.limits import EpochLimits
from rheostat.sdk.client import ANSWER_VARIABLE
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.slices import BY_COUNTER
from tests.agent.agents import Agent, as_privileged
from tests.launch.runs import Run, gone
from tests.sdk.scripted_server import Reply, ScriptedServer, Seen, Trouble
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS, eventually

pytestmark = as_privileged

TARGET = ("--target", "accuracy>=0.9", "--metric-pattern", r"acc=(?P<metric>[0-9.]+)")
OPTIONS = ("--batch-sizes", "64", "--default-batch-size", "64", "--max-epochs", "50", "--beta-knob", "0", *TARGET)
LIMITS = ("--power-limits", "150,250")
KNOWN = [
    PowerLimitMeasurement(power_limit_watts=250, time_seconds=5.0, energy_joules=1200.0, steps=5.0, steps_per_epoch=1),
    PowerLimitMeasurement(power_limit_watts=150, time_seconds=5.1, energy_joules=700.0, steps=5.0, steps_per_epoch=1),
]
SETTINGS = JobSettings(
    batch_sizes=[64],
    default_batch_size=64,
    max_epochs=50,
    beta_knob=None,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
    power_limits_watts=[150, 250],
)


@pytest.fixture
def known(client: Client, job: str, agent: Agent) -> str:
    """A job whose best limit was found by an earlier run."""
    with NodeAgent(agent.socket) as node, client.trial(job, SETTINGS, node_agent=node) as trial:
        assert trial.measured(KNOWN) == 150
    return job


def test_the_best_limit_is_in_force_while_the_command_runs(
    server: ServerProcess, client: Client, known: str, agent: Agent, tmp_path: Path
) -> None:
    script = f"echo limit=$RHEOSTAT_POWER_LIMIT_WATTS; until [ -e {tmp_path}/on ]; do sleep 0.02; done; echo acc=0.95"
    with Run(server.url, known, script, *TARGET[2:]) as run:
        run.until("limit=150")
        assert [gpu.limit_watts for gpu in agent.fake.gpus] == [150, 300]
        (tmp_path / "on").touch()
        assert run.code == 0, run.err
    assert agent.fake.gpus[0].limit_watts == 300
    trial = client.list_trials(known).trials[0]
    assert trial.state == "converged"
    assert trial.energy_joules is not None
    assert trial.energy_joules > 0


def test_the_gpus_that_it_trains_on_are_leased(server: ServerProcess, job: str, agent: Agent) -> None:
    def held() -> list[int]:
        return [gpu["index"] for gpu in agent.ask("GET", "/v1/gpus")["gpus"] if gpu["holder"] is not None]

    script = "echo count=$RHEOSTAT_PER_DEVICE_BATCH_SIZE; exec sleep 60"
    for options, visible, leased in ((("--gpus", "1"), "0", [1]), ((), "1,0", [0, 1]), ((), "1,-1,0", [1])):
        with Run(server.url, job, script, *OPTIONS, *options, environment={"CUDA_VISIBLE_DEVICES": visible}) as run:
            run.until("\n")
            assert held() == leased
            assert run.out == f"count={64 // len(leased)}\n"
        eventually(lambda: held() == [])


def test_when_it_is_killed_the_limit_found_is_restored(server: ServerProcess, known: str, agent: Agent) -> None:
    gpu = agent.fake.gpus[0]
    gpu.limit_watts = 260
    with Run(server.url, known, "echo $$; exec sleep 60", *TARGET[2:]) as run:
        run.until("\n")
        assert gpu.limit_watts == 150
        os.kill(run.pid, signal.SIGKILL)
        try:
            assert eventually(lambda: gpu.limit_watts == 260) < 1
            assert not gone(int(run.out))
        finally:
            os.kill(int(run.out), signal.SIGKILL)


def test_the_limit_found_is_restored_when_the_command_ends_although_the_server_does_not_answer(
    server: ServerProcess, known: str, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ANSWER_VARIABLE, "2")

    def passed_on(seen: Seen) -> Reply | Trouble:
        if seen.path.endswith("/observe"):
            return Trouble.HANG
        with httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
            answer = http.request(seen.method, seen.path, json=seen.body)
        return Reply(answer.status_code, answer.text, {"Content-Type": answer.headers["Content-Type"]})

    gpu = agent.fake.gpus[0]
    script = "echo $$; for i in 1 2 3; do echo acc=0.$i; sleep 0.2; done"
    with ScriptedServer(passed_on) as hanging, Run(hanging.url, known, script, *TARGET[2:]) as run:
        run.until("acc=0.3")
        assert gpu.limit_watts == 150
        eventually(lambda: gone(int(run.out.split()[0])))
        assert eventually(lambda: gpu.limit_watts == 300) < 3
        assert run.process.is_alive()


def test_a_limit_is_measured_over_each_epoch_until_the_best_is_known(
    server: ServerProcess, client: Client, job: str, agent: Agent
) -> None:
    agent.fake.gpus[0].load(1)
    script = "for i in 1 2 3 4 5 6; do echo acc=0.$i; sleep 1.3; done; echo acc=0.95; exec sleep 60"
    with Run(server.url, job, script, *OPTIONS, *LIMITS) as run:
        assert run.code == 0, run.err
    sets = agent.fake.gpus[0].sets_watts()
    assert [watts for watts, last in zip(sets, [0, *sets], strict=False) if watts != last] == [250, 150, 300]
    (arm,) = client.estimates(job).placements[0].arms
    assert arm.power_limit_watts == 150  # every epoch takes as long under each limit
    assert client.list_trials(job).trials[0].state == "converged"


def test_a_sweep_that_breaks_off_while_the_agent_is_away_leaves_the_limit_found(
    client: Client, job: str, agent: Agent
) -> None:
    gpu = agent.fake.gpus[0]
    with NodeAgent(agent.socket) as node, client.trial(job, SETTINGS, node_agent=node) as trial:
        limits = EpochLimits(trial)
        limits.take(limits.mark(1, monotonic()))
        first = limits.mark(2, monotonic())
        assert first is not None
        agent.kill()
        limits.take(replace(first, at_seconds=first.at_seconds + BY_COUNTER.shortest_seconds))
        assert gpu.limit_watts == 250
        agent.start()
        eventually(lambda: gpu.limit_watts == 300)
        limits.take(limits.mark(3, monotonic()))
        assert gpu.limit_watts == 250


def test_a_foreign_limit_ends_the_measuring_and_stays(client: Client, job: str, agent: Agent) -> None:
    gpu = agent.fake.gpus[0]
    with NodeAgent(agent.socket) as node, client.trial(job, SETTINGS, node_agent=node) as trial:
        limits = EpochLimits(trial)
        assert gpu.limit_watts == 250
        limits.take(limits.mark(1, monotonic()))
        gpu.limit_watts = 200
        second = limits.mark(2, monotonic())
        assert second is not None
        limits.take(replace(second, at_seconds=second.at_seconds + BY_COUNTER.shortest_seconds))
        assert limits.mark(3, monotonic()) is None
    assert gpu.limit_watts == 200


def test_without_an_agent_it_runs_as_it_is(server: ServerProcess, client: Client, job: str, tmp_path: Path) -> None:
    described = ("--gpu", "Test GPU:100-250")
    away = {"RHEOSTAT_AGENT_DIR": str(tmp_path / "away")}
    with Run(server.url, job, "echo acc=0.95", *OPTIONS, *described, environment=away) as run:
        assert run.code == 0
        assert run.err.count("so power limits stay as they are") == 1
    trial = client.list_trials(job).trials[0]
    assert (trial.state, trial.energy_joules) == ("converged", None)
