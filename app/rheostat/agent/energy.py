"""The energy a GPU used between two moments.

The driver's ring of power samples tells what was used from moment to moment, the GPU's counter what was used in the
long run (see `counter_track.py`); both are read about once a second. Without samples, power is read often instead;
without a counter, power alone is added up; without power, the counter alone is read. An answer never waits for any of
them. Unknown energy is `None`, never zero.
"""

import sys
from bisect import bisect_right
from collections.abc import Callable
from math import inf
from threading import Lock
from time import monotonic_ns, time_ns

from rheostat.agent.counter_track import CounterTrack
from rheostat.agent.devices import Device, ThrottleReason
from rheostat.agent.power_curve import GAP_NS, SECOND, PowerCurve
from rheostat.agent.power_reader import PowerReader
from rheostat.agent.tick_phase import CounterReading
from rheostat.errors import AgentError, DriverReloaded, GpuUnavailable, GpuUnsupported
from rheostat.schemas.agent import EnergySource, GpuUsage

_REASONS_NS = SECOND // 2
# When power is known up to a reading of the counter, which then tells when to read it next.
_COVERED_SOON_NS, _COVERED_NS = SECOND // 28, SECOND // 2
# After an error, and where the GPU has no counter: that may change while the driver gets ready.
_RETRY_NS, _UNSUPPORTED_NS = SECOND // 10, 10 * SECOND
_FIRST_ATTEMPTS = 3
# For an answer, what was read so recently is not read again.
_FRESH_NS = SECOND // 66
# The count is the counter's while that was read so recently.
_COUNTED_NS = 5 * SECOND
# A power that the driver averages lags by up to that long; the counter ticks that often.
_AVERAGED_SECONDS, _TICK_SECONDS = 1.0, 0.1
# More than a GPU draws, where it is not known what that is.
_MOST_WATTS = 2000.0
_KEPT_REASONS = 1200

_NOT_LEASED = "The energy is not known that far back: it is measured only while the GPU is leased."


class EnergyMeter:
    """Measures the energy of one GPU. `poll`, `refresh`, `pause` are called on the GPU's thread, `usage` on any.

    Args:
        device: The GPU.
        clock_ns: A monotonic clock in nanoseconds, shared by all processes of the node.
        wall_ns: The wall clock in nanoseconds, by which the driver stamps its samples.
    """

    def __init__(
        self, device: Device, clock_ns: Callable[[], int] = monotonic_ns, wall_ns: Callable[[], int] = time_ns
    ) -> None:
        self._device = device
        self._clock_ns = clock_ns
        self._wall_ns = wall_ns
        self._changing = Lock()
        self._most_watts = device.description.most_watts
        self._base_joules = 0.0
        self._reset()

    def _reset(self) -> None:
        self._is_running = False
        self._curve = PowerCurve(self._most_watts or _MOST_WATTS)
        self._power = PowerReader(self._device, self._clock_ns, self._wall_ns)
        # Whether only the counter answers.
        self._is_alone = False
        self._track: CounterTrack | None = None
        self._unused: CounterReading | None = None
        # The counter's count goes on between leases, and from one agent to the next; any other is the curve's own.
        self._is_counters_count = False
        self._counter_due_ns = self._reasons_due_ns = self._refreshed_ns = 0
        self._reasons_times_ns: list[int] = []
        self._reasons: list[frozenset[ThrottleReason]] = []
        self._reports_throttling = True
        self._problem = ""
        self._last_answer = (0, 0.0)

    def pause(self) -> None:
        """Forget all readings, because the next one does not follow without a gap."""
        if not self._is_running:
            return
        with self._changing:
            if self._track is not None and self._is_counters_count:
                self._base_joules = self._track.base_joules
            self._reset()

    def poll(self) -> float:
        """Read what is due.

        Returns:
            The number of seconds until the next call.

        Raises:
            GpuUnavailable: When the GPU is lost.
            DriverReloaded: When the driver was replaced while in use.
        """
        if not self._is_running:
            self._begin()
        now_ns = self._clock_ns()
        is_counter_due = now_ns >= self._counter_due_ns
        # The counter may take long: what an answer needs meanwhile is read before.
        if is_counter_due or now_ns >= self._power.due_ns:
            self._read_power(now=is_counter_due)
        if self._clock_ns() >= self._counter_due_ns:
            self._read_counter()
        if now_ns >= self._reasons_due_ns:
            self._read_reasons()
        due_ns = min(self._power.due_ns, self._counter_due_ns, self._reasons_due_ns)
        return max(0, due_ns - self._clock_ns()) / SECOND

    def is_behind(self, time_ns: int) -> bool:
        """Return whether `refresh` would tell more about the energy up to a moment."""
        with self._changing:
            return self._is_running and (not len(self._curve) or time_ns > self._curve.end_ns)

    def refresh(self) -> None:
        """Read what an answer needs to be precise up to now; raises what `poll` does."""
        now_ns = self._clock_ns()
        if not self._is_running or now_ns - self._refreshed_ns < _FRESH_NS:
            return
        self._refreshed_ns = now_ns
        self._read_power(now=True)
        if self._is_alone:
            self._read_counter()
        if self._power.kind == "samples" and (head := self._power.instant()) is not None:
            with self._changing:
                self._curve.set_head(*head)

    def _begin(self) -> None:
        """Begin with the counter, and with the past that the samples know."""
        self._read_power()
        for _ in range(_FIRST_ATTEMPTS):
            self._read_counter()
            if self._track is not None or self._counter_due_ns > self._clock_ns() + _RETRY_NS:
                break
        self._is_counters_count = self._track is not None
        self._is_running = True

    def _read_power(self, *, now: bool = False) -> None:
        last_ns = self._curve.end_ns if len(self._curve) else None
        points = self._power.read(last_ns, now=now)
        with self._changing:
            for time_ns, watts in points:
                self._curve.add(time_ns, watts)
            if points:
                self._is_alone = False
            elif last_ns is None or self._clock_ns() - last_ns > GAP_NS:
                self._is_alone = True
            self._use_counter()

    def _read_counter(self) -> None:
        begin_ns = self._clock_ns()
        try:
            joules = self._device.energy_millijoules() / 1000
        except (GpuUnavailable, DriverReloaded):
            raise
        except AgentError as error:
            self._problem = str(error)
            pause_ns = _UNSUPPORTED_NS if isinstance(error, GpuUnsupported) else _RETRY_NS
            self._counter_due_ns = self._clock_ns() + pause_ns
            return
        now_ns = self._clock_ns()
        reading = CounterReading(begin_ns, now_ns, joules)
        with self._changing:
            if self._track is None:
                if not len(self._curve):
                    self._curve.add(now_ns, 0.0)
                self._track = CounterTrack(reading, self._curve, None if self._is_running else self._base_joules)
            elif self._is_alone:
                self._track.count_alone(reading, self._curve, self._most_watts or inf)
            elif self._track.is_learning:
                self._track.look(reading)
            else:
                self._unused = reading
                self._counter_due_ns = now_ns + (_COVERED_NS if self._track.is_tied else _COVERED_SOON_NS)
                return
            self._counter_due_ns = self._track.due_ns

    def _use_counter(self) -> None:
        """Take the counter's last reading into account, once power is known up to then."""
        reading, track = self._unused, self._track
        if reading is None or track is None:
            return
        if reading.end_ns > self._curve.end_ns:
            self._counter_due_ns = self._clock_ns() + _COVERED_SOON_NS
            return
        lag = _AVERAGED_SECONDS * (self._most_watts or _MOST_WATTS) if self._power.kind == "average" else 0.0
        track.note(reading, self._curve, lag)
        self._counter_due_ns = track.due_ns
        self._unused = None

    def _read_reasons(self) -> None:
        if not self._reports_throttling:
            return
        now_ns = self._clock_ns()
        self._reasons_due_ns = now_ns + _REASONS_NS
        try:
            reasons = self._device.throttle_reasons()
        except GpuUnsupported:
            self._reports_throttling, self._reasons_due_ns = False, sys.maxsize
            return
        except (GpuUnavailable, DriverReloaded):
            raise
        except AgentError:
            return
        with self._changing:
            self._reasons_times_ns.append(now_ns)
            self._reasons.append(reasons)
            del self._reasons_times_ns[:-_KEPT_REASONS], self._reasons[:-_KEPT_REASONS]

    def usage(self, since_ns: int | None, until_ns: int) -> GpuUsage:
        """Return the energy used in a window, by what is known now.

        Args:
            since_ns: The start of the window on the meter's clock; None: only the count at its end is wanted.
            until_ns: The end of the window.
        """
        with self._changing:
            at_end = self._unknown_at(until_ns)
            at_begin = None if since_ns is None else self._unknown_at(since_ns) or self._unknown_from(since_ns)
            edges = [edge for edge, why in ((since_ns, at_begin), (until_ns, at_end)) if edge is not None and not why]
            energy = None
            if since_ns is not None and not at_begin and not at_end:
                energy = max(0.0, self._joules_at(until_ns) - self._joules_at(since_ns))
            return GpuUsage(
                gpu=self._device.description.uuid,
                energy_joules=energy,
                cumulative_joules=None if at_end else self._count_at(until_ns),
                series="counter" if self._is_counters_count else f"power-{self._curve.unbroken_since_ns:x}",
                known_from_ns=0 if self._is_counters_count else self._curve.unbroken_since_ns or None,
                source=self._source(),
                resolution_seconds=None if at_end else max(map(self._resolution_at, edges)),
                unknown_because=at_begin or at_end,
                throttle_reasons=self._reasons_in(since_ns, until_ns),
            )

    def _source(self) -> EnergySource:
        if self._track is not None and self._clock_ns() - self._track.last_ns < _COUNTED_NS:
            return "counter"
        return "power_samples" if self._power.kind == "samples" else "power_readings"

    def _joules_at(self, time_ns: int) -> float:
        return self._curve.joules_at(time_ns) + (
            0.0 if self._track is None else self._track.offset_at(time_ns, self._curve)
        )

    def _count_at(self, time_ns: int) -> float:
        """Return the count; it never goes back, even where power was less than expected when it was asked for."""
        last_ns, last = self._last_answer
        count = max(0.0, self._joules_at(time_ns), last if time_ns >= last_ns else 0.0)
        if time_ns >= last_ns:
            self._last_answer = (time_ns, count)
        return count

    def _resolution_at(self, time_ns: int) -> float:
        blur = _TICK_SECONDS if self._is_alone else _AVERAGED_SECONDS if self._power.kind == "average" else 0.0
        return max(blur, self._curve.edge_seconds(time_ns))

    def _unknown_at(self, time_ns: int) -> str | None:
        """Return why the energy is not known at a moment."""
        if not len(self._curve):
            return self._failure() if self._is_running else _NOT_LEASED
        if time_ns < self._curve.begin_ns:
            return _NOT_LEASED
        if time_ns > self._clock_ns():
            return "That moment has not come yet."
        if time_ns - self._curve.end_ns > GAP_NS:
            return self._failure()
        if self._curve.edge_seconds(time_ns) > GAP_NS / SECOND:
            return "The energy could not be read around the start or the end of the window."
        return None

    def _unknown_from(self, since_ns: int) -> str | None:
        """Return why the energy is not known from a moment on."""
        if self._track is None and since_ns < self._curve.unbroken_since_ns:
            return "The energy could not be read for a while, and the GPU has no counter to tell what it used then."
        return None

    def _failure(self) -> str:
        return f"The driver does not tell the energy. {self._power.problem or self._problem}".rstrip()

    def _reasons_in(self, since_ns: int | None, until_ns: int) -> list[ThrottleReason] | None:
        """Return what slowed the GPU down at the readings in a window and around it."""
        if not self._reports_throttling:
            return None
        first = bisect_right(self._reasons_times_ns, until_ns if since_ns is None else since_ns) - 1
        last = bisect_right(self._reasons_times_ns, until_ns) + 1
        return sorted(frozenset().union(*self._reasons[max(0, first) : last]))
