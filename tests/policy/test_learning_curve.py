"""Learning curves: what is kept of a run that is evaluated often."""

from itertools import pairwise

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
