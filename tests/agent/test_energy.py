"""Energy windows against the true energy of the fake GPU, in time that the tests drive."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest

from rheostat.agent.energy import EnergyMeter
from rheostat.agent.nvml import NvmlDriver
from tests.nvml.fake import NOT_SUPPORTED, Call, FakeNvml

SECOND = 1_000_000_000


class MeteredGpu:
    """The first GPU and its meter, which is polled whenever it asks to be."""

    def __init__(self, fake: FakeNvml, driver: NvmlDriver) -> None:
        self._fake = fake
        fake.advance(0)
        self.meter = EnergyMeter(driver.open()[0], fake.now_ns)
        self._due_ns = fake.now_ns()

    def run(self, seconds: float, late_seconds: float = 0.0) -> None:
        """Let time pass; each poll is late by so much."""
        end_ns = self._fake.now_ns() + round(seconds * SECOND)
        while (due_ns := self._due_ns + round(late_seconds * SECOND)) <= end_ns:
            self._advance_to(due_ns)
            self._due_ns = due_ns + round(self.meter.poll() * SECOND)
        self._advance_to(end_ns)

    def _advance_to(self, time_ns: int) -> None:
        self._fake.advance((time_ns - self._fake.now_ns()) / SECOND)


@pytest.fixture
def follow(fake: FakeNvml) -> Iterator[Callable[[], MeteredGpu]]:
    driver = NvmlDriver()
    yield lambda: MeteredGpu(fake, driver)
    driver.close()


@pytest.fixture
def metered(follow: Callable[[], MeteredGpu]) -> MeteredGpu:
    return follow()


@pytest.mark.parametrize("phase_seconds", [0.0, 0.03, 0.07])
def test_a_window_of_two_seconds_is_within_one_percent_of_the_truth(
    metered: MeteredGpu, fake: FakeNvml, phase_seconds: float
) -> None:
    gpu = fake.gpus[0]
    gpu.load(0.9)
    metered.run(0.6 + phase_seconds)
    since_ns, before = fake.now_ns(), gpu.energy_joules()
    metered.run(2)
    until_ns, truth = fake.now_ns(), gpu.energy_joules() - before
    metered.run(0.2)
    usage = metered.meter.usage(since_ns, until_ns)
    assert usage.energy_joules == pytest.approx(truth, rel=0.01)
    assert (usage.gpu, usage.source, usage.unknown_because) == (gpu.uuid, "counter", None)
    assert usage.resolution_seconds == pytest.approx(0.1, rel=0.1)


def test_on_a_busy_machine_ticks_seen_too_late_are_not_used(metered: MeteredGpu, fake: FakeNvml) -> None:
    gpu = fake.gpus[0]
    gpu.load(0.9)
    metered.run(1)
    since_ns, before = fake.now_ns(), gpu.energy_joules()
    metered.run(0.3, late_seconds=0.04)
    metered.run(1.7)
    until_ns, truth = fake.now_ns(), gpu.energy_joules() - before
    metered.run(0.2)
    usage = metered.meter.usage(since_ns, until_ns)
    assert usage.energy_joules == pytest.approx(truth, rel=0.01)
    late = metered.meter.usage(since_ns + SECOND // 5, until_ns)
    assert late.resolution_seconds is not None
    assert late.resolution_seconds > 0.19


def test_differences_of_the_count_are_the_same_energy(metered: MeteredGpu, fake: FakeNvml) -> None:
    metered.run(0.5)
    since_ns = fake.now_ns()
    metered.run(0.2)
    start = metered.meter.usage(None, since_ns)
    metered.run(0.1)
    until_ns = fake.now_ns()
    metered.run(0.2)
    end = metered.meter.usage(since_ns, until_ns)
    assert start.energy_joules is None
    assert start.cumulative_joules is not None
    assert end.cumulative_joules is not None
    assert end.energy_joules == pytest.approx(end.cumulative_joules - start.cumulative_joules)
    assert start.series == end.series


def test_without_a_counter_power_is_integrated_and_the_source_says_so(
    follow: Callable[[], MeteredGpu], fake: FakeNvml
) -> None:
    gpu = fake.gpus[0]
    gpu.fail(Call.GET_ENERGY, NOT_SUPPORTED)
    gpu.load(0.5)
    metered = follow()
    metered.run(1.2)  # until the average no longer includes the idle time
    since_ns, before = fake.now_ns(), gpu.energy_joules()
    metered.run(1)
    until_ns, truth = fake.now_ns(), gpu.energy_joules() - before
    metered.run(0.1)
    usage = metered.meter.usage(since_ns, until_ns)
    assert usage.source == "power_samples"
    assert usage.energy_joules == pytest.approx(truth, rel=0.03)


def test_unknown_energy_is_null_with_a_reason(metered: MeteredGpu, fake: FakeNvml) -> None:
    metered.run(0.5)
    early = metered.meter.usage(fake.now_ns() - 60 * SECOND, fake.now_ns() - SECOND // 5)
    assert early.energy_joules is None
    assert "not known that far back" in (early.unknown_because or "")
    future = metered.meter.usage(None, fake.now_ns() + 60 * SECOND)
    assert (future.cumulative_joules, future.unknown_because) == (None, "The energy has not been read since then.")


def test_a_counter_that_restarts_begins_a_new_series(metered: MeteredGpu, fake: FakeNvml) -> None:
    state = fake.gpus[0].state
    state.energy_joules = state.counter_joules = 1000
    metered.run(0.4)
    since_ns = fake.now_ns() - SECOND // 10
    before = metered.meter.usage(None, since_ns)
    state.energy_joules = state.counter_joules = 0
    metered.run(0.4)
    after = metered.meter.usage(since_ns, fake.now_ns() - SECOND // 10)
    assert after.series != before.series
    assert after.energy_joules is None


def test_a_meter_that_cannot_read_for_a_while_does_not_guess(metered: MeteredGpu, fake: FakeNvml) -> None:
    metered.run(0.3)
    fake.gpus[0].state.tick_cells = 2**40
    since_ns = fake.now_ns() + SECOND // 2
    metered.run(2)
    fake.gpus[0].state.tick_cells = 100
    metered.run(0.5)
    usage = metered.meter.usage(since_ns, since_ns + SECOND // 10)
    assert usage.energy_joules is None
    assert usage.unknown_because == "The energy could not be read around the start or the end of the window."


def test_the_counter_is_polled_when_a_tick_is_due_not_all_the_time(metered: MeteredGpu, fake: FakeNvml) -> None:
    metered.run(0.6)
    calls = fake.gpus[0].state.calls[Call.GET_ENERGY]
    metered.run(1)
    assert fake.gpus[0].state.calls[Call.GET_ENERGY] - calls < 130


def test_throttle_reasons_in_the_window_are_listed(metered: MeteredGpu, fake: FakeNvml) -> None:
    metered.run(0.3)
    fake.gpus[0].state.temperature_celsius = 99
    metered.run(0.3)
    usage = metered.meter.usage(fake.now_ns() - SECOND // 5, fake.now_ns() - SECOND // 10)
    assert usage.throttle_reasons == ["thermal"]


def test_throttle_reasons_that_a_gpu_does_not_report_are_unknown_and_its_counter_is_still_used(
    follow: Callable[[], MeteredGpu], fake: FakeNvml
) -> None:
    fake.gpus[0].fail(Call.GET_REASONS, NOT_SUPPORTED)
    metered = follow()
    metered.run(0.3)
    since_ns = fake.now_ns()
    metered.run(0.3)
    usage = metered.meter.usage(since_ns, since_ns + SECOND // 10)
    assert usage.energy_joules is not None
    assert (usage.throttle_reasons, usage.source) == (None, "counter")


def test_energy_is_known_from_the_first_moment_on(follow: Callable[[], MeteredGpu], fake: FakeNvml) -> None:
    gpu = fake.gpus[0]
    fake.advance(0)
    gpu.load(0.8)
    fake.advance(0.3)
    metered = follow()
    metered.run(0.01)
    since_ns, before = fake.now_ns(), gpu.energy_joules()
    metered.run(2)
    until_ns, truth = fake.now_ns(), gpu.energy_joules() - before
    metered.run(0.2)
    assert metered.meter.usage(since_ns, until_ns).energy_joules == pytest.approx(truth, rel=0.015)


def test_after_a_pause_the_energy_before_it_is_unknown(metered: MeteredGpu, fake: FakeNvml) -> None:
    metered.run(1)
    since_ns = fake.now_ns() - SECOND // 2
    metered.meter.pause()
    metered.run(0.5)
    assert metered.meter.usage(since_ns, fake.now_ns() - SECOND // 10).energy_joules is None


def test_usage_waits_for_the_first_reading_after_the_window(metered: MeteredGpu, fake: FakeNvml) -> None:
    metered.run(0.5)
    until_ns = fake.now_ns()
    assert metered.meter.usage(None, until_ns, wait_seconds=0).cumulative_joules is None
    with ThreadPoolExecutor(1) as caller:
        waiting = caller.submit(metered.meter.usage, None, until_ns, wait_seconds=30)
        sleep(0.02)
        assert not waiting.done()
        metered.run(0.2)
        assert waiting.result(timeout=10).cumulative_joules is not None
