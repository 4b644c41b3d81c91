"""Which figure of the cost of an epoch is used: the measured one, the reported one, or neither."""

from math import exp, isnan

import pytest

from rheostat.policy.cost import PowerMeasurement, given_cost
from rheostat.policy.recommender.evidence import Arm
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.power_sweep import PowerSweep
from rheostat.policy.recommender.prices import gather_prices, measured_prices
from tests.policy.examples import JsonStore, a_job

SIZES = (16, 32, 64)
GRID = Grid(SIZES, 32)
JOB = a_job(power_limits_watts=(300,))


def price(measured: dict[int, float], reported: dict[int, list[float]], batch_size: int = 32) -> float | None:
    """Return the cost of an epoch, by measured costs and what the runs reported."""
    sweep = PowerSweep(JsonStore())
    for size, cost in measured.items():
        sweep.observe(JOB, size, 300, cost)
    arms = {size: Arm() for size in SIZES}
    for size, costs in reported.items():
        for cost in costs:
            arms[size] = arms[size].with_epoch_cost(given_cost(cost))
    log_cost = gather_prices(measured_prices(sweep, JOB, GRID), GRID, arms, JOB.price, None).log_costs[
        GRID.index(batch_size)
    ]
    return None if isnan(log_cost) else exp(log_cost)


def test_an_epoch_costs_what_the_runs_reported_and_else_what_was_measured() -> None:
    assert price({32: 100.0}, {32: [110.0]}) == pytest.approx(110.0)
    assert price({32: 100.0}, {32: [90.0]}) == pytest.approx(100.0)
    assert price({32: 100.0}, {}) == pytest.approx(100.0)
    assert price({}, {32: [110.0]}) == pytest.approx(110.0)
    assert price({}, {}) is None


def test_runs_that_keep_contradicting_a_measurement_prevail() -> None:
    assert price({32: 100_000.0}, {32: [100.0, 110.0]}) == pytest.approx(110.0)
    assert price({32: 100.0}, {32: [100_000.0, 100.0]}) == pytest.approx(100.0)


def test_what_runs_cost_beyond_their_steps_is_added_to_the_steps_of_all_batch_sizes() -> None:
    evaluated = {32: [1_000.0, 1_020.0, 1_010.0]}
    assert price({32: 1_000.0 / 17, 64: 30.0}, evaluated) == pytest.approx(1_010.0)
    assert price({32: 1_000.0 / 17, 64: 30.0}, evaluated, 64) == pytest.approx(30.0 + 1_010.0 - 1_000.0 / 17)


def test_the_middle_one_of_several_runs_says_what_an_evaluation_costs() -> None:
    assert price({32: 100.0, 64: 60.0}, {32: [110.0, 190.0, 112.0]}, 64) == pytest.approx(72.0)


@pytest.mark.parametrize(("measured", "reported"), [(1e5, 110.0), (0.1, 110.0), (110.0, 1e5), (110.0, 0.1)])
def test_the_other_batch_sizes_decide_between_a_measurement_and_a_single_run(measured: float, reported: float) -> None:
    assert price({32: measured, 16: 120.0, 64: 90.0}, {32: [reported]}) == pytest.approx(110.0)


@pytest.mark.parametrize("absurd", [1e5, 0.1])
def test_a_single_absurd_run_is_not_used(absurd: float) -> None:
    assert price({16: 120.0, 64: 90.0}, {32: [absurd]}) is None
    assert price({16: 120.0, 64: 90.0}, {32: [absurd, 105.0]}) == pytest.approx(105.0)


def test_of_two_single_runs_that_contradict_each_other_neither_is_used() -> None:
    reported = {16: [100.0], 32: [0.1]}
    assert (price({}, reported, 16), price({}, reported, 32)) == (None, None)


def test_figures_of_a_step_say_nothing_of_an_epoch() -> None:
    sweep = PowerSweep(JsonStore())
    sweep.measure(JOB, 32, PowerMeasurement(300, 1.0, 0.1, 1.0, of_an_epoch=False))
    assert measured_prices(sweep, JOB, GRID).log_costs == (None, None, None)


@pytest.mark.parametrize(("cost", "used"), [(30.0, False), (55.0, True), (150.0, True), (270.0, False)])
def test_a_survey_s_figure_far_off_the_others_is_not_used(cost: float, used: bool) -> None:
    sweep, arms = PowerSweep(JsonStore()), {size: Arm() for size in SIZES}
    for size, epoch in ((16, 120.0), (32, cost), (64, 70.0)):
        sweep.measure(JOB, size, PowerMeasurement(300, epoch, surveyed=True))
    prices = gather_prices(measured_prices(sweep, JOB, GRID), GRID, arms, JOB.price, None)
    assert prices.are_seen[GRID.index(32)] is used


def test_what_a_survey_measured_counts_until_a_run_knows_better() -> None:
    sweep, arms = PowerSweep(JsonStore()), {size: Arm() for size in SIZES}
    for size, cost in ((32, 100.0), (64, 60.0)):
        sweep.measure(JOB, size, PowerMeasurement(300, cost, surveyed=True))
    surveyed = gather_prices(measured_prices(sweep, JOB, GRID), GRID, arms, JOB.price, None)
    assert (surveyed.are_seen, surveyed.are_known) == ([False, True, True], [False, False, False])
    assert surveyed.posterior(GRID).variance[GRID.index(64)] == pytest.approx(0.03**2, rel=0.1)
    arms[64] = arms[64].with_epoch_cost(given_cost(90.0))
    run = gather_prices(measured_prices(sweep, JOB, GRID), GRID, arms, JOB.price, None)
    assert run.are_known == [False, False, True]
    assert exp(run.log_costs[GRID.index(64)]) == pytest.approx(90.0)
