"""The epoch-cost model: from a profiled arm to those that were not."""

import numpy as np
import pytest

from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.recommender import epoch_cost
from rheostat.policy.recommender.epoch_cost import step_bound_share
from rheostat.policy.recommender.grid import Grid

SIZES = (16, 32, 64, 128, 256)
GRID = Grid(SIZES, 64)


def log_costs(**known: float) -> np.ndarray:
    return np.array([np.log(known[f"b{size}"]) if f"b{size}" in known else np.nan for size in SIZES])


def sweep(busy: float, slowdown: float) -> list[PowerMeasurement]:
    """Return a 300 W GPU that draws a share of that at its top limit, and slows down so much at half of it."""
    top = PowerMeasurement(300, 1.0, time_seconds=10.0, energy_joules=10.0 * busy * 300.0)
    return [top, PowerMeasurement(150, 1.0, time_seconds=10.0 * slowdown, energy_joules=1000.0)]


def test_an_idle_gpu_that_minds_no_limit_waits_for_steps() -> None:
    assert step_bound_share(sweep(0.3, 1.0), 300.0, 1) > 0.9
    assert step_bound_share(sweep(0.95, 1.6), 300.0, 1) < 0.1


def test_power_counts_over_all_gpus_and_limits_for_each() -> None:
    doubled = [
        PowerMeasurement(m.power_limit_watts, m.cost, m.time_seconds, 2.0 * (m.energy_joules or 0.0))
        for m in sweep(0.3, 1.3)
    ]
    assert step_bound_share(doubled, 600.0, 2) == pytest.approx(step_bound_share(sweep(0.3, 1.3), 300.0, 1))


def test_measurements_without_time_and_energy_say_nothing_of_utilisation() -> None:
    assert step_bound_share([PowerMeasurement(300, 5.0)], 300.0, 1) == 0.5


def test_a_step_bound_job_is_expected_to_halve_its_epoch_cost_with_twice_the_batch() -> None:
    known = log_costs(b64=100.0)
    waiting = np.exp(epoch_cost.posterior(GRID, known, 0.98, None).mean)
    computing = np.exp(epoch_cost.posterior(GRID, known, 0.02, None).mean)
    assert waiting[GRID.index(128)] < 70.0
    assert computing[GRID.index(128)] > 85.0
    assert waiting[GRID.index(64)] == computing[GRID.index(64)] == pytest.approx(100.0)


def test_a_second_profiled_arm_determines_the_share() -> None:
    step_bound = epoch_cost.posterior(GRID, log_costs(b64=100.0, b128=51.0), 0.5, None)
    compute_bound = epoch_cost.posterior(GRID, log_costs(b64=100.0, b128=99.0), 0.5, None)
    assert np.exp(step_bound.mean[GRID.index(256)]) < 35.0
    assert np.exp(compute_bound.mean[GRID.index(256)]) > 90.0
    assert step_bound.variance[GRID.index(256)] < 0.1


def test_before_anything_is_known_only_differences_are_believed() -> None:
    belief = epoch_cost.posterior(GRID, log_costs(), 0.5, None)
    assert belief.mean[GRID.index(64)] == pytest.approx(0.0)
    assert belief.variance[GRID.index(64)] < 0.02


def test_another_gpus_shape_stands_in_for_the_mixture_and_gives_way_to_measurements() -> None:
    shape = np.log([1.0, 2.0, 4.0, 8.0, 16.0])
    belief = np.exp(epoch_cost.posterior(GRID, log_costs(b64=100.0), 0.5, shape).mean)
    assert belief[GRID.index(128)] == pytest.approx(200.0, rel=0.02)
    belief = np.exp(epoch_cost.posterior(GRID, log_costs(b64=100.0, b128=150.0), 0.5, shape).mean)
    assert belief[GRID.index(128)] == pytest.approx(150.0, rel=0.01)
    assert belief[GRID.index(256)] < 380.0
