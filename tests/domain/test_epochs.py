"""Epochs as trainers count them: from 0 or 1, and from the checkpoint that a run goes on from."""

from collections.abc import Iterable
from typing import Any

import pytest

from rheostat.errors import InvalidInput
from rheostat.schemas.trials import ObserveAnswer, Trial
from tests.domain.examples import ExampleJob

RHEOSTAT = {"policy": "rheostat", "max_epochs": 20}


def run(job: ExampleJob, trial: Trial, epochs: Iterable[float], *, last: float, setup: float = 0.0) -> ObserveAnswer:
    """Report epochs of 40 s and 8 kJ, of which one reaches the target."""
    for done, epoch in enumerate(epochs, start=1):
        answer = job.report(
            trial,
            epoch,
            metric=0.95 if epoch == last else 0.5 + 0.01 * epoch,
            energy_joules=8000.0 * done,
            time_seconds=40.0 * done + setup,
        )
        if answer.action == "stop":
            break
    return answer


def test_a_trainer_that_counts_from_0_has_run_one_epoch_more_than_it_says() -> None:
    job = ExampleJob()
    trial = job.predict()
    assert run(job, trial, range(10), last=3).state == "converged"
    detail = job.show(trial)
    assert (detail.epochs, detail.epochs_run, detail.time_seconds) == (4, 4, 160)


def test_a_trainer_that_counts_from_0_uses_up_its_epochs() -> None:
    job = ExampleJob(max_epochs=3)
    trial = job.predict()
    assert run(job, trial, range(10), last=99).state == "failed"
    assert job.show(trial).epochs == 3


def test_a_target_that_is_reached_at_epoch_0_took_one_epoch() -> None:
    job = ExampleJob(**RHEOSTAT)
    for _ in range(3):
        trial = job.predict()
        assert run(job, trial, range(10), last=0).state == "converged"
        assert job.show(trial).epochs == 1
    epochs = job.arms()[32].epochs
    assert epochs is not None
    assert epochs > 0.9


def test_a_trainer_that_ends_after_its_epoch_0_has_run_one_epoch() -> None:
    job = ExampleJob()
    trial = job.predict()
    run(job, trial, [0], last=99)
    assert job.report(trial, 0, time_seconds=41.0, outcome="failed").state == "failed"
    assert job.show(trial).epochs == 1


def test_an_evaluation_before_training_is_no_epoch() -> None:
    job = ExampleJob()
    trial = job.predict()
    assert job.report(trial, 0, metric=0.1, energy_joules=100.0, time_seconds=2.0).state == "running"
    assert run(job, trial, range(1, 10), last=2, setup=2.0).state == "converged"
    assert job.show(trial).epochs == 2


def test_a_target_that_is_met_before_training_ends_no_run() -> None:
    job = ExampleJob(**RHEOSTAT)
    run(job, job.predict(), range(1, 10), last=3)
    trial = job.predict()
    assert job.report(trial, 0, metric=0.95, energy_joules=100.0, time_seconds=1.0).state == "running"
    assert job.report(trial, 1, metric=0.95, energy_joules=8100.0, time_seconds=41.0).state == "converged"
    assert job.show(trial).epochs == 1
    assert job.report(job.predict(), 0, metric=0.95).state == "running"


def test_a_repeated_report_of_epoch_0_counts_once() -> None:
    job = ExampleJob()
    trial = job.predict()
    figures: dict[str, Any] = {"metric": 0.95, "energy_joules": 8000.0, "time_seconds": 40.0}
    assert job.report(trial, 0, **figures) == job.report(trial, 0, **figures)
    assert job.show(trial).epochs == 1


@pytest.mark.parametrize("said", ["predict", "observe", "not"])
def test_a_run_that_begins_at_a_later_epoch_pays_for_those_that_it_runs(said: str) -> None:
    job = ExampleJob(**RHEOSTAT)
    whole = job.predict()
    run(job, whole, range(1, 11), last=10)
    known = job.arms()[32]
    trial = job.predict(started_at_epoch=6.0 if said == "predict" else None)
    figures: dict[str, Any] = {"started_at_epoch": 6.0} if said == "observe" else {}
    for done, epoch in enumerate(range(7, 11), start=1):
        metric = 0.95 if epoch == 10 else 0.8
        job.report(trial, epoch, metric=metric, energy_joules=8000.0 * done, time_seconds=40.0 * done, **figures)
    detail = job.show(trial)
    assert (detail.state, detail.epochs, detail.epochs_run) == ("converged", 10, 4)
    arm = job.arms()[trial.batch_size]
    assert known.epoch_cost is not None
    assert arm.epoch_cost == pytest.approx(known.epoch_cost, rel=0.1)
    # It says what an epoch costs, and not how many the batch size needs.
    assert arm.runs == (1 if trial.batch_size == 32 else 0)


def test_a_run_that_evaluates_every_few_epochs_has_run_them_all() -> None:
    job = ExampleJob(max_epochs=50)
    trial = job.predict()
    for epoch in (5, 10, 15):
        job.report(trial, epoch, metric=0.5, energy_joules=8000.0 * epoch, time_seconds=40.0 * epoch)
    assert job.show(trial).epochs_run == 15


def test_a_run_that_evaluates_late_and_then_every_epoch_has_run_them_all() -> None:
    job = ExampleJob(max_epochs=50)
    trial = job.predict()
    for epoch in (10, 11, 12):
        job.report(trial, epoch, metric=0.5, energy_joules=8000.0 * epoch, time_seconds=40.0 * epoch)
    assert job.show(trial).epochs_run == 12


def test_a_run_that_begins_at_its_last_epoch_is_known_by_what_that_costs() -> None:
    job = ExampleJob(**RHEOSTAT, batch_sizes=[32], default_batch_size=32)
    run(job, job.predict(), range(1, 11), last=10)
    trial = job.predict()
    assert job.report(trial, 10, metric=0.95, energy_joules=8000.0, time_seconds=40.0).state == "converged"
    assert job.show(trial).epochs_run == 1
    assert job.arms()[32].runs == 1


def test_a_part_of_a_training_does_not_become_the_lowest_cost() -> None:
    job = ExampleJob(max_epochs=20)
    run(job, job.predict(started_at_epoch=9), [10], last=10)
    trial = job.predict()
    assert run(job, trial, range(1, 11), last=10).state == "converged"


def test_a_part_of_a_training_is_not_stopped_for_its_cost() -> None:
    job = ExampleJob()
    job.converge(job.predict(), 100.0)
    trial = job.predict(started_at_epoch=6)
    assert job.report(trial, 7, metric=0.5, energy_joules=1e6, time_seconds=1e4).state == "running"


def test_a_part_of_a_training_closes_what_its_memory_does_not_hold() -> None:
    job = ExampleJob()
    trial = job.predict(started_at_epoch=6)
    job.report(trial, 6, outcome="oom")
    assert job.predict().batch_size < trial.batch_size


def test_a_trainer_cannot_begin_after_the_epoch_that_it_reports() -> None:
    job = ExampleJob()
    with pytest.raises(InvalidInput) as refused:
        job.report(job.predict(), 3, metric=0.5, started_at_epoch=5.0)
    assert [field.field for field in refused.value.fields] == ["started_at_epoch"]


def test_a_rebuild_finds_the_same_of_parts_and_restarts() -> None:
    job = ExampleJob(**RHEOSTAT)
    run(job, job.predict(), range(10), last=3)
    run(job, job.predict(started_at_epoch=6), range(7, 11), last=10)
    before = job.value.states
    job.rebuild()
    assert job.value.states == before
