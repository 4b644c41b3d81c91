"""What is allowed but hardly meant is told to the trainer, and stays with the trial."""

import pytest

from tests.domain.examples import ExampleJob


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
