"""What a run is predicted to cost, as a distribution."""

from math import exp, log

import pytest

from rheostat.policy.estimates import CostPrediction

SAID = CostPrediction(log(100.0), 0.25, 7.0)


def test_a_quantile_is_where_the_probability_lies_below() -> None:
    for probability in (0.025, 0.1, 0.5, 0.9, 0.975):
        assert SAID.probability_below(SAID.quantile(probability)) == pytest.approx(probability)
    assert SAID.quantile(0.5) == pytest.approx(SAID.median) == pytest.approx(107.0)
    assert SAID.quantile(0.975) == pytest.approx(7.0 + 100.0 * exp(1.959964 * 0.25), rel=1e-6)


def test_no_run_costs_less_than_its_fixed_part() -> None:
    assert SAID.probability_below(7.0) == 0.0
    assert SAID.probability_below(-1.0) == 0.0


def test_moments_are_those_of_the_lognormal() -> None:
    said = CostPrediction.of_moments(100.0, 25.0)
    mean = exp(said.log_mean + 0.5 * said.log_deviation**2)
    assert mean == pytest.approx(100.0)
    assert (exp(said.log_deviation**2) - 1.0) * mean**2 == pytest.approx(25.0)
