"""The joint belief: the cost of a success, the best arm, and the reference cost of running trials."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest

from rheostat.policy.recommender.belief import Belief, believe
from rheostat.policy.recommender.epochs import Posterior
from rheostat.policy.recommender.evidence import Arm, Evidence, Tally
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.prices import Prices
from tests.policy.examples import a_job
from tests.policy.recommender.trainer import ACCURACY

GRID = Grid((16, 32, 64), 32)


def belief(epochs: list[float], *, weights: list[float], lost: list[float] | None = None) -> Belief:
    """Return a belief of arms that converged and cost 1 J an epoch."""
    nothing = np.zeros((3, 3))
    return Belief(
        GRID,
        Posterior(np.log(epochs), nothing),
        Posterior(np.zeros(3), nothing),
        0.01,
        [True] * 3,
        [True] * 3,
        weights,
        np.array(lost or [0.0] * 3),
    )


def test_the_cost_of_a_success_includes_what_failures_lost() -> None:
    assert [exp(cost) for cost in belief([10, 20, 30], weights=[3.0] * 3, lost=[90.0, 0.0, 0.0]).log_cost] == (
        pytest.approx([100.0, 20.0, 30.0])
    )


def test_the_reference_cost_is_that_of_the_cheapest_arm() -> None:
    assert belief([10, 20, 30], weights=[3.0] * 3).reference_cost == pytest.approx(10.0)


def test_an_arm_that_converged_once_far_below_all_others_sets_no_reference_cost() -> None:
    assert belief([0.1, 20, 30], weights=[1.0, 3.0, 3.0]).reference_cost == pytest.approx(20.0)
    assert belief([0.1, 20, 30], weights=[2.0, 3.0, 3.0]).reference_cost == pytest.approx(0.1)


def test_a_pending_run_makes_its_arm_more_certain_and_changes_no_mean() -> None:
    evidence = Evidence({16: Arm(), 32: Arm(1, epochs=Tally().add(log(20.0))), 64: Arm()})
    before = believe(a_job(target=ACCURACY), GRID, evidence, Prices(np.array([np.nan, 0.0, np.nan])))
    assert before is not None
    after = before.with_pending_run(GRID.index(64))
    assert after.log_cost == before.log_cost
    assert after.log_cost_variance[2] < 0.1 * before.log_cost_variance[2]


def test_before_anything_converged_there_is_no_belief() -> None:
    assert (
        believe(
            a_job(target=ACCURACY),
            GRID,
            Evidence({16: Arm(), 32: Arm(1, failures=1.0), 64: Arm()}),
            Prices(np.zeros(3)),
        )
        is None
    )


def test_a_single_run_is_less_certain_than_the_expected_cost_and_pays_for_no_failure() -> None:
    said = replace(belief([10, 20, 30], weights=[3.0] * 3, lost=[90.0, 0.0, 0.0]), fixed_cost=5.0).predicted_cost(0)
    assert said.median == pytest.approx(15.0)
    assert said.log_deviation == pytest.approx(0.1)
