"""`rheostat measure`: the real agent over the fake NVML, and no server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import pytest

from rheostat.errors import ConfigurationError
from rheostat.launch.measure import Measurement, as_json, measure, summary
from rheostat.sdk.node_agent import NodeAgent
from tests.agent.agents import Agent, Trainer, as_privileged
from tests.nvml.fake import NOT_SUPPORTED, Call, FakeNvml
from tests.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture
def agent(fake: FakeNvml, tmp_path: Path) -> Iterator[Agent]:
    with Agent(fake, tmp_path) as agent:
        agent.start()
        yield agent


@pytest.fixture
def node(agent: Agent) -> Iterator[NodeAgent]:
    with NodeAgent(agent.socket) as node:
        yield node


@pytest.fixture
def nobody(tmp_path: Path) -> NodeAgent:
    return NodeAgent(tmp_path / "no-agent.sock")


def command_line(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RHEOSTAT_AGENT_DIR": str(directory)}
    command = [sys.executable, "-m", "rheostat", "measure", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def signalled_once_there(directory: Path, number: signal.Signals) -> Path:
    """Return a file; once a command has made it, this process gets a signal."""
    ready = directory / "ready"

    def send() -> None:
        eventually(ready.exists)
        os.kill(os.getpid(), number)

    Thread(target=send, daemon=True).start()
    return ready


@as_privileged
class TestWithAnAgent:
    def test_it_tells_what_each_gpu_used_and_sets_no_limit(self, agent: Agent, node: NodeAgent) -> None:
        busy, idle = agent.fake.gpus[:2]
        busy.load(1)
        before = [busy.energy_joules(), idle.energy_joules()]
        result = measure(["sleep", "2"], ["0", "1"], node)
        around = [busy.energy_joules() - before[0], idle.energy_joules() - before[1]]
        assert (result.exit_code, result.unknown_because) == (0, None)
        assert 2 <= result.time_seconds < PATIENCE_SECONDS
        for figures, gpu, most in zip(result.gpus, (busy, idle), around, strict=True):
            assert (figures.gpu, figures.index, figures.source) == (gpu.uuid, gpu.index, "counter")
            assert figures.energy_joules is not None
            assert figures.mean_watts == pytest.approx(figures.energy_joules / result.time_seconds)
            # What the GPU used around the measurement is a little more than in it.
            assert 0.5 * most < figures.energy_joules < 1.02 * most
        assert result.energy_joules == sum(one.energy_joules or 0 for one in result.gpus)
        assert result.gpus[0].mean_watts == pytest.approx(290, rel=0.1)
        assert not busy.sets_watts()
        assert all(gpu.holder is None for gpu in node.gpus())

    def test_a_gpu_without_a_counter_is_measured_by_its_power(self, fake: FakeNvml, tmp_path: Path) -> None:
        fake.gpus[0].load(1)
        fake.gpus[0].fail(Call.GET_ENERGY, NOT_SUPPORTED)
        fake.gpus[0].fail(Call.GET_SAMPLES, NOT_SUPPORTED)
        with Agent(fake, tmp_path) as agent:
            agent.start()
            with NodeAgent(agent.socket) as node:
                result = measure(["sleep", "2"], "visible", node)
        (figures,) = result.gpus
        assert result.unknown_because is None
        assert (figures.source or "").startswith("power_")
        assert figures.mean_watts == pytest.approx(290, rel=0.1)

    def test_its_json_is_one_line_after_the_output(self, agent: Agent) -> None:
        done = command_line(agent.directory, "--gpus", "1", "--json", "--", "sh", "-c", "echo output; exit 3")
        output, line = done.stdout.splitlines()
        result: dict[str, Any] = json.loads(line)
        assert (done.returncode, output, result["exit_code"], done.stderr) == (3, "output", 3, "")
        assert result["command"] == ["sh", "-c", "echo output; exit 3"]
        assert [gpu["index"] for gpu in result["gpus"]] == [1]
        assert set(result["gpus"][0]) >= {"energy_joules", "mean_watts", "source", "resolution_seconds"}

    def test_an_agent_that_dies_in_between_leaves_the_energy_unknown(self, agent: Agent, node: NodeAgent) -> None:
        Timer(0.5, agent.kill).start()
        result = measure(["sleep", "1"], "visible", node)
        assert result.energy_joules is None
        assert result.unknown_because is not None
        assert result.gpus[0].unknown_because == result.unknown_because

    def test_a_gpu_that_another_process_holds_is_named_with_it(self, agent: Agent, node: NodeAgent) -> None:
        trainer = Trainer(agent, [])
        try:
            trainer.wait_ready()
            result = measure(["true"], "visible", node)
        finally:
            trainer.close()
        assert result.energy_joules is None
        assert str(trainer.pid) in (result.unknown_because or "")

    def test_a_gpu_that_is_not_there_runs_nothing(self, node: NodeAgent, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="GPU '7' is not on this node"):
            measure(["touch", str(tmp_path / "ran")], ["7"], node)
        assert not (tmp_path / "ran").exists()


class TestWithoutAnAgent:
    def test_the_time_is_told_and_why_the_energy_is_not(self, tmp_path: Path) -> None:
        done = command_line(tmp_path, "--", "sh", "-c", "echo output; sleep 0.2; exit 3")
        assert (done.returncode, done.stdout) == (3, "output\n")
        assert done.stderr.startswith("rheostat: 0.")
        assert "the energy is unknown: There is no agent socket at" in done.stderr

    def test_a_file_gets_the_result_instead(self, tmp_path: Path) -> None:
        file = tmp_path / "result.json"
        done = command_line(tmp_path, "--json", "--output", str(file), "--", "echo", "output")
        assert (done.returncode, done.stdout, done.stderr) == (0, "output\n", "")
        assert json.loads(file.read_text())["exit_code"] == 0

    def test_a_file_that_cannot_be_written_runs_nothing(self, tmp_path: Path) -> None:
        done = command_line(tmp_path, "--output", str(tmp_path / "no" / "file"), "--", "touch", str(tmp_path / "ran"))
        assert done.returncode == 125
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
    def test_a_command_that_cannot_be_run(self, tmp_path: Path, command: str, code: int) -> None:
        done = command_line(tmp_path, command)
        assert done.returncode == code
        assert command in done.stderr

    def test_signals_reach_the_command(self, nobody: NodeAgent, tmp_path: Path) -> None:
        ready = signalled_once_there(tmp_path, signal.SIGUSR1)
        caught = f"trap 'exit 42' USR1; touch {ready}; while :; do sleep 0.02; done"
        assert measure(["sh", "-c", caught], "visible", nobody).exit_code == 42

    def test_a_signal_that_ends_the_command_is_in_the_exit_code(self, nobody: NodeAgent, tmp_path: Path) -> None:
        ready = signalled_once_there(tmp_path, signal.SIGTERM)
        assert measure(["sh", "-c", f"touch {ready}; exec sleep 60"], "visible", nobody).exit_code == 143


def test_the_words_have_the_figures_and_the_reasons(nobody: NodeAgent) -> None:
    result = measure(["true"], "visible", nobody)
    assert len(summary(result)) == 1
    assert Measurement(**json.loads(as_json(result))).unknown_because == result.unknown_because
