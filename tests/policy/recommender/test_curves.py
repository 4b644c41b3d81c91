"""Learning curves: how far a run has come, judged by runs of similar batch sizes."""

from math import exp, log

import pytest

from rheostat.policy.learning_curve import LearningCurve, Target
from rheostat.policy.recommender import curves
from rheostat.policy.recommender.curves import Expectation
from rheostat.policy.recommender.evidence import Arm
from rheostat.policy.recommender.grid import Grid

RISING = Target("accuracy", 0.9, maximize=True)
FALLING = Target("loss", 0.1, maximize=False)
GRID = Grid((16, 32, 64, 128), 32)
PRIOR = Expectation(log(20.0), 0.25)


def curve(target: Target, metrics: dict[float, float]) -> LearningCurve:
    drawn = LearningCurve()
    for epoch, metric in metrics.items():
        drawn = drawn.add(epoch, metric, target)
    return drawn


def linear(epochs: float, upto: float, target: Target = RISING, every: float = 1.0) -> LearningCurve:
    """Return a run that reaches its target evenly in so many epochs, evaluated until ``upto``."""
    begin = 0.0 if target.maximize else 1.0
    metrics = {}
    for step in range(1, int(upto / every) + 1):
        metrics[step * every] = begin + (target.value - begin) * min(step * every / epochs, 1.0)
    return curve(target, metrics)


def learnt(target: Target) -> tuple[tuple[float, ...], dict[int, Arm]]:
    """Return levels and arms after one even run of 20 epochs at batch size 32."""
    whole = linear(20.0, 20.0, target)
    levels = curves.choose_levels(whole, target)
    return levels, {32: curves.with_curve(Arm(), whole, log(20.0), levels, target)}


def expected(run: LearningCurve, target: Target = RISING, batch_size: int = 32) -> float:
    levels, arms = learnt(target)
    shares = curves.reference(GRID, arms, batch_size, levels)
    return exp(curves.expect(PRIOR, 0.01, run, levels=levels, shares=shares, target=target).mean)


def test_levels_are_what_the_first_run_passed_before_its_target() -> None:
    levels = curves.choose_levels(linear(20.0, 20.0), RISING)
    assert len(levels) == 19
    assert list(levels) == sorted(levels)
    assert levels[-1] < 0.9
    assert curves.choose_levels(curve(RISING, {1.0: 0.5, 2.0: 0.95}), RISING) == ()


def test_a_run_with_thousands_of_evaluations_gives_few_levels() -> None:
    levels = curves.choose_levels(linear(20.0, 20.0, every=0.01), RISING)
    assert 10 <= len(levels) <= curves.MOST_LEVELS


@pytest.mark.parametrize("target", [RISING, FALLING])
def test_a_fast_run_is_expected_to_be_done_early_and_a_slow_one_late(target: Target) -> None:
    assert 9.0 < expected(linear(10.0, 5.0, target), target) < 13.0
    assert expected(linear(40.0, 5.0, target), target) > 27.0


def test_without_evaluations_only_the_prior_is_known() -> None:
    assert expected(LearningCurve()) == pytest.approx(20.0)


def test_evaluations_may_come_every_few_epochs_or_several_times_an_epoch() -> None:
    assert 9.0 < expected(linear(10.0, 6.0, every=3.0)) < 15.0
    assert 9.0 < expected(linear(10.0, 5.0, every=0.25)) < 13.0


def test_a_run_that_fell_back_has_still_passed_what_it_passed() -> None:
    steady = curve(RISING, {1.0: 0.2, 2.0: 0.4, 3.0: 0.4, 4.0: 0.4})
    dented = curve(RISING, {1.0: 0.2, 2.0: 0.4, 3.0: 0.1, 4.0: 0.3})
    assert expected(steady) == expected(dented)


def test_a_near_arm_says_more_of_the_way_than_a_distant_one() -> None:
    levels, arms = learnt(RISING)
    early = curves.with_curve(Arm(), linear(20.0, 20.0), log(80.0), levels, RISING)
    near = curves.reference(GRID, {**arms, 128: early}, 16, levels)[5]
    far = curves.reference(GRID, {**arms, 128: early}, 64, levels)[5]
    assert near is not None
    assert far is not None
    assert near > far


def test_levels_that_no_run_passed_are_unknown() -> None:
    assert curves.reference(GRID, {}, 32, (0.5,)) == [None]
