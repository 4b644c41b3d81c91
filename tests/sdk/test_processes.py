"""A trial and the other processes of its trainer: forked children, spawned ranks, copies."""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rheostat import Client, PowerLimitMeasurement, RunningTrial
from rheostat.sdk.node_agent import NodeAgent
from tests.agent.agents import Agent, as_privileged
from tests.nvml.fake import FakeNvml
from tests.sdk.examples import GOES_ON, GPU, JOB, SETTINGS, TRIAL
from tests.sdk.scripted_server import Reply, ScriptedServer, Seen
from tests.waiting import PATIENCE_SECONDS


def answer(seen: Seen) -> Reply:
    if seen.method == "PUT":
        return Reply(200, JOB)
    return Reply(201, TRIAL) if seen.path.endswith("/predict") else Reply(200, GOES_ON)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as server:
        yield server


def outcomes(server: ScriptedServer) -> list[str | None]:
    """The outcomes of the reports that arrived, in order."""
    return [seen.body.get("outcome") for seen in server.seen if seen.path.endswith("/observe")]


def run_python(program: str, **environment: str) -> None:
    """Run a trainer in a process of its own."""
    environment = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


FORKING = """
import os, sys
from rheostat import Client, Gpu, JobSettings
settings = JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=5)
gpu = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)
with Client(os.environ["SERVER"]) as client:
    with client.trial("nightly", settings, gpu, gpus=NAMED) as trial:
        trial.report(0.1)
        trial.limit_power(150)
        if (child := os.fork()) == 0:
            assert trial.report(0.7) == "continue"
            assert trial.measured([]) is None and trial.energy_joules() is None
            trial.release_gpus()
            CHILD
        assert os.waitpid(child, 0)[1] == 0
        AFTER
        trial.report(0.2)
"""


def test_a_forked_child_reports_nothing(server: ScriptedServer) -> None:
    program = FORKING.replace("NAMED", "None").replace("CHILD", "sys.exit(0)").replace("AFTER", "pass")
    run_python(program, SERVER=server.url)
    metrics = [seen.body["metric"] for seen in server.seen if seen.path.endswith("/observe")]
    assert metrics == [0.1, 0.2, None]
    assert outcomes(server) == [None, None, "failed"]


@as_privileged
def test_a_forked_child_does_not_end_the_lease(fake: FakeNvml, tmp_path: Path, server: ScriptedServer) -> None:
    after = "assert [gpu.power_limit_watts for gpu in trial._agent.gpus()][0] == 150"
    program = FORKING.replace("NAMED", "[0]").replace("CHILD", "sys.exit(0)").replace("AFTER", after)
    with Agent(fake, tmp_path) as agent:
        agent.start()
        run_python(program, SERVER=server.url, RHEOSTAT_AGENT_DIR=str(agent.directory))
    assert fake.gpus[0].limit_watts == 300


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda trial: pickle.loads(pickle.dumps(trial))])
def test_a_trial_that_is_sent_to_another_process_before_it_begins_runs_there(
    server: ScriptedServer, copied: Callable[[RunningTrial], RunningTrial]
) -> None:
    with Client(server.url) as client, NodeAgent() as node:
        trial = copied(client.trial("nightly", SETTINGS, GPU, node_agent=node))
        with trial:
            assert trial.trial_id == TRIAL.trial_id
            trial.report(0.1)
    assert outcomes(server) == [None, "failed"]


def test_a_copy_of_a_running_trial_has_its_values_and_does_nothing(server: ScriptedServer) -> None:
    with Client(server.url) as client, client.trial("nightly", SETTINGS, GPU) as trial:
        trial.report(0.1)
        copied = pickle.loads(pickle.dumps(trial))
        assert (copied.batch_size, copied.trial_id, copied.rank) == (trial.batch_size, trial.trial_id, 0)
        assert copied.report(0.9) == "continue"
        assert copied.measured([PowerLimitMeasurement(power_limit_watts=250, cost=1.0)]) is None
        assert not copied.limit_power(150)
        assert list(copied.steps(range(3))) == [0, 1, 2]
        copied.__exit__(None, None, None)
        assert outcomes(server) == [None]
    assert outcomes(server) == [None, "failed"]
