"""Which batch sizes are given up for good, and which never."""

import pytest

from rheostat.policy.cost import given_cost
from rheostat.policy.recommender.closing import closed, reopened, score
from rheostat.policy.recommender.evidence import Arm, Evidence, Tally
from tests.policy.examples import a_job

PRICE = a_job().price

FAILED, HALF, CONVERGED = Arm(failures=1), Arm(stops=(given_cost(40.0),)), Arm(epochs=Tally().add(3.0))


def reasons(arms: dict[int, Arm]) -> dict[int, str]:
    return closed(Evidence(arms), PRICE, reference_cost=100.0, beta_knob=2.0)


@pytest.mark.parametrize(("cost", "counts"), [(10.0, 0.0), (35.0, 0.5), (159.0, 0.5), (160.0, 1.0)])
def test_the_more_a_run_was_given_the_more_its_stop_counts(cost: float, counts: float) -> None:
    assert score(Arm(stops=(given_cost(cost),)), PRICE, reference_cost=100.0, beta_knob=2.0) == counts
    assert score(Arm(failures=2, stops=(given_cost(cost),)), PRICE, reference_cost=None, beta_knob=2.0) == 2.0


def test_a_failed_arm_is_closed_with_a_reason_and_a_half_failed_one_is_not() -> None:
    closed_arms = reasons({8: HALF, 16: CONVERGED, 32: FAILED})
    assert set(closed_arms) == {32}
    assert "did not converge" in closed_arms[32]


def test_stops_that_a_false_reference_cost_caused_close_nothing_once_it_is_corrected() -> None:
    evidence = Evidence({8: Arm(stops=(given_cost(3.0), given_cost(4.0))), 16: CONVERGED})
    assert set(closed(evidence, PRICE, reference_cost=2.0, beta_knob=2.0)) == {8}
    assert closed(evidence, PRICE, reference_cost=100.0, beta_knob=2.0) == {}


def test_all_beyond_a_failed_end_is_closed_with_it() -> None:
    closed_arms = reasons({4: Arm(), 8: FAILED, 16: CONVERGED, 32: Arm(), 64: FAILED, 128: Arm()})
    assert set(closed_arms) == {4, 8, 64, 128}
    assert "64 did not converge" in closed_arms[128]


def test_one_failure_between_two_that_converged_closes_nothing() -> None:
    assert reasons({8: CONVERGED, 16: FAILED, 32: Arm(), 64: CONVERGED}) == {}
    assert set(reasons({8: CONVERGED, 16: Arm(failures=2.0), 32: Arm(), 64: CONVERGED})) == {16}


def test_nothing_is_closed_for_ever() -> None:
    arms = {8: CONVERGED, 16: FAILED, 32: Arm()}
    assert set(closed(Evidence(arms, learned=49), PRICE, None, 2.0)) == {16, 32}
    assert closed(Evidence(arms, learned=50), PRICE, None, 2.0) == {}
    arms[16] = Arm(failures=2.0)
    assert set(closed(Evidence(arms, learned=99), PRICE, None, 2.0)) == {16, 32}
    assert closed(Evidence(arms, learned=100), PRICE, None, 2.0) == {}


def test_an_arm_that_converged_once_is_never_closed() -> None:
    assert reasons({8: Arm(epochs=Tally().add(3.0), failures=7)}) == {}


def test_before_any_success_only_what_failed_is_closed() -> None:
    assert set(closed(Evidence({8: Arm(), 16: FAILED, 32: Arm()}), PRICE, reference_cost=None, beta_knob=2.0)) == {16}


def test_what_was_ruled_out_may_be_tried_again_once_it_was_judged_falsely() -> None:
    evidence = Evidence({8: Arm(censored=(1.0, 2.0), failures=1, stops=(given_cost(40.0),)), 16: CONVERGED})
    assert reopened(evidence) == Evidence({8: Arm(), 16: CONVERGED})
