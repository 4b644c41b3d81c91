"""Which batch sizes are given up for good, and which never."""

import pytest

from rheostat.policy.recommender.closing import closed, stop_score
from rheostat.policy.recommender.evidence import Arm, Evidence, Tally

FAILED, HALF, CONVERGED = Arm(failures=1.0), Arm(failures=0.5), Arm(epochs=Tally().add(3.0))


@pytest.mark.parametrize(("cost", "score"), [(10.0, 0.0), (35.0, 0.5), (159.0, 0.5), (160.0, 1.0)])
def test_the_more_a_run_was_given_the_more_its_stop_counts(cost: float, score: float) -> None:
    assert stop_score(cost, bar=100.0, beta_knob=2.0) == score


def test_a_failed_arm_is_closed_with_a_reason_and_a_half_failed_one_is_not() -> None:
    reasons = closed(Evidence({8: HALF, 16: CONVERGED, 32: FAILED}))
    assert set(reasons) == {32}
    assert "did not converge" in reasons[32]


def test_all_beyond_a_failed_end_is_closed_with_it() -> None:
    reasons = closed(Evidence({4: Arm(), 8: FAILED, 16: CONVERGED, 32: Arm(), 64: FAILED, 128: Arm()}))
    assert set(reasons) == {4, 8, 64, 128}
    assert "64 did not converge" in reasons[128]


def test_a_failed_arm_between_two_that_converged_closes_nothing_else() -> None:
    assert set(closed(Evidence({8: CONVERGED, 16: FAILED, 32: CONVERGED}))) == {16}


def test_an_arm_that_converged_once_is_never_closed() -> None:
    assert closed(Evidence({8: Arm(epochs=Tally().add(3.0), failures=7.0)})) == {}


def test_before_any_success_only_what_failed_is_closed() -> None:
    assert set(closed(Evidence({8: Arm(), 16: FAILED, 32: Arm()}))) == {16}
