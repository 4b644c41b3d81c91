"""A GPU through the real pynvml over the fake library."""

from collections.abc import Iterator

import pytest

from rheostat.agent.devices import PowerRange
from rheostat.agent.nvml import NvmlDriver
from rheostat.errors import (
    AgentError,
    DriverReloaded,
    GpuCallFailed,
    GpuReadOnly,
    GpuUnavailable,
    GpuUnsupported,
)
from tests.nvml.fake import (
    GPU_IS_LOST,
    HW_SLOWDOWN,
    NO_PERMISSION,
    NOT_SUPPORTED,
    RESET_REQUIRED,
    UNKNOWN,
    Call,
    FakeNvml,
)
from tests.waiting import eventually


@pytest.fixture
def driver(fake: FakeNvml) -> Iterator[NvmlDriver]:
    driver = NvmlDriver()
    yield driver
    driver.close()


def test_gpus_are_described(driver: NvmlDriver, fake: FakeNvml) -> None:
    first, second = (device.description for device in driver.open())
    assert (first.uuid, second.uuid) == (fake.gpus[0].uuid, fake.gpus[1].uuid)
    assert (second.index, second.name, second.partitioned) == (1, "Fake V100", False)
    assert first.power_range == PowerRange(100_000, 300_000, 300_000)


def test_a_limit_is_set_and_read_back_to_the_milliwatt(driver: NvmlDriver, fake: FakeNvml) -> None:
    device = driver.open()[0]
    device.set_power_limit_milliwatts(187_654)
    fake.gpus[0].state.enforced_cap_mw = 150_000
    assert device.power_limit_milliwatts() == 187_654
    assert device.enforced_power_limit_milliwatts() == 150_000


def test_power_energy_and_throttle_reasons_are_read(driver: NvmlDriver, fake: FakeNvml) -> None:
    device = driver.open()[0]
    fake.gpus[0].load(0.5)
    fake.gpus[0].state.forced_reasons = HW_SLOWDOWN
    fake.gpus[0].state.temperature_celsius = 99
    fake.gpus[0].limit_watts = 100
    assert device.power_milliwatts() > 0
    assert device.energy_millijoules() >= 0
    assert device.throttle_reasons() == {"power_cap", "thermal", "hardware"}


def test_a_partitioned_gpu_is_recognised(driver: NvmlDriver, fake: FakeNvml) -> None:
    fake.gpus[0].state.mig = 1
    assert driver.open()[0].description.partitioned


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (GPU_IS_LOST, GpuUnavailable),
        (RESET_REQUIRED, GpuUnavailable),
        (NO_PERMISSION, GpuReadOnly),
        (UNKNOWN, GpuCallFailed),
    ],
)
def test_each_failure_has_an_error_of_its_own(
    driver: NvmlDriver, fake: FakeNvml, code: int, error: type[AgentError]
) -> None:
    device = driver.open()[0]
    fake.gpus[0].fail(Call.SET_LIMIT, code)
    with pytest.raises(error, match="nvmlDeviceSetPowerManagementLimit"):
        device.set_power_limit_milliwatts(200_000)


def test_a_missing_counter_is_unsupported_not_zero(driver: NvmlDriver, fake: FakeNvml) -> None:
    fake.gpus[0].fail(Call.GET_ENERGY, NOT_SUPPORTED)
    with pytest.raises(GpuUnsupported):
        driver.open()[0].energy_millijoules()


def test_a_reloaded_driver_is_reported_at_once(driver: NvmlDriver, fake: FakeNvml) -> None:
    fake.reload_driver()
    with pytest.raises(DriverReloaded) as caught:
        driver.open()
    assert "modprobe nvidia" in caught.value.hint
    fake.world.driver_reloaded = 0


def test_a_lost_gpu_does_not_block_the_others_from_opening(driver: NvmlDriver, fake: FakeNvml) -> None:
    fake.gpus[0].lose()
    fake.gpus[1].fail(Call.GET_NAME, UNKNOWN, times=2)
    assert [device.description.uuid for device in driver.open()] == [fake.gpus[1].uuid]


def test_a_hung_gpu_does_not_block_the_others_from_opening_and_is_opened_when_it_responds(fake: FakeNvml) -> None:
    driver = NvmlDriver(open_seconds=0.05)
    fake.gpus[0].hang(Call.GET_UUID)
    for _ in range(2):
        assert [device.description.uuid for device in driver.open()] == [fake.gpus[1].uuid]
        assert driver.unresponsive() == (0,)
    fake.gpus[0].heal()
    eventually(lambda: len(driver.open()) == 2)
    assert driver.unresponsive() == ()
    driver.close()
