"""A simulated GPU in time that the tests drive."""

from functools import partial

import pytest

from rheostat.agent.simulated import IDLE_WATTS, SimulatedDevice, SimulatedDriver, step_seconds, step_watts
from rheostat.errors import GpuCallFailed, GpuNotFound, GpuUnsupported
from tests.agent.bench import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gpu(clock: Clock) -> SimulatedDevice:
    return SimulatedDriver(1, clock).devices[0]


def test_steps_take_the_time_and_energy_of_the_formula_for_batch_size_and_limit(
    gpu: SimulatedDevice, clock: Clock
) -> None:
    gpu.set_power_limit_milliwatts(125_000)
    before = gpu.energy_millijoules()
    seconds, joules = gpu.step(512, 100)
    assert seconds == pytest.approx(100 * step_seconds(512, 125))
    assert joules == pytest.approx(seconds * step_watts(512, 125))
    assert gpu.energy_millijoules() / 1000 - before / 1000 == pytest.approx(joules, abs=0.002)


def test_a_lower_limit_makes_steps_slower_and_cheaper(gpu: SimulatedDevice) -> None:
    fast_seconds, fast_joules = gpu.step(512, 100)
    gpu.set_power_limit_milliwatts(125_000)
    slow_seconds, slow_joules = gpu.step(512, 100)
    assert slow_seconds > fast_seconds
    assert slow_joules < fast_joules


def test_it_idles_between_steps(gpu: SimulatedDevice, clock: Clock) -> None:
    before = gpu.energy_millijoules()
    clock.seconds += 10
    assert (gpu.energy_millijoules() - before) / 1000 == pytest.approx(10 * IDLE_WATTS, abs=0.002)


def test_its_energy_is_told_by_its_counter_alone(gpu: SimulatedDevice) -> None:
    for reads_power in (partial(gpu.power_samples, 0), gpu.instant_power_milliwatts, gpu.power_milliwatts):
        with pytest.raises(GpuUnsupported):
            reads_power()


def test_it_refuses_a_limit_out_of_its_range(gpu: SimulatedDevice) -> None:
    with pytest.raises(GpuCallFailed, match="99999 mW"):
        gpu.set_power_limit_milliwatts(99_999)
    assert gpu.power_limit_milliwatts() == gpu.enforced_power_limit_milliwatts() == 250_000


def test_its_energy_adds_up_over_many_steps(gpu: SimulatedDevice, clock: Clock) -> None:
    before, expected = gpu.energy_millijoules(), 0.0
    for samples in range(1, 200):
        _, joules = gpu.step(samples, 1)
        clock.seconds += 0.07
        expected += joules + 0.07 * IDLE_WATTS
        assert (gpu.energy_millijoules() - before) / 1000 == pytest.approx(expected, abs=0.01)


def test_a_gpu_is_found_by_its_uuid(clock: Clock) -> None:
    driver = SimulatedDriver(2, clock)
    first, second = driver.open()
    assert driver.device(second.description.uuid) is second
    assert first.description.uuid != second.description.uuid
    with pytest.raises(GpuNotFound, match="GPU-9"):
        driver.device("GPU-9")
