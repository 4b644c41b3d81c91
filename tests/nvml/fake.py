"""Builds the fake NVML library and controls its GPUs: limits, load, time and faults, shared by all processes."""

import ctypes
import mmap
import os
import shutil
import subprocess
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from time import monotonic_ns, time_ns
from typing import Any

import pytest

from tests.waiting import PATIENCE_SECONDS

_HERE = Path(__file__).parent
_MAX_GPUS, _HISTORY_CELLS, _MAX_SETS, _QUANTILES = 8, 65536, 256, 5

_DRIVEN_FROM_NS = 10**15

# Codes of nvml.h.
NOT_SUPPORTED, NO_PERMISSION, GPU_IS_LOST, RESET_REQUIRED, NOT_READY, UNKNOWN = 3, 4, 15, 16, 27, 999
HW_SLOWDOWN = 0x8

Call = IntEnum(
    "Call",
    "GET_HANDLE GET_UUID GET_NAME GET_LIMIT SET_LIMIT GET_CONSTRAINTS GET_DEFAULT GET_ENFORCED GET_ENERGY GET_POWER "
    "GET_REASONS GET_MIG GET_SAMPLES GET_INSTANT GET_AVERAGE GET_MODULE",
    start=0,
)
"""The NVML calls on a GPU, in the order of fake_nvml.h; power fields are calls of their own."""

# Measured on an H200 (docs/hardware.md), in microseconds: when idle, and the quantiles 0, 0.5, 0.9, 0.99 and 1 while
# training.
_MEASURED_MICROSECONDS = {
    Call.GET_ENERGY: (3900, (2900, 3200, 9500, 10700, 26000)),
    Call.GET_SAMPLES: (400, (400, 500, 600, 700, 900)),
    Call.GET_LIMIT: (100, (300, 350, 400, 500, 700)),
    Call.GET_INSTANT: (5, (40, 50, 60, 80, 100)),
    Call.GET_AVERAGE: (5, (40, 50, 60, 80, 100)),
    Call.GET_POWER: (2, (20, 26, 35, 50, 80)),
    Call.GET_REASONS: (2, (20, 24, 35, 50, 80)),
}


class _Fault(ctypes.Structure):
    _fields_ = (
        ("error", ctypes.c_int32),
        ("skip", ctypes.c_int32),
        ("count", ctypes.c_int32),
        ("per_mille", ctypes.c_int32),
        ("hang", ctypes.c_int32),
        ("delay_microseconds", ctypes.c_int64),
    )


class _Latency(ctypes.Structure):
    _fields_ = (
        ("idle_microseconds", ctypes.c_int64),
        ("loaded_microseconds", ctypes.c_int64 * _QUANTILES),
    )


class _Gpu(ctypes.Structure):
    _fields_ = (
        ("uuid", ctypes.c_char * 96),
        ("name", ctypes.c_char * 96),
        ("min_mw", ctypes.c_uint32),
        ("max_mw", ctypes.c_uint32),
        ("default_mw", ctypes.c_uint32),
        ("limit_mw", ctypes.c_uint32),
        ("enforced_cap_mw", ctypes.c_uint32),
        ("rounding_mw", ctypes.c_uint32),
        ("forgets", ctypes.c_int32),
        ("broken", ctypes.c_int32),
        ("mig", ctypes.c_int32),
        ("is_virtual", ctypes.c_int32),
        ("has_module", ctypes.c_int32),
        ("forced_reasons", ctypes.c_uint32),
        ("set_count", ctypes.c_uint32),
        ("sets_mw", ctypes.c_uint32 * _MAX_SETS),
        ("tick_cells", ctypes.c_int64),
        ("tick_phase", ctypes.c_int64),
        ("tick_jitter_cells", ctypes.c_int64),
        ("begin_cell", ctypes.c_int64),
        ("cell", ctypes.c_int64),
        ("load", ctypes.c_double),
        ("wave_load", ctypes.c_double),
        ("wave_period_cells", ctypes.c_int64),
        ("wave_high_cells", ctypes.c_int64),
        ("wave_ramp_cells", ctypes.c_int64),
        ("idle_watts", ctypes.c_double),
        ("dynamic_watts", ctypes.c_double),
        ("leakage_watts_per_kelvin", ctypes.c_double),
        ("ambient_celsius", ctypes.c_double),
        ("kelvin_per_watt", ctypes.c_double),
        ("thermal_seconds", ctypes.c_double),
        ("throttle_celsius", ctypes.c_double),
        ("temperature_celsius", ctypes.c_double),
        ("energy_joules", ctypes.c_double),
        ("counter_joules", ctypes.c_double),
        ("counter_offset_joules", ctypes.c_double),
        ("work", ctypes.c_double),
        ("power_watts", ctypes.c_double),
        ("calls", ctypes.c_int64 * len(Call)),
        ("faults", _Fault * len(Call)),
        ("latencies", _Latency * len(Call)),
        ("history_joules", ctypes.c_double * _HISTORY_CELLS),
    )


class _World(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_int64),
        ("gpu_count", ctypes.c_int32),
        ("admin_uid", ctypes.c_uint32),
        ("driver_reloaded", ctypes.c_int32),
        ("random_faults_per_mille", ctypes.c_int32),
        ("random_state", ctypes.c_uint64),
        ("driven_ns", ctypes.c_int64),
        ("wall_offset_ns", ctypes.c_int64),
        ("old_wall_offset_ns", ctypes.c_int64),
        ("wall_set_ns", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("die_at", ctypes.c_int64),
        ("die_self", ctypes.c_int32),
        ("die_pid", ctypes.c_int32),
        ("foreign_at", ctypes.c_int64),
        ("foreign_mw", ctypes.c_uint32),
        ("gpus", _Gpu * _MAX_GPUS),
    )


def build(directory: Path) -> Path:
    """Compile the library and return its path; without a C compiler the tests that need it are skipped."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("The fake NVML needs a C compiler: install one called cc, gcc or clang.")
    library = directory / "libnvidia-ml.so.1"
    flags = ["-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1"]
    sources = [str(_HERE / name) for name in ("fake_nvml.c", "fake_gpu.c")]
    command = [compiler, *flags, *sources, "-o", str(library), "-lm", "-lpthread", "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert built.returncode == 0, built.stderr
    return library


class FakeGpu:
    """One GPU of the fake.

    Attributes:
        index: Its number, as NVML's.
        uuid: Its UUID.
    """

    def __init__(self, index: int, state: _Gpu, library: ctypes.CDLL, now_ns: Callable[[], int]) -> None:
        self.index = index
        self.state = state
        self._now_ns = now_ns
        self._library = library
        self.uuid = f"GPU-{index:08x}-0000-4000-8000-000000000000"
        state.uuid, state.name = self.uuid.encode(), b"Fake V100"
        state.min_mw, state.max_mw, state.default_mw, state.limit_mw = 100_000, 300_000, 300_000, 300_000
        state.mig = -1
        state.tick_cells, state.tick_phase = 100, 30 * index
        state.idle_watts, state.dynamic_watts, state.leakage_watts_per_kelvin = 40, 250, 0.1
        state.ambient_celsius = state.temperature_celsius = 30
        state.kelvin_per_watt, state.thermal_seconds, state.throttle_celsius = 0.15, 20, 85
        state.power_watts = state.idle_watts

    @property
    def limit_watts(self) -> float:
        """The limit in force."""
        return float(self.state.limit_mw) / 1000

    @limit_watts.setter
    def limit_watts(self, watts: float) -> None:
        """Set it as an administrator would, bypassing the agent."""
        self._library.fake_set_limit(self.index, int(watts * 1000))

    def sets_watts(self) -> list[float]:
        """Return all limits set through NVML, in order."""
        return [mw / 1000 for mw in self.state.sets_mw[: self.state.set_count]]

    def load(self, load: float) -> None:
        """Set the GPU's load from now on, 0 to 1."""
        self._library.fake_set_load(self.index, ctypes.c_double(load))

    def wave(self, low: float, high: float, *, period_ms: int, high_ms: int, ramp_ms: int = 0) -> None:
        """Let the load rise from low to high and fall again in each period, with ramps, from now on."""
        loads = ctypes.c_double(low), ctypes.c_double(high)
        spans = (ctypes.c_int64(milliseconds) for milliseconds in (period_ms, high_ms, ramp_ms))
        self._library.fake_set_wave(self.index, *loads, *spans)

    def be_real(self) -> None:
        """Take as long for each call as a real GPU, and tick as irregularly; both never happen by themselves."""
        for call, (idle, loaded) in _MEASURED_MICROSECONDS.items():
            self.take(call, idle, loaded)
        self.state.tick_jitter_cells = 4

    def take(self, call: Call, idle: int, loaded: tuple[int, ...]) -> None:
        """Take so many microseconds for a call: when idle, and the quantiles 0, 0.5, 0.9, 0.99 and 1 under load."""
        latency = self.state.latencies[call]
        latency.idle_microseconds = idle
        latency.loaded_microseconds = (ctypes.c_int64 * _QUANTILES)(*loaded)

    def energy_joules(self, at_ns: int | None = None) -> float:
        """Return the true energy up to a moment of the last minute, by default now; the counter lags behind it."""
        moment = self._now_ns() if at_ns is None else at_ns
        return float(self._library.fake_true_energy_joules(self.index, ctypes.c_int64(moment)))

    def add_to_counter(self, joules: float) -> None:
        """Let the counter jump by so much, back to zero at the lowest."""
        shown = self.state.counter_joules + self.state.counter_offset_joules
        self._library.fake_add_to_counter(self.index, ctypes.c_double(max(joules, -shown)))

    def work(self) -> float:
        """Return the work done so far; a GPU at full load and full clock does one unit per second."""
        return float(self._library.fake_work(self.index))

    def fail(self, call: Call, error: int, *, times: int = -1, after: int = 0, per_mille: int = 0) -> None:
        """Make a call return an error.

        Args:
            call: The call.
            error: The code.
            times: How many calls (-1: all until `heal`).
            after: After how many calls that succeed.
            per_mille: How many of those fail, at random; 0: all.
        """
        fault = self.state.faults[call]
        fault.skip, fault.count, fault.per_mille, fault.error = after, times, per_mille, error

    def heal(self) -> None:
        """Clear all faults and hangs, and bring a lost GPU back."""
        ctypes.memset(ctypes.addressof(self.state.faults), 0, ctypes.sizeof(self.state.faults))
        self.state.broken = 0

    def hang(self, call: Call, *, hangs: bool = True) -> None:
        """Block every such call, or unblock them."""
        self.state.faults[call].hang = hangs

    def slow(self, call: Call, seconds: float) -> None:
        """Delay every such call."""
        self.state.faults[call].delay_microseconds = int(seconds * 1e6)

    def lose(self, error: int = GPU_IS_LOST) -> None:
        """Make every call return that the GPU is lost."""
        self.state.broken = error


class FakeNvml:
    """A node with GPUs, in a file that processes map.

    Its time is CLOCK_MONOTONIC until `advance` is called for the first time; from then on only `advance` moves it.

    Attributes:
        gpus: Its GPUs.
        path: The file.
        library: The compiled library.
    """

    def __init__(self, library: Path, path: Path, gpus: int = 2) -> None:
        self.library = library
        self.path = path
        self._fake = ctypes.CDLL(str(library))
        self._fake.fake_true_energy_joules.restype = self._fake.fake_work.restype = ctypes.c_double
        self._fake.fake_world_size.restype = ctypes.c_int64
        size = self._fake.fake_world_size()
        path.touch()
        os.truncate(path, size)
        with path.open("r+b") as file:
            self._mapping = mmap.mmap(file.fileno(), size)
        self.world = _World.from_buffer(self._mapping)
        self.world.size, self.world.gpu_count, self.world.admin_uid = size, gpus, os.geteuid()
        self.world.random_state = 88172645463325252
        self.world.wall_offset_ns = self.world.old_wall_offset_ns = time_ns() - monotonic_ns()
        self._fake.fake_close()
        assert self._fake.fake_open(str(path).encode()) == 0
        self.gpus = [FakeGpu(index, self.world.gpus[index], self._fake, self.now_ns) for index in range(gpus)]
        self._fake.fake_create_lock()

    def now_ns(self) -> int:
        """Return the GPUs' time, in nanoseconds."""
        return int(self.world.driven_ns) or monotonic_ns()

    def advance(self, seconds: float) -> None:
        """Move the GPUs' time on; it no longer moves by itself."""
        self.world.driven_ns = self.now_ns() + round(seconds * 1e9)

    def drive(self) -> None:
        """Let only `advance` move the GPUs' time from now on, which is always the same moment."""
        self.world.driven_ns = _DRIVEN_FROM_NS
        for gpu in self.gpus:
            gpu.state.begin_cell = gpu.state.cell = _DRIVEN_FROM_NS // 1_000_000

    def wall_ns(self) -> int:
        """Return the wall clock's time, in nanoseconds."""
        return self.now_ns() + int(self.world.wall_offset_ns)

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._fake.fake_set_wall(ctypes.c_int64(round(seconds * 1e9)))

    def be_real(self) -> None:
        """Let all GPUs be as slow and irregular as real ones."""
        for gpu in self.gpus:
            gpu.be_real()

    def environment(self) -> dict[str, str]:
        """Return the environment variables that a process needs to see these GPUs."""
        return {"FAKE_NVML_STATE": str(self.path), "LD_LIBRARY_PATH": str(self.library.parent)}

    def victim_environment(self) -> dict[str, str]:
        """Return the same for a process whose steps are counted and which `die_at` may kill."""
        return {**self.environment(), "LD_PRELOAD": str(self.library), "FAKE_NVML_VICTIM": "1"}

    def die_at(self, step: int, *, agent: bool, trainer_pid: int = 0) -> None:
        """Kill agent, trainer or both right before the agent takes this step, counted from now.

        A step is a read or a change of a limit, or a write, rename or removal of a file in the ledger.
        """
        self.world.steps, self.world.die_self, self.world.die_pid, self.world.die_at = 0, agent, trainer_pid, step

    def foreign_at(self, step: int, limit_watts: float) -> None:
        """Change the first GPU's limit at a step, as another process would; call it before `die_at`.

        The change never falls between the agent's read of a limit and its write: NVML has no compare-and-set, so no
        agent could notice it there.
        """
        self.world.foreign_at, self.world.foreign_mw = step, int(limit_watts * 1000)

    def end_foreign(self) -> bool:
        """Cancel the change of `foreign_at`; return whether it had already been made."""
        return bool(self._fake.fake_end_foreign())

    def reload_driver(self) -> None:
        """Make every call return that library and driver do not match, as after a driver upgrade."""
        self.world.driver_reloaded = 1

    def close(self) -> None:
        """Unmap the file; the GPUs must not be used afterwards."""
        self._fake.fake_close()


def pynvml() -> Any:
    """Return the real pynvml, which has no types."""
    import pynvml

    return pynvml
