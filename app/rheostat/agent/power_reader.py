"""Reads a GPU's power from the best source that answers: the driver's ring of samples, instant power, average power."""

from collections.abc import Callable
from typing import Literal

from rheostat.agent.devices import Device
from rheostat.agent.power_curve import GAP_NS, SECOND
from rheostat.agent.sample_clock import SampleClock
from rheostat.errors import AgentError, DriverReloaded, GpuUnavailable, GpuUnsupported

PowerKind = Literal["samples", "instant", "average"]
Point = tuple[int, float]

# The ring holds 2.4 s.
_SAMPLES_NS = SECOND // 2
_READING_NS = SECOND // 20
# After an error, and where a source is not supported: that may change while the driver gets ready.
_RETRY_NS, _UNSUPPORTED_NS = SECOND // 10, 10 * SECOND
_ATTEMPTS = 2
# Samples are about 20 ms apart.
_SAME_SAMPLE_NS = SECOND // 200


class PowerReader:
    """Reads the power of one GPU, on the GPU's thread.

    Attributes:
        kind: Where the latest reading came from.
        due_ns: When to call `read` next.
        problem: Why the latest attempt failed; empty when it did not.

    Args:
        device: The GPU.
        clock_ns: A monotonic clock in nanoseconds.
        wall_ns: The wall clock in nanoseconds.
    """

    def __init__(self, device: Device, clock_ns: Callable[[], int], wall_ns: Callable[[], int]) -> None:
        self._device = device
        self._clock_ns = clock_ns
        self._sample_clock = SampleClock(clock_ns, wall_ns)
        self.kind: PowerKind = "samples"
        self.due_ns = 0
        self.problem = ""
        self._samples_due_ns = self._instant_due_ns = 0

    def read(self, last_ns: int | None, *, now: bool = False) -> list[Point]:
        """Return the power in watts at moments since the last reading, oldest first.

        Args:
            last_ns: When that was.
            now: Whether to read samples although they are not due.

        Raises:
            GpuUnavailable: When the GPU is lost.
            DriverReloaded: When the driver was replaced while in use.
        """
        at_ns = self._clock_ns()
        newest_ns, points = last_ns, list[Point]()
        if at_ns >= self._samples_due_ns or (now and self.kind == "samples"):
            for point in self._samples():
                if newest_ns is None or newest_ns + _SAME_SAMPLE_NS < point[0] <= self._clock_ns():
                    points.append(point)
                    newest_ns = point[0]
        if self.kind != "samples" or newest_ns is None or at_ns - newest_ns > GAP_NS:
            points += self._readings()
        self.due_ns = at_ns + _READING_NS if self.kind != "samples" else self._samples_due_ns
        return points

    def instant(self) -> Point | None:
        """Return the power at this moment, which the newest sample is somewhat behind; None: not known."""
        try:
            if self._clock_ns() >= self._instant_due_ns:
                return self._clock_ns(), self._device.instant_power_milliwatts() / 1000
        except AgentError as error:
            self._instant_due_ns = self._retry_ns(error)
        return None

    def _samples(self) -> list[Point]:
        for attempt in range(_ATTEMPTS):
            try:
                samples = self._device.power_samples(self._sample_clock.since_us())
                break
            except AgentError as error:
                self._samples_due_ns = self._retry_ns(error)
                if isinstance(error, GpuUnsupported) or attempt + 1 == _ATTEMPTS:
                    return []
        points = [(time_ns, milliwatts / 1000) for time_ns, milliwatts in self._sample_clock.place(samples)]
        now_ns = self._clock_ns()
        if not points or now_ns - points[-1][0] > GAP_NS:
            self._samples_due_ns = now_ns + _RETRY_NS
            return []
        self.kind, self.problem = "samples", ""
        self._samples_due_ns = now_ns + _SAMPLES_NS
        return points

    def _readings(self) -> list[Point]:
        if (point := self.instant()) is not None:
            self.kind, self.problem = "instant", ""
            return [point]
        try:
            watts = self._device.power_milliwatts() / 1000
        except AgentError as error:
            self._retry_ns(error)
            return []
        self.kind, self.problem = "average", ""
        return [(self._clock_ns(), watts)]

    def _retry_ns(self, error: AgentError) -> int:
        """Return when to try a source again that has failed."""
        if isinstance(error, GpuUnavailable | DriverReloaded):
            raise error
        self.problem = str(error)
        return self._clock_ns() + (_UNSUPPORTED_NS if isinstance(error, GpuUnsupported) else _RETRY_NS)
