"""Which power limits to measure, and which of them is best.

At the first batch size the limits are measured from the highest down until the cost of an epoch has clearly risen.
Other batch sizes measure only the limits that were good at the nearest one that was measured: the best limit moves
little from one batch size to the next.

A survey does the same before the first run, but with other batch sizes only at the best limit. What a run of a batch
size measures replaces what a survey measured of it: a few steps from a cold start are less precise. A survey that
contradicts itself, or a run, takes no limit away from what runs measure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
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

NEAR_BEST = 1.60
"""Limits within this factor of the best at the nearest batch size are measured: with 1.30 the best limit of the best
batch size was never measured on one trace, where energy alone counted; measuring a limit costs little."""

BELIEVABLE = 5.0
"""A cost that is off the median of a batch size's limits by more than this factor is an error of measurement: no
limit saves so much, since neither power nor speed changes by as much over the range of a GPU."""

_ENOUGH_FOR_A_MEDIAN = 3

IMPRECISION = 0.85
"""By so much less than is possible may a lower limit cost in a survey."""

CONTRADICTION = NEAR_BEST
"""A survey whose cost of a limit is off what a run measures by more than this factor may have ruled out good limits."""


class PowerSweep(PowerLimitOptimizer):
    """Measures as few limits as the last sweep allows, and keeps to the best of them.

    State: ``runs`` and ``surveys``, per batch size one sweep each: ``measured``, by limit the latest cost, time and
    energy and whether they are of an epoch; ``planned``, what the sweep was to measure; and ``done``.
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

    def surveyed(self, job: Job, batch_size: int) -> tuple[int | None, tuple[int, ...]] | None:
        """Return what a survey tells of a batch size that no run has measured; None where it tells nothing."""
        state = self._state(job)
        if str(batch_size) in state["runs"] or str(batch_size) not in state["surveys"]:
            return None
        as_of_a_run = {**state, "runs": state["surveys"]}
        return _advice_from(as_of_a_run, batch_size, job.power_limits_watts, job.max_slowdown)

    def survey_plan(self, job: Job, batch_size: int) -> tuple[int, ...]:
        """Return the limits that a survey should still measure, highest first: all at the first batch size.

        What a run measured that did not come to its end need not be measured again.
        """
        state = self._state(job)
        sweep = _all_measured(state, batch_size, job)
        planned = _planned_by_survey(state, batch_size, job)
        return () if sweep["done"] else tuple(limit for limit in planned if str(limit) not in sweep["measured"])

    def observe(self, job: Job, batch_size: int, power_limit: int, cost: float) -> None:
        """Learn what an epoch costs under a limit."""
        self.measure(job, batch_size, PowerMeasurement(power_limit, cost))

    def measure(self, job: Job, batch_size: int, measurement: PowerMeasurement) -> None:
        """Learn from a measurement, in place of an earlier one of the same limit."""
        state = self._state(job)
        kind = "surveys" if measurement.surveyed else "runs"
        sweep = state[kind].get(str(batch_size), _NOT_MEASURED)
        if not measurement.surveyed and _contradicts(state["surveys"].get(str(batch_size), _NOT_MEASURED), measurement):
            surveys = {size: surveyed for size, surveyed in state["surveys"].items() if size != str(batch_size)}
            state = {**state, "surveys": surveys}
            sweep = {**sweep, "planned": job.power_limits_watts, "done": False}
        planned = sweep["planned"]
        if not planned and measurement.surveyed:
            planned = _planned_by_survey(state, batch_size, job)
        elif not planned:
            planned = sorted(_planned(state, batch_size, job.power_limits_watts, job.max_slowdown), reverse=True)
        figures = [measurement.cost, measurement.time_seconds, measurement.energy_joules, measurement.of_an_epoch]
        measured = {**sweep["measured"], str(measurement.power_limit_watts): figures}
        sweep = {"planned": list(planned), "measured": measured, "done": sweep["done"]}
        sweep["done"] = sweep["done"] or _is_done(job, sweep)
        self.store[job] = {**state, kind: {**state[kind], str(batch_size): sweep}}

    def measurements(self, job: Job, batch_size: int) -> tuple[PowerMeasurement, ...]:
        """Return what was measured of a batch size, highest limit first, without errors of measurement.

        What a survey measured counts until a run has swept the limits itself.
        """
        state = self._state(job)
        sweep = state["runs"].get(str(batch_size), _NOT_MEASURED)
        surveyed = state["surveys"].get(str(batch_size))
        if surveyed is None or sweep["done"]:
            return tuple(_believable(_measured(sweep)))
        return tuple(replace(m, surveyed=True) for m in _believable(_measured(surveyed)))

    def _state(self, job: Job) -> State:
        state = self.store.get(job, _NOTHING)
        return state if "surveys" in state else {"runs": state, "surveys": {}}  # as it was before there were surveys

    def _advice(self, job: Job, batch_size: int) -> "_Advice":
        return _advise(ByIdentity(self._state(job)), batch_size, job.power_limits_watts, job.max_slowdown)


_NOTHING: State = {"runs": {}, "surveys": {}}
_NOT_MEASURED: State = {"planned": [], "measured": {}, "done": False}


class _Advice(NamedTuple):
    """The best limit of a batch size, or None while its sweep lasts, and the limits that are still to be measured."""

    best: int | None
    plan: tuple[int, ...]


@lru_cache(maxsize=1024)  # asked with every report, and changed by measurements alone
def _advise(
    of: ByIdentity[State], batch_size: int, power_limits_watts: tuple[int, ...], max_slowdown: float | None
) -> _Advice:
    return _advice_from(of.value, batch_size, power_limits_watts, max_slowdown)


def _advice_from(
    state: State, batch_size: int, power_limits_watts: tuple[int, ...], max_slowdown: float | None
) -> _Advice:
    sweep = state["runs"].get(str(batch_size), _NOT_MEASURED)
    measured = _measured(sweep)
    known = {m.power_limit_watts for m in measured}
    planned_by_sweep = set(sweep["planned"]) & set(power_limits_watts)
    planned = planned_by_sweep or _planned(state, batch_size, power_limits_watts, max_slowdown)
    plan = tuple(limit for limit in power_limits_watts if limit in planned and limit not in known)
    permitted = [m for m in measured if m.power_limit_watts in power_limits_watts]
    if not permitted or (plan and not (planned_by_sweep and sweep["done"])):
        return _Advice(None, plan)
    return _Advice(select(_believable(permitted), max_slowdown=max_slowdown).power_limit_watts, plan)


def _planned(
    state: State, batch_size: int, power_limits_watts: tuple[int, ...], max_slowdown: float | None
) -> set[int]:
    """Return what a batch size that was not measured in a run should measure."""
    done = {int(size): sweep for size, sweep in _surveyed_sweeps(state).items() if _is_possible(sweep)}
    done |= {int(size): sweep for size, sweep in state["runs"].items() if sweep["done"] and int(size) != batch_size}
    if not done:
        return set(power_limits_watts)
    measured = _believable(_measured(done[_nearest(done, batch_size)]))
    best = select(measured, max_slowdown=max_slowdown)
    good = {m.power_limit_watts for m in measured if m.cost <= NEAR_BEST * best.cost}
    if max_slowdown is not None and power_limits_watts:
        good.add(max(power_limits_watts))  # what is slow is judged against it
    return good & set(power_limits_watts) or set(power_limits_watts)


def _planned_by_survey(state: State, batch_size: int, job: Job) -> tuple[int, ...]:
    """Return what a survey should measure of a batch size: the best limit of the one that it has swept, else all."""
    others = {int(size) for kind in state.values() for size in kind} - {batch_size}
    swept = {size: _all_measured(state, size, job) for size in others}
    done = {size: sweep for size, sweep in swept.items() if sweep["done"] and len(sweep["planned"]) > 1}
    if not done:
        return job.power_limits_watts
    measured = [
        m
        for m in _believable(_measured(done[_nearest(done, batch_size)]))
        if m.power_limit_watts in job.power_limits_watts
    ]
    return (select(measured, max_slowdown=job.max_slowdown).power_limit_watts,) if measured else job.power_limits_watts


def _all_measured(state: State, batch_size: int, job: Job) -> State:
    """Return the sweep of a batch size, whether surveys or runs measured its limits."""
    surveyed, run = (state[kind].get(str(batch_size), _NOT_MEASURED) for kind in ("surveys", "runs"))
    sweep = {"planned": run["planned"] or surveyed["planned"], "measured": {**surveyed["measured"], **run["measured"]}}
    done = surveyed["done"] or run["done"] or (bool(sweep["measured"]) and _is_done(job, sweep))
    return {**sweep, "done": done}


def _surveyed_sweeps(state: State) -> State:
    """Return the sweeps of a survey that are done and compare several limits."""
    return {size: sweep for size, sweep in state["surveys"].items() if sweep["done"] and len(sweep["planned"]) > 1}


def _is_possible(sweep: State) -> bool:
    """Return whether the costs of a sweep agree: a lower limit saves no more power than it takes away, and no time."""
    measured = _measured(sweep)
    return all(
        low.cost >= IMPRECISION * low.power_limit_watts / high.power_limit_watts * high.cost
        for at, high in enumerate(measured)
        for low in measured[at + 1 :]
    )


def _contradicts(surveyed: State, measurement: PowerMeasurement) -> bool:
    """Return whether a run's measurement is far off that of a survey under the same limit."""
    same = [m for m in _measured(surveyed) if m.power_limit_watts == measurement.power_limit_watts]
    return any(
        m.of_an_epoch == measurement.of_an_epoch
        and not m.cost / CONTRADICTION <= measurement.cost <= m.cost * CONTRADICTION
        for m in same
    )


def _nearest(sizes: Iterable[int], batch_size: int) -> int:
    return min(sizes, key=lambda size: (abs(log(size / batch_size)), size))


def _measured(sweep: State) -> list[PowerMeasurement]:
    """Return the measurements of a sweep, highest limit first."""
    measurements = [
        PowerMeasurement(int(limit), cost, time_seconds, energy_joules, of_an_epoch)
        for limit, (cost, time_seconds, energy_joules, of_an_epoch) in sweep["measured"].items()
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
