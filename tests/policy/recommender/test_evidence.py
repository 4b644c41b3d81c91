"""What is remembered: small, plain, and the same after a round through JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rheostat.policy.recommender.evidence import Arm, Evidence, Tally, safe_log

values = st.lists(st.floats(-10.0, 40.0), max_size=12)


@given(values, st.integers(0, 5))
def test_a_window_keeps_the_latest_values_and_no_window_all(given_values: list[float], window: int) -> None:
    tally = Tally()
    for value in given_values:
        tally = tally.add(value, window)
    counted = given_values[-window:] if window else given_values
    assert tally.count == len(counted)
    assert tally.total == pytest.approx(sum(counted))
    assert tally.squares == pytest.approx(sum(value**2 for value in counted))


def test_discounted_values_leave_a_window_with_the_next_full_one() -> None:
    tally = Tally().add(5.0, 2).add(5.0, 2).scaled(0.1)
    for value in (1.0, 1.0, 1.0):
        tally = tally.add(value, 2)
    assert (tally.count, tally.total) == (2.0, 2.0)


@given(values)
def test_evidence_survives_json(given_values: list[float]) -> None:
    tally = Tally()
    for value in given_values:
        tally = tally.add(value, 3)
    arm = Arm(3, tally, tally, (1.0, 2.0), 2.0, 30.0, (7.0,), (1.0, 2.0), ((0.5, 1), (0.0, 0)))
    evidence = Evidence({8: Arm(), 16: arm}, (0.5, 0.7), (1.0, 0.0), 4, {16: 2})
    assert Evidence.from_state(json.loads(json.dumps(evidence.to_state()))) == evidence


def test_only_the_latest_epoch_costs_and_stops_are_kept() -> None:
    arm = Arm()
    for number in range(9):
        arm = arm.with_epoch_cost(float(number)).with_stop(float(number))
    assert arm.epoch_costs == arm.stop_costs == (4.0, 5.0, 6.0, 7.0, 8.0)


def test_replacing_one_arm_leaves_the_others_alone() -> None:
    evidence = Evidence({8: Arm(), 16: Arm()})
    assert evidence.with_arm(8, Arm()._replace(runs=1)).arms[16] == Arm()


@pytest.mark.parametrize("figure", [0.0, -1.0, 1e-300, 1e300])
def test_the_logarithm_of_an_absurd_figure_is_moderate(figure: float) -> None:
    assert abs(safe_log(figure)) < 45.0


def test_a_state_of_before_there_was_an_account_is_still_read() -> None:
    state = Evidence({8: Arm(runs=3)}).to_state()
    del state["wasted_joules"], state["arms"]["8"]["paid"]
    assert Evidence.from_state(state) == Evidence({8: Arm(runs=3)})
