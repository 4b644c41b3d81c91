"""The energy a GPU used between two moments, from the ticks of its counter or, without one, from power readings.

The counter is updated about every 100 ms, at a tick. Reading it at two arbitrary moments errs by up to a tick at
either end, 5 % of a window of two seconds. So the meter polls often when a tick is due, records the time of each tick,
and interpolates between ticks. Unknown energy is `None`, never zero.
"""

import threading
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from statistics import median
from time import monotonic_ns
from typing import Literal

from rheostat.agent.devices import Device, ThrottleReason
from rheostat.errors import GpuUnsupported
from rheostat.schemas.agent import GpuUsage

Source = Literal["counter", "power_samples"]

_SECOND = 1_000_000_000
# Ten minutes of ticks: for longer windows the caller adds up shorter ones.
_KEPT_POINTS = 6000
# How often to poll while a tick is due; a tick that is seen much later than that is not used for interpolation.
_POLL_SECONDS = 0.003
_LATE_SECONDS = 0.012
# After a tick, the fraction of the usual tick interval in which no tick is due.
_QUIET_FRACTION = 0.85
_MIN_INTERVALS = 3
_SAMPLE_SECONDS = 0.05
# Between readings further apart than this the energy is unknown.
_GAP_SECONDS = 1.0


class EnergyMeter:
    """Measures the energy of one GPU. `poll` is called on the GPU's thread, the rest on any thread.

    Args:
        device: The GPU.
        clock_ns: A monotonic clock in nanoseconds, shared by all processes of the node.
    """

    def __init__(self, device: Device, clock_ns: Callable[[], int] = monotonic_ns) -> None:
        self._device = device
        self._clock_ns = clock_ns
        self._moved = threading.Condition()
        self._source: Source = "counter"
        # The counter continues between readings, and from one agent to the next.
        self._series = "counter"
        self._reports_throttling = True
        self._reset()

    def _begin_series(self) -> None:
        """Begin a new series: earlier readings cannot be compared with later ones."""
        with self._moved:
            self._series = f"{self._source}-{self._clock_ns():x}"
            self._reset()

    def _reset(self) -> None:
        self._times_ns: list[int] = []
        self._joules: list[float] = []
        self._reasons: deque[tuple[int, frozenset[ThrottleReason]]] = deque(maxlen=_KEPT_POINTS)
        self._intervals_ns: deque[int] = deque(maxlen=9)
        self._last_read: tuple[int, float] | None = None
        self._last_tick_ns: int | None = None
        self._before_first: float | None = None

    def pause(self) -> None:
        """Forget all readings, because the next one does not follow without a gap."""
        with self._moved:
            self._reset()

    def poll(self) -> float:
        """Read the GPU if that is due.

        Returns:
            The number of seconds until the next call.

        Raises:
            AgentError: As `Device` does.
        """
        if self._source == "counter":
            try:
                return self._poll_counter()
            except GpuUnsupported:
                self._source = "power_samples"
        return self._poll_power()

    def _poll_counter(self) -> float:
        before_ns = self._clock_ns()
        joules = self._device.energy_millijoules() / 1000
        now_ns = (before_ns + self._clock_ns()) // 2
        last, self._last_read = self._last_read, (now_ns, joules)
        if last is None:
            return _POLL_SECONDS
        if joules < last[1]:
            self._begin_series()
            return _POLL_SECONDS
        if joules == last[1]:
            return _POLL_SECONDS
        tick_ns = (last[0] + now_ns) // 2
        usual_ns = median(self._intervals_ns) if len(self._intervals_ns) >= _MIN_INTERVALS else None
        if self._last_tick_ns is not None:
            self._intervals_ns.append(tick_ns - self._last_tick_ns)
        elif len(self._times_ns) == 0:
            self._before_first = last[1]
        self._last_tick_ns = tick_ns
        if now_ns - last[0] <= _LATE_SECONDS * _SECOND:
            self._note(tick_ns, joules)
            self._note_tick_before_first()
        return _POLL_SECONDS if usual_ns is None else max(_POLL_SECONDS, _QUIET_FRACTION * usual_ns / _SECOND)

    def _note_tick_before_first(self) -> None:
        """Extrapolate the tick before the first one seen, so that energy is known from the first reading on."""
        if self._before_first is None or not len(self._intervals_ns) == 1 == len(self._times_ns) - 1:
            return
        with self._moved:
            self._times_ns.insert(0, self._times_ns[0] - self._intervals_ns[0])
            self._joules.insert(0, self._before_first)
            self._before_first = None
            self._moved.notify_all()

    def _poll_power(self) -> float:
        watts = self._device.power_milliwatts() / 1000
        now_ns = self._clock_ns()
        last, self._last_read = self._last_read, (now_ns, watts)
        if last is None or now_ns - last[0] > _GAP_SECONDS * _SECOND:
            self._begin_series()
            self._last_read = (now_ns, watts)
            self._note(now_ns, 0.0)
        else:
            trapezoid = (watts + last[1]) / 2 * (now_ns - last[0]) / _SECOND
            self._note(now_ns, self._joules[-1] + trapezoid)
        return _SAMPLE_SECONDS

    def _note(self, time_ns: int, joules: float) -> None:
        reasons = self._read_reasons()
        with self._moved:
            self._times_ns.append(time_ns)
            self._joules.append(joules)
            self._reasons.append((time_ns, reasons))
            if len(self._times_ns) > 2 * _KEPT_POINTS:
                del self._times_ns[:-_KEPT_POINTS], self._joules[:-_KEPT_POINTS]
            self._moved.notify_all()

    def _read_reasons(self) -> frozenset[ThrottleReason]:
        try:
            return self._device.throttle_reasons() if self._reports_throttling else frozenset()
        except GpuUnsupported:
            self._reports_throttling = False
            return frozenset()

    def usage(self, since_ns: int | None, until_ns: int, wait_seconds: float = 0.0) -> GpuUsage:
        """Return the energy used in a window.

        Args:
            since_ns: The start of the window on the meter's clock; None: only the count at its end is wanted.
            until_ns: The end of the window.
            wait_seconds: How long to wait for the first reading after the end.
        """
        with self._moved:
            self._moved.wait_for(lambda: len(self._times_ns) > 1 and self._times_ns[-1] >= until_ns, wait_seconds)
            begin = None if since_ns is None else self._at(since_ns)
            end = self._at(until_ns)
            why = next((found for found in (begin, end) if isinstance(found, str)), None)
            edges = [found for found in (begin, end) if isinstance(found, tuple)]
            seen = (
                reasons
                for time_ns, reasons in self._reasons
                if (until_ns if since_ns is None else since_ns) <= time_ns <= until_ns + _SECOND // 10
            )
            return GpuUsage(
                gpu=self._device.description.uuid,
                energy_joules=end[0] - begin[0] if isinstance(begin, tuple) and isinstance(end, tuple) else None,
                cumulative_joules=end[0] if isinstance(end, tuple) else None,
                series=self._series,
                source=self._source,
                resolution_seconds=max((edge[1] for edge in edges), default=None),
                unknown_because=why,
                throttle_reasons=sorted(frozenset().union(*seen)) if self._reports_throttling else None,
            )

    def _at(self, time_ns: int) -> tuple[float, float] | str:
        """Return the energy at a moment and the seconds between the readings around it, or why it is unknown."""
        times, joules = self._times_ns, self._joules
        if not times or time_ns < times[0]:
            return "The energy is not known that far back: it is measured only while the GPU is leased."
        if time_ns > times[-1]:
            return "The energy has not been read since then."
        right = bisect_left(times, time_ns)
        left = bisect_right(times, time_ns) - 1
        if left == right:
            return joules[left], 0.0
        width_ns = times[right] - times[left]
        if width_ns > _GAP_SECONDS * _SECOND:
            return "The energy could not be read around the start or the end of the window."
        part = (time_ns - times[left]) / width_ns
        return joules[left] + part * (joules[right] - joules[left]), width_ns / _SECOND
