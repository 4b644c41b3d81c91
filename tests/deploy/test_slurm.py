"""Slurm's prolog and epilog, run as slurmd would, with a real agent over the fake NVML."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.agent.agents import Agent, Trainer, as_privileged
from tests.nvml.fake import UNKNOWN, Call, FakeNvml
from tests.waiting import PATIENCE_SECONDS, eventually

SLURM = Path(__file__).parents[2] / "deploy" / "slurm"
LOGGER = '#!/bin/sh\nprintf "%s\\n" "$*" >>"$SAID"\n'

Script = Callable[..., str]


@pytest.fixture(scope="module")
def module_agent(fake_library: Path) -> Iterator[Agent]:
    with TemporaryDirectory(prefix="rheostat-") as name:
        fake = FakeNvml(fake_library, Path(name) / "gpus")
        with Agent(fake, Path(name)) as agent:
            yield agent
        fake.close()


@pytest.fixture
def agent(module_agent: Agent) -> Iterator[Agent]:
    """A running agent with free GPUs, shared by the tests."""
    if module_agent.ended:
        module_agent.start()
    yield module_agent
    for gpu in module_agent.fake.gpus:
        gpu.heal()
    if not module_agent.ended:
        eventually(lambda: all(gpu["state"] == "free" for gpu in module_agent.ask("GET", "/v1/gpus")["gpus"]))


@pytest.fixture
def trainers(agent: Agent) -> Iterator[list[Trainer]]:
    """Trainers of two jobs, one on each GPU, limited to 200 W."""
    trainers = [Trainer(agent, [200], gpus=(index,)) for index in (0, 1)]
    for trainer in trainers:
        trainer.wait_ready()
    yield trainers
    for trainer in trainers:
        trainer.close()


@pytest.fixture
def script(agent: Agent, tmp_path: Path) -> Script:
    """Runs a script, which must succeed; returns what it wrote to the node's log."""
    logger, said = tmp_path / "logger", tmp_path / "said"
    logger.write_text(LOGGER)
    logger.chmod(0o755)

    def run(name: str, gpus: str = "0", **environment: str) -> str:
        said.write_text("")
        settings = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SAID": str(said),
            "RHEOSTAT": str(Path(sys.executable).parent / "rheostat"),
            "RHEOSTAT_AGENT_DIR": str(agent.directory),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_GPUS": gpus,
        }
        done = subprocess.run(
            [SLURM / name],
            env={**agent.fake.environment(), **settings, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return said.read_text()

    return run


@as_privileged
def test_the_prolog_logs_nothing_when_the_agent_is_ready(script: Script) -> None:
    assert script("prolog.sh") == ""


@pytest.mark.parametrize("name", ["prolog.sh", "epilog.sh"])
def test_a_job_without_gpus_is_not_kept_waiting(script: Script, name: str) -> None:
    assert script(name, gpus="", RHEOSTAT="/not/there") == ""


def test_without_an_agent_the_prolog_restores_the_limits_of_exited_processes_and_lets_the_job_run(
    agent: Agent, trainers: list[Trainer], script: Script
) -> None:
    agent.kill()
    trainers[0].close()
    assert "job 7: the agent is not ready: No agent answers" in script("prolog.sh")
    assert [gpu.limit_watts for gpu in agent.fake.gpus] == [300, 200]


def test_a_node_without_the_command_is_not_drained(script: Script) -> None:
    assert "not ready" in script("prolog.sh", RHEOSTAT="/not/there")
    assert "not every limit is restored" in script("epilog.sh", RHEOSTAT="/not/there", RHEOSTAT_PATIENCE_SECONDS="1")


@pytest.mark.parametrize("by_uuid", [False, True])
def test_after_the_epilog_the_jobs_limits_are_restored_and_another_jobs_are_kept(
    agent: Agent, trainers: list[Trainer], script: Script, *, by_uuid: bool
) -> None:
    trainers[0].kill()
    assert script("epilog.sh", gpus=agent.fake.gpus[0].uuid if by_uuid else "0") == ""
    assert [gpu.limit_watts for gpu in agent.fake.gpus] == [300, 200]
    assert agent.ask("GET", "/v1/gpus")["gpus"][1]["state"] == "verified"


def test_without_an_agent_the_epilog_restores_the_jobs_limits_and_keeps_another_jobs(
    agent: Agent, trainers: list[Trainer], script: Script
) -> None:
    agent.kill()
    trainers[0].close()
    assert script("epilog.sh") == ""
    assert [gpu.limit_watts for gpu in agent.fake.gpus] == [300, 200]
    assert agent.entries() == [agent.fake.gpus[1].uuid]
    agent.start()
    trainers[1].kill()
    eventually(lambda: agent.fake.gpus[1].limit_watts == 300)


def test_the_epilog_waits_for_a_limit_that_cannot_be_restored_at_once(
    agent: Agent, trainers: list[Trainer], script: Script
) -> None:
    agent.fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN, times=4)
    trainers[0].kill()
    assert script("epilog.sh", RHEOSTAT_PATIENCE_SECONDS="30") == ""
    assert agent.fake.gpus[0].limit_watts == 300


def test_the_epilog_logs_which_gpu_is_not_restored(agent: Agent, trainers: list[Trainer], script: Script) -> None:
    agent.fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN)
    trainers[0].kill()
    eventually(lambda: agent.ask("GET", "/v1/gpus")["gpus"][0]["state"] == "restore_failed")
    said = script("epilog.sh", gpus="0,1", RHEOSTAT_PATIENCE_SECONDS="1")
    assert "not every limit is restored: GPU 0 is restore_failed at 200 W (found: 300 W)." in said
    assert "GPU 1" not in said
