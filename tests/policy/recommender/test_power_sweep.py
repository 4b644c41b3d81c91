"""As few power limits as the last sweep allows, and the best of them."""

from collections.abc import Mapping

import pytest

from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import Job
from rheostat.policy.recommender.power_sweep import PowerSweep
from tests.policy.examples import JsonStore, a_job

LIMITS = (300, 275, 250, 225, 200, 175, 150, 125, 100)
COSTS = {300: 120, 275: 112, 250: 106, 225: 101, 200: 100, 175: 104, 150: 112, 125: 135, 100: 180}


def a_sweep(**changes: float) -> tuple[PowerSweep, Job]:
    return PowerSweep(JsonStore()), a_job(power_limits_watts=LIMITS, **changes)


def measure_all(
    sweep: PowerSweep, job: Job, batch_size: int, costs: Mapping[int, float], times: Mapping[int, float] | None = None
) -> list[int]:
    """Measure what is asked for until a limit is advised; return what was measured."""
    measured: list[int] = []
    while sweep.predict(job, batch_size) is None:
        limit = sweep.plan(job, batch_size)[0]
        cost = float(costs[limit])
        figures = (None, None) if times is None else (times[limit], cost)
        sweep.measure(job, batch_size, PowerMeasurement(limit, cost, *figures))
        measured.append(limit)
    return measured


def test_the_first_sweep_goes_down_until_the_cost_has_clearly_risen() -> None:
    sweep, job = a_sweep()
    assert sweep.plan(job, 32) == LIMITS
    assert measure_all(sweep, job, 32, COSTS) == [300, 275, 250, 225, 200, 175, 150, 125]
    assert sweep.predict(job, 32) == 200
    assert sweep.plan(job, 32) == (100,)


def test_a_second_batch_size_measures_only_what_was_good_at_the_first() -> None:
    sweep, job = a_sweep()
    steep = {limit: 100.0 + 2.0 * abs(limit - 200) for limit in LIMITS}
    measure_all(sweep, job, 32, steep)
    assert sweep.plan(job, 64) == (225, 200, 175)
    assert measure_all(sweep, job, 64, steep | {225: 90.0}) == [225, 200, 175]
    assert sweep.predict(job, 64) == 225


def test_only_limits_that_were_good_at_the_nearest_batch_size_are_measured() -> None:
    sweep, job = a_sweep()
    measure_all(sweep, job, 8, {limit: 100.0 + 2.0 * abs(limit - 150) for limit in LIMITS})
    for limit in LIMITS:
        sweep.measure(job, 512, PowerMeasurement(limit, 100.0 + 2.0 * abs(limit - 275)))
    assert sweep.plan(job, 16) == (175, 150, 125)
    assert sweep.plan(job, 256) == (300, 275, 250)


def test_the_cheapest_limit_that_keeps_the_slowdown_wins_and_slower_ones_are_not_measured() -> None:
    sweep, job = a_sweep(max_slowdown=1.1, eta_knob=1.0)
    times = {limit: 10.0 * (300 / limit) ** 0.5 for limit in LIMITS}
    assert measure_all(sweep, job, 32, {limit: float(limit) for limit in LIMITS}, times) == [300, 275, 250, 225]
    assert sweep.predict(job, 32) == 250
    assert sweep.plan(job, 64)[0] == 300


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_an_absurd_measurement_is_not_used(factor: float) -> None:
    sweep, job = a_sweep()
    for limit in LIMITS:
        sweep.measure(job, 32, PowerMeasurement(limit, COSTS[limit] * (factor if limit == 275 else 1.0)))
    assert sweep.predict(job, 32) == 200
    assert 275 not in {m.power_limit_watts for m in sweep.measurements(job, 32)}


@pytest.mark.parametrize("max_slowdown", [None, 1.5])
def test_an_absurd_first_measurement_does_not_end_the_sweep(max_slowdown: float | None) -> None:
    sweep, job = PowerSweep(JsonStore()), a_job(power_limits_watts=LIMITS, max_slowdown=max_slowdown, eta_knob=1.0)
    falling = {limit: 100.0 + limit / 10 for limit in LIMITS}
    measured = measure_all(sweep, job, 32, falling | {300: 0.1}, dict.fromkeys(LIMITS, 10.0) | {300: 0.001})
    assert measured == list(LIMITS)
    assert sweep.predict(job, 32) == 100


def test_a_node_that_allows_other_limits_measures_some_of_its_own() -> None:
    sweep, job = a_sweep()
    measure_all(sweep, job, 32, COSTS)
    narrow = a_job(power_limits_watts=(280, 230))
    assert sweep.predict(narrow, 32) is None
    assert measure_all(sweep, narrow, 32, {280: 110.0, 230: 102.0})
    assert sweep.predict(narrow, 32) == 230
    capped = a_job(power_limits_watts=(150, 125))
    assert sweep.predict(capped, 32) == 150


def test_a_repeated_measurement_replaces_the_first() -> None:
    sweep, job = a_sweep()
    for cost in (5.0, 7.0):
        sweep.observe(job, 32, 300, cost)
    assert [(m.power_limit_watts, m.cost) for m in sweep.measurements(job, 32)] == [(300, 7.0)]


def survey_all(sweep: PowerSweep, job: Job, batch_size: int, costs: Mapping[int, float]) -> list[int]:
    """Measure in a survey what it asks for; return what was measured."""
    measured: list[int] = []
    while plan := sweep.survey_plan(job, batch_size):
        sweep.measure(job, batch_size, PowerMeasurement(plan[0], float(costs[plan[0]]), surveyed=True))
        measured.append(plan[0])
    return measured


def test_a_survey_sweeps_one_batch_size_and_measures_the_others_at_its_best_limit() -> None:
    sweep, job = a_sweep()
    assert survey_all(sweep, job, 32, COSTS) == [300, 275, 250, 225, 200, 175, 150, 125]
    assert survey_all(sweep, job, 64, COSTS) == [200]
    assert [(m.power_limit_watts, m.surveyed) for m in sweep.measurements(job, 64)] == [(200, True)]


def test_a_run_measures_again_what_a_survey_found_to_be_good_and_its_figures_count() -> None:
    sweep, job = a_sweep()
    steep = {limit: 100.0 + 0.7 * abs(limit - 200) for limit in LIMITS}
    survey_all(sweep, job, 32, steep)
    assert sweep.predict(job, 32) is None
    assert sweep.plan(job, 32) == (275, 250, 225, 200, 175, 150)
    assert sweep.measurements(job, 32)[0].surveyed
    measure_all(sweep, job, 32, steep | {175: 90.0})
    assert sweep.predict(job, 32) == 175
    assert not any(m.surveyed for m in sweep.measurements(job, 32))
    assert survey_all(sweep, job, 32, steep) == []


@pytest.mark.parametrize(("limit", "factor"), [(300, 3.0), (200, 3.0), (125, 0.3), (150, 0.01)])
def test_a_survey_that_cannot_be_rules_out_no_limit(limit: int, factor: float) -> None:
    sweep, job = a_sweep()
    survey_all(sweep, job, 32, COSTS | {limit: COSTS[limit] * factor})
    assert sweep.plan(job, 32) == LIMITS
    assert sweep.plan(job, 64) == LIMITS


def test_a_survey_that_a_run_contradicts_rules_out_no_limit() -> None:
    sweep, job = a_sweep()
    survey_all(sweep, job, 32, {limit: limit / 100.0 for limit in LIMITS})
    planned = sweep.plan(job, 32)
    assert 300 not in planned
    sweep.measure(job, 32, PowerMeasurement(planned[0], 10.0))
    assert sweep.plan(job, 32) == tuple(limit for limit in LIMITS if limit != planned[0])
    assert sweep.plan(job, 64) == LIMITS


def test_what_only_a_survey_measured_answers_whoever_asks_before_a_run() -> None:
    sweep, job = a_sweep()
    assert sweep.surveyed(job, 32) is None
    sweep.measure(job, 32, PowerMeasurement(300, 120.0, surveyed=True))
    assert sweep.surveyed(job, 32) == (None, LIMITS[1:])
    survey_all(sweep, job, 32, COSTS)
    best, _ = sweep.surveyed(job, 32) or (None, ())
    assert best == 200
    assert sweep.predict(job, 32) is None
    sweep.measure(job, 32, PowerMeasurement(300, 120.0))
    assert sweep.surveyed(job, 32) is None


def test_a_job_with_one_limit_has_every_batch_size_surveyed_at_it() -> None:
    sweep, job = PowerSweep(JsonStore()), a_job(power_limits_watts=(300,))
    assert [survey_all(sweep, job, size, COSTS) for size in (32, 64)] == [[300], [300]]
