"""The normal distribution, checked against sampling and against its own definition."""

import numpy as np
import pytest

from rheostat.policy.recommender.normal import halton_normals, truncated_above, upper_tail


def test_the_upper_tail_halves_at_the_mean_and_vanishes_far_out() -> None:
    assert upper_tail(0.0) == 0.5
    assert upper_tail(1.959963984540054) == pytest.approx(0.025)
    assert 0.0 < upper_tail(8.0) < 1e-14


@pytest.mark.parametrize("bound", [-3.0, 0.0, 1.5])
def test_a_truncated_normal_has_the_moments_of_the_draws_above_the_bound(bound: float) -> None:
    draws = np.random.default_rng(1).normal(1.0, 2.0, 2_000_000)
    above = draws[draws > bound]
    mean, variance = truncated_above(1.0, 4.0, bound)
    assert mean == pytest.approx(above.mean(), abs=0.01)
    assert variance == pytest.approx(above.var(), rel=0.01)


def test_far_above_the_mean_a_truncated_normal_sits_just_above_its_bound() -> None:
    mean, variance = truncated_above(0.0, 1.0, 40.0)
    assert 40.0 < mean < 40.1
    assert 0.0 < variance < 0.01


def test_the_fixed_draws_look_like_independent_standard_normals() -> None:
    draws = halton_normals(96)
    assert draws.shape == (96, 2)
    assert np.abs(draws.mean(axis=0)).max() < 0.1
    assert np.abs(np.cov(draws.T) - np.eye(2)).max() < 0.15
    assert (halton_normals(96) == draws).all()
