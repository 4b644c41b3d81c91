"""What earlier runs say of another target, or of another number of epochs."""

from typing import Any

import pytest

from rheostat.schemas.trials import Trial
from tests.domain.examples import ExampleJob

CURVE = (0.5, 0.7, 0.8, 0.92)
EPOCH_JOULES = 100.0


def train(job: ExampleJob, metrics: tuple[float, ...] = CURVE, outcome: str | None = None) -> Trial:
    trial = job.predict()
    for epoch, metric in enumerate(metrics, start=1):
        figures = {"energy_joules": EPOCH_JOULES * epoch, "time_seconds": float(epoch)}
        ended: Any = {"outcome": outcome} if outcome is not None and epoch == len(metrics) else {}
        job.report(trial, epoch, metric=metric, **figures, **ended)
    return trial


def target(value: float, **changes: Any) -> dict[str, Any]:
    return {"metric": "accuracy", "value": value, "direction": "maximize"} | changes


def epochs_and_cost(job: ExampleJob, size: int = 32) -> tuple[float | None, float | None, int]:
    arm = job.arms()[size]
    return arm.epochs, arm.cost, arm.runs


@pytest.mark.parametrize("policy", ["zeus", "rheostat"])
def test_for_an_easier_target_a_run_counts_up_to_the_evaluation_that_reached_it(policy: str) -> None:
    job, easy = ExampleJob(policy=policy, eta_knob=1.0), ExampleJob(policy=policy, eta_knob=1.0, target=target(0.75))
    train(job)
    train(easy, CURVE[:3])
    assert epochs_and_cost(job) != epochs_and_cost(easy)
    job.update(target=target(0.75))
    assert epochs_and_cost(job) == pytest.approx(epochs_and_cost(easy))
    before = job.value.states
    job.rebuild()
    assert job.value.states == before


@pytest.mark.parametrize("policy", ["zeus", "rheostat"])
def test_a_run_to_an_easier_target_says_nothing_of_a_harder_one(policy: str) -> None:
    job = ExampleJob(policy=policy)
    for _ in range(6):
        train(job)
    job.update(target=target(0.95))
    assert all(arm.runs == 0 for arm in job.arms().values())
    assert job.predict().batch_size == 32
    assert "left out" not in job.arms()[32].status


def test_a_run_that_failed_before_reaches_an_easier_target() -> None:
    job = ExampleJob(policy="rheostat")
    train(job, (0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7))
    assert job.arms()[32].epochs is None
    job.update(target=target(0.65))
    assert job.arms()[32].epochs == pytest.approx(3.0, rel=0.02)


def test_runs_of_another_metric_or_direction_say_nothing() -> None:
    job = ExampleJob(policy="rheostat")
    train(job)
    job.update(target={"metric": "loss", "value": 0.75, "direction": "minimize"})
    assert job.arms()[32].runs == 0
    job.update(target=target(0.75))
    assert job.arms()[32].runs == 0


def test_out_of_memory_stays_closed_whatever_the_target() -> None:
    job = ExampleJob()
    job.report(job.predict(), 0, outcome="oom")
    job.update(target=target(0.5))
    assert job.arms()[32].status == "closed: 32 ran out of memory"
    assert job.predict().batch_size == 16


@pytest.mark.parametrize("policy", ["zeus", "rheostat"])
def test_with_more_epochs_earlier_failures_no_longer_count(policy: str) -> None:
    job = ExampleJob(policy=policy)
    failed = train(job, (0.5,) * 10)
    assert (failed.batch_size, job.show(failed).state) == (32, "failed")
    job.update(max_epochs=20)
    assert job.arms()[32].runs == 0
    assert job.predict().batch_size == 32


def test_with_fewer_epochs_a_run_that_took_longer_has_failed() -> None:
    job = ExampleJob(policy="rheostat")
    train(job)
    job.update(max_epochs=3)
    assert job.arms()[32].epochs is None
    job.update(max_epochs=4)
    assert job.arms()[32].epochs == pytest.approx(4.0, rel=0.02)


def test_without_a_target_runs_count_that_ran_the_new_epochs() -> None:
    job = ExampleJob(policy="rheostat", target=None)
    train(job, (0.5,) * 10)
    job.update(max_epochs=5)
    assert job.arms()[32].epochs == pytest.approx(5.0, rel=0.02)
    job.update(max_epochs=20)
    assert job.arms()[32].runs == 0


def test_runs_after_the_change_count_as_they_ended() -> None:
    job = ExampleJob(policy="rheostat")
    train(job)
    job.update(target=target(0.95))
    train(job, (*CURVE, 0.93, 0.96))
    assert job.arms()[32].epochs == pytest.approx(6.0, rel=0.02)
    assert job.arms()[32].runs == 1
