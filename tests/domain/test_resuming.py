"""Trials that go on: in another process with the same key, or as another trial from a checkpoint."""

import pytest

from rheostat.errors import InvalidInput, ReportContradicts
from rheostat.schemas.trials import Trial, TrialProgress
from tests.domain.examples import A40, LEASE, V100, ExampleJob


def epochs(job: ExampleJob, trial: Trial, first: int, last: int, *, before: float = 0.0, target: int = 10) -> str:
    """Report epochs of 100 J and 1 s after what other processes used; return the trial's state."""
    for done, epoch in enumerate(range(first, last + 1), start=1):
        metric = 0.95 if epoch == target else 0.05 * epoch
        total = before + done
        state = job.report(trial, epoch, metric=metric, energy_joules=100.0 * total, time_seconds=total).state
    return state


def test_a_trial_that_is_asked_for_again_says_what_was_reported() -> None:
    job = ExampleJob()
    trial = job.predict(key="night-1")
    assert trial.progress is None
    epochs(job, trial, 1, 6)
    again = job.predict(key="night-1")
    assert again.trial_id == trial.trial_id
    assert again.progress == TrialProgress(epoch=6, metric=0.05 * 6, energy_joules=600.0, time_seconds=6.0)


def test_a_trial_that_goes_on_from_its_checkpoint_counts_whole() -> None:
    job = ExampleJob()
    trial = job.predict(key="night-1")
    epochs(job, trial, 1, 6)
    job.predict(key="night-1")
    assert epochs(job, trial, 7, 10, before=6) == "converged"
    detail = job.show(trial)
    assert (detail.epochs, detail.epochs_run, detail.time_seconds, detail.energy_joules) == (10, 10, 10, 1000)


@pytest.mark.parametrize("checkpoint", [0, 4])
def test_epochs_that_are_run_again_are_paid_and_not_needed(checkpoint: int) -> None:
    job = ExampleJob(policy="rheostat", max_epochs=20)
    trial = job.predict(key="night-1")
    epochs(job, trial, 1, 6)
    job.predict(key="night-1")
    assert epochs(job, trial, checkpoint + 1, 10, before=6) == "converged"
    detail = job.show(trial)
    again = 6 - checkpoint
    assert (detail.epochs, detail.epochs_run, detail.time_seconds) == (10, 10 + again, 10 + again)
    whole = ExampleJob(policy="rheostat", max_epochs=20)
    epochs(whole, whole.predict(), 1, 10)
    assert job.arms()[32].epoch_cost == pytest.approx(whole.arms()[32].epoch_cost)
    assert job.arms()[32].epochs == pytest.approx(whole.arms()[32].epochs)


def test_a_report_of_before_the_restart_may_come_again() -> None:
    job = ExampleJob()
    trial = job.predict(key="night-1")
    first = job.report(trial, 1, metric=0.1, energy_joules=100.0, time_seconds=1.0)
    epochs(job, trial, 2, 6, before=1)
    job.predict(key="night-1")
    assert job.report(trial, 1, metric=0.1, energy_joules=100.0, time_seconds=1.0) == first
    assert epochs(job, trial, 1, 10, before=6) == "converged"
    assert job.show(trial).epochs_run == 16
    with pytest.raises(ReportContradicts):
        job.report(trial, 1, metric=0.3, energy_joules=100.0, time_seconds=1.0)


def test_a_trial_can_be_restarted_several_times() -> None:
    job = ExampleJob()
    trial = job.predict(key="night-1")
    for before in (0, 2, 4):
        job.predict(key="night-1")
        epochs(job, trial, 1, 2, before=before)
        job.report(trial, 2, time_seconds=before + 2.0, outcome="cancelled")
        assert job.show(trial).state == "cancelled"
    again = job.predict(key="night-1")
    assert again.progress is not None
    assert (again.progress.epoch, again.progress.time_seconds) == (2, 6)
    assert epochs(job, trial, 3, 10, before=6) == "converged"
    assert (job.show(trial).epochs_run, job.show(trial).time_seconds) == (14, 14)


def test_processes_that_end_at_the_same_epoch_each_have_their_end() -> None:
    job = ExampleJob()
    trial = job.predict(key="night-1")
    epochs(job, trial, 1, 2)
    for seconds in (3.0, 4.0, 5.0):
        job.predict(key="night-1")
        ended = job.report(trial, 2, time_seconds=seconds, outcome="cancelled")
        assert job.report(trial, 2, time_seconds=seconds, outcome="cancelled") == ended
    assert job.show(trial).time_seconds == 5.0


def test_a_trial_that_was_cancelled_or_abandoned_goes_on_when_it_is_asked_for_again() -> None:
    job = ExampleJob()
    trial = job.predict(key="night-1")
    epochs(job, trial, 1, 2)
    job.clock.turn(2 * LEASE)
    job.predict(key="another")
    assert job.show(trial).state == "abandoned"
    job.predict(key="night-1")
    assert (job.show(trial).state, job.show(trial).lease_expires_at) == ("running", job.clock() + LEASE)
    assert list(job.value.running) == [trial.trial_id, "".rjust(31, "0") + "2"]


def test_a_trial_that_has_ended_is_not_begun_again_by_its_key() -> None:
    job = ExampleJob()
    trial = job.predict(key="night-1")
    epochs(job, trial, 1, 10)
    before = job.value
    job.predict(key="night-1")
    assert job.value is before
    assert job.show(trial).state == "converged"


def test_an_estimated_energy_is_not_carried_on_as_if_it_were_metered() -> None:
    job = ExampleJob()
    epochs(job, job.predict(), 1, 10)
    trial = job.predict(key="night-1")
    job.report(trial, 1, metric=0.1, time_seconds=2.0)
    progress = job.predict(key="night-1").progress
    assert progress is not None
    assert (progress.energy_joules, progress.time_seconds) == (None, 2.0)


def test_a_new_trial_carries_on_the_totals_of_the_one_that_it_resumes() -> None:
    job = ExampleJob()
    first = job.predict(key="night-1")
    epochs(job, first, 1, 6)
    second = job.predict(key="night-2", resumes=first.trial_id)
    assert (second.batch_size, second.progress) == (first.batch_size, job.predict(key="night-1").progress)
    assert second.reason == "as trial 1, which it goes on from at epoch 6"
    assert (job.show(first).state, job.show(first).state_reason) == ("cancelled", "goes on as trial 2")
    assert epochs(job, second, 7, 10, before=6) == "converged"
    assert (job.show(second).epochs_run, job.show(second).resumes) == (10, first.trial_id)
    saved = job.savings()
    assert (saved.time_seconds.actual, saved.converged_runs) == (10.0, 1)


def test_a_chain_of_resumed_trials_goes_on_from_the_latest() -> None:
    job = ExampleJob()
    first = job.predict()
    epochs(job, first, 1, 3)
    second = job.predict(resumes=first.trial_id)
    epochs(job, second, 4, 6, before=3)
    third = job.predict(resumes=first.trial_id)
    assert job.show(third).resumes == second.trial_id
    assert third.progress is not None
    assert third.progress.time_seconds == 6.0
    epochs(job, third, 7, 10, before=6)
    assert job.savings().time_seconds.actual == 10.0


def test_a_trial_that_resumes_one_on_other_gpus_pays_for_its_own_epochs() -> None:
    job = ExampleJob()
    first = job.predict()
    epochs(job, first, 1, 6)
    second = job.predict(A40, resumes=first.trial_id)
    assert (second.batch_size, second.progress) == (first.batch_size, None)
    assert job.show(first).state == "cancelled"
    assert epochs(job, second, 7, 10) == "converged"
    assert (job.show(second).epochs_run, job.show(second).time_seconds) == (4, 4)


def test_a_trial_that_resumes_one_that_has_ended_pays_for_its_own_epochs() -> None:
    job = ExampleJob()
    first = job.predict(V100)
    epochs(job, first, 1, 10)
    second = job.predict(resumes=first.trial_id)
    assert (second.progress, job.show(first).state) == (None, "converged")
    assert epochs(job, second, 11, 12, target=12) == "failed"  # the job's epochs are used up
    assert job.show(second).epochs_run == 1


def test_a_trial_that_resumes_one_without_a_report_begins_anew() -> None:
    job = ExampleJob()
    first = job.predict()
    second = job.predict(resumes=first.trial_id)
    assert (second.progress, job.show(second).resumes, job.show(first).state) == (None, None, "cancelled")


def test_only_a_trial_of_the_job_can_be_resumed() -> None:
    job = ExampleJob()
    with pytest.raises(InvalidInput) as refused:
        job.predict(resumes="f" * 32)
    assert [field.field for field in refused.value.fields] == ["resumes"]


def test_a_rebuild_finds_the_same_of_restarted_and_resumed_trials() -> None:
    job = ExampleJob(policy="rheostat", max_epochs=20)
    first = job.predict(key="night-1")
    epochs(job, first, 1, 4)
    job.predict(key="night-1")
    epochs(job, first, 1, 6, before=4)
    second = job.predict(resumes=first.trial_id)
    epochs(job, second, 7, 10, before=10)
    assert job.show(second).epochs_run == 14
    before = job.value.states
    job.rebuild()
    assert job.value.states == before
