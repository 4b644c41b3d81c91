"""Learning curves: what is kept of a run that is evaluated often."""

from itertools import pairwise
from random import Random

import pytest

from rheostat.policy.learning_curve import MOST_POINTS, LearningCurve, Target

ACCURACY = Target("accuracy", 0.9, maximize=True)


def test_a_long_run_keeps_points_from_all_of_its_way() -> None:
    curve = LearningCurve()
    for epoch in range(1, 759):
        curve = curve.add(float(epoch), epoch / 1000.0, ACCURACY)
    epochs = [epoch for epoch, _ in curve.points]
    assert len(epochs) <= MOST_POINTS
    assert (epochs[0], epochs[-1]) == (1.0, 758.0)
    assert max(later - earlier for earlier, later in pairwise(epochs)) <= 2.5 * 758 / MOST_POINTS


def one_by_one(evaluations: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Thin after each evaluation by looking at all gaps again."""
    points: list[tuple[float, float]] = []
    for epoch, metric in evaluations:
        if not points or metric > points[-1][1]:
            points.append((epoch, metric))
        if len(points) > MOST_POINTS:
            gaps = [later[0] - earlier[0] for earlier, later in zip(points, points[2:], strict=False)]
            del points[1 + gaps.index(min(gaps))]
    return points


@pytest.mark.parametrize("seed", range(5))
def test_many_evaluations_at_once_give_what_they_give_in_turn(seed: int) -> None:
    random = Random(seed)
    evaluations: list[tuple[float, float]] = []
    for number in range(400):
        epoch = (evaluations[-1][0] if evaluations else 0.0) + random.choice((0.25, 0.5, random.random()))
        evaluations.append((epoch, number / 400 + random.uniform(-0.05, 0.05)))
    curve = LearningCurve()
    for epoch, metric in evaluations:
        curve = curve.add(epoch, metric, ACCURACY)
    at_once = LearningCurve().add_all(evaluations, ACCURACY)
    assert at_once == curve == LearningCurve().add_all(evaluations[:99], ACCURACY).add_all(evaluations[99:], ACCURACY)
    assert list(curve.points) == one_by_one(evaluations)
    assert curve.gap == evaluations[-1][0] - evaluations[-2][0]


def test_evaluations_of_earlier_epochs_and_without_a_metric_add_nothing() -> None:
    curve = LearningCurve().add_all([(1.0, 0.5), (2.0, None), (0.5, 0.9)], ACCURACY)
    assert curve.points == ((1.0, 0.5),)
    assert curve.add_all([(1.0, 0.9), (3.0, None)], ACCURACY) is curve
    assert curve.add_all([(2.0, 0.9)], None) is curve
