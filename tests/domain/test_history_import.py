"""Whole runs of before: what they teach with their epochs, and what they do not teach without."""

from typing import Any

import pytest
from pydantic import ValidationError

from rheostat.errors import KeyReused
from rheostat.schemas.trials import ObserveRunRequest
from tests.domain.examples import V100, ExampleJob

RHEOSTAT: dict[str, Any] = {"policy": "rheostat", "max_epochs": 20}
WHOLE: dict[str, Any] = {"energy_joules": 80_000.0, "time_seconds": 400.0, "converged": True}


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_a_history_without_epochs_says_nothing_of_epochs_and_stops_no_run(policy: str) -> None:
    job = ExampleJob(policy=policy, max_epochs=20)
    for _ in range(3):
        job.import_run(32, **WHOLE)
    if policy == "rheostat":
        arm = job.arms()[32]
        assert (arm.epochs, arm.epoch_cost) == (None, None)
        assert arm.cost == pytest.approx(90_000.0, rel=0.05)
        assert job.arms()[64].epochs is None
    trial = job.predict()
    for epoch in range(1, 20):
        answer = job.report(trial, epoch, metric=0.1, energy_joules=80_000.0 * epoch, time_seconds=400.0 * epoch)
        assert answer.state == "running"


def test_a_history_without_epochs_is_not_shown_as_epochs_beside_trials_that_have_them() -> None:
    job = ExampleJob(**RHEOSTAT)
    job.import_run(32, **WHOLE)
    trial = job.predict(max_batch_size=16)
    for epoch in (1, 2, 3, 4):
        job.report(trial, epoch, metric=0.24 * epoch, energy_joules=8000.0 * epoch, time_seconds=40.0 * epoch)
    assert job.arms()[trial.batch_size].epochs is not None
    assert (job.arms()[32].epochs, job.arms()[32].epochs_high) == (None, None)


def test_a_history_with_epochs_counts_as_trials_do() -> None:
    imported, tried = ExampleJob(**RHEOSTAT), ExampleJob(**RHEOSTAT)
    curve = [[float(epoch), 0.095 * epoch] for epoch in range(1, 11)]
    trial = tried.predict()
    for epoch, metric in curve:
        tried.report(trial, epoch, metric=metric, energy_joules=8000.0 * epoch, time_seconds=40.0 * epoch)
    imported.import_run(32, **WHOLE, epochs=10.0, curve=curve, power_limit_watts=200)
    assert tried.show(trial).state == "converged"
    assert imported.arms()[32] == tried.arms()[32]


def test_a_run_that_trained_past_its_target_took_as_long_as_to_the_target() -> None:
    job = ExampleJob(**RHEOSTAT)
    curve = [[5.0, 0.85], [10.0, 0.95], [40.0, 0.97]]
    job.import_run(32, energy_joules=320_000.0, time_seconds=1600.0, epochs=40.0, curve=curve)
    arm = job.arms()[32]
    assert arm.epochs == pytest.approx(10.0, rel=0.1)
    assert arm.cost == pytest.approx(90_000.0, rel=0.1)


def test_a_run_whose_curve_does_not_reach_the_target_did_not_converge() -> None:
    job = ExampleJob(**RHEOSTAT)
    job.import_run(32, energy_joules=8000.0, time_seconds=40.0, epochs=2.0, curve=[[1.0, 0.2], [2.0, 0.3]])
    assert job.savings().converged_runs == 0


def test_the_same_key_with_another_curve_is_another_run() -> None:
    job = ExampleJob()
    for _ in range(2):
        job.import_run(32, key="run-1", **WHOLE, epochs=2.0, curve=[[1.0, 0.5], [2.0, 0.95]])
    with pytest.raises(KeyReused) as refused:
        job.import_run(32, key="run-1", **WHOLE, epochs=2.0, curve=[[1.0, 0.6], [2.0, 0.95]])
    assert [field.field for field in refused.value.fields] == ["curve"]


@pytest.mark.parametrize(
    "figures",
    [
        {"curve": [[1.0, 0.5]]},
        {"epochs": 1.0, "curve": [[2.0, 0.5]]},
        {"epochs": 3.0, "curve": [[2.0, 0.5], [1.0, 0.6]]},
        {"epochs": 3.0, "curve": [[0.0, 0.5]]},
        {"epochs": 3.0, "curve": []},
        {"epochs": 3.0, "curve": [[1.0]]},
        {"epochs": 3.0, "curve": [[1.0, float("nan")]]},
        {"epochs": 0.0},
    ],
)
def test_a_curve_lies_within_the_epochs_of_its_run(figures: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ObserveRunRequest.model_validate({"batch_size": 32, "gpu": V100, **WHOLE, **figures})
