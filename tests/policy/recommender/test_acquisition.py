"""What a run is worth: the expected value of what it teaches against what it costs."""

import numpy as np
import pytest

from rheostat.policy.recommender import acquisition
from rheostat.policy.recommender.acquisition import Prospect
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.epochs import Posterior
from rheostat.policy.recommender.grid import Grid

GRID = Grid((16, 32, 64), 32)


def belief(means: list[float], deviations: list[float], converged: list[bool]) -> Belief:
    """Return a belief of independent arms whose epochs are uncertain and whose epoch costs are known."""
    known = Posterior(np.zeros(3), np.zeros((3, 3)))
    uncertain = Posterior(np.log(means), np.diag(np.square(deviations)))
    return Belief(GRID, uncertain, known, 0.01, converged, [True] * 3, [1.0] * 3, lost_joules=np.zeros(3))


def weigh(believed: Belief, *, stopped: bool = False, beta_knob: float | None = 2.0, learned: int = 0) -> Prospect:
    everything = [True] * 3
    return acquisition.weigh(
        believed,
        1,
        allowed=everything,
        open_arms=everything,
        stopped_before=[stopped] * 3,
        learned=learned,
        beta_knob=beta_knob,
    )


def test_an_uncertain_arm_that_may_be_better_is_worth_a_run_and_a_certainly_worse_one_is_not() -> None:
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
    prospect = acquisition.weigh(
        believed,
        1,
        allowed=[False, True, True],
        open_arms=[True] * 3,
        stopped_before=[False] * 3,
        learned=0,
        beta_knob=2.0,
    )
    assert prospect.score[0] == -np.inf


@pytest.mark.parametrize("seed", range(20))
def test_the_gain_is_the_mean_saving_over_the_draws(seed: int) -> None:
    random = np.random.default_rng(seed)
    factor = random.normal(0.0, 0.2, (3, 3))
    converged, measured = [True, True, seed % 2 == 0], [True, True, seed % 3 == 0]
    believed = Belief(
        GRID,
        Posterior(random.normal(3.0, 0.3, 3), factor @ factor.T),
        Posterior(np.zeros(3), np.diag([0.0, 0.0, 0.1])),
        0.01,
        converged,
        measured,
        [2.0] * 3,
        np.zeros(3),
    )
    best = believed.best_converged
    assert best is not None
    prospect = acquisition.weigh(
        believed,
        best,
        allowed=[True] * 3,
        open_arms=[True] * 3,
        stopped_before=[False] * 3,
        learned=0,
        beta_knob=2.0,
    )
    for arm in range(3):
        along = believed.epochs.covariance[:, arm] / np.sqrt(believed.epochs.variance[arm] + 0.01)
        cost_along = believed.epoch_costs.covariance[:, arm] / (np.inf if measured[arm] else np.sqrt(0.1))
        moved = np.array(believed.log_cost)[:, None] - believed.log_cost[best]
        moved = np.exp(moved + along[:, None] * acquisition.DRAWS[0] + cost_along[:, None] * acquisition.DRAWS[1])
        judged = [other for other in range(3) if converged[other] or other == arm]
        assert prospect.gain[arm] == pytest.approx((moved[best] - moved[judged].min(axis=0)).mean(), abs=1e-12)
