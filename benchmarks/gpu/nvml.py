"""The GPU as NVML shows it to this process, apart from the agent; nothing is changed."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from threading import Event, Thread
from time import monotonic, monotonic_ns, perf_counter, sleep, time
from typing import Any, Self

import pynvml

_POLL_SECONDS, _LONGEST_TICK_SECONDS = 0.001, 0.5


class NoGpu(Exception):
    """There is no NVIDIA GPU here; the message says how that shows."""


class Gpu:
    """One GPU.

    Args:
        index: Its number, as NVML's.

    Raises:
        NoGpu: It is not there.
    """

    def __init__(self, index: int) -> None:
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            if index >= count:
                raise NoGpu(f"NVML knows {count} GPUs here.")
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            self.uuid: str = pynvml.nvmlDeviceGetUUID(self._handle)
        except pynvml.NVMLError as error:
            raise NoGpu(f"NVML answers: {error}.") from error

    def properties(self) -> dict[str, object]:
        """Return what the driver says of it; an error in place of what it does not answer."""
        handle, nvml = self._handle, pynvml
        watts = {
            "range": nvml.nvmlDeviceGetPowerManagementLimitConstraints,
            "default limit": nvml.nvmlDeviceGetPowerManagementDefaultLimit,
            "limit": nvml.nvmlDeviceGetPowerManagementLimit,
            "enforced limit": nvml.nvmlDeviceGetEnforcedPowerLimit,
        }
        found = {
            "GPU": answer(lambda: nvml.nvmlDeviceGetName(handle)),
            "driver": answer(nvml.nvmlSystemGetDriverVersion),
            "persistence": answer(lambda: nvml.nvmlDeviceGetPersistenceMode(handle)),
            "MIG": answer(lambda: nvml.nvmlDeviceGetMigMode(handle)),
            "throttle reasons": answer(lambda: hex(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))),
        }
        found |= {f"{name}, mW": answer(partial(call, handle)) for name, call in watts.items()}
        for name, field in (("instant", nvml.NVML_FI_DEV_POWER_INSTANT), ("average", nvml.NVML_FI_DEV_POWER_AVERAGE)):
            found[f"power, {name}, mW"] = answer(partial(self._field, field))
        return found

    def calls(self) -> dict[str, Callable[[], object]]:
        """Return the calls that the agent makes, by name."""
        handle, nvml = self._handle, pynvml
        return {
            "energy counter": self.millijoules,
            "power usage": lambda: nvml.nvmlDeviceGetPowerUsage(handle),
            "instant power": lambda: self._field(nvml.NVML_FI_DEV_POWER_INSTANT),
            "power samples": self.samples,
            "throttle reasons": lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
            "power limit": lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle),
        }

    def millijoules(self) -> int:
        """Return the energy counter."""
        count: int = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        return count

    def joules_at_tick(self) -> float:
        """Wait for the counter's next tick, and return it."""
        before, give_up_at = self.millijoules(), monotonic() + _LONGEST_TICK_SECONDS
        while (count := self.millijoules()) == before and monotonic() < give_up_at:
            sleep(_POLL_SECONDS)
        return count / 1e3

    def samples(self) -> list[tuple[float, float]]:
        """Return the driver's ring of power samples: wall-clock seconds and watts."""
        kind, samples = pynvml.nvmlDeviceGetSamples(self._handle, pynvml.NVML_TOTAL_POWER_SAMPLES, 0)
        name = "dVal" if kind == pynvml.NVML_VALUE_TYPE_DOUBLE else "uiVal"
        return [(one.timeStamp / 1e6, getattr(one.sampleValue, name) / 1e3) for one in samples if one.timeStamp]

    def _field(self, field: int) -> Any:
        (value,) = pynvml.nvmlDeviceGetFieldValues(self._handle, [field])
        if value.nvmlReturn:
            raise pynvml.NVMLError(value.nvmlReturn)
        return value.value.uiVal


def answer(call: Callable[[], object]) -> object:
    """Return what a call answers, or its error in words."""
    try:
        return call()
    except pynvml.NVMLError as error:
        return str(error)


def latencies_ms(call: Callable[[], object], seconds: float) -> list[float] | str:
    """Return how long each call took for some seconds, one every 10 ms; or the driver's error in words."""
    took: list[float] = []
    give_up_at = monotonic() + seconds
    while monotonic() < give_up_at:
        begun = perf_counter()
        try:
            call()
        except pynvml.NVMLError as error:
            return str(error)
        took.append((perf_counter() - begun) * 1e3)
        sleep(0.01)
    return took


class Ticks:
    """Records in a thread, while the block lasts, when the energy counter ticks."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._over = Event()
        self._thread = Thread(target=self._poll, name="check-gpu-ticks", daemon=True)
        self.times_ns: list[int] = []
        self.walls: list[float] = []
        self.joules: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def intervals_ms(self) -> list[float]:
        """Return the times between the ticks."""
        return [(late - early) / 1e6 for early, late in pairwise(self.times_ns)]

    def next(self) -> tuple[int, float]:
        """Wait for the next tick; return its moment and the counter's joules."""
        seen = len(self.joules)
        while len(self.joules) == seen:
            sleep(_POLL_SECONDS)
        return self.times_ns[seen], self.joules[seen]

    def _poll(self) -> None:
        last, last_ns = self._gpu.millijoules(), monotonic_ns()
        while not self._over.is_set():
            before = monotonic_ns()
            count = self._gpu.millijoules()
            now_ns = (before + monotonic_ns()) // 2
            if count != last:  # the tick was between the two readings
                tick_ns = (last_ns + now_ns) // 2
                self.walls.append(time() - (monotonic_ns() - tick_ns) / 1e9)
                self.times_ns.append(tick_ns)
                self.joules.append(count / 1e3)
            last, last_ns = count, now_ns
            sleep(_POLL_SECONDS)


def integral_joules(samples: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """Return the energy between two moments from power samples, by trapezoids."""
    joules = 0.0
    for (early, before), (late, after) in pairwise(samples):
        width = min(late, end) - max(early, begin)
        if width > 0:
            joules += (before + after) / 2 * width
    return joules
