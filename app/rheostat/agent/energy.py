"""What a GPU used between two moments, from the ticks of its counter or, without one, from samples of its power.

The counter moves about every 100 ms and shows the energy as it was at that tick. Reading it at two arbitrary moments
errs by up to a tick at either end, 5 % of a window of two seconds. So the meter looks often when a tick is due, notes
when each one came, and takes the energy at any moment from the ticks around it. Unknown is `None`, never zero.
"""

import threading
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import monotonic_ns
from typing import Literal

from rheostat.agent.devices import Device, ThrottleReason
from rheostat.errors import GpuUnsupported

Source = Literal["counter", "power_samples"]

_SECOND = 1_000_000_000
# Ten minutes of ticks: longer windows are made of shorter ones by the caller.
_KEPT_POINTS = 6000
# While a tick is due it is looked for this often; one that was noticed later than that by far is not used as an edge.
_LOOK_SECONDS = 0.003
_LATE_SECONDS = 0.012
# Until when the tick is not due: this part of the usual distance of two ticks.
_QUIET_PART = 0.85
_KNOWN_DISTANCES = 3
_SAMPLE_SECONDS = 0.05
# Between points further apart than this nobody knows how the energy went.
_GAP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a GPU used in a window.

    Attributes:
        energy_joules: None when it is not known; `unknown_because` says why.
        cumulative_joules: Energy at the window's end on a count that began before; only differences mean something,
            and only within one `series`. None when it is not known.
        series: Names that count.
        source: Where the figures come from.
        resolution_seconds: How far apart the readings around the window's edges are.
        unknown_because: Why there is no figure.
        throttle_reasons: All that were seen in the window; None: the GPU does not tell.
    """

    energy_joules: float | None
    cumulative_joules: float | None
    series: str
    source: Source
    resolution_seconds: float | None
    unknown_because: str | None
    throttle_reasons: frozenset[ThrottleReason] | None


class EnergyMeter:
    """Follows the energy of one GPU. `poll` is called on the GPU's thread, the rest on any.

    Args:
        device: The GPU.
        clock_ns: Nanoseconds on a clock that all processes of the node share and that never goes back.
    """

    def __init__(self, device: Device, clock_ns: Callable[[], int] = monotonic_ns) -> None:
        self._device = device
        self._clock_ns = clock_ns
        self._moved = threading.Condition()
        self._source: Source = "counter"
        # The counter goes on while nobody looks, and from one agent to the next.
        self._series = "counter"
        self._tells_reasons = True
        self._reset()

    def _begin_series(self) -> None:
        """Begin a new count: what was before cannot be joined to what follows."""
        with self._moved:
            self._series = f"{self._source}-{self._clock_ns():x}"
            self._reset()

    def _reset(self) -> None:
        self._times_ns: list[int] = []
        self._joules: list[float] = []
        self._reasons: deque[tuple[int, frozenset[ThrottleReason]]] = deque(maxlen=_KEPT_POINTS)
        self._distances_ns: deque[int] = deque(maxlen=9)
        self._last_read: tuple[int, float] | None = None
        self._last_tick_ns: int | None = None
        self._before_first: float | None = None

    def pause(self) -> None:
        """Forget what was read: it will not be followed without a break."""
        with self._moved:
            self._reset()

    def poll(self) -> float:
        """Read the GPU if that is due.

        Returns:
            In how many seconds to call again.

        Raises:
            AgentError: As the device says.
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
            return _LOOK_SECONDS
        if joules < last[1]:
            self._begin_series()
            return _LOOK_SECONDS
        if joules == last[1]:
            return _LOOK_SECONDS
        tick_ns = (last[0] + now_ns) // 2
        usual_ns = median(self._distances_ns) if len(self._distances_ns) >= _KNOWN_DISTANCES else None
        if self._last_tick_ns is not None:
            self._distances_ns.append(tick_ns - self._last_tick_ns)
        elif len(self._times_ns) == 0:
            self._before_first = last[1]
        self._last_tick_ns = tick_ns
        if now_ns - last[0] <= _LATE_SECONDS * _SECOND:
            self._note(tick_ns, joules)
            self._note_tick_before_first()
        return _LOOK_SECONDS if usual_ns is None else max(_LOOK_SECONDS, _QUIET_PART * usual_ns / _SECOND)

    def _note_tick_before_first(self) -> None:
        """Place the tick before the first one that was seen, so that energy is known from the first reading on."""
        if self._before_first is None or not len(self._distances_ns) == 1 == len(self._times_ns) - 1:
            return
        with self._moved:
            self._times_ns.insert(0, self._times_ns[0] - self._distances_ns[0])
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
            return self._device.throttle_reasons() if self._tells_reasons else frozenset()
        except GpuUnsupported:
            self._tells_reasons = False
            return frozenset()

    def usage(self, since_ns: int | None, until_ns: int, wait_seconds: float = 0.0) -> Usage:
        """Tell what was used in a window.

        Args:
            since_ns: Its begin on the meter's clock; None: only the count at its end is wanted.
            until_ns: Its end.
            wait_seconds: How long to wait for the first reading after its end.
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
            return Usage(
                energy_joules=end[0] - begin[0] if isinstance(begin, tuple) and isinstance(end, tuple) else None,
                cumulative_joules=end[0] if isinstance(end, tuple) else None,
                series=self._series,
                source=self._source,
                resolution_seconds=max((edge[1] for edge in edges), default=None),
                unknown_because=why,
                throttle_reasons=frozenset().union(*seen) if self._tells_reasons else None,
            )

    def _at(self, time_ns: int) -> tuple[float, float] | str:
        """Give the energy at a moment and how far apart the readings around it are, or why it is not known."""
        times, joules = self._times_ns, self._joules
        if not times or time_ns < times[0]:
            return "It was not read that early: it is while the GPU is leased."
        if time_ns > times[-1]:
            return "It has not been read since."
        right = bisect_left(times, time_ns)
        left = bisect_right(times, time_ns) - 1
        if left == right:
            return joules[left], 0.0
        width_ns = times[right] - times[left]
        if width_ns > _GAP_SECONDS * _SECOND:
            return "It could not be read for a while around an edge of the window."
        part = (time_ns - times[left]) / width_ns
        return joules[left] + part * (joules[right] - joules[left]), width_ns / _SECOND
