"""Which power limits to measure, and which of them is best.

At the first batch size the limits are measured from the highest down until the cost of an epoch has clearly risen.
Other batch sizes measure only the limits that were good at the nearest one that was measured: the best limit moves
little from one batch size to the next.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import log
from statistics import median
from typing import NamedTuple

from rheostat.policy.cost import PowerMeasurement, select
from rheostat.policy.identity import ByIdentity
from rheostat.policy.interface import Job, PowerLimitOptimizer, State

FEWEST = 4
"""Limits that are measured at least before a sweep may end early."""

LAST_RISE, RISE_BEFORE = 1.10, 1.05
"""A sweep ends when the last limit costs this much more than the best, and the one before it this much."""

NEAR_BEST = 1.30
"""Limits within this factor of the best at the nearest batch size are measured; 1.10 would lose 3 % on some traces."""

BELIEVABLE = 5.0
"""A cost that is off the median of a batch size's limits by more than this factor is an error of measurement: no
limit saves so much, since neither power nor speed changes by as much over the range of a GPU."""

_ENOUGH_FOR_A_MEDIAN = 3


class PowerSweep(PowerLimitOptimizer):
    """Measures as few limits as the last sweep allows, and keeps to the best of them.

    State: per batch size ``measured``, by limit the latest cost, time and energy and whether they are of an epoch;
    ``planned``, what its sweep was to measure; and ``done``.
    """

    replaces_state = True

    @property
    def name(self) -> str:
        """The name ``sweep``."""
        return "sweep"

    def predict(self, job: Job, batch_size: int) -> int | None:
        """Return the best limit once its sweep is done, else None."""
        return self._advice(job, batch_size).best

    def plan(self, job: Job, batch_size: int) -> tuple[int, ...]:
        """Return the limits in watts that are still to be measured, highest first."""
        return self._advice(job, batch_size).plan

    def observe(self, job: Job, batch_size: int, power_limit: int, cost: float) -> None:
        """Learn what an epoch costs under a limit."""
        self.measure(job, batch_size, PowerMeasurement(power_limit, cost))

    def measure(self, job: Job, batch_size: int, measurement: PowerMeasurement) -> None:
        """Learn from a measurement, in place of an earlier one of the same limit."""
        state = self._state(job)
        sweep = state.get(str(batch_size), _NOT_MEASURED)
        planned = sweep.get("planned") or sorted(
            _planned(state, batch_size, job.power_limits_watts, job.max_slowdown), reverse=True
        )
        figures = [measurement.cost, measurement.time_seconds, measurement.energy_joules, measurement.of_an_epoch]
        measured = {**sweep.get("measured", {}), str(measurement.power_limit_watts): figures}
        sweep = {"planned": list(planned), "measured": measured, "done": sweep.get("done", False)}
        sweep["done"] = sweep["done"] or _is_done(job, sweep)
        self.store[job] = {**state, str(batch_size): sweep}

    def measurements(self, job: Job, batch_size: int) -> tuple[PowerMeasurement, ...]:
        """Return what was measured of a batch size, highest limit first, without errors of measurement."""
        return tuple(_believable(_measured(self._state(job).get(str(batch_size), _NOT_MEASURED))))

    def _state(self, job: Job) -> State:
        return self.store.get(job, _NOT_MEASURED)

    def _advice(self, job: Job, batch_size: int) -> "_Advice":
        return _advise(ByIdentity(self._state(job)), batch_size, job.power_limits_watts, job.max_slowdown)


_NOT_MEASURED: State = {}


class _Advice(NamedTuple):
    """The best limit of a batch size, or None while its sweep lasts, and the limits that are still to be measured."""

    best: int | None
    plan: tuple[int, ...]


@lru_cache(maxsize=1024)  # asked with every report, and changed by measurements alone
def _advise(
    of: ByIdentity[State], batch_size: int, power_limits_watts: tuple[int, ...], max_slowdown: float | None
) -> _Advice:
    state = of.value
    sweep = state.get(str(batch_size), _NOT_MEASURED)
    measured = _measured(sweep)
    known = {m.power_limit_watts for m in measured}
    planned_by_sweep = set(sweep.get("planned", ())) & set(power_limits_watts)
    planned = planned_by_sweep or _planned(state, batch_size, power_limits_watts, max_slowdown)
    plan = tuple(limit for limit in power_limits_watts if limit in planned and limit not in known)
    permitted = [m for m in measured if m.power_limit_watts in power_limits_watts]
    if not permitted or (plan and not (planned_by_sweep and sweep["done"])):
        return _Advice(None, plan)
    return _Advice(select(_believable(permitted), max_slowdown=max_slowdown).power_limit_watts, plan)


def _planned(
    state: State, batch_size: int, power_limits_watts: tuple[int, ...], max_slowdown: float | None
) -> set[int]:
    """Return what a batch size that was not measured should measure."""
    done = [int(size) for size, sweep in state.items() if sweep["done"]]
    done = [size for size in done if size != batch_size]
    if not done:
        return set(power_limits_watts)
    nearest = min(done, key=lambda size: (abs(log(size / batch_size)), size))
    measured = _believable(_measured(state[str(nearest)]))
    best = select(measured, max_slowdown=max_slowdown)
    good = {m.power_limit_watts for m in measured if m.cost <= NEAR_BEST * best.cost}
    if max_slowdown is not None:
        good.add(max(power_limits_watts))  # what is slow is judged against it
    return good & set(power_limits_watts) or set(power_limits_watts)


def _measured(sweep: State) -> list[PowerMeasurement]:
    """Return the measurements of a sweep, highest limit first."""
    measurements = [
        PowerMeasurement(int(limit), cost, time_seconds, energy_joules, of_an_epoch)
        for limit, (cost, time_seconds, energy_joules, of_an_epoch) in sweep.get("measured", {}).items()
    ]
    return sorted(measurements, key=lambda m: m.power_limit_watts, reverse=True)


def _believable(measurements: Sequence[PowerMeasurement]) -> list[PowerMeasurement]:
    """Return the measurements without those that cannot be, judged by the others."""
    if len(measurements) < _ENOUGH_FOR_A_MEDIAN:
        return list(measurements)
    usual = median(m.cost for m in measurements)
    return [m for m in measurements if usual / BELIEVABLE <= m.cost <= usual * BELIEVABLE]


def _is_done(job: Job, sweep: State) -> bool:
    """Return whether all that was planned is measured, or further down it would only get worse."""
    if set(sweep["planned"]) <= {m.power_limit_watts for m in _measured(sweep)}:
        return True
    measurements = _believable(_measured(sweep))
    if len(measurements) < _ENOUGH_FOR_A_MEDIAN:
        return False
    fastest, last = measurements[0].time_seconds, measurements[-1].time_seconds
    if job.max_slowdown is not None and fastest and last and last > job.max_slowdown * fastest:
        return True
    best = min(m.cost for m in measurements)
    costs = [m.cost / best for m in measurements]
    return len(costs) >= FEWEST and costs[-1] > LAST_RISE and costs[-2] > RISE_BEFORE
