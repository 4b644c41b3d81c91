"""What is allowed but hardly meant is told to the trainer, and stays with the trial."""

import pytest

from rheostat.errors import InvalidInput
from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.schemas.server import Gpu
from tests.domain.examples import A40, V100, ExampleJob


def target(metric: str, value: float, direction: str = "maximize") -> dict[str, object]:
    return {"metric": metric, "value": value, "direction": direction}


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("loss", "maximize"), ("eval_loss", "maximize"), ("valPerplexity", "maximize"), ("top1-acc", "minimize")],
)
def test_a_direction_that_does_not_fit_the_metric_is_told_at_the_launch(metric: str, direction: str) -> None:
    job = ExampleJob(target=target(metric, 0.5, direction))
    trial = job.predict()
    assert f"direction is {direction}" in trial.warnings[0]
    assert job.show(trial).warning == trial.warnings[0]


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("loss", "minimize"),
        ("accuracy", "maximize"),
        ("neg_log_loss", "maximize"),
        ("accuracy_loss", "minimize"),
        ("score", "minimize"),
        ("glossiness", "maximize"),
    ],
)
def test_a_direction_that_fits_or_that_no_name_tells_is_not(metric: str, direction: str) -> None:
    assert ExampleJob(target=target(metric, 0.5, direction)).predict().warnings == []


@pytest.mark.parametrize(
    ("goal", "metric"),
    [
        (target("accuracy", 0.96), 50.0),
        (target("success", 0.96), 50.0),
        (target("val_acc", 96.0), 0.5),
        (target("wer", 0.05, "minimize"), 40.0),
    ],
)
def test_a_share_against_percent_is_told_with_the_answer(goal: dict[str, object], metric: float) -> None:
    job = ExampleJob(target=goal)
    trial = job.predict()
    answer = job.report(trial, 1, metric=metric, time_seconds=1.0)
    assert "same unit" in answer.warnings[0]
    assert job.show(trial).warning == answer.warnings[0]


def test_another_unit_is_told_once_a_run() -> None:
    job = ExampleJob(target=target("accuracy", 96.0))
    trial = job.predict()
    told = [job.report(trial, epoch, metric=epoch / 10, time_seconds=epoch).warnings for epoch in (1, 2, 3)]
    assert told == [told[0]] * 3
    assert len(told[0]) == 1


@pytest.mark.parametrize(
    ("goal", "metric"),
    [
        (target("accuracy", 0.96), 0.5),
        (target("accuracy", 96.0), 50.0),
        (target("reward", 200.0), 0.5),
        (target("loss", 0.5, "minimize"), 2.3),
        (target("wer", 0.05, "minimize"), 1.1),
    ],
)
def test_figures_of_one_unit_are_not(goal: dict[str, object], metric: float) -> None:
    job = ExampleJob(target=goal)
    assert job.report(job.predict(), 1, metric=metric, time_seconds=1.0).warnings == []


def test_a_target_met_at_the_first_evaluation_of_the_first_run_is_told_once() -> None:
    job = ExampleJob()
    first = job.predict()
    answer = job.converge(first, 100.0)
    assert "first evaluation" in answer.warnings[0]
    assert job.converge(job.predict(), 100.0).warnings == []
    assert job.converge(first, 100.0) == answer


def test_a_target_met_later_in_the_first_run_is_not() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 1, metric=0.5, time_seconds=1.0)
    assert job.report(trial, 2, metric=0.95, time_seconds=2.0).warnings == []


def test_the_same_warning_stays_with_the_trial_once() -> None:
    job = ExampleJob(target=target("accuracy", 96.0))
    trial = job.predict()
    answers = [job.report(trial, epoch, metric=0.5, time_seconds=float(epoch)) for epoch in (1, 2)]
    assert answers[0].warnings == answers[1].warnings
    assert len(answers[1].warnings) == 1


def test_a_stopped_run_says_what_is_in_its_cost() -> None:
    job = ExampleJob(eta_knob=0.5)
    job.converge(job.predict(), 100.0)
    answer = job.report(job.predict(), 1, metric=0.1, energy_joules=715.0, time_seconds=3.2)
    assert answer.state == "stopped"
    assert "757.5 J-eq: 715 J and 3.2 s" in answer.reason


def test_an_energy_that_no_gpu_can_draw_is_set_aside_and_said_once() -> None:
    job = ExampleJob()
    trial = job.predict()
    first = job.report(trial, 1, metric=0.1, energy_joules=1e14, time_seconds=1e-6)
    assert first.state == "running"
    assert first.warnings == [
        "1e+14 J in 1e-06 s is more than 10 times what 1 x V100 draw at 250 W, so that the energy counts as unknown. "
        "Energy is in joules, over all GPUs of the run; 1 Wh is 3600 J."
    ]
    shown = job.show(trial)
    assert (shown.energy_joules, shown.time_seconds, shown.energy_is_estimated) == (None, 1e-6, True)
    assert job.report(trial, 1, metric=0.1, energy_joules=1e14, time_seconds=1e-6) == first
    later = job.report(trial, 2, metric=0.1, energy_joules=2e14, time_seconds=10.0)
    assert later.warnings == first.warnings
    assert job.savings().time_seconds.actual == 10.0


def test_what_follows_an_energy_that_was_set_aside_counts() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 1, metric=0.1, energy_joules=1_000_000.0, time_seconds=10.0)  # in mJ
    job.report(trial, 2, metric=0.1, energy_joules=2_000.0, time_seconds=20.0)
    assert job.show(trial).energy_joules == 2_000.0


def test_energy_just_below_what_is_impossible_counts() -> None:
    job = ExampleJob()
    trial = job.predict(A40)  # two of 300 W
    job.report(trial, 1, metric=0.1, energy_joules=10 * 600.0 * 9.9, time_seconds=9.0)
    assert job.show(trial).energy_joules == 59_400.0
    assert job.show(trial).warnings == []


@pytest.mark.parametrize("gpu", [V100, Gpu(model="V100")])
def test_a_whole_run_and_a_measurement_of_an_impossible_energy_are_refused(gpu: Gpu) -> None:
    job = ExampleJob()
    with pytest.raises(InvalidInput, match="joules") as refused:
        job.import_run(32, gpu, energy_joules=1e9, time_seconds=1.0)
    assert [field.field for field in refused.value.fields] == ["energy_joules"]
    limits = (None, None) if gpu.max_power_limit_watts is None else (100, 250)
    figures = {"time_seconds": 5.0, "steps": 10, "steps_per_epoch": 10}
    measurements = [
        PowerLimitMeasurement(power_limit_watts=limit, energy_joules=joules, **figures)
        for limit, joules in zip(limits, (500.0, 1e9), strict=True)
    ]
    with pytest.raises(InvalidInput) as refused:
        job.measured(32, gpu, measurements)
    assert [field.field for field in refused.value.fields] == ["measurements.1.energy_joules"]
    assert job.value.placements == {}
