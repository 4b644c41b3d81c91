"""The integral of power, from readings made up here."""

import pytest

from rheostat.agent.power_curve import SECOND, PowerCurve


def curve_of(*points: tuple[float, float]) -> PowerCurve:
    """Return the curve through readings at times in seconds."""
    curve = PowerCurve(most_watts=600)
    for seconds, watts in points:
        curve.add(round(seconds * SECOND), watts)
    return curve


def test_power_changes_linearly_between_readings() -> None:
    curve = curve_of((10, 100), (12, 300))
    for seconds, joules in ((9, 0), (10, 0), (11, 150), (12, 400)):
        assert curve.joules_at(seconds * SECOND) == pytest.approx(joules)


def test_after_the_last_reading_power_stays_until_a_later_moment_is_known() -> None:
    curve = curve_of((10, 100))
    assert curve.joules_at(11 * SECOND) == pytest.approx(100)
    curve.set_head(11 * SECOND, 200)
    assert curve.joules_at(11 * SECOND) == pytest.approx(150)
    assert curve.joules_at(12 * SECOND) == pytest.approx(350)
    curve.add(12 * SECOND, 100)
    assert curve.joules_at(12 * SECOND) == pytest.approx(200)


def test_energy_that_is_known_better_than_by_power_is_taken() -> None:
    curve = curve_of((10, 100))
    curve.add(12 * SECOND, 100, joules=500)
    assert curve.joules_at(12 * SECOND) == pytest.approx(500)
    assert curve.joules_at(11 * SECOND) == pytest.approx(250)


def test_readings_far_apart_are_in_doubt_and_a_gap_breaks_the_curve() -> None:
    dense, sparse, broken = curve_of((0, 100), (0.02, 100)), curve_of((0, 100), (1, 100)), curve_of((0, 9), (3, 9))
    doubts = [curve.variance_at(curve.end_ns) for curve in (dense, sparse, broken)]
    assert doubts[0] == 0 < doubts[1] < doubts[2]
    assert (sparse.unbroken_since_ns, broken.unbroken_since_ns) == (0, 3 * SECOND)
    assert broken.edge_seconds(SECOND) == 3


def test_only_the_last_minutes_are_kept() -> None:
    curve = PowerCurve(most_watts=600)
    for index in range(100_000):
        curve.add(index * SECOND // 50, 50)
    assert 30_000 <= len(curve) <= 40_000
    assert curve.joules_at(curve.end_ns) - curve.joules_at(curve.end_ns - 60 * SECOND) == pytest.approx(3000)
    assert curve.joules_at(0) == curve.joules_at(curve.begin_ns)
