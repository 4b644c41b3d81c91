"""What a placement's sweeps should measure and have found follows from measurements and knobs, at any time."""

import json
from dataclasses import replace

from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import Job
from rheostat.policy.recommender.power_sweep import PowerSweep
from tests.policy.examples import JsonStore, a_job

LIMITS = (300, 250, 200, 150, 100)
SECONDS = {300: 10.0, 250: 11.0, 200: 13.0, 150: 17.0, 100: 30.0}
"""Of an epoch under each limit, whose power it draws in full: energy falls down to 150 W, and time rises."""

BY_TIME = a_job(power_limits_watts=LIMITS, eta_knob=0.0)
BY_ENERGY = replace(BY_TIME, eta_knob=1.0)


def measure(sweep: PowerSweep, job: Job, batch_size: int, *limits: int, surveyed: bool = False) -> None:
    for limit in limits:
        seconds = SECONDS[limit]
        sweep.measure(job, batch_size, PowerMeasurement(limit, 1.0, seconds, limit * seconds, surveyed=surveyed))


def test_another_knob_chooses_among_what_was_measured_and_back() -> None:
    sweep = PowerSweep(JsonStore())
    measure(sweep, BY_TIME, 32, *LIMITS)
    assert [sweep.predict(job, 32) for job in (BY_TIME, BY_ENERGY, BY_TIME)] == [300, 150, 300]
    assert [m.cost for m in sweep.measurements(BY_ENERGY, 32)] == [limit * SECONDS[limit] for limit in LIMITS]


def test_a_sweep_that_ended_early_goes_on_where_another_knob_makes_lower_limits_promising() -> None:
    sweep = PowerSweep(JsonStore())
    measure(sweep, BY_TIME, 32, 300, 250, 200, 150)
    assert sweep.predict(BY_TIME, 32) == 300
    assert (sweep.predict(BY_ENERGY, 32), sweep.plan(BY_ENERGY, 32)) == (None, (100,))


def test_what_a_second_batch_size_should_measure_follows_the_knob() -> None:
    sweep = PowerSweep(JsonStore())
    measure(sweep, BY_TIME, 32, *LIMITS)
    by_power = replace(BY_TIME, max_slowdown=1.2)
    assert sweep.plan(BY_TIME, 64) == (300, 250, 200)
    assert sweep.plan(BY_ENERGY, 64) == LIMITS
    assert sweep.plan(by_power, 64) == (300, 250, 200)


def test_a_later_sweep_does_not_reopen_an_earlier_one() -> None:
    sweep = PowerSweep(JsonStore())
    measure(sweep, BY_TIME, 32, *LIMITS)
    measure(sweep, BY_TIME, 64, 300, 250, 200)
    assert sweep.predict(BY_TIME, 64) == 300
    for limit in LIMITS:  # of a batch size between the two, at which lower limits are as good
        sweep.measure(BY_TIME, 48, PowerMeasurement(limit, 1.0, 10.0, 10.0 * limit))
    assert (sweep.predict(BY_TIME, 64), sweep.plan(BY_TIME, 64)) == (300, ())
    assert sweep.plan(BY_TIME, 96) == (300, 250, 200)


def test_the_same_measurements_are_stored_alike_at_any_knob() -> None:
    stores = JsonStore(), JsonStore()
    for job, store in zip((BY_TIME, replace(BY_ENERGY, max_slowdown=1.1)), stores, strict=True):
        sweep = PowerSweep(store)
        measure(sweep, job, 32, 300, 250, surveyed=True)
        measure(sweep, job, 64, 300, surveyed=True)
        measure(sweep, job, 32, 300, 250, 200)
    assert json.dumps(stores[0][BY_TIME]) == json.dumps(stores[1][BY_TIME])


def test_energy_that_stands_at_zero_fails_no_answer() -> None:
    sweep = PowerSweep(JsonStore())
    for limit in LIMITS:
        sweep.measure(BY_ENERGY, 32, PowerMeasurement(limit, 0.0, SECONDS[limit], 0.0))
    assert sweep.predict(BY_ENERGY, 32) == 100
    assert sweep.plan(BY_ENERGY, 64) == LIMITS
