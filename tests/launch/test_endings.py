"""A run that ends in the same way teaches the same, whether its trainer uses the SDK or `rheostat run` wraps it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rheostat import Client, Gpu, JobSettings, Target
from rheostat.schemas.trials import TrialDetail
from tests.launch.runs import OPTIONS, ended
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS, eventually

SETTINGS = JobSettings(
    batch_sizes=[32, 64, 128],
    default_batch_size=64,
    max_epochs=10,
    beta_knob=None,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
)
MODEL = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)
TRAINER = """
import os, sys, time
from rheostat import Client
from tests.launch.test_endings import MODEL, SETTINGS
with Client(sys.argv[1]) as client, client.trial(sys.argv[2], SETTINGS, MODEL) as trial:
    trial.report(0.1)
    os.kill(os.getpid(), int(sys.argv[3]))
    time.sleep(60)
"""


@dataclass(frozen=True)
class Ending:
    """How a run ends, as a trainer and as a command; the trial's state; whether it says something of the batch size."""

    metrics: tuple[float, ...]
    error: BaseException | None
    script: str
    state: str
    is_learnt_from: bool


ENDINGS = {
    "at the target": Ending((0.1, 0.95), None, "", "converged", True),
    "at its last epoch": Ending((0.1,) * 10, None, "", "failed", True),
    "by itself before both": Ending((0.1,), None, "", "failed", True),
    "by itself before it reported": Ending((), None, "", "cancelled", False),
    "with exit code 0": Ending((0.1,), SystemExit(0), "exit 0", "failed", True),
    "with exit code 1": Ending((0.1,), SystemExit(1), "exit 1", "cancelled", False),
    "by an exception": Ending((0.1,), ValueError("a bug"), "echo 'ValueError: a bug' >&2; exit 1", "cancelled", False),
    "by Ctrl-C": Ending((0.1,), KeyboardInterrupt(), "kill -INT $$", "cancelled", False),
    "out of memory": Ending(
        (0.1,), RuntimeError("CUDA out of memory."), "echo 'RuntimeError: CUDA out of memory.'; exit 1", "oom", True
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One that soon counts a silent trial as abandoned."""
    with ServerProcess(tmp_path_factory.mktemp("server"), lease_seconds=3.0) as server:
        yield server


def trial_of(client: Client, job: str) -> TrialDetail:
    (trial,) = client.list_trials(job).trials
    return trial


def runs_counted(client: Client, job: str) -> int:
    return sum(arm.runs for placement in client.estimates(job).placements for arm in placement.arms)


def train(client: Client, job: str, ending: Ending) -> None:
    with client.trial(job, SETTINGS, MODEL) as trial:
        for metric in ending.metrics:
            if trial.report(metric) == "stop":
                break
        if ending.error is not None:
            raise ending.error


@pytest.mark.parametrize("name", ENDINGS)
def test_trainer_and_command_end_alike(server: ServerProcess, client: Client, job: str, name: str) -> None:
    ending = ENDINGS[name]
    if ending.error is None:
        train(client, f"{job}-sdk", ending)
    else:
        with pytest.raises(type(ending.error)):
            train(client, f"{job}-sdk", ending)
    script = "".join(f"echo acc={metric}; sleep 0.2; " for metric in ending.metrics)
    run = ended(server.url, f"{job}-run", f"{script}{ending.script}", *OPTIONS)
    states = {how: trial_of(client, f"{job}-{how}").state for how in ("sdk", "run")}
    assert states == {"sdk": ending.state, "run": ending.state}, run.err
    assert runs_counted(client, f"{job}-sdk") == runs_counted(client, f"{job}-run")
    assert (runs_counted(client, f"{job}-run") > 0) == ending.is_learnt_from


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_teaches_nothing(server: ServerProcess, client: Client, job: str, number: int) -> None:
    """A trainer that is killed reports no end: its trial is abandoned. A command's end is reported by who wraps it."""
    command = [sys.executable, "-c", TRAINER, server.url, f"{job}-sdk", str(int(number))]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env={**os.environ}, capture_output=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == -number, done.stderr
    ended(server.url, f"{job}-run", f"echo acc=0.1; sleep 0.2; kill -{int(number)} $$", *OPTIONS)
    eventually(lambda: trial_of(client, f"{job}-sdk").state == "abandoned")
    assert trial_of(client, f"{job}-run").state == "cancelled"
    assert [runs_counted(client, f"{job}-{how}") for how in ("sdk", "run")] == [0, 0]
