"""`rheostat run` around a command that goes on from its checkpoint."""

import pytest

from rheostat import Client
from tests.launch.runs import GPU, SETTINGS, WITHOUT_BOUND, ended
from tests.sdk.server_process import ServerProcess

PATTERN = ("--target", "accuracy>=0.9", "--metric-pattern", "epoch {epoch} acc={metric}")
WITHOUT_EPOCH = ("--target", "accuracy>=0.9", "--metric-pattern", "acc={metric}")
OPTIONS = (*SETTINGS, *GPU, *WITHOUT_BOUND)

# Arguments: first and last epoch, how it ends, and how long an epoch takes.
EPOCHS = """
epoch=$1
while [ $epoch -le $2 ]; do
  sleep ${4:-0.2}
  if [ $epoch -ge 6 ]; then echo "epoch $epoch acc=0.95"; else echo "epoch $epoch acc=0.$epoch"; fi
  epoch=$((epoch+1))
done
sleep 0.3
exit $3
"""


@pytest.mark.parametrize("pattern", [PATTERN, WITHOUT_EPOCH])
def test_a_restart_with_the_same_key_goes_on(
    server: ServerProcess, client: Client, job: str, pattern: tuple[str, ...]
) -> None:
    options = (*OPTIONS, *pattern, "--key", "night-1")
    ended(server.url, job, EPOCHS, *options, arguments=("1", "3", "9"))
    (first,) = client.list_trials(job).trials
    assert (first.state, first.epochs) == ("cancelled", 3)
    ended(server.url, job, EPOCHS, *options, arguments=("4", "6", "0"))
    (both,) = client.list_trials(job).trials
    assert (both.state, both.epochs, both.epochs_run) == ("converged", 6, 6)
    assert first.time_seconds is not None
    assert both.time_seconds is not None
    assert both.time_seconds > first.time_seconds + 0.5


def test_a_restart_from_scratch_pays_for_what_it_runs_again(server: ServerProcess, client: Client, job: str) -> None:
    options = (*OPTIONS, *PATTERN, "--key", "night-1")
    for last, code in (("3", "9"), ("6", "0")):
        ended(server.url, job, EPOCHS, *options, arguments=("1", last, code))
    (trial,) = client.list_trials(job).trials
    assert (trial.state, trial.epochs, trial.epochs_run) == ("converged", 6, 9)


def test_a_run_goes_on_from_the_one_of_another_key(server: ServerProcess, client: Client, job: str) -> None:
    options = (*OPTIONS, *PATTERN)
    ended(server.url, job, EPOCHS, *options, "--key", "night-1", arguments=("1", "3", "9"))
    ended(server.url, job, EPOCHS, *options, "--key", "night-2", "--resume-key", "night-1", arguments=("4", "6", "0"))
    second, first = client.list_trials(job).trials
    assert (first.state, first.state_reason) == ("cancelled", "goes on as trial 2")
    assert (second.state, second.epochs_run, second.batch_size) == ("converged", 6, first.batch_size)


def test_a_command_that_begins_at_a_later_epoch_is_found_out(server: ServerProcess, client: Client, job: str) -> None:
    # Its start, which counts as a part of its first epoch, must take less than two epochs on a busy machine, too.
    run = ended(server.url, job, EPOCHS, *OPTIONS, *PATTERN, arguments=("4", "6", "0", "0.8"))
    (trial,) = client.list_trials(job).trials
    assert (trial.state, trial.epochs, trial.epochs_run) == ("converged", 6, 3)
    assert run.err.count("began at epoch 3") == 1
