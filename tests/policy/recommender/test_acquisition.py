"""What a run is worth: what it is hoped to teach against what it costs."""

import numpy as np
import pytest

from rheostat.policy.recommender import acquisition
from rheostat.policy.recommender.acquisition import Prospect
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.epochs import Posterior
from rheostat.policy.recommender.grid import Grid

GRID = Grid((16, 32, 64), 32)


def belief(means: list[float], deviations: list[float], converged: list[bool]) -> Belief:
    """Return a belief of independent arms whose epochs are in doubt and whose epoch costs are known."""
    known = Posterior(np.zeros(3), np.zeros((3, 3)))
    doubt = Posterior(np.log(means), np.diag(np.square(deviations)))
    return Belief(
        GRID, doubt, known, 0.01, np.array(converged), np.ones(3, dtype=bool), np.ones(3), lost_joules=np.zeros(3)
    )


def weigh(believed: Belief, *, stopped: bool = False, beta_knob: float | None = 2.0, learned: int = 0) -> Prospect:
    everything = np.ones(3, dtype=bool)
    return acquisition.weigh(
        believed,
        1,
        allowed=everything,
        open_arms=everything,
        stopped_before=np.full(3, stopped),
        learned=learned,
        beta_knob=beta_knob,
    )


def test_a_doubtful_arm_that_may_be_better_is_worth_a_run_and_a_surely_worse_one_is_not() -> None:
    prospect = weigh(belief([20, 20, 60], [0.5, 0.05, 0.05], [False, True, False]))
    assert int(np.argmax(prospect.score)) == 0
    assert prospect.gain[2] == pytest.approx(0.0, abs=1e-6)
    assert prospect.gain[0] > prospect.gain[1] >= 0.0


def test_what_an_untried_arm_may_cost_is_capped_and_more_so_the_first_time() -> None:
    believed = belief([20, 20, 200], [0.3, 0.05, 0.3], [False, True, False])
    assert weigh(believed).extra[2] == pytest.approx(acquisition.CAPPED_SHARE)
    assert weigh(believed, stopped=True).extra[2] == pytest.approx(1.0)
    assert weigh(believed, beta_knob=None).extra[2] > 8.0


def test_the_longer_a_job_has_recurred_the_more_it_is_worth_to_learn() -> None:
    believed = belief([21, 20, 60], [0.2, 0.05, 0.05], [True, True, False])
    young, old = weigh(believed), weigh(believed, learned=100)
    assert old.score[0] > young.score[0]
    assert (old.gain == young.gain).all()


def test_an_arm_that_may_not_run_is_never_the_choice() -> None:
    believed = belief([5, 20, 60], [0.5, 0.05, 0.05], [False, True, False])
    everything, some = np.ones(3, dtype=bool), np.array([False, True, True])
    prospect = acquisition.weigh(
        believed, 1, allowed=some, open_arms=everything, stopped_before=~everything, learned=0, beta_knob=2.0
    )
    assert prospect.score[0] == -np.inf
