"""When a run is given up, and what it teaches then."""

from dataclasses import replace
from math import exp, log

import pytest

from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.recommender import stopping
from rheostat.policy.recommender.curves import Expectation
from rheostat.policy.recommender.stopping import Bound, cost_bound, passes, should_stop

BOUND = Bound(reference_cost=100.0, cap=200.0, epoch_cost=5.0)  # the best known arm is worth 20 epochs of this one


def at(epoch: float, gap: float = 1.0) -> LearningCurve:
    return LearningCurve(((epoch, 0.5),), epoch, gap)


def test_a_run_that_will_need_twice_as_much_is_stopped_early() -> None:
    assert should_stop(Expectation(log(45.0), 0.01), at(3.0), BOUND)


def test_a_run_that_will_be_cheaper_goes_on() -> None:
    assert not should_stop(Expectation(log(12.0), 0.01), at(3.0), BOUND)


def test_an_uncertain_run_that_may_turn_out_better_gets_some_epochs_and_not_all() -> None:
    uncertain = Expectation(log(26.0), 0.3)
    assert not should_stop(uncertain, at(2.0), BOUND)
    assert should_stop(replace(uncertain, mean=log(60.0)), at(12.0), BOUND)


def test_what_a_restart_costs_before_its_first_step_keeps_a_run_going() -> None:
    """It needs 30 epochs more; a run of the best known arm costs as much as 20, with its start-up as much as 36."""
    expectation = Expectation(log(33.0), 0.01)
    assert should_stop(expectation, at(3.0), BOUND)
    assert not should_stop(expectation, at(3.0), replace(BOUND, cap=280.0, fixed_cost=80.0))


def test_a_run_long_past_its_time_is_stopped() -> None:
    assert should_stop(Expectation(log(5.0), 0.01), at(15.0), BOUND)


def test_evaluations_inside_the_first_epoch_are_judged_too() -> None:
    assert should_stop(Expectation(log(80.0), 0.01), at(0.25, gap=0.25), BOUND)
    assert not should_stop(Expectation(log(2.0), 0.01), at(0.25, gap=0.25), BOUND)


def test_the_cap_is_beta_times_the_best_and_more_for_an_arm_that_needs_more() -> None:
    usual = Expectation(log(30.0), 0.04)
    assert cost_bound(100.0, 5.0, 2.0, usual, converged_before=False).cap == 200.0
    assert cost_bound(100.0, 5.0, 2.0, usual, converged_before=False, fixed_cost=80.0).cap == 280.0
    assert cost_bound(100.0, 5.0, 2.0, usual, converged_before=True).cap == pytest.approx(150.0 * exp(0.6))


def test_a_run_is_stopped_before_the_evaluation_that_would_pass_the_cap() -> None:
    assert not passes(BOUND, 195.0, 1.0)
    assert passes(BOUND, 195.1, 1.0)
    assert passes(BOUND, 185.1, 3.0)


def test_a_run_stopped_early_is_a_weak_observation_and_one_stopped_late_a_strong_one() -> None:
    prior = Expectation(log(20.0), 0.3)
    early = stopping.censored_observation(prior, prior, 0.01, epochs=2.0, gap=1.0)
    late = stopping.censored_observation(prior, prior, 0.01, epochs=40.0, gap=1.0)
    assert early[0] < late[0]
    assert late[1] / late[0] > log(40.0)


def test_what_the_learning_curve_predicted_is_kept() -> None:
    prior, promised = Expectation(log(20.0), 0.3), Expectation(log(60.0), 0.02)
    precision, weighted = stopping.censored_observation(prior, promised, 0.01, epochs=5.0, gap=1.0)
    assert exp(weighted / precision) == pytest.approx(60.0, rel=0.15)


def test_the_nearer_the_end_the_surer_is_a_run_to_end_soon() -> None:
    expectation = Expectation(log(384.0), 0.02**2)
    near, far = (LearningCurve(((n, 0.5),), n, 1.0) for n in (372.0, 250.0))
    assert stopping.chance_of_ending(expectation, near, 30.0) > 0.9
    assert stopping.chance_of_ending(expectation, far, 30.0) < 0.01


def test_a_run_that_is_overdue_goes_on_where_what_is_left_may_cost_far_less_than_a_new_run() -> None:
    by_curve, at_launch = Expectation(log(15.0), 0.05**2), Expectation(log(22.0), 0.3**2)
    bound = Bound(reference_cost=100.0, cap=200.0, epoch_cost=2.0)
    assert should_stop(by_curve, at(20.0), bound)
    assert not should_stop(by_curve, at(20.0), bound, at_launch=at_launch)
    assert should_stop(by_curve, at(45.0), bound, at_launch=at_launch)


def test_a_run_stopped_long_after_it_should_have_converged_says_little_of_its_epochs() -> None:
    expectation = Expectation(log(20.0), 0.1**2)
    assert stopping.chance_of_converging(expectation, 10.0, 1.0) > 0.9
    assert stopping.chance_of_converging(expectation, 40.0, 1.0) < 0.01


def test_a_run_that_is_long_overdue_is_not_expected_to_end_soon() -> None:
    expectation = Expectation(log(100.0), 0.05**2)
    assert stopping.chance_of_ending(expectation, LearningCurve(((90.0, 0.5),), 140.0, 1.0), 30.0) < 0.2
