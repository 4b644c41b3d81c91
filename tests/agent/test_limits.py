"""The power limit of one GPU: what the driver, the site and the board leave of it."""

import ctypes
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from rheostat.agent.limits import PowerLimit
from rheostat.agent.nvml import NvmlDevice, NvmlDriver
from rheostat.agent.site import Site
from rheostat.errors import GpuReadOnly, GpuUnsupported
from tests.agent.bench import Bench
from tests.nvml.fake import NOT_SUPPORTED, UNKNOWN, Call, FakeNvml


@pytest.fixture
def site() -> Site:
    return Site()


def power_limit(site: Site | None = None) -> PowerLimit:
    """Return the first GPU's, as read once."""
    power = PowerLimit(NvmlDriver().open()[0], site or Site())
    power.look()
    return power


@pytest.mark.parametrize("error", [NOT_SUPPORTED, UNKNOWN])
@pytest.mark.parametrize(
    ("call", "limits", "settable"),
    [
        (Call.GET_NAME, "allowed", (100_000, 300_000)),
        (Call.GET_MIG, "allowed", (100_000, 300_000)),
        (Call.GET_DEFAULT, "allowed", (100_000, 300_000)),
        (Call.GET_ENFORCED, "allowed", (100_000, 300_000)),
        (Call.GET_CONSTRAINTS, "unsupported", None),
    ],
)
def test_a_query_that_fails_takes_away_what_depends_on_it_and_never_the_gpu(
    fake: FakeNvml, call: Call, error: int, limits: str, settable: tuple[int, int] | None
) -> None:
    fake.gpus[0].fail(call, error)
    power = power_limit()
    assert (power.support, power.settable(300_000)) == (limits, settable)
    assert power.milliwatts == 300_000


def test_a_gpu_without_a_power_limit_is_leased_and_measured_and_never_limited(bench: Bench) -> None:
    bench.node.close()
    for call in (Call.GET_LIMIT, Call.GET_CONSTRAINTS, Call.GET_DEFAULT, Call.GET_ENFORCED):
        bench.fake.gpus[0].fail(call, NOT_SUPPORTED)
    node = bench.start()
    lease = bench.lease()
    (gpu, other) = node.to_wire()
    assert (gpu.state, gpu.limits, gpu.problem) == ("held", "unsupported", None)
    assert (gpu.min_power_limit_watts, gpu.power_limit_watts, gpu.highest_settable_watts) == (None, None, None)
    assert other.limits == "allowed"
    with pytest.raises(GpuUnsupported, match="lets nobody change the power limit"):
        node.set_power_limit(lease, 200_000)
    node.end(lease, "ends")
    assert bench.state().value == "free"
    assert bench.fake.gpus[0].sets_watts() == []


def test_a_site_can_forbid_limits_on_all_gpus_without_that_being_a_problem(bench: Bench) -> None:
    bench.node.close()
    bench.site = Site.model_validate({"limits": {"change": False}})
    node = bench.start()
    lease = bench.lease()
    with pytest.raises(GpuReadOnly, match="The site file forbids"):
        node.set_power_limit(lease, 200_000)
    assert [(gpu.limits, gpu.lowest_settable_watts) for gpu in node.to_wire()] == [("forbidden", None)] * 2
    assert node.problems() == []


def test_a_limit_that_was_set_before_the_site_forbade_it_is_restored(bench: Bench) -> None:
    bench.node.set_power_limit(bench.lease(), 200_000)
    bench.kill()
    bench.timing.deadline_seconds = 5
    bench.site = Site.model_validate({"limits": {"change": False}})
    bench.start()
    assert (bench.limits(), bench.state()) == ([300, 300], "held")


def test_a_cap_from_outside_bounds_what_may_be_set_until_it_is_lifted(fake: FakeNvml) -> None:
    power = power_limit()
    fake.gpus[0].state.enforced_cap_mw = 220_000
    power.look()
    assert power.settable(300_000) == (100_000, 300_000)  # one reading may be of a change under way
    power.look()
    assert power.settable(300_000) == (100_000, 220_000)
    fake.gpus[0].state.enforced_cap_mw = 210_000
    power.look()
    assert power.settable(300_000) == (100_000, 220_000)
    power.look()
    assert power.settable(300_000) == (100_000, 210_000)
    power.set(150_000)
    power.look()
    assert power.settable(300_000) == (100_000, 210_000)  # it is not seen under a lower limit
    power.set(300_000)
    fake.gpus[0].state.enforced_cap_mw = 0
    power.look()
    assert power.settable(300_000) == (100_000, 300_000)


def test_a_cap_below_the_lowest_limit_leaves_that_one(fake: FakeNvml) -> None:
    fake.gpus[0].state.enforced_cap_mw = 80_000
    power = power_limit()
    power.look()
    assert power.settable(300_000) == (100_000, 100_000)


def test_a_lease_starts_with_the_cap_known(bench: Bench) -> None:
    bench.fake.gpus[0].state.enforced_cap_mw = 220_000
    bench.wait_checks()
    bench.lease()
    gpu, _ = bench.node.to_wire()
    assert (gpu.power_limit_watts, gpu.enforced_watts, gpu.highest_settable_watts) == (300, 220, 220)


def test_the_limit_in_force_during_a_lease_is_not_told_after_it(bench: Bench) -> None:
    bench.wait_checks()
    lease = bench.lease()
    bench.node.set_power_limit(lease, 150_000)
    bench.node.end(lease, "ends")
    gpu, _ = bench.node.to_wire()
    assert (gpu.power_limit_watts, gpu.enforced_watts) in {(300, None), (300, 300)}


def test_scope_and_profile_are_known_before_the_first_lease(bench: Bench) -> None:
    gpu, _ = bench.node.to_wire()
    assert gpu.power_scope == "gpu"


def answering(monkeypatch: pytest.MonkeyPatch, *scopes: int) -> None:
    """Let the driver tell a power limit for these scopes."""

    def get(_handle: object, fields: list[tuple[int, int]]) -> list[Any]:
        ((_, scope),) = fields
        known = scope in scopes
        return [SimpleNamespace(nvmlReturn=0 if known else 3, value=SimpleNamespace(uiVal=300_000 if known else 0))]

    monkeypatch.setattr(pynvml, "nvmlDeviceGetFieldValues", get)


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ((pynvml.NVML_POWER_SCOPE_GPU,), "gpu"),
        ((pynvml.NVML_POWER_SCOPE_GPU, pynvml.NVML_POWER_SCOPE_MODULE), "module"),
        ((), None),
    ],
)
def test_what_the_limit_covers_is_read(
    fake: FakeNvml, monkeypatch: pytest.MonkeyPatch, scopes: tuple[int, ...], expected: str | None
) -> None:
    answering(monkeypatch, *scopes)
    power = power_limit()
    power.read_setting()
    assert power.scope == expected


def test_the_workload_power_profiles_in_force_are_named(fake: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(_handle: object, reference: Any) -> None:
        found = ctypes.cast(reference, ctypes.POINTER(pynvml.c_nvmlWorkloadPowerProfileCurrentProfiles_v1_t))
        found.contents.enforcedProfilesMask.mask[0] = 1 << 1 | 1 << 7

    monkeypatch.setattr(pynvml, "nvmlDeviceWorkloadPowerProfileGetCurrentProfiles", get, raising=False)
    power = power_limit()
    power.read_setting()
    assert power.profile == "max_q+llm_training"


def test_a_driver_without_profiles_has_none(fake: FakeNvml) -> None:
    device = NvmlDriver().open()[0]
    assert isinstance(device, NvmlDevice)
    with pytest.raises(GpuUnsupported):
        device.power_profile()
    power = PowerLimit(device, Site())
    power.read_setting()
    assert power.profile is None
