"""One GPU's guard without its thread, in time that the tests drive."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rheostat.agent.energy import EnergyMeter
from rheostat.agent.guard import Guard
from rheostat.agent.ledger import Ledger
from rheostat.agent.nvml import NvmlDriver
from rheostat.agent.records import Entry, Owner, Terms
from rheostat.agent.simulated import SimulatedDevice
from rheostat.agent.site import Site
from rheostat.agent.states import GuardState
from rheostat.errors import (
    DriverReloaded,
    ForeignPowerLimit,
    GpuCallFailed,
    GpuHeld,
    GpuReadOnly,
    GpuUnavailable,
    LeaseNotFound,
)
from tests.nvml.fake import GPU_IS_LOST, NO_PERMISSION, NOT_SUPPORTED, UNKNOWN, Call, FakeNvml

TERMS = Terms("f00d", Owner(1, 1, 0), 60.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.locked():
        pass
    return ledger


Start = Callable[..., Guard]


@pytest.fixture
def start(fake: FakeNvml, ledger: Ledger) -> Start:
    """Start a guard of the first GPU at a time that only the test moves."""
    fake.advance(0)

    def start(
        terms: Terms | None = None, site: Site | None = None, reloads: list[DriverReloaded] | None = None
    ) -> Guard:
        guard = Guard(
            NvmlDriver().open()[0],
            ledger,
            site or Site(),
            (reloads if reloads is not None else []).append,
            entry=ledger.read().get(fake.gpus[0].uuid),
            terms=terms,
            check_seconds=1,
            clock_ns=fake.now_ns,
        )
        guard.start()
        return guard

    return start


@pytest.fixture
def guard(start: Start) -> Guard:
    """A guard whose GPU is leased and limited to 200 W."""
    guard = start()
    guard.hold(TERMS)
    guard.apply("f00d", 200_000)
    return guard


def test_the_limit_is_checked_once_per_interval(start: Start, fake: FakeNvml) -> None:
    guard = start()
    guard.check()
    calls = fake.gpus[0].state.calls[Call.GET_LIMIT]
    for _ in range(9):
        fake.advance(0.1)
        pause_seconds = guard.check()
        assert fake.gpus[0].state.calls[Call.GET_LIMIT] == calls
    assert pause_seconds == pytest.approx(0.1)
    fake.advance(0.1)
    guard.check()
    assert fake.gpus[0].state.calls[Call.GET_LIMIT] == calls + 1


def test_a_foreign_limit_is_found_by_the_next_check_and_kept(guard: Guard, ledger: Ledger, fake: FakeNvml) -> None:
    guard.check()
    fake.gpus[0].limit_watts = 220
    fake.advance(0.5)
    guard.check()
    assert guard.status.state is GuardState.VERIFIED
    fake.advance(0.5)
    guard.check()
    assert (guard.status.state, guard.status.foreign_changes, ledger.read()) == (GuardState.FOREIGN, 1, {})
    with pytest.raises(ForeignPowerLimit, match=r"Another process set the power limit of GPU \S+ to 220 W"):
        guard.apply("f00d", 150_000)
    guard.release("f00d")
    assert (guard.status.state, fake.gpus[0].limit_watts) == (GuardState.FREE, 220)


def test_energy_is_read_only_while_the_gpu_is_leased(start: Start, fake: FakeNvml) -> None:
    guard = start()
    guard.check()
    assert fake.gpus[0].state.calls[Call.GET_ENERGY] == 0
    guard.hold(TERMS)
    assert guard.check() <= 0.2
    assert fake.gpus[0].state.calls[Call.GET_ENERGY] == 1
    guard.release("f00d")
    guard.check()
    assert fake.gpus[0].state.calls[Call.GET_ENERGY] == 1


@pytest.mark.parametrize(
    ("error", "state"),
    [(UNKNOWN, "verified"), (NO_PERMISSION, "verified"), (GPU_IS_LOST, "suspended")],
)
def test_only_a_lost_gpu_is_suspended_by_a_failed_energy_reading(
    guard: Guard, fake: FakeNvml, error: int, state: str
) -> None:
    fake.gpus[0].fail(Call.GET_ENERGY, error)
    for _ in range(3):
        fake.advance(0.5)
        guard.check()
    assert guard.status.state == state


def test_a_gpu_without_any_energy_reading_can_still_be_limited(guard: Guard, fake: FakeNvml) -> None:
    fake.gpus[0].fail(Call.GET_ENERGY, NOT_SUPPORTED)
    fake.gpus[0].fail(Call.GET_POWER, NOT_SUPPORTED)
    guard.check()
    guard.apply("f00d", 150_000)
    assert fake.gpus[0].limit_watts == 150


def test_a_failed_restore_is_retried_after_growing_pauses(guard: Guard, fake: FakeNvml) -> None:
    fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN)
    guard.release("f00d")
    pauses = []
    for _ in range(10):
        assert guard.status.state is GuardState.RESTORE_FAILED
        pauses.append(guard.check())
        fake.advance(pauses[-1])
        guard.check()
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5])
    assert guard.status.restore_failures == 11
    fake.gpus[0].heal()
    fake.advance(5)
    guard.check()
    assert (guard.status.state, guard.status.restores, fake.gpus[0].limit_watts) == (GuardState.FREE, 1, 300)


def test_a_quiesced_gpu_is_not_used(guard: Guard, fake: FakeNvml) -> None:
    guard.suspend()
    assert fake.gpus[0].limit_watts == 300
    calls = list(fake.gpus[0].state.calls)
    for _ in range(3):
        fake.advance(1)
        guard.check()
    assert list(fake.gpus[0].state.calls) == calls
    with pytest.raises(GpuUnavailable, match="quiesced"):
        guard.apply("f00d", 150_000)
    guard.resume(NvmlDriver().open()[0])
    assert guard.status.state is GuardState.HELD
    assert isinstance(guard.meter, EnergyMeter)


def test_a_lost_gpu_is_checked_until_it_is_back(guard: Guard, fake: FakeNvml) -> None:
    fake.gpus[0].lose()
    guard.check()
    assert guard.status.state is GuardState.SUSPENDED
    guard.release("f00d")
    fake.gpus[0].heal()
    fake.advance(1)
    guard.check()
    assert (guard.status.state, fake.gpus[0].limit_watts) == (GuardState.FREE, 300)


def test_a_reloaded_driver_is_reported(start: Start, fake: FakeNvml) -> None:
    reloads: list[DriverReloaded] = []
    guard = start(reloads=reloads)
    fake.reload_driver()
    fake.advance(1)
    guard.check()
    fake.world.driver_reloaded = 0
    assert len(reloads) == 1


def test_a_gpu_is_held_by_one_lease_and_only_that_one_sets_limits(guard: Guard, fake: FakeNvml) -> None:
    with pytest.raises(GpuHeld, match="held by lease f00d"):
        guard.hold(Terms("beef", Owner(2, 1, 0), 60.0))
    with pytest.raises(LeaseNotFound, match="Lease beef no longer holds"):
        guard.apply("beef", 150_000)
    guard.release("beef")
    guard.roll_back("beef", None)
    assert (guard.status.state, fake.gpus[0].limit_watts) == (GuardState.VERIFIED, 200)


def test_a_limit_is_rolled_back_to_the_previous_one_or_to_the_one_found(guard: Guard, fake: FakeNvml) -> None:
    guard.apply("f00d", 150_000)
    guard.roll_back("f00d", 200_000)
    assert (guard.status.state, fake.gpus[0].limit_watts) == (GuardState.VERIFIED, 200)
    guard.roll_back("f00d", None)
    assert (guard.status.state, fake.gpus[0].limit_watts) == (GuardState.HELD, 300)


def test_a_site_that_forbids_limits_is_obeyed(start: Start, fake: FakeNvml) -> None:
    guard = start(site=Site.model_validate({"gpus": {fake.gpus[0].uuid: {"power_limits": False}}}))
    guard.hold(TERMS)
    with pytest.raises(GpuReadOnly, match="The site file forbids"):
        guard.apply("f00d", 200_000)
    assert (guard.status.limits, guard.status.settable_milliwatts) == ("forbidden", None)
    assert fake.gpus[0].sets_watts() == []


class SetsLate(SimulatedDevice):
    """A GPU whose driver shows a limit only after two more readings."""

    def __init__(self) -> None:
        super().__init__(0)
        self._readings = 0
        self._late: list[tuple[int, int]] = []

    def set_power_limit_milliwatts(self, milliwatts: int) -> None:
        self._late.append((self._readings + 2, milliwatts))

    def power_limit_milliwatts(self) -> int:
        self._readings += 1
        while self._late and self._late[0][0] < self._readings:
            super().set_power_limit_milliwatts(self._late.pop(0)[1])
        return super().power_limit_milliwatts()


def test_a_limit_that_the_driver_sets_late_is_not_left(ledger: Ledger) -> None:
    device = SetsLate()
    guard = Guard(device, ledger, Site(), print, entry=None, terms=None, check_seconds=0)
    guard.start()
    guard.hold(TERMS)
    with pytest.raises(GpuCallFailed, match=r"accepted a limit .* but did not set it"):
        guard.apply("f00d", 200_000)
    guard.release("f00d")
    guard.check()
    assert [device.power_limit_milliwatts() for _ in range(4)][-1] == 250_000


class IgnoresSets(SimulatedDevice):
    """A GPU whose driver accepts limits without setting them."""

    def set_power_limit_milliwatts(self, milliwatts: int) -> None:
        pass


def test_a_limit_that_the_driver_accepts_but_does_not_set_is_an_error(ledger: Ledger) -> None:
    guard = Guard(IgnoresSets(0), ledger, Site(), print, entry=None, terms=None, check_seconds=1)
    guard.start()
    guard.hold(TERMS)
    with pytest.raises(GpuCallFailed, match=r"accepted a limit .* but did not set it"):
        guard.apply("f00d", 200_000)
    assert (guard.status.state, ledger.read()) == (GuardState.HELD, {})


@pytest.mark.parametrize("step_watts", [2, 8, 12])
def test_a_limit_that_the_driver_rounds_is_ours_and_the_limit_found_comes_back(
    start: Start, ledger: Ledger, fake: FakeNvml, step_watts: int
) -> None:
    fake.gpus[0].state.rounding_mw = step_watts * 1000
    fake.gpus[0].limit_watts = 299
    guard = start()
    guard.hold(TERMS)
    rounded = 155 // step_watts * step_watts
    assert guard.apply("f00d", 155_000).applied_watts == rounded
    (entry,) = ledger.read().values()
    assert (entry.ours_milliwatts, entry.pending_milliwatts) == ((rounded * 1000,), None)
    fake.advance(1)
    guard.check()
    assert (guard.status.state, guard.status.foreign_changes) == (GuardState.VERIFIED, 0)
    guard.apply("f00d", 205_000)
    guard.roll_back("f00d", rounded * 1000)
    assert (guard.status.state, fake.gpus[0].limit_watts) == (GuardState.VERIFIED, rounded)
    guard.release("f00d")
    assert (guard.status.state, guard.status.foreign_changes, ledger.read()) == (GuardState.FREE, 0, {})
    assert fake.gpus[0].limit_watts == 299 // step_watts * step_watts  # as near as this driver comes


def test_a_driver_that_cannot_tell_the_limit_found_from_ours_does_not_block_the_gpu(
    start: Start, fake: FakeNvml
) -> None:
    fake.gpus[0].state.rounding_mw = 10_000
    fake.gpus[0].limit_watts = 285
    guard = start()
    guard.hold(TERMS)
    guard.apply("f00d", 284_000)
    guard.release("f00d")
    assert (guard.status.state, fake.gpus[0].limit_watts) == (GuardState.FREE, 280)


def test_a_limit_found_that_the_driver_forgets_to_set_is_retried(guard: Guard, fake: FakeNvml) -> None:
    fake.gpus[0].state.forgets = 1
    guard.release("f00d")
    assert guard.status.state is GuardState.RESTORE_FAILED
    fake.gpus[0].state.forgets = 0
    fake.advance(1)
    guard.check()
    assert (guard.status.state, fake.gpus[0].limit_watts) == (GuardState.FREE, 300)


@pytest.mark.parametrize(
    ("current_watts", "limit_after", "foreign_changes"),
    [(150, 300, 0), (144, 300, 0), (300, 300, 0), (296, 296, 0), (180, 180, 1)],
)
def test_a_limit_that_a_killed_agent_had_not_read_back_may_have_been_rounded(
    start: Start, ledger: Ledger, fake: FakeNvml, *, current_watts: int, limit_after: int, foreign_changes: int
) -> None:
    ledger.write(Entry(fake.gpus[0].uuid, 300_000, (150_000,), TERMS, pending_milliwatts=150_000))
    fake.gpus[0].limit_watts = current_watts
    guard = start()
    assert (fake.gpus[0].limit_watts, guard.status.foreign_changes) == (limit_after, foreign_changes)
    assert ledger.read() == {}


def test_a_failed_read_back_of_a_rounded_limit_is_rolled_back(guard: Guard, fake: FakeNvml) -> None:
    fake.gpus[0].state.rounding_mw = 8000
    fake.gpus[0].fail(Call.GET_LIMIT, UNKNOWN, times=1, after=2)
    with pytest.raises(GpuCallFailed):
        guard.apply("f00d", 150_000)
    assert (guard.status.state, fake.gpus[0].limit_watts) == (GuardState.VERIFIED, 200)
