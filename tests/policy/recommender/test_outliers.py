"""A result far outside its predictive distribution is held back until a second run confirms it."""

from math import log

import pytest

from rheostat.policy.recommender.evidence import Tally
from rheostat.policy.recommender.outliers import admit

USUAL = (log(20.0), 0.02)


def test_a_value_near_its_prediction_is_accepted_at_once() -> None:
    assert admit(Tally(), log(25.0), USUAL, 0) == (Tally().add(log(25.0)), False)
    assert admit(Tally(), log(0.001), None, 0)[0].count == 1.0


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_one_absurd_run_changes_nothing(factor: float) -> None:
    accepted = Tally().add(log(20.0)).add(log(21.0))
    after, overturned = admit(accepted, log(20.0 * factor), USUAL, 0)
    assert (after.count, after.total, overturned) == (accepted.count, accepted.total, False)


def test_two_outliers_that_agree_replace_the_earlier_values() -> None:
    tally = Tally().add(log(20.0)).add(log(20.0))
    tally, first = admit(tally, log(200.0), USUAL, 0)
    tally, second = admit(tally, log(220.0), USUAL, 0)
    assert (first, second) == (False, True)
    assert tally.count == 2.0
    assert tally.total / tally.count == pytest.approx(log(210.0), abs=0.01)
    assert tally.held_back is None


def test_two_outliers_that_disagree_do_not_confirm_each_other() -> None:
    tally = Tally().add(log(20.0)).add(log(20.0))
    for epochs in (20_000.0, 0.02, 20_000.0):
        tally, _ = admit(tally, log(epochs), USUAL, 0)
    assert (tally.count, tally.total) == (2.0, 2.0 * log(20.0))


@pytest.mark.parametrize(("first", "second"), [(20.0, 0.02), (0.02, 20.0)])
def test_of_two_single_runs_the_more_expensive_is_used_until_a_third_decides(first: float, second: float) -> None:
    tally, overturned = admit(Tally().add(log(first)), log(second), (log(first), 0.02), 0)
    assert (tally.count, tally.total, overturned) == (1.0, log(20.0), second == 20.0)
    tally, _ = admit(tally, log(21.0), USUAL, 0)
    assert tally.count == 2.0


def test_a_far_value_is_accepted_where_the_prediction_is_uncertain() -> None:
    assert admit(Tally(), log(200.0), (log(20.0), 1.0), 0)[0].count == 1.0
