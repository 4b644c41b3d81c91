"""The belief about an arm's costs, and draws from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rheostat.policy.thompson import ArmCosts, sample_lowest
from tests.policy.examples import a_job

costs = st.lists(st.floats(0, 1e12), min_size=1, max_size=50)


def arm(values: list[float], window_size: int = 0) -> ArmCosts:
    statistics = ArmCosts()
    for value in values:
        statistics = statistics.add(value, window_size)
    return statistics


@given(costs)
def test_the_statistics_are_those_of_all_costs(values: list[float]) -> None:
    statistics = arm(values)
    assert statistics.count == len(values)
    assert statistics.mean == pytest.approx(np.mean(values))
    assert statistics.variance == pytest.approx(np.var(values), rel=1e-6, abs=1e-9 * max(values) ** 2)


@given(costs, st.integers(1, 10))
def test_with_a_window_they_are_those_of_the_latest_costs(values: list[float], window: int) -> None:
    latest = values[-window:]
    statistics = arm(values, window)
    assert statistics.count == len(latest)
    assert statistics.mean == pytest.approx(np.mean(latest))
    assert statistics.variance == pytest.approx(np.var(latest), rel=1e-6, abs=1e-9 * max(latest) ** 2)


def test_the_belief_narrows_with_the_root_of_the_number_of_runs() -> None:
    assert arm([90.0, 110.0] * 50).standard_error == pytest.approx(10.0 / 10.0)
    assert arm([90.0, 110.0] * 200).standard_error == pytest.approx(10.0 / 20.0)


def test_the_mean_of_an_arm_without_runs_is_unknown() -> None:
    assert ArmCosts().standard_error == float("inf")


def draws_of(trials: int, **arms: ArmCosts) -> list[tuple[int, dict[int, float]]]:
    by_size = {int(name.removeprefix("b")): costs for name, costs in arms.items()}
    return [sample_lowest(by_size, a_job(trial_number=number).random()) for number in range(1, trials + 1)]


def test_the_arm_of_the_lowest_draw_wins() -> None:
    for size, draws in draws_of(50, b16=arm([90.0, 110.0]), b32=arm([80.0, 120.0])):
        assert draws[size] == min(draws.values())


def test_a_clearly_cheaper_arm_always_wins() -> None:
    assert {size for size, _ in draws_of(100, b16=arm([99.0, 101.0]), b32=arm([199.0, 201.0]))} == {16}


def test_two_equal_arms_share_the_trials() -> None:
    wins = [size for size, _ in draws_of(1000, b16=arm([90.0, 110.0]), b32=arm([90.0, 110.0]))]
    assert 440 < wins.count(16) < 560  # within 3.8 standard deviations of one half


def test_draws_follow_the_belief() -> None:
    belief = arm([90.0, 110.0])
    drawn = [draws[16] for _, draws in draws_of(2000, b16=belief)]
    assert np.mean(drawn) == pytest.approx(belief.mean, abs=4 * belief.standard_error / np.sqrt(2000))
    assert np.std(drawn) == pytest.approx(belief.standard_error, rel=0.1)


def test_the_arms_of_one_trial_are_drawn_independently() -> None:
    pairs = [draws for _, draws in draws_of(2000, b16=arm([90.0, 110.0]), b32=arm([90.0, 110.0]))]
    correlation = np.corrcoef([[draws[16] for draws in pairs], [draws[32] for draws in pairs]])[0, 1]
    assert abs(correlation) < 0.1


def test_successive_trials_are_drawn_independently() -> None:
    drawn = [draws[16] for _, draws in draws_of(2000, b16=arm([90.0, 110.0]))]
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.1


def test_the_order_in_which_arms_are_listed_changes_no_draw() -> None:
    forwards = draws_of(10, b16=arm([90.0, 110.0]), b32=arm([80.0, 120.0]))
    backwards = draws_of(10, b32=arm([80.0, 120.0]), b16=arm([90.0, 110.0]))
    assert forwards == backwards
