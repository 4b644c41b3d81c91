"""The epochs model: what the runs of some batch sizes say of all."""

import numpy as np
import pytest

from rheostat.policy.recommender import epochs
from rheostat.policy.recommender.evidence import Tally
from rheostat.policy.recommender.grid import Grid

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
GRID = Grid(SIZES, 64)


def after(observed: dict[int, float], precision: float = 100.0) -> epochs.Posterior:
    seen = np.array([precision if size in observed else 0.0 for size in SIZES])
    values = np.array([observed.get(size, 0.0) for size in SIZES])
    return epochs.condition(
        epochs.prior_mean(GRID), epochs.prior_covariance(GRID), seen.tolist(), (seen * values).tolist()
    )


def test_before_any_run_larger_batches_are_expected_to_need_ever_more_epochs() -> None:
    steps = np.diff(epochs.prior_mean(GRID)[GRID.index(64) :])
    assert (steps > 0.12).all()
    assert (np.diff(steps) >= 0.0).all()


def test_curvature_goes_on_in_a_straight_line_three_octaves_from_the_default() -> None:
    far = Grid((1, 2**4, 2**5, 2**6), 1)
    assert far.bend[2] - far.bend[1] == far.bend[3] - far.bend[2] == 3.0


def test_an_observed_arm_is_followed_by_its_neighbours() -> None:
    belief = after({64: 1.0})
    at = GRID.index(64)
    assert belief.mean[at] == pytest.approx(1.0, abs=0.02)
    assert belief.variance[at] < belief.variance[at + 1] < belief.variance[at + 2] < belief.variance[at + 3]


def test_two_observed_arms_bend_the_expectation_of_a_third_towards_their_slope() -> None:
    falling, rising = after({64: 1.0, 128: 0.7}), after({64: 1.0, 128: 1.6})
    assert falling.mean[GRID.index(256)] < rising.mean[GRID.index(256)] - 0.8


def test_a_pending_run_makes_its_arm_more_certain_and_leaves_the_mean() -> None:
    belief = after({64: 1.0})
    expected = belief.with_pending_run(GRID.index(256), noise=0.01)
    assert (expected.mean == belief.mean).all()
    assert expected.variance[GRID.index(256)] < 0.011
    assert (expected.variance <= belief.variance + 1e-12).all()


def test_seed_noise_is_the_prior_guess_at_first_and_what_was_seen_later() -> None:
    assert epochs.seed_noise([Tally(), Tally()]) == pytest.approx(0.01)
    random = np.random.default_rng(1)
    runs = random.normal([1.0, 2.0, 3.0], 0.3, (200, 3))
    noise = epochs.seed_noise([Tally(200.0, float(arm.sum()), float((arm**2).sum())) for arm in runs.T])
    assert noise == pytest.approx(runs.var(axis=0, ddof=1).mean(), rel=0.02)


def test_discounted_runs_say_nothing_of_the_noise() -> None:
    assert epochs.seed_noise([Tally(0.04, 0.1, 99.0)]) == pytest.approx(0.01)
