"""Surveys of a command, over the real server."""

import os
import signal
from pathlib import Path

import pytest

from rheostat import Client
from tests.launch.runs import Run, ended, gone
from tests.sdk.server_process import ServerProcess
from tests.waiting import eventually

# Where all is time, what an example costs falls with the batch size.
TRAINING = """
echo "survey=$RHEOSTAT_SURVEY size=$1" >> "$2"
[ "$RHEOSTAT_SURVEY" = 1 ] || { echo acc=0.95; exit 0; }
%s
n=0
while :; do n=$((n + 1)); echo "step $n"; sleep 0.05; done
"""
OUT_OF_MEMORY_AT_128 = '[ $1 = 128 ] && { echo "torch.OutOfMemoryError: CUDA out of memory" >&2; exit 1; }'
SETTINGS = ("--batch-sizes", "16,32,64,128", "--default-batch-size", "32", "--max-epochs", "1000", "--eta-knob", "0")
TARGET = ("--target", "accuracy>=0.9", "--metric-pattern", "acc={metric}", "--gpu", "Test GPU:100-250")
OPTIONS = (*SETTINGS, *TARGET, "--stop-grace", "0.5")
BY_STEPS = ("--step-pattern", "step {step}")


def starts(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_the_command_is_surveyed_once_and_then_runs_at_the_cheapest_batch_size_that_fits(
    server: ServerProcess, client: Client, job: str, tmp_path: Path
) -> None:
    log, script = tmp_path / "log", TRAINING % OUT_OF_MEMORY_AT_128
    run = ended(server.url, job, script, *OPTIONS, *BY_STEPS, arguments=("{batch_size}", str(log)))
    assert run.code == 0, run.err
    *surveyed, own = starts(log)
    assert surveyed[0] == "survey=1 size=32"
    assert sorted(surveyed) == [f"survey=1 size={size}" for size in (128, 16, 32, 64)]
    assert own == "survey= size=64"
    assert "survey: the command runs at batch size 32 for some seconds" in run.err
    assert "step" not in run.out
    assert client.list_trials(job).trials[0].state == "converged"
    assert ended(server.url, job, script, *OPTIONS, *BY_STEPS, arguments=("{batch_size}", str(log))).code == 0
    assert len(starts(log)) == 6


def test_a_command_that_fails_in_the_survey_runs_all_the_same(
    server: ServerProcess, client: Client, job: str, tmp_path: Path
) -> None:
    script = TRAINING % "echo no such option; exit 3"
    run = ended(server.url, job, script, *OPTIONS, *BY_STEPS, arguments=("{batch_size}", str(tmp_path / "log")))
    assert run.code == 0, run.err
    assert run.err.count("leaves out") == 1
    assert "exit code 3; its last lines were ['no such option']" in run.err
    assert client.list_trials(job).trials[0].batch_size == 32


def test_output_without_steps_is_told(server: ServerProcess, job: str, tmp_path: Path) -> None:
    options = (*OPTIONS, "--step-pattern", "iteration {step}", "--survey-seconds", "1")
    run = ended(server.url, job, TRAINING % "", *options, arguments=("{batch_size}", str(tmp_path / "log")))
    assert run.code == 0
    assert "no line of the output matched --step-pattern 'iteration {step}'; the last ones were ['step" in run.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_survey_and_all_that_it_started(
    server: ServerProcess, client: Client, job: str, tmp_path: Path, number: signal.Signals
) -> None:
    pids = tmp_path / "pids"
    script = TRAINING % f"sleep 100 & echo $$ $! > {pids}.new; mv {pids}.new {pids}"
    with Run(server.url, job, script, *OPTIONS, *BY_STEPS, arguments=("{batch_size}", str(tmp_path / "log"))) as run:
        eventually(pids.exists)
        os.kill(run.pid, number)
        assert run.code == 128 + number
    eventually(lambda: all(gone(int(pid)) for pid in pids.read_text().split()))
    assert client.list_trials(job).trials == []
