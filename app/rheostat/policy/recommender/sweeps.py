"""The sweeps of a placement at the knobs of the moment: what each batch size should measure, and what it found.

The sweeps are gone through in the order in which they were begun: what each should measure depends on what those before
it have found. So nothing but measurements and their order needs to be stored, and a changed knob applies to all.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import log
from statistics import median
from typing import Literal, NamedTuple

from rheostat.policy.cost import PowerMeasurement, select

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

_Kind = Literal["runs", "surveys"]


class Sweep(NamedTuple):
    """What was measured of one batch size, by runs or by a survey.

    Attributes:
        begun: Its place in the order of sweeps.
        measured: Highest limit first.
    """

    begun: int
    measured: tuple[PowerMeasurement, ...]


class Advice(NamedTuple):
    """The best limit of a batch size, or None while its sweep lasts, and the limits that are still to be measured."""

    best: int | None
    plan: tuple[int, ...]


class _Standing(NamedTuple):
    """How far a sweep has come.

    Attributes:
        measured: What counts of its measurements.
        planned: The limits that it should measure.
        is_done: Whether all of these are measured, or further down it would only get worse.
    """

    measured: tuple[PowerMeasurement, ...]
    planned: Collection[int]
    is_done: bool


class Sweeps:
    """All sweeps of a placement.

    Args:
        runs: Those of runs, by batch size.
        surveys: Those of surveys.
        power_limits_watts: The limits to choose from, highest first.
        max_slowdown: As of :class:`rheostat.policy.interface.Job`.
    """

    def __init__(
        self,
        runs: Mapping[int, Sweep],
        surveys: Mapping[int, Sweep],
        power_limits_watts: tuple[int, ...],
        max_slowdown: float | None,
    ) -> None:
        self._limits = power_limits_watts
        self._max_slowdown = max_slowdown
        self._runs: dict[int, _Standing] = {}
        self._surveys: dict[int, _Standing] = {}
        self._advised: dict[int, Advice] = {}
        contradicted = {size for size, sweep in surveys.items() if size in runs and _contradict(sweep, runs[size])}
        every = [
            *((sweep.begun, "surveys", size, sweep) for size, sweep in surveys.items() if size not in contradicted),
            *((sweep.begun, "runs", size, sweep) for size, sweep in runs.items()),
        ]
        for _, kind, size, sweep in sorted(every, key=lambda one: one[:3]):
            if kind == "surveys":
                self._surveys[size] = self._standing(sweep.measured, self._planned_by_survey(size))
            else:
                planned = self._limits if size in contradicted else self._planned(size)
                self._runs[size] = self._standing(sweep.measured, planned)

    def advice(self, batch_size: int) -> Advice:
        """Return the best limit of a batch size, or what its runs should measure."""
        if batch_size not in self._advised:
            standing = self._runs.get(batch_size) or _Standing((), self._planned(batch_size), False)
            self._advised[batch_size] = self._advice(standing)
        return self._advised[batch_size]

    def surveyed(self, batch_size: int) -> Advice | None:
        """Return the same by what a survey measured; None where a run has measured it, or no survey has."""
        standing = self._surveys.get(batch_size)
        return None if standing is None or batch_size in self._runs else self._advice(standing)

    def survey_plan(self, batch_size: int) -> tuple[int, ...]:
        """Return the limits that a survey of a batch size should still measure, highest first."""
        both = self._both(batch_size)
        planned = self._planned_by_survey(batch_size) if batch_size not in self._surveys else both.planned
        known = {m.power_limit_watts for m in both.measured}
        return () if both.is_done else tuple(limit for limit in self._limits if limit in planned and limit not in known)

    def measurements(self, batch_size: int) -> tuple[PowerMeasurement, ...]:
        """Return what counts of what was measured: of runs once they are done, else of a survey if there was one."""
        run, surveyed = self._runs.get(batch_size), self._surveys.get(batch_size)
        standing = run if surveyed is None or (run is not None and run.is_done) else surveyed
        return () if standing is None else tuple(_believable(standing.measured))

    def _advice(self, standing: _Standing) -> Advice:
        known = {m.power_limit_watts for m in standing.measured}
        plan = tuple(limit for limit in self._limits if limit in standing.planned and limit not in known)
        permitted = [m for m in standing.measured if m.power_limit_watts in self._limits]
        if not permitted or (plan and not standing.is_done):
            return Advice(None, plan)
        return Advice(select(_believable(permitted), max_slowdown=self._max_slowdown).power_limit_watts, plan)

    def _planned(self, batch_size: int) -> Collection[int]:
        """Return what a batch size should measure in a run, by the sweeps that are done."""
        done = {
            size: sweep
            for size, sweep in self._surveys.items()
            if sweep.is_done and len(sweep.planned) > 1 and _is_possible(sweep.measured)
        }
        done |= {size: sweep for size, sweep in self._runs.items() if sweep.is_done and size != batch_size}
        if not done:
            return self._limits
        measured = _believable(done[_nearest(done, batch_size)].measured)
        best = select(measured, max_slowdown=self._max_slowdown)
        good = {m.power_limit_watts for m in measured if m.cost <= NEAR_BEST * best.cost}
        if self._max_slowdown is not None:
            good.update(self._limits[:1])  # what is slow is judged against it
        return good.intersection(self._limits) or self._limits

    def _planned_by_survey(self, batch_size: int) -> Collection[int]:
        """Return what a survey should measure of a batch size: the best limit of the one that was swept, else all."""
        others = {*self._runs, *self._surveys} - {batch_size}
        swept = {size: self._both(size) for size in others}
        done = {size: sweep for size, sweep in swept.items() if sweep.is_done and len(sweep.planned) > 1}
        if not done:
            return self._limits
        measured = [
            m for m in _believable(done[_nearest(done, batch_size)].measured) if m.power_limit_watts in self._limits
        ]
        return (select(measured, max_slowdown=self._max_slowdown).power_limit_watts,) if measured else self._limits

    def _both(self, batch_size: int) -> _Standing:
        """Return the sweep of a batch size, whether surveys or runs measured its limits."""
        found = [kind[batch_size] for kind in (self._surveys, self._runs) if batch_size in kind]
        by_limit = {m.power_limit_watts: m for sweep in found for m in sweep.measured}
        measured = tuple(sorted(by_limit.values(), key=lambda m: -m.power_limit_watts))
        if not found:
            return _Standing((), self._limits, False)
        standing = self._standing(measured, found[-1].planned)
        return standing._replace(is_done=standing.is_done or any(sweep.is_done for sweep in found))

    def _standing(self, measured: tuple[PowerMeasurement, ...], planned: Collection[int]) -> _Standing:
        left = set(planned) - {m.power_limit_watts for m in measured}
        is_past = all(limit < measured[-1].power_limit_watts for limit in left)
        return _Standing(measured, planned, is_past and (not left or self._has_risen(measured)))

    def _has_risen(self, measured: Sequence[PowerMeasurement]) -> bool:
        """Return whether it would only get worse under still lower limits."""
        measurements = _believable(measured)
        if len(measurements) < _ENOUGH_FOR_A_MEDIAN:
            return False
        fastest, last = measurements[0].time_seconds, measurements[-1].time_seconds
        if self._max_slowdown is not None and fastest and last and last > self._max_slowdown * fastest:
            return True
        best = min(m.cost for m in measurements)
        before, last_of_all = measurements[-2].cost, measurements[-1].cost
        return len(measurements) >= FEWEST and last_of_all > LAST_RISE * best and before > RISE_BEFORE * best


def _is_possible(measured: Sequence[PowerMeasurement]) -> bool:
    """Return whether the costs of a sweep agree: a lower limit saves no more power than it takes away, and no time."""
    return all(
        low.cost >= IMPRECISION * low.power_limit_watts / high.power_limit_watts * high.cost
        for at, high in enumerate(measured)
        for low in measured[at + 1 :]
    )


def _contradict(surveyed: Sweep, run: Sweep) -> bool:
    """Return whether a run measured something far off what a survey did under the same limit."""
    return any(
        by_survey.power_limit_watts == by_run.power_limit_watts
        and by_survey.of_an_epoch == by_run.of_an_epoch
        and not by_survey.cost / CONTRADICTION <= by_run.cost <= by_survey.cost * CONTRADICTION
        for by_survey in surveyed.measured
        for by_run in run.measured
    )


def _nearest(sizes: Iterable[int], batch_size: int) -> int:
    return min(sizes, key=lambda size: (abs(log(size / batch_size)), size))


def _believable(measurements: Sequence[PowerMeasurement]) -> Sequence[PowerMeasurement]:
    """Return the measurements without those that cannot be, judged by the others."""
    if len(measurements) < _ENOUGH_FOR_A_MEDIAN:
        return measurements
    usual = median(m.cost for m in measurements)
    return [m for m in measurements if usual / BELIEVABLE <= m.cost <= usual * BELIEVABLE]
