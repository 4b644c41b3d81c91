"""A simulated GPU in simulated time."""

import pytest

from rheostat.agent.simulated import IDLE_WATTS, SimulatedDevice, SimulatedDriver, step_seconds, step_watts
from rheostat.errors import GpuCallFailed


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gpu(clock: Clock) -> SimulatedDevice:
    return SimulatedDriver(1, clock).devices[0]


def test_it_draws_what_the_formula_says_for_batch_size_and_limit(gpu: SimulatedDevice, clock: Clock) -> None:
    gpu.train(512)
    gpu.set_power_limit_milliwatts(125_000)
    clock.seconds += 10
    assert gpu.energy_joules() == pytest.approx(10 * step_watts(512, 125))


def test_its_counter_moves_in_ticks_of_a_tenth_of_a_second(gpu: SimulatedDevice, clock: Clock) -> None:
    values = []
    for _ in range(100):
        clock.seconds += 0.01
        values.append(gpu.energy_millijoules())
    assert len(set(values)) in (10, 11)
    assert values[-1] / 1000 == pytest.approx(IDLE_WATTS, rel=0.11)


def test_its_power_is_averaged_over_the_last_second(gpu: SimulatedDevice, clock: Clock) -> None:
    clock.seconds += 5
    gpu.train(512)
    clock.seconds += 0.5
    assert gpu.power_milliwatts() / 1000 == pytest.approx((IDLE_WATTS + step_watts(512, 250)) / 2, rel=0.01)


def test_it_says_when_its_limit_holds_it_down(gpu: SimulatedDevice) -> None:
    assert gpu.throttle_reasons() == frozenset()
    gpu.train(512)
    gpu.set_power_limit_milliwatts(100_000)
    assert gpu.throttle_reasons() == {"power_cap"}


def test_it_refuses_a_limit_out_of_its_range(gpu: SimulatedDevice) -> None:
    with pytest.raises(GpuCallFailed, match="99999 mW"):
        gpu.set_power_limit_milliwatts(99_999)
    assert gpu.power_limit_milliwatts() == gpu.enforced_power_limit_milliwatts() == 250_000


def test_energy_is_continuous_over_many_changes(gpu: SimulatedDevice, clock: Clock) -> None:
    before, expected = gpu.energy_joules(), 0.0
    for samples in range(1, 200):
        gpu.train(samples)
        clock.seconds += 0.07
        expected += 0.07 * step_watts(samples, 250)
    assert gpu.energy_joules() - before == pytest.approx(expected)


def test_steps_can_be_run_at_once_in_the_time_that_they_would_take(gpu: SimulatedDevice, clock: Clock) -> None:
    gpu.set_power_limit_milliwatts(150_000)
    before = gpu.energy_joules()
    seconds, joules = gpu.step(128, 1000)
    assert seconds == pytest.approx(1000 * step_seconds(128, 150))
    assert joules == pytest.approx(seconds * step_watts(128, 150)) == gpu.energy_joules() - before
    clock.seconds += 2
    assert gpu.energy_joules() - before == pytest.approx(joules + 2 * IDLE_WATTS)
