"""What a run costs, and which power limit serves which aim."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rheostat.policy.cost import (
    Outlay,
    PowerMeasurement,
    by_energy,
    by_time,
    given_cost,
    known_cost,
    run_cost,
    select,
)

joules = st.floats(0, 1e15)
seconds = st.floats(0, 1e10)
shares = st.floats(0, 1)
watts = st.floats(1, 1e6)


def test_the_cost_is_equation_2_of_the_paper() -> None:
    assert run_cost(1000.0, 10.0, eta_knob=0.25, max_power_watts=300.0) == 0.25 * 1000.0 + 0.75 * 3000.0


@given(joules, seconds, watts)
def test_knob_1_is_energy_alone_and_knob_0_is_time_alone(energy: float, time: float, power: float) -> None:
    assert run_cost(energy, time, eta_knob=1.0, max_power_watts=power) == energy
    assert run_cost(energy, time, eta_knob=0.0, max_power_watts=power) == power * time


outlays = st.one_of(
    st.tuples(joules, seconds).map(lambda figures: Outlay(*figures)),
    joules.map(given_cost),
    seconds.map(lambda time: Outlay(seconds_alone=time)),
)


@given(outlays, outlays, shares, watts)
def test_the_price_of_a_sum_is_the_sum_of_the_prices(first: Outlay, second: Outlay, eta: float, power: float) -> None:
    prices = [outlay.price(eta_knob=eta, max_power_watts=power) for outlay in (first, second, first.plus(second))]
    assert prices[2] == pytest.approx(prices[0] + prices[1])


@given(outlays)
def test_an_outlay_survives_json(outlay: Outlay) -> None:
    assert Outlay.from_state(json.loads(json.dumps(outlay.to_state()))) == outlay


def test_nothing_is_known_of_a_run_without_energy_and_time() -> None:
    assert known_cost(None, None, eta_knob=0.5, max_power_watts=300.0) is None


@given(joules, seconds, shares, watts)
def test_a_run_with_both_figures_costs_what_the_equation_says(
    energy: float, time: float, eta: float, power: float
) -> None:
    assert known_cost(energy, time, eta_knob=eta, max_power_watts=power) == run_cost(
        energy, time, eta_knob=eta, max_power_watts=power
    )


@given(seconds, shares, watts, shares)
def test_a_run_without_an_energy_figure_never_looks_cheaper_than_it_was(
    time: float, eta: float, power: float, load: float
) -> None:
    known = known_cost(None, time, eta_knob=eta, max_power_watts=power)
    really = run_cost(load * power * time, time, eta_knob=eta, max_power_watts=power)
    assert known is not None
    assert known >= really * (1 - 1e-12)


@given(joules, shares, watts)
def test_a_run_without_a_time_figure_costs_its_energy(energy: float, eta: float, power: float) -> None:
    assert known_cost(energy, None, eta_knob=eta, max_power_watts=power) == pytest.approx(energy)


FAST = PowerMeasurement(300, cost=1000.0, time_seconds=10.0, energy_joules=900.0)
CHEAP = PowerMeasurement(200, cost=800.0, time_seconds=11.0, energy_joules=700.0)
FRUGAL = PowerMeasurement(100, cost=950.0, time_seconds=15.0, energy_joules=600.0)


def test_each_aim_selects_its_own_best_limit() -> None:
    assert select([FAST, CHEAP, FRUGAL]) is CHEAP
    assert select([FAST, CHEAP, FRUGAL], by_energy) is FRUGAL
    assert select([FAST, CHEAP, FRUGAL], by_time) is FAST


def test_the_slowdown_bound_is_a_multiple_of_the_shortest_time() -> None:
    assert select([FAST, CHEAP, FRUGAL], by_energy, max_slowdown=1.5) is FRUGAL
    assert select([FAST, CHEAP, FRUGAL], by_energy, max_slowdown=1.4) is CHEAP
    assert select([FAST, CHEAP, FRUGAL], by_energy, max_slowdown=1.0) is FAST


def test_equal_measurements_are_settled_for_the_lower_limit() -> None:
    assert select([PowerMeasurement(300, 5.0), PowerMeasurement(200, 5.0)]).power_limit_watts == 200


def test_a_figure_that_is_missing_comes_last() -> None:
    without = PowerMeasurement(50, cost=1.0)
    assert select([without, FAST], by_energy) is FAST
    assert select([without, FAST], by_time) is FAST


def test_a_limit_of_unknown_time_is_not_trusted_to_keep_a_slowdown_bound() -> None:
    assert select([PowerMeasurement(50, cost=1.0), FAST], max_slowdown=2.0) is FAST


def test_where_no_time_is_known_a_slowdown_bound_leaves_only_the_highest_limit() -> None:
    assert select([PowerMeasurement(50, 1.0), PowerMeasurement(60, 2.0)], max_slowdown=2.0).cost == 2.0


measurements = st.lists(
    st.builds(
        PowerMeasurement,
        st.integers(50, 700),
        st.floats(0, 1e9),
        st.none() | st.floats(0, 1e6),
        st.none() | st.floats(0, 1e9),
    ),
    min_size=1,
    unique_by=lambda m: m.power_limit_watts,
)


@given(measurements, st.none() | st.floats(1, 10), st.randoms(use_true_random=False))
def test_the_order_of_measuring_changes_nothing(
    measured: list[PowerMeasurement], max_slowdown: float | None, random: Random
) -> None:
    shuffled = list(measured)
    random.shuffle(shuffled)
    assert select(measured, max_slowdown=max_slowdown) == select(shuffled, max_slowdown=max_slowdown)


@given(measurements, st.floats(1, 10))
def test_no_selected_limit_is_known_to_break_the_slowdown_bound(
    measured: list[PowerMeasurement], max_slowdown: float
) -> None:
    times = [m.time_seconds for m in measured if m.time_seconds is not None]
    time = select(measured, max_slowdown=max_slowdown).time_seconds
    if times:
        assert time is not None
        assert time <= max_slowdown * min(times)
