"""The energy counter against the integral of power.

The counter is true in the long run but says little about a moment: it shows the energy at its last tick, which may be
a tenth of a second ago, and reading it takes up to 26 ms. Power samples tell moments apart but drift. So the count is
the integral of power plus an offset, which a Kalman filter estimates from the counter. The offset that is used follows
the estimate slowly, so that no window of a few seconds shows the correction.
"""

import logging
from bisect import bisect_right
from math import copysign, exp, sqrt

from rheostat.agent.power_curve import SECOND, PowerCurve
from rheostat.agent.tick_phase import TICK_NS, CounterReading, TickPhase

logger = logging.getLogger(__name__)

# As many as there are seconds of power samples.
_KEPT_CORRECTIONS = 1200
# The integral of samples was within 0.12 % of the counter (docs/hardware.md); where the load steps in time with the
# samples it may be off by 5 %. As standard deviations: how wrong power readings may be, how much that changes from one
# reading of the counter to the next, and how they scatter.
_RATE, _RATE_DRIFT, _DRIFT = 0.03, 0.0003, 0.001
# So many standard deviations may be chance; the offset in use follows what is more at once.
_CHANCE_DEVIATIONS = 3.0
# And so many mean that ticks are not where they are expected.
_DOUBT_DEVIATIONS = 5.0
# What the first readings got wrong, before it was known when the counter ticks, is made up in about so many seconds.
_MAKE_UP_SECONDS = 60.0
# Readings are that far apart: in the first burst, while it is still unknown when the counter ticks, later, and where
# power changes so much that its integral is off by this much.
_FIRST_NS, _AGAIN_NS, _LATER_NS, _ROUGH_NS = SECOND // 500, SECOND // 20, SECOND, SECOND // 2
_ALONE_NS = SECOND // 4
_FIRST_READINGS, _MORE_READINGS = 40, 16
_ROUGH = 0.01
# Where the integral may lag behind, it does so by this part as a standard deviation.
_LAGS = 4.0
# A reading that is further off than that many standard deviations and that much of the energy is not believed.
_ODD_DEVIATIONS, _ODD_FRACTION, _ODD_JOULES = 5.0, 0.05, 50.0


class CounterTrack:
    """Ties the integral of power to the counter: the count is the integral plus an offset.

    Not thread-safe.

    Attributes:
        base_joules: What the count is above the counter; not 0 once the counter has jumped.
        last_ns: When the counter was last read and believed.
        due_ns: When to read it next.

    Args:
        first: The first reading.
        curve: The integral of power.
        base_joules: What the count is above the counter; None: the count is the integral of power up to now.
    """

    def __init__(self, first: CounterReading, curve: PowerCurve, base_joules: float | None) -> None:
        self._phase = TickPhase(first)
        self._tick_ns, spread = _between((first.begin_ns - TICK_NS, first.end_ns), curve)
        above = curve.joules_at(self._tick_ns)
        self.base_joules = above - first.joules if base_joules is None else base_joules
        self.last_ns = first.end_ns
        self.due_ns = first.end_ns + _FIRST_NS
        self._estimate, self._variance = first.joules + self.base_joules - above, spread**2
        # How far off that may be: by half of what the GPU uses from one tick to the next.
        self._first_error = spread * sqrt(12) / 2
        self._bias: float | None = None
        self._odd: float | None = None
        # By how much of the energy the integral of power is wrong.
        self._rate = 0.0
        self._rate_variance, self._covariance, self._expected = _RATE**2, 0.0, 0.0
        self._readings = 1
        self._is_rough = False
        # The offset in use, at moments between which it changes linearly.
        self._moments_ns = [self._tick_ns]
        self._offsets = [self._estimate]

    def offset_at(self, time_ns: int, curve: PowerCurve) -> float:
        """Return what the count is above the integral of power at a moment."""
        right = bisect_right(self._moments_ns, time_ns)
        if right == 0:
            return self._offsets[0]
        if right == len(self._moments_ns):
            since = curve.joules_at(self._moments_ns[-1])
            return self._offsets[-1] + self._rate * (curve.joules_at(time_ns) - since)
        left_ns, left = self._moments_ns[right - 1], self._offsets[right - 1]
        part = (time_ns - left_ns) / (self._moments_ns[right] - left_ns)
        return left + part * (self._offsets[right] - left)

    def look(self, reading: CounterReading) -> None:
        """Learn from one of the first readings when the counter ticks."""
        self._readings += 1
        self._phase.look(reading)
        # Until one reading is tied to a tick, power does not tell ticks apart.
        after_ns = reading.end_ns + _FIRST_NS
        self.due_ns = after_ns if self.is_learning else self._phase.clear_ns(after_ns)

    def note(self, reading: CounterReading, curve: PowerCurve, slack_joules: float) -> None:
        """Take a reading into account, once the curve covers it.

        Args:
            reading: The reading.
            curve: The integral of power.
            slack_joules: How far the integral may lag behind.
        """
        since = curve.joules_at(self._tick_ns)

        def error_at(time_ns: int) -> float:
            joules = curve.joules_at(time_ns)
            return reading.joules + self.base_joules - joules - self._estimate - self._rate * (joules - since)

        if self._is_odd(reading, error_at(self._phase.last_before(reading.begin_ns)), curve, slack_joules):
            return
        between_ns = self._phase.place(reading, error_at)
        if between_ns is None:
            self.due_ns = self._phase.clear_ns(curve.end_ns + _AGAIN_NS)
            return
        tick_ns, spread = _between(between_ns, curve)
        used = curve.joules_at(tick_ns) - since
        doubt = curve.variance_at(tick_ns) - curve.variance_at(self._tick_ns)
        off = error_at(tick_ns)
        self._readings += 1
        self._estimate_anew(off, used, max(0.0, doubt), spread**2 + (slack_joules / _LAGS) ** 2)
        self._doubt_more(abs(off), used, tick_ns - self._tick_ns)
        self._tick_ns, self.last_ns = tick_ns, reading.end_ns
        self._follow(curve)
        self.due_ns = self._phase.telling_ns(reading.end_ns + self._pause_ns())

    def _is_odd(self, reading: CounterReading, off: float, curve: PowerCurve, slack_joules: float) -> bool:
        """Return whether a reading cannot be true; if the next one says the same, the counter has jumped."""
        used = curve.joules_at(reading.end_ns) - curve.joules_at(self._tick_ns)
        doubt = max(0.0, curve.variance_at(reading.end_ns) - curve.variance_at(self._tick_ns))
        _, spread = _between((reading.begin_ns - TICK_NS, reading.end_ns), curve)
        most = slack_joules + _ODD_JOULES + _ODD_FRACTION * used
        most += _ODD_DEVIATIONS * sqrt(self._variance + doubt + spread**2)
        if abs(off) <= most:
            self._odd = None
            return False
        if self._odd is not None and abs(off - self._odd) <= most:
            logger.warning("the energy counter jumped by %.0f J; power is added up instead", off)
            self.base_joules -= off
            self._odd = None
            self.due_ns = reading.end_ns + _AGAIN_NS
        else:
            self._odd = off
            # Between two ticks, so that it is clear which one is read.
            self.due_ns = self._phase.last_before(curve.end_ns + _AGAIN_NS) + 3 * TICK_NS // 2
        return True

    def count_alone(self, reading: CounterReading, curve: PowerCurve, most_watts: float) -> None:
        """Carry the curve on by the counter, as power is not known.

        Args:
            reading: A reading later than the curve.
            curve: The integral of power.
            most_watts: The most that the GPU draws.
        """
        counted = curve.joules_at(curve.end_ns) + self.offset_at(curve.end_ns, curve)
        used = reading.joules + self.base_joules - counted
        seconds = (reading.end_ns - curve.end_ns) / SECOND
        if not -_ODD_JOULES <= used <= _ODD_JOULES + 1.5 * most_watts * (seconds + TICK_NS / SECOND):
            logger.warning("the energy counter jumped by %.0f J", used)
            self.base_joules -= used
            used = 0.0
        curve.add(reading.end_ns, max(0.0, used) / seconds, max(0.0, used))
        self.last_ns = reading.end_ns
        self.due_ns = reading.end_ns + _ALONE_NS

    @property
    def is_learning(self) -> bool:
        """Whether the first readings, in a burst, are still to tell when the counter ticks."""
        return self._readings < _FIRST_READINGS and not self._phase.is_known

    @property
    def _is_still_learning(self) -> bool:
        """Whether the burst did not tell, as readings take long, and more readings still may."""
        return self._readings < _FIRST_READINGS + _MORE_READINGS and not self._phase.is_known

    @property
    def is_tied(self) -> bool:
        """Whether a reading was taken into account since it is known when the counter ticks."""
        return self._bias is not None

    def _pause_ns(self) -> int:
        if self._is_still_learning:
            return _AGAIN_NS
        return _ROUGH_NS if self._is_rough else _LATER_NS

    def _estimate_anew(self, off: float, used: float, doubt: float, noise: float) -> None:
        """Correct offset and rate by what a reading is off, as a Kalman filter does."""
        of_rate = self._rate_variance + (_RATE_DRIFT**2 if used > 0 else 0.0)
        shared = self._covariance + used * of_rate
        of_offset = self._variance + used * (self._covariance + shared) + doubt + (_DRIFT * used) ** 2
        self._expected = of_offset + noise
        if self._expected <= 0:
            return
        gain, rate_gain = of_offset / self._expected, shared / self._expected
        self._estimate += self._rate * used + gain * off
        self._rate += rate_gain * off
        self._variance = (1 - gain) * of_offset
        self._covariance = (1 - gain) * shared
        self._rate_variance = of_rate - rate_gain * shared

    def _doubt_more(self, off: float, used: float, passed_ns: int) -> None:
        """Expect more errors where a reading is off by more than was expected: of ticks, and of power."""
        no_chance = off - _DOUBT_DEVIATIONS * sqrt(self._expected)
        if no_chance > 0 and used > 0:
            self._phase.doubt(no_chance / used * passed_ns)
            self._rate_variance += (no_chance / used) ** 2

    def _follow(self, curve: PowerCurve) -> None:
        """Let the offset in use approach the estimate from the last correction to now."""
        since_ns, until_ns = self._moments_ns[-1], self._tick_ns
        if self._bias is None:
            if self._is_still_learning:
                return
            bias = self._estimate - self._offsets[-1]
            self._bias = copysign(min(abs(bias), self._first_error), bias)
        if until_ns <= since_ns:
            return
        used = curve.joules_at(until_ns) - curve.joules_at(since_ns)
        doubt = sqrt(max(0.0, curve.variance_at(until_ns) - curve.variance_at(since_ns)))
        self._bias *= exp(-(until_ns - since_ns) / SECOND / _MAKE_UP_SECONDS)
        drifted = self._rate * used
        behind = self._estimate - self._bias - self._offsets[-1] - drifted
        no_chance = abs(behind) - _CHANCE_DEVIATIONS * sqrt(self._variance)
        step = copysign(min(abs(behind), max(_DRIFT * used + doubt, no_chance)), behind)
        self._moments_ns.append(until_ns)
        self._offsets.append(self._offsets[-1] + drifted + step)
        del self._moments_ns[:-_KEPT_CORRECTIONS], self._offsets[:-_KEPT_CORRECTIONS]
        self._is_rough = doubt > _ROUGH * used


def _between(moments_ns: tuple[int, int], curve: PowerCurve) -> tuple[int, float]:
    """Return the middle of two moments, and the standard deviation of the energy at a moment between them."""
    most = curve.joules_at(moments_ns[1]) - curve.joules_at(moments_ns[0])
    return sum(moments_ns) // 2, most / sqrt(12)
