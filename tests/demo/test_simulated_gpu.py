import pytest

from rheostat.demo.simulated_gpu import DESCRIPTION, SimulatedGpu

LIMITS = range(DESCRIPTION.min_power_limit_watts, DESCRIPTION.max_power_limit_watts + 1, 25)


def after_steps(samples: int, power_limit_watts: int, steps: int = 1) -> SimulatedGpu:
    gpu = SimulatedGpu()
    gpu.power_limit_watts = power_limit_watts
    for _ in range(steps):
        gpu.step(samples)
    return gpu


def power_watts(gpu: SimulatedGpu) -> float:
    return gpu.energy_joules / gpu.time_seconds


def test_it_starts_at_its_highest_limit_with_empty_counters() -> None:
    gpu = SimulatedGpu()
    assert gpu.power_limit_watts == DESCRIPTION.max_power_limit_watts
    assert (gpu.time_seconds, gpu.energy_joules) == (0, 0)


def test_the_counters_add_up_step_by_step() -> None:
    one, ten = after_steps(64, 250), after_steps(64, 250, steps=10)
    assert ten.time_seconds == pytest.approx(10 * one.time_seconds)
    assert ten.energy_joules == pytest.approx(10 * one.energy_joules)


@pytest.mark.parametrize("samples", [8, 64, 512])
@pytest.mark.parametrize("limit", LIMITS)
def test_it_never_draws_more_than_its_limit(samples: int, limit: int) -> None:
    assert power_watts(after_steps(samples, limit)) <= limit


@pytest.mark.parametrize("samples", [8, 64, 512])
def test_a_lower_limit_is_never_faster(samples: int) -> None:
    times = [after_steps(samples, limit).time_seconds for limit in LIMITS]
    assert times == sorted(times, reverse=True)


def test_a_lower_limit_slows_a_busy_gpu_by_less_than_it_takes_power_away() -> None:
    full, throttled = after_steps(512, 250), after_steps(512, 125)
    slowdown = throttled.time_seconds / full.time_seconds
    assert 1 < slowdown < power_watts(full) / power_watts(throttled)


def test_a_gpu_that_waits_for_small_batches_draws_little_and_hardly_feels_its_limit() -> None:
    full, throttled = after_steps(8, 250), after_steps(8, 100)
    assert power_watts(full) < DESCRIPTION.min_power_limit_watts
    assert throttled.time_seconds == pytest.approx(full.time_seconds, rel=0.01)


def test_large_batches_are_faster_per_sample() -> None:
    times = [after_steps(samples, 250).time_seconds / samples for samples in (8, 32, 128, 512)]
    assert times == sorted(times, reverse=True)
