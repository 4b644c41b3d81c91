"""Surveys: what is measured before the first run, and where that makes it start."""

from dataclasses import replace

import pytest

from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import Situation
from rheostat.policy.surveys import NO_SURVEY
from tests.policy.examples import a_job
from tests.policy.recommender.trainer import ACCURACY, SIZES, Trainer

STEP_BOUND = {8: 400.0, 16: 200.0, 32: 100.0, 64: 50.0, 128: 25.0}
"""Joules of an epoch that shrink with the number of its steps."""


def test_the_limits_at_the_default_come_first_and_then_the_nearest_batch_sizes() -> None:
    assert Trainer().survey() == [32, 32, 32, 16, 64, 8, 128]


def test_a_batch_size_that_the_memory_does_not_hold_is_not_measured() -> None:
    assert Trainer().survey(permitted=(8, 16)) == [16, 16, 16, 8]


def test_a_survey_comes_once_before_the_first_run() -> None:
    trainer = Trainer()
    assert trainer.advisor.survey(trainer.job, Situation(SIZES, pending=(32,))).steps == NO_SURVEY.steps
    trainer.run(32)
    assert trainer.survey() == []


def test_the_first_run_is_where_cheaper_epochs_outweigh_what_is_unknown_of_their_number() -> None:
    trainer = Trainer(joules=STEP_BOUND, epochs={32: 18, 64: 18, 128: 18})
    trainer.survey()
    choice = trainer.advisor.choose(trainer.job, Situation(SIZES))
    assert choice.batch_size == 128
    assert "predicted by the survey: an epoch costs 75 % less than at 32" in choice.reason


@pytest.mark.parametrize(("step_bound", "first"), [(True, 128), (False, 32)])
def test_where_the_steps_of_an_epoch_are_unknown_batch_sizes_compare_by_the_cost_of_an_example(
    step_bound: bool, first: int
) -> None:
    trainer = Trainer()
    for size in SIZES:
        cost = 10.0 if step_bound else 0.3 * size
        slice_ = PowerMeasurement(100, cost, cost / 100, cost, of_an_epoch=False, surveyed=True)
        for watts in trainer.job.power_limits_watts if size == 32 else (100,):
            trainer.advisor.measure(trainer.job, size, replace(slice_, power_limit_watts=watts))
    assert trainer.choose() == first


def test_epochs_that_cost_the_same_everywhere_leave_the_first_run_to_the_default() -> None:
    trainer = Trainer()
    trainer.survey(factors={16: 0.98, 64: 0.97})
    assert trainer.choose() == 32


@pytest.mark.parametrize("wish", [{"first_run": "default"}, {"exploration_budget_runs": 0.0}])
def test_a_job_may_wish_to_start_at_the_default(wish: dict[str, object]) -> None:
    trainer = Trainer(job=a_job(target=ACCURACY, **wish), joules=STEP_BOUND)
    trainer.survey()
    assert trainer.choose() == 32


def test_after_a_first_run_that_failed_elsewhere_the_default_follows() -> None:
    trainer = Trainer(joules=STEP_BOUND, epochs={32: 18})
    trainer.survey()
    assert trainer.run(trainer.choose()) == "failed"
    assert trainer.choose() == 32


def test_with_a_survey_the_best_batch_size_is_found_at_less_cost() -> None:
    def cost(*, survey: bool) -> float:
        trainer = Trainer(joules={8: 900.0, 16: 300.0, 32: 100.0, 64: 40.0, 128: 35.0})
        if survey:
            trainer.survey()
        assert trainer.recur(10)[-5:].count(64) >= 4
        return sum(epochs * trainer.cost_of_epoch(size) for size, epochs, _ in trainer.trials)

    assert cost(survey=True) < cost(survey=False)


@pytest.mark.parametrize("lie", [{8: 0.01}, {128: 0.05}, {32: 20.0}, {16: 30.0}])
def test_a_survey_that_lies_does_no_lasting_harm(lie: dict[int, float]) -> None:
    trainer = Trainer()
    trainer.survey(factors=lie)
    assert trainer.recur(30)[-10:].count(16) >= 9


def test_a_survey_on_another_gpu_decides_between_batch_sizes_that_converged_elsewhere() -> None:
    trainer = Trainer()
    trainer.recur(20)
    elsewhere = trainer.on(gpu_model="A40", joules={8: 100.0, 16: 100.0, 32: 60.0, 64: 100.0, 128: 100.0})
    elsewhere.survey()
    assert elsewhere.choose() == 32


def lost(trainer: Trainer) -> float:
    """Return how far the trials were behind always running the default at the worst, in its runs."""
    worst = sum_so_far = 0.0
    for size, epochs, state in trainer.trials:
        spent = epochs * trainer.cost_of_epoch(size) / (trainer.epochs[32] * trainer.cost_of_epoch(32))
        sum_so_far += spent - (state == "converged")
        worst = max(worst, sum_so_far)
    return worst


HOSTILE: dict[str, dict[int, float]] = {
    "noise of 30 %": {8: 1.35, 16: 0.74, 32: 1.3, 64: 0.7, 128: 1.2},
    "other noise of 30 %": {8: 0.7, 16: 1.3, 32: 0.75, 64: 1.35, 128: 0.7},
    "the worst looks ten times cheaper": {128: 0.1},
    "the best looks ten times dearer": {16: 10.0},
    "the default looks ten times dearer": {32: 10.0},
    "first steps are slow where there are few": {8: 1.1, 16: 1.2, 32: 1.5, 64: 2.0, 128: 3.0},
}


@pytest.mark.parametrize("factors", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_survey_costs_no_more_than_the_budget_and_does_not_decide_for_good(factors: dict[int, float]) -> None:
    trainer = Trainer()
    trainer.survey(factors=factors)
    assert trainer.recur(40)[-10:].count(16) >= 9
    assert lost(trainer) < 1.6


def test_where_a_data_loader_makes_all_epochs_cost_the_same_the_number_of_epochs_decides() -> None:
    trainer = Trainer(epochs={8: 40, 16: 27, 32: 18, 64: 14, 128: 17})
    trainer.survey()
    assert trainer.choose() == 32
    assert trainer.recur(40)[-10:] == [64] * 10
    assert lost(trainer) < 1.6
