"""Checks of the driver and the GPUs, through the real pynvml over the fake library."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import enumerate as enumerate_threads

import pytest

from rheostat.agent.nvml import NvmlDriver
from rheostat.doctor.facts import gpus as facts
from rheostat.doctor.facts.gpus import Gpus, look_at_gpus
from rheostat.doctor.facts.installation import Installation
from rheostat.doctor.facts.node import look_at_node
from rheostat.doctor.facts.patience import Look
from rheostat.errors import GpuCallFailed
from tests.agent.bench import Served
from tests.doctor.machines import found
from tests.nvml.fake import NOT_SUPPORTED, UNKNOWN, Call, FakeGpu, FakeNvml
from tests.waiting import eventually

NO_LIBRARY = GpuCallFailed("nvmlInit: NVML Shared Library Not Found.", hint="Install NVIDIA's driver, which has it.")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait shortly for a counter that stands still."""
    monkeypatch.setattr(facts, "_TICK_SECONDS", 0.5)


def test_a_node_as_it_should_be(fake: FakeNvml) -> None:
    seen = look_at_gpus()
    for name, text in (
        ("driver", "NVIDIA driver 999.0.fake"),
        ("gpus", "2 x Fake V100"),
        ("energy", "the energy counter advances"),
        ("limits", "100 to 300 W, default 300 W, now 300 W"),
    ):
        finding = found(name, gpus=seen)
        assert (finding.state, text in finding.found) == ("ok", True), finding


def test_a_limit_that_a_module_has_in_common(fake: FakeNvml) -> None:
    fake.gpus[0].state.has_module = 1
    assert "a limit of the whole module bounds it" in found("limits", gpus=look_at_gpus()).found


def test_no_limit_is_set_to_find_out_whether_one_may_be(fake: FakeNvml) -> None:
    look_at_gpus()
    assert [gpu.sets_watts() for gpu in fake.gpus] == [[], []]


@pytest.mark.parametrize("name", ["driver", "gpus", "energy", "limits", "privilege", "agent"])
def test_a_machine_without_a_gpu_has_nothing_wrong(name: str) -> None:
    nothing = Gpus(has_binding=True, error=NO_LIBRARY)
    assert found(name, gpus=nothing).state == "skipped"


def test_a_gpu_without_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: NvmlDriver) -> None:
        raise NO_LIBRARY

    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "vendor").write_text("0x10de\n")
    (tmp_path / "0000:01:00.0" / "class").write_text("0x030200\n")
    monkeypatch.setattr(facts, "_PCI_DEVICES", tmp_path)
    monkeypatch.setattr(NvmlDriver, "open", refuse)
    finding = found("driver", gpus=look_at_gpus())
    assert finding.state == "problem"
    assert finding.found == (
        "1 NVIDIA GPU on the PCI bus, but NVML does not open: nvmlInit: NVML Shared Library Not Found."
    )
    assert finding.remedy == "Install NVIDIA's driver, which has it."


def test_a_container_that_was_started_without_its_gpus() -> None:
    outside = Gpus(kernel_module="580.159", has_binding=True, error=NO_LIBRARY)
    finding = found("driver", gpus=outside, installation=Installation(container="Docker"))
    assert (finding.state, "docker run --gpus all" in finding.remedy) == ("problem", True)


def test_a_driver_that_was_replaced_while_in_use(fake: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_kernel_module", lambda: "580.159")
    fake.reload_driver()
    finding = found("driver", gpus=look_at_gpus())
    fake.world.driver_reloaded = 0
    assert (finding.state, bool(finding.remedy)) == ("problem", True)


def test_an_installation_without_nvml(served: Served, directory: Path) -> None:
    without = Gpus(on_bus=2)
    finding = found("driver", gpus=without)
    assert (finding.state, finding.remedy) == ("warning", "Run: pip install 'rheostat[agent]'")
    assert found("driver", gpus=without, node=look_at_node(directory)).state == "skipped"


def split(gpu: FakeGpu) -> None:
    gpu.state.mig = 1


def share(gpu: FakeGpu) -> None:
    gpu.state.is_virtual = 1


@pytest.mark.parametrize(
    ("prepare", "name", "state", "text", "remedy"),
    [
        (split, "gpus", "warning", "GPU 1 in MIG mode", "nvidia-smi -i 1 -mig 0"),
        (share, "gpus", "warning", "GPU 1 virtual", "a whole GPU"),
        (FakeGpu.lose, "gpus", "problem", "GPU 1 did not respond", "nvidia-smi"),
        (
            lambda gpu: gpu.fail(Call.GET_ENERGY, NOT_SUPPORTED),
            "energy",
            "warning",
            "no energy counter on GPU 1; energy is added up from power samples",
            "driver",
        ),
        (
            lambda gpu: [gpu.fail(call, NOT_SUPPORTED) for call in (Call.GET_ENERGY, Call.GET_SAMPLES)],
            "energy",
            "warning",
            "added up from power readings",
            "driver",
        ),
        (
            lambda gpu: [gpu.fail(call, NOT_SUPPORTED) for call in (Call.GET_ENERGY, Call.GET_SAMPLES, Call.GET_POWER)],
            "energy",
            "problem",
            "GPU 1 gives no energy",
            "Update NVIDIA's driver",
        ),
        (
            lambda gpu: setattr(gpu.state, "tick_cells", 10**9),
            "energy",
            "warning",
            "the energy counter of GPU 1 did not advance",
            "under load",
        ),
        (
            lambda gpu: setattr(gpu, "limit_watts", 200),
            "limits",
            "warning",
            "GPU 1 is limited to 200 W, below its default of 300 W, not by this agent",
            "sudo nvidia-smi -i 1 -pl 300",
        ),
        (
            lambda gpu: setattr(gpu.state, "enforced_cap_mw", 150_000),
            "limits",
            "warning",
            "GPU 1 is held to 150 W, below the 300 W that are set",
            "nvidia-smi -i 1",
        ),
        (
            lambda gpu: gpu.fail(Call.GET_CONSTRAINTS, NOT_SUPPORTED),
            "limits",
            "warning",
            "the driver sets no power limit on GPU 1",
            "Nothing to do",
        ),
    ],
    ids=[
        "MIG",
        "vGPU",
        "lost",
        "no counter",
        "no counter, no samples",
        "no energy at all",
        "a counter that stands still",
        "lowered by an administrator",
        "capped from outside",
        "limits not supported",
    ],
)
def test_each_trouble_of_a_gpu_says_what_it_is_and_what_to_do(
    fake: FakeNvml, prepare: Callable[[FakeGpu], object], *, name: str, state: str, text: str, remedy: str
) -> None:
    prepare(fake.gpus[1])
    finding = found(name, gpus=look_at_gpus())
    assert (finding.state, text in finding.found, remedy in finding.remedy) == (state, True, True), finding


def test_a_gpu_that_hangs_does_not_stop_the_others(fake: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_READ_SECONDS", 1.0)
    fake.gpus[0].hang(Call.GET_ENERGY)
    try:
        seen = look_at_gpus()
    finally:
        fake.gpus[0].heal()
        eventually(lambda: not any(isinstance(thread, Look) for thread in enumerate_threads()))
    assert found("gpus", gpus=seen).found == "GPU 0 did not respond: the driver does not respond"
    assert found("energy", gpus=seen).state == "ok"


def test_an_error_that_no_query_expects_leaves_out_what_depends_on_it(fake: FakeNvml) -> None:
    fake.gpus[0].fail(Call.GET_LIMIT, UNKNOWN)
    assert found("limits", gpus=look_at_gpus()).found == "the driver sets no power limit on GPU 0"


def test_the_agents_own_limit_is_not_warned_of(served: Served, directory: Path) -> None:
    served.bench.node.set_power_limit(served.bench.lease(), 200_000)
    assert found("limits", gpus=look_at_gpus(), node=look_at_node(directory)).state == "ok"
    assert found("limits", gpus=look_at_gpus()).state == "warning"


def test_who_may_set_limits(fake: FakeNvml) -> None:
    seen = look_at_gpus()
    may = found("privilege", gpus=replace(seen, may_set_limits=True))
    may_not = found("privilege", gpus=replace(seen, may_set_limits=False))
    assert (may.state, may_not.state, may_not.remedy) == ("ok", "warning", "Run the agent as root: sudo rheostat agent")
