"""Runs that go on from a checkpoint, against a real server: with the same key, or as another trial."""

import logging
from contextlib import suppress

import pytest

from rheostat import Client, JobSettings, RunningTrial, Target
from rheostat.errors import ServerRefused
from rheostat.schemas.trials import TrialDetail
from rheostat.sdk.spool import spool_directory, spool_files
from tests.sdk.examples import GPU

SETTINGS = JobSettings(
    batch_sizes=[32, 64],
    default_batch_size=64,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
    max_epochs=30,
    seed=1,
)


def epochs(trial: RunningTrial, first: int, last: int, *, numbered: bool = True) -> None:
    """Report epochs of 100 J and 1 s, of which the tenth reaches the target."""
    for done, epoch in enumerate(range(first, last + 1), start=1):
        metric = 0.95 if epoch == 10 else 0.05 * epoch
        number = epoch if numbered else None
        if trial.report(metric, epoch=number, energy_joules=100.0 * done, time_seconds=done) == "stop":
            return


def only_trial(client: Client, job: str) -> TrialDetail:
    (trial,) = client.list_trials(job).trials
    return trial


class Preempted(BaseException):
    """As a signal ends a process."""


def be_preempted(client: Client, job: str, *, numbered: bool = True) -> None:
    """Run six epochs, and end as a process that was preempted."""
    with suppress(Preempted), client.trial(job, SETTINGS, GPU, idempotency_key="night-1") as trial:
        epochs(trial, 1, 6, numbered=numbered)
        raise Preempted


@pytest.mark.parametrize("numbered", [True, False])
def test_a_restart_with_the_same_key_goes_on(client: Client, job: str, numbered: bool) -> None:
    be_preempted(client, job, numbered=numbered)
    with client.trial(job, SETTINGS, GPU, idempotency_key="night-1") as trial:
        assert trial.progress is not None
        assert trial.progress.epoch == 6
        epochs(trial, 7, 10, numbered=numbered)
    seen = only_trial(client, job)
    assert (seen.state, seen.epochs, seen.epochs_run) == ("converged", 10, 10)
    assert (seen.time_seconds, seen.energy_joules) == (10, 1000)


def test_a_restart_from_scratch_pays_for_what_it_runs_again(client: Client, job: str) -> None:
    be_preempted(client, job)
    with client.trial(job, SETTINGS, GPU, idempotency_key="night-1") as trial:
        epochs(trial, 1, 10)
    seen = only_trial(client, job)
    assert (seen.state, seen.epochs, seen.epochs_run, seen.time_seconds) == ("converged", 10, 16, 16)


def test_a_run_can_go_on_as_another_trial(client: Client, job: str) -> None:
    with client.trial(job, SETTINGS, GPU, idempotency_key="night-1") as trial:
        epochs(trial, 1, 6)
        with client.trial(job, SETTINGS, GPU, resumes="night-1") as later:
            assert later.batch_size == trial.batch_size
            epochs(later, 7, 10)
    second, first = client.list_trials(job).trials
    assert (first.state, first.state_reason) == ("cancelled", "goes on as trial 2")
    assert (second.state, second.resumes, second.epochs_run, second.time_seconds) == (
        "converged",
        first.trial_id,
        10,
        10,
    )


def test_a_checkpoint_of_a_run_that_is_no_trial_is_not_paid_for(client: Client, job: str) -> None:
    with client.trial(job, SETTINGS, GPU, started_at_epoch=6) as trial:
        epochs(trial, 7, 10, numbered=False)
    seen = only_trial(client, job)
    assert (seen.state, seen.epochs, seen.epochs_run, seen.warning) == ("converged", 10, 4, None)


def test_a_trainer_may_find_out_late_where_it_goes_on(client: Client, job: str) -> None:
    with client.trial(job, SETTINGS, GPU) as trial:
        trial.resumed_at(9)
        epochs(trial, 10, 10)
    assert only_trial(client, job).epochs_run == 1


def test_a_trainer_that_counts_from_0_is_told_once(client: Client, job: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rheostat"), client.trial(job, SETTINGS, GPU) as trial:
        for epoch in range(4):
            trial.report(0.5, epoch=epoch, time_seconds=1.0 + epoch)
    assert caplog.text.count("counts its epochs from 0") == 1
    assert only_trial(client, job).epochs == 4


def test_a_run_cannot_go_on_from_a_trial_that_the_server_does_not_know(client: Client, job: str) -> None:
    with pytest.raises(ServerRefused, match="no trial 'night-0'"), client.trial(job, SETTINGS, GPU, resumes="night-0"):
        pass


def test_what_a_part_of_a_training_cost_is_not_recorded_as_a_run(job: str) -> None:
    with (
        Client("http://127.0.0.1:1", retry_for_seconds=0.0) as away,
        away.trial(job, SETTINGS, GPU, started_at_epoch=9) as trial,
    ):
        epochs(trial, 10, 10)
    assert not spool_files(spool_directory())


def test_a_trainer_may_count_in_steps(client: Client, job: str) -> None:
    with client.trial(job, SETTINGS, GPU, examples_per_epoch=6400) as trial:
        trial.report(0.5, step=50)
        trial.report(0.95, step=250)
    assert only_trial(client, job).epochs == 2.5


def test_a_trainer_of_steps_knows_an_epoch_by_its_loader(client: Client, job: str) -> None:
    with client.trial(job, SETTINGS, GPU) as trial:
        done = sum(1 for _ in trial.steps([0] * 40))
        trial.report(0.95, step=done)
    assert only_trial(client, job).epochs == 1
