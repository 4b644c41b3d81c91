"""Which power limits to measure, and which of them is best.

At the first batch size the limits are measured from the highest down until the cost of an epoch has clearly risen.
Other batch sizes measure only the limits that were good at the nearest one that was measured: the best limit moves
little from one batch size to the next.

A survey does the same before the first run, but with other batch sizes only at the best limit. What a run of a batch
size measures replaces what a survey measured of it: a few steps from a cold start are less precise. A survey that
contradicts itself, or a run, takes no limit away from what runs measure.

What is stored is what was measured, and in which order the batch sizes were begun. Which limits each of them should
measure, and whether that is done, follows from it at the knobs of the moment (:mod:`.sweeps`).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rheostat.policy.cost import PowerMeasurement, outlay_of
from rheostat.policy.identity import ByIdentity
from rheostat.policy.interface import READ_TIME_KNOBS, Job, PowerLimitOptimizer, State
from rheostat.policy.recommender.sweeps import Sweep, Sweeps


class PowerSweep(PowerLimitOptimizer):
    """Measures as few limits as the last sweep allows, and keeps to the best of them.

    State: ``runs`` and ``surveys``, per batch size one sweep each: ``measured``, by limit the latest cost (only where
    that was given), time and energy and whether they are of an epoch; ``begun``, how many sweeps there were before it.
    """

    replaces_state = True
    read_time_knobs = READ_TIME_KNOBS

    @property
    def name(self) -> str:
        """The name ``sweep``."""
        return "sweep"

    def predict(self, job: Job, batch_size: int) -> int | None:
        """Return the best limit once its sweep is done, else None."""
        return self._sweeps(job).advice(batch_size).best

    def plan(self, job: Job, batch_size: int) -> tuple[int, ...]:
        """Return the limits in watts that are still to be measured, highest first."""
        return self._sweeps(job).advice(batch_size).plan

    def surveyed(self, job: Job, batch_size: int) -> tuple[int | None, tuple[int, ...]] | None:
        """Return what a survey tells of a batch size that no run has measured; None where it tells nothing."""
        return self._sweeps(job).surveyed(batch_size)

    def survey_plan(self, job: Job, batch_size: int) -> tuple[int, ...]:
        """Return the limits that a survey should still measure, highest first: all at the first batch size.

        What a run measured that did not come to its end need not be measured again.
        """
        return self._sweeps(job).survey_plan(batch_size)

    def observe(self, job: Job, batch_size: int, power_limit: int, cost: float) -> None:
        """Learn what an epoch costs under a limit."""
        self.measure(job, batch_size, PowerMeasurement(power_limit, cost))

    def measure(self, job: Job, batch_size: int, measurement: PowerMeasurement) -> None:
        """Learn from a measurement, in place of an earlier one of the same limit."""
        state = self.store.get(job, _NOTHING)
        kind = "surveys" if measurement.surveyed else "runs"
        sweep = state[kind].get(str(batch_size))
        if sweep is None:
            sweep = {"measured": {}, "begun": sum(map(len, state.values()))}
        time_seconds, energy_joules = measurement.time_seconds, measurement.energy_joules
        cost = measurement.cost if time_seconds is None and energy_joules is None else None
        figures = [cost, time_seconds, energy_joules, measurement.of_an_epoch]
        sweep = {**sweep, "measured": {**sweep["measured"], str(measurement.power_limit_watts): figures}}
        self.store[job] = {**state, kind: {**state[kind], str(batch_size): sweep}}

    def measurements(self, job: Job, batch_size: int) -> tuple[PowerMeasurement, ...]:
        """Return what was measured of a batch size, highest limit first, without errors of measurement.

        What a survey measured counts until a run has swept the limits itself.
        """
        return self._sweeps(job).measurements(batch_size)

    def _sweeps(self, job: Job) -> Sweeps:
        state = ByIdentity(self.store.get(job, _NOTHING))
        return _sweeps(state, job.power_limits_watts, job.max_slowdown, job.eta_knob, job.max_power_watts)


_NOTHING: State = {"runs": {}, "surveys": {}}


@lru_cache(maxsize=512)  # asked with every report, and changed by measurements alone
def _sweeps(
    of: ByIdentity[State],
    power_limits_watts: tuple[int, ...],
    max_slowdown: float | None,
    eta_knob: float,
    max_power_watts: float,
) -> Sweeps:
    """Return the sweeps of a stored state at some knobs."""

    def measurement(limit: str, figures: list[Any], *, surveyed: bool) -> PowerMeasurement:
        cost, time_seconds, energy_joules, of_an_epoch = figures
        outlay = outlay_of(energy_joules, time_seconds)
        if outlay is not None:
            cost = outlay.price(eta_knob=eta_knob, max_power_watts=max_power_watts)
        return PowerMeasurement(int(limit), cost, time_seconds, energy_joules, of_an_epoch, surveyed)

    def sweeps(of_kind: Mapping[str, State], *, surveyed: bool) -> dict[int, Sweep]:
        return {
            int(size): Sweep(
                sweep["begun"],
                tuple(
                    measurement(limit, figures, surveyed=surveyed)
                    for limit, figures in sorted(sweep["measured"].items(), key=lambda item: -int(item[0]))
                ),
            )
            for size, sweep in of_kind.items()
        }

    runs, surveys = sweeps(of.value["runs"], surveyed=False), sweeps(of.value["surveys"], surveyed=True)
    return Sweeps(runs, surveys, power_limits_watts, max_slowdown)
