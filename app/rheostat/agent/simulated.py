"""A simulated GPU: time and power of a training step as formulas of batch size and power limit.

A step consists of a fixed part (launching kernels, feeding data) and computing, which overlap::

    clock     = min(1, ((power limit - idle) / dynamic) ^ (1/3))    relative; dynamic power goes with its cube
    computing = samples * work / clock
    step time = sqrt(latency^2 + computing^2)
    power     = idle + dynamic * clock^3 * computing / step time

The four constants were fitted to published measurements of ShuffleNetV2 on CIFAR-100 on an NVIDIA V100, batch
sizes 8 to 2048 under limits of 100 to 250 W (the power trace of You, Chung, Chowdhury: "Zeus: Understanding and
Optimizing GPU Energy Consumption of DNN Training", NSDI 2023). Typically the formula errs by 5 % in time and 14 % in
power there, at most by 12 % and 38 %: good enough for the shape of the curves, not for absolute figures.
"""

import threading
from collections.abc import Callable
from math import hypot
from time import monotonic

from rheostat.agent.devices import Device, GpuDescription, PowerRange, ThrottleReason
from rheostat.errors import GpuCallFailed, GpuNotFound, GpuUnsupported
from rheostat.schemas.agent import PowerScope

LATENCY_SECONDS = 0.037
WORK_SECONDS_PER_SAMPLE = 0.00015
IDLE_WATTS = 36.0
DYNAMIC_WATTS = 157.0
MODEL = "Simulated V100"
MIN_POWER_LIMIT_WATTS = 100
MAX_POWER_LIMIT_WATTS = 250
_RANGE = PowerRange(MIN_POWER_LIMIT_WATTS * 1000, MAX_POWER_LIMIT_WATTS * 1000, MAX_POWER_LIMIT_WATTS * 1000)


def step_seconds(samples: int, power_limit_watts: float) -> float:
    """Return the time of one training step over a number of samples."""
    return hypot(LATENCY_SECONDS, samples * WORK_SECONDS_PER_SAMPLE / _clock(power_limit_watts))


def step_watts(samples: int, power_limit_watts: float) -> float:
    """Return the mean power during one training step over a number of samples."""
    clock = _clock(power_limit_watts)
    computing_seconds = samples * WORK_SECONDS_PER_SAMPLE / clock
    return IDLE_WATTS + DYNAMIC_WATTS * clock**3 * computing_seconds / step_seconds(samples, power_limit_watts)


def _clock(power_limit_watts: float) -> float:
    return float(min(1.0, ((power_limit_watts - IDLE_WATTS) / DYNAMIC_WATTS) ** (1 / 3)))


class SimulatedDevice:
    """A GPU that runs training steps by the formula, and is idle otherwise.

    Args:
        index: Its number, which determines its UUID.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, index: int, clock: Callable[[], float] = monotonic) -> None:
        self.description = GpuDescription(
            uuid=f"GPU-51300000-0000-4000-8000-{index:012d}",
            index=index,
            name=MODEL,
            power_range=_RANGE,
            simulated=True,
        )
        self._clock = clock
        self._begin_seconds = clock()
        self._lock = threading.Lock()
        self._limit_milliwatts = _RANGE.max_milliwatts
        self._step_joules = 0.0

    def step(self, samples: int, steps: int) -> tuple[float, float]:
        """Run steps over a number of samples without waiting: their energy is used at once.

        Returns:
            Their time in seconds and their energy in joules.
        """
        with self._lock:
            limit_watts = self._limit_milliwatts / 1000
            seconds, watts = steps * step_seconds(samples, limit_watts), step_watts(samples, limit_watts)
            self._step_joules += seconds * watts
            return seconds, seconds * watts

    def power_limit_milliwatts(self) -> int:
        """See `Device`."""
        return self._limit_milliwatts

    def enforced_power_limit_milliwatts(self) -> int:
        """See `Device`; there is no other source of limits."""
        return self._limit_milliwatts

    def set_power_limit_milliwatts(self, milliwatts: int) -> None:
        """See `Device`."""
        if not _RANGE.min_milliwatts <= milliwatts <= _RANGE.max_milliwatts:
            raise GpuCallFailed(f"{milliwatts} mW is outside the range of a simulated GPU's power limit.")
        self._limit_milliwatts = milliwatts

    def power_scope(self) -> PowerScope | None:
        """See `Device`."""
        return "gpu"

    def power_profile(self) -> str | None:
        """See `Device`; it has none."""
        return None

    def energy_millijoules(self) -> int:
        """See `Device`; it is true at every moment."""
        with self._lock:
            idle_joules = IDLE_WATTS * (self._clock() - self._begin_seconds)
            return int(1000 * (idle_joules + self._step_joules))

    def power_samples(self, since_us: int) -> list[tuple[int, int]]:
        """See `Device`; power would not show the energy of steps, whose time passes at once."""
        raise GpuUnsupported("A simulated GPU does not tell its power.")

    def instant_power_milliwatts(self) -> int:
        """See `power_samples`."""
        raise GpuUnsupported("A simulated GPU does not tell its power.")

    def power_milliwatts(self) -> int:
        """See `power_samples`."""
        raise GpuUnsupported("A simulated GPU does not tell its power.")

    def throttle_reasons(self) -> frozenset[ThrottleReason]:
        """See `Device`; it is idle between steps."""
        return frozenset()


class SimulatedDriver:
    """A node of simulated GPUs.

    Args:
        gpus: How many GPUs to simulate.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, gpus: int, clock: Callable[[], float] = monotonic) -> None:
        self.devices = [SimulatedDevice(index, clock) for index in range(gpus)]

    def open(self) -> list[Device]:
        """See `Driver`."""
        return list(self.devices)

    def device(self, uuid: str) -> SimulatedDevice:
        """Return a GPU by UUID.

        Raises:
            GpuNotFound: When there is no such GPU.
        """
        for device in self.devices:
            if device.description.uuid == uuid:
                return device
        raise GpuNotFound(f"There is no simulated GPU {uuid!r}.")

    def unresponsive(self) -> tuple[int, ...]:
        """See `Driver`."""
        return ()

    def close(self) -> None:
        """See `Driver`."""

    def may_set_limits(self) -> bool:
        """See `Driver`."""
        return True
