"""The examples that need a framework run as they stand, and reach their targets on real data."""

import re
import runpy
import sys
from collections.abc import Sequence
from contextlib import suppress

import pytest

from rheostat import Client
from rheostat.errors import ServerRefused
from rheostat.schemas.control import OrderRequest
from tests.examples.runs import EXAMPLES, NOWHERE, run_example
from tests.sdk.server_process import ServerProcess

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def run_to_a_good_end(name: str, url: str, *arguments: str, launcher: Sequence[str] = ()) -> str:
    """Run an example and return what it printed."""
    ran = run_example(sys.executable, *launcher, name, *arguments, url=url)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    ("name", "job_id", "launcher"),
    [
        ("huggingface_trainer.py", "huggingface-digits", ()),
        ("lightning_module.py", "lightning-digits", ()),
        ("two_processes.py", "two-processes", TORCHRUN),
    ],
)
def test_a_run_reaches_its_target_with_the_batch_size_that_the_server_chose(
    server: ServerProcess, client: Client, name: str, job_id: str, launcher: tuple[str, ...]
) -> None:
    printed = run_to_a_good_end(name, server.url, launcher=launcher)
    (trial,) = client.list_trials(job_id).trials
    assert trial.state == "converged"
    assert f"batch size {trial.batch_size}" in printed
    assert trial.reason in printed


def test_a_job_recurs_and_each_run_prints_what_it_took(server: ServerProcess, client: Client) -> None:
    stdout = run_to_a_good_end("pytorch_digits.py", server.url, "--runs", "2")
    trials = client.list_trials("pytorch-digits").trials
    assert [trial.number for trial in trials] == [2, 1]
    assert trials[-1].state == "converged"
    printed = re.findall(r"run (\d) of 2: batch size (\d+): .*\n  accuracy [\d.]+ after (\d+) epochs", stdout)
    assert printed == [(str(one.number), str(one.batch_size), f"{one.epochs:g}") for one in reversed(trials)]
    assert f"{server.url}/jobs/pytorch-digits" in stdout


def test_the_batch_size_changes_how_many_epochs_the_target_takes(server: ServerProcess, client: Client) -> None:
    """Real training: three seeds of each took 5 to 6 epochs with batches of 8, and 16 to 20 with batches of 128."""
    example, epochs = runpy.run_path(str(EXAMPLES / "pytorch_digits.py")), {}
    data = example["digits"]()
    for batch_size in (8, 128):
        with suppress(ServerRefused):
            client.delete_job("pytorch-digits")
        client.register_job("pytorch-digits", example["SETTINGS"])
        client.pin_job("pytorch-digits", OrderRequest(batch_size=batch_size, reason="to compare"))
        example["train"](client, *data)
        (trial,) = client.list_trials("pytorch-digits").trials
        assert (trial.state, trial.batch_size) == ("converged", batch_size)
        epochs[batch_size] = trial.epochs or 0.0
    assert 2 <= epochs[8] < epochs[128]


def test_the_example_of_two_processes_says_how_it_is_started() -> None:
    with pytest.raises(SystemExit, match="torchrun --nproc-per-node 2"):
        runpy.run_path(str(EXAMPLES / "two_processes.py"), run_name="__main__")


def test_without_a_server_training_goes_on_with_the_default_and_says_so_in_a_line() -> None:
    ran = run_example(sys.executable, "pytorch_digits.py", url=NOWHERE)
    assert ran.returncode == 0, ran.stderr
    assert "run 1 of 1: batch size 32: the default: No answer" in ran.stdout
    (line,) = [line for line in ran.stderr.splitlines() if "without the server" in line]
    assert "rheostat serve" in line
