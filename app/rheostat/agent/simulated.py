"""A GPU that is a formula: time and power of a training step by batch size and power limit.

A step has a part that no clock shortens (launching kernels, feeding data) and computing, which overlap::

    clock     = min(1, ((power limit - idle) / dynamic) ^ (1/3))    relative; dynamic power goes with its cube
    computing = samples * work / clock
    step time = sqrt(latency^2 + computing^2)
    power     = idle + dynamic * clock^3 * computing / step time

The four constants were fitted to published measurements of ShuffleNetV2 on CIFAR-100 on an NVIDIA V100, batch
sizes 8 to 2048 under limits of 100 to 250 W (the power trace of You, Chung, Chowdhury: "Zeus: Understanding and
Optimizing GPU Energy Consumption of DNN Training", NSDI 2023). The formula is typically 5 % off in time and 14 %
off in power there, at worst 12 % and 38 %: good enough for its shape, not for a figure.
"""

import threading
from collections import deque
from collections.abc import Callable
from math import floor, hypot
from time import monotonic

from rheostat.agent.devices import Device, GpuDescription, ThrottleReason
from rheostat.errors import GpuCallFailed, GpuNotFound

LATENCY_SECONDS = 0.037
WORK_SECONDS_PER_SAMPLE = 0.00015
IDLE_WATTS = 36.0
DYNAMIC_WATTS = 157.0
MODEL = "Simulated V100"
MIN_POWER_LIMIT_WATTS = 100
MAX_POWER_LIMIT_WATTS = 250

# As real counters do (design: the energy counter ticks about every 100 ms; power is averaged over a second).
_TICK_SECONDS = 0.1
_AVERAGED_SECONDS = 1.0


def step_seconds(samples: int, power_limit_watts: float) -> float:
    """Give the time of one training step over a number of samples."""
    return hypot(LATENCY_SECONDS, samples * WORK_SECONDS_PER_SAMPLE / _clock(power_limit_watts))


def step_watts(samples: int, power_limit_watts: float) -> float:
    """Give the mean power during one training step over a number of samples."""
    clock = _clock(power_limit_watts)
    computing_seconds = samples * WORK_SECONDS_PER_SAMPLE / clock
    return IDLE_WATTS + DYNAMIC_WATTS * clock**3 * computing_seconds / step_seconds(samples, power_limit_watts)


def _clock(power_limit_watts: float) -> float:
    return float(min(1.0, ((power_limit_watts - IDLE_WATTS) / DYNAMIC_WATTS) ** (1 / 3)))


class SimulatedDevice:
    """A GPU that draws what the formula says for the batch size that it is told to train with.

    Args:
        index: Its number; its UUID follows from it.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(self, index: int, clock: Callable[[], float] = monotonic) -> None:
        self.description = GpuDescription(
            uuid=f"GPU-51300000-0000-4000-8000-{index:012d}",
            index=index,
            name=MODEL,
            min_power_limit_milliwatts=MIN_POWER_LIMIT_WATTS * 1000,
            max_power_limit_milliwatts=MAX_POWER_LIMIT_WATTS * 1000,
            default_power_limit_milliwatts=MAX_POWER_LIMIT_WATTS * 1000,
        )
        self._clock = clock
        self._ahead_seconds = 0.0
        self._lock = threading.Lock()
        self._limit_milliwatts = self.description.default_power_limit_milliwatts
        self._samples = 0
        # Since when what power is drawn, and the energy until then; the last one holds still.
        self._spans: deque[tuple[float, float, float]] = deque([(self._now(), IDLE_WATTS, 0.0)])

    def train(self, samples: int) -> None:
        """Train from now on with steps over so many samples; 0: stand idle."""
        with self._lock:
            self._samples = samples
            self._change()

    def step(self, samples: int, steps: int) -> tuple[float, float]:
        """Run steps over so many samples at once; the GPU's time is ahead by what they take from then on.

        Returns:
            Their time in seconds and their energy in joules.
        """
        with self._lock:
            limit_watts = self._limit_milliwatts / 1000
            seconds, before = steps * step_seconds(samples, limit_watts), self._samples
            self._samples = samples
            self._change()
            self._ahead_seconds += seconds
            self._samples = before
            self._change()
            return seconds, seconds * step_watts(samples, limit_watts)

    def power_limit_milliwatts(self) -> int:
        """See `Device`."""
        return self._limit_milliwatts

    def enforced_power_limit_milliwatts(self) -> int:
        """See `Device`; nothing else limits it."""
        return self._limit_milliwatts

    def set_power_limit_milliwatts(self, milliwatts: int) -> None:
        """See `Device`."""
        this = self.description
        if not this.min_power_limit_milliwatts <= milliwatts <= this.max_power_limit_milliwatts:
            raise GpuCallFailed(f"A simulated GPU takes no power limit of {milliwatts} mW.")
        with self._lock:
            self._limit_milliwatts = milliwatts
            self._change()

    def energy_millijoules(self) -> int:
        """See `Device`."""
        with self._lock:
            return int(1000 * self._joules_at(floor(self._now() / _TICK_SECONDS) * _TICK_SECONDS))

    def energy_joules(self) -> float:
        """The truth, to this moment, which the counter shows late."""
        with self._lock:
            return self._joules_at(self._now())

    def power_milliwatts(self) -> int:
        """See `Device`."""
        with self._lock:
            now = self._now()
            joules = self._joules_at(now) - self._joules_at(now - _AVERAGED_SECONDS)
            return int(1000 * joules / _AVERAGED_SECONDS)

    def throttle_reasons(self) -> frozenset[ThrottleReason]:
        """See `Device`."""
        capped = self._samples > 0 and _clock(self._limit_milliwatts / 1000) < 1
        return frozenset({"power_cap"}) if capped else frozenset()

    def process_ids(self) -> tuple[int, ...]:
        """See `Device`; nothing runs on it."""
        return ()

    def _now(self) -> float:
        return self._clock() + self._ahead_seconds

    def _change(self) -> None:
        now = self._now()
        watts = step_watts(self._samples, self._limit_milliwatts / 1000) if self._samples else IDLE_WATTS
        self._spans.append((now, watts, self._joules_at(now)))
        while len(self._spans) > 1 and self._spans[1][0] < now - 2 * _AVERAGED_SECONDS:
            self._spans.popleft()

    def _joules_at(self, moment: float) -> float:
        since, watts, joules = next((span for span in reversed(self._spans) if span[0] <= moment), self._spans[0])
        return joules + watts * (moment - since)


class SimulatedDriver:
    """A node of simulated GPUs.

    Args:
        gpus: How many.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(self, gpus: int, clock: Callable[[], float] = monotonic) -> None:
        self.devices = [SimulatedDevice(index, clock) for index in range(gpus)]

    def open(self) -> list[Device]:
        """See `Driver`."""
        return list(self.devices)

    def device(self, uuid: str) -> SimulatedDevice:
        """Give a GPU.

        Raises:
            GpuNotFound: When there is none of that UUID.
        """
        for device in self.devices:
            if device.description.uuid == uuid:
                return device
        raise GpuNotFound(f"There is no simulated GPU {uuid!r}.")

    def silent(self) -> tuple[int, ...]:
        """See `Driver`."""
        return ()

    def close(self) -> None:
        """See `Driver`."""

    def may_set_limits(self) -> bool:
        """See `Driver`."""
        return True
