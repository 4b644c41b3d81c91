"""Decides which power limit a run measures next, until the best one is known. It outlives interruptions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rheostat.schemas.power import PowerLimitAnswer, PowerLimitMeasurement
from rheostat.schemas.server import Gpu, JobSettings

_FEWEST_FOR_A_RECHECK = 3
_MOST_REPEATS = 2
# A limit so far above the mean draw is not reached by its peaks either; further where throttle reasons are unknown.
_MARGIN, _MARGIN_REASONS_UNKNOWN = 1.1, 1.25

SendMeasurements = Callable[[Sequence[PowerLimitMeasurement]], PowerLimitAnswer | None]
"""Reports measurements to the server; None: there is no answer."""


@dataclass(frozen=True, slots=True)
class MeasuredLimit:
    """What the GPUs did under a limit.

    Attributes:
        measurement: For the server.
        watts_per_gpu: Mean draw of a GPU.
        is_capped: Whether the limit slowed the GPUs down; None when unknown.
        rhythm: How often the steps of the run had turned out to have another pattern than was thought, by then.
    """

    measurement: PowerLimitMeasurement
    watts_per_gpu: float
    is_capped: bool | None
    rhythm: int = 0

    def does_not_bind(self, power_limit_watts: int) -> bool:
        """Return whether a lower limit would change nothing, because the GPUs draw less than it."""
        margin = {False: _MARGIN, None: _MARGIN_REASONS_UNKNOWN}.get(self.is_capped)
        return margin is not None and power_limit_watts >= margin * self.watts_per_gpu


Measure = Callable[[int, bool], MeasuredLimit | None]
"""Measures a limit, and if so told waits until the pattern of the steps is certain; None: it cannot be set."""


class ServerAway(Exception):
    """The server does not answer; what was measured is queued for it."""


class Sweep:
    """Measures what the server asks for, from the highest limit down, until it knows the best one.

    Attributes:
        best: The best limit; None while it is unknown.

    Args:
        plan: The limits, in order.
        send: Reports them to the server.
        choose: Chooses among all measurements, where the server cannot because some limits cannot be set.
    """

    def __init__(
        self,
        plan: Sequence[int],
        send: SendMeasurements,
        choose: Callable[[Sequence[PowerLimitMeasurement]], int | None],
    ) -> None:
        self._plan = list(plan)
        self._again: list[int] = []
        self._send = send
        self._choose = choose
        self._measured: dict[int, MeasuredLimit] = {}
        self._alike: dict[int, list[int]] = {}
        self._given_up: set[int] = set()
        self._repeats = 0
        self._is_rechecked = False
        self.best: int | None = None

    def run(self, measure: Measure) -> None:
        """Go on to the end; the best limit is then unknown only if none could be measured.

        What ``measure`` raises interrupts the sweep, which may be run again.

        Raises:
            ServerAway: The server does not answer.
        """
        while True:
            while self._again or self._plan:
                self._measure_next(measure)
            if self._is_rechecked or len(self._measured) < _FEWEST_FOR_A_RECHECK:
                break
            # The GPU was colder at the first limit than at the others.
            self._again.append(next(iter(self._measured)))
            self._is_rechecked = True
        if self.best is None:
            self.best = self._choose([limit.measurement for limit in self._measured.values()])

    def _measure_next(self, measure: Measure) -> None:
        is_again = bool(self._again)
        limit = self._again[0] if is_again else self._plan[0]
        will_recheck = not self._is_rechecked and len(self._measured) + 1 >= _FEWEST_FOR_A_RECHECK
        is_last = len(self._again) + len(self._plan) == 1 and not will_recheck
        measured = measure(limit, is_last or not self._measured)
        if is_again:
            self._again.pop(0)
        if measured is None:
            self._given_up.add(limit)
            self._plan = [watts for watts in self._plan if watts != limit]
            return
        self._measured[limit] = measured
        if not is_again:
            self._alike[limit] = [lower for lower in self._plan[1:] if measured.does_not_bind(lower)]
        self._report(measured.measurement, self._alike[limit])
        self._repeat_those_unlike(measured)

    def _report(self, measurement: PowerLimitMeasurement, alike: Sequence[int]) -> None:
        limits = [measurement.power_limit_watts, *alike]
        answer = self._send([measurement.model_copy(update={"power_limit_watts": watts}) for watts in limits])
        if answer is None:
            raise ServerAway
        self.best = answer.power_limit_watts
        self._plan = [watts for watts in answer.profile_power_limits_watts if watts not in self._given_up]

    def _repeat_those_unlike(self, latest: MeasuredLimit) -> None:
        """Measure earlier limits again, whose steps were told from other things by a pattern that was wrong."""
        unlike = [limit for limit, measured in self._measured.items() if measured.rhythm != latest.rhythm]
        if unlike and not self._again and self._repeats < _MOST_REPEATS:
            self._repeats += 1
            self._again = unlike


def cheapest_limit(measurements: Sequence[PowerLimitMeasurement], settings: JobSettings, gpu: Gpu) -> int | None:
    """Return the limit with the lowest cost of a step, as the server chooses it (`rheostat.policy.cost`).

    None where nothing was measured, or no limit can be set.

    Args:
        measurements: One for each limit.
        settings: Of the job: how to weigh energy against time, and the slowdown that is allowed.
        gpu: The GPUs of the run.
    """
    if gpu.max_power_limit_watts is None:
        return None
    max_power_watts = gpu.max_power_limit_watts * gpu.count
    steps = [
        (one.time_seconds / one.steps, one.energy_joules / one.steps, one.power_limit_watts)
        for one in measurements
        if one.time_seconds is not None and one.energy_joules is not None and one.steps is not None
    ]
    fastest = min((seconds for seconds, _, _ in steps), default=0.0)
    eta = settings.eta_knob
    costs = [
        (eta * joules + (1 - eta) * max_power_watts * seconds, watts)
        for seconds, joules, watts in steps
        if settings.max_slowdown is None or seconds <= settings.max_slowdown * fastest
    ]
    return min(costs)[1] if costs else None
