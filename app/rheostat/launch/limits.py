"""Measures power limits over whole epochs, because the steps of a command are not visible."""

import logging
from dataclasses import dataclass
from time import monotonic

from rheostat.schemas.server import PowerLimitMeasurement
from rheostat.sdk.slices import BY_COUNTER, BY_POWER_SAMPLES
from rheostat.sdk.trial import RunningTrial

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a run, and its energy up to then; None when unknown."""

    epoch: float
    at_seconds: float
    energy_joules: float | None


class EpochLimits:
    """Measures each limit that the server asks for from one report to the next, then sets the best one.

    Such an interval includes an evaluation, as every epoch of the command does. The one before the first report
    includes the command's start, and is not used.

    Args:
        trial: The run, entered.
    """

    def __init__(self, trial: RunningTrial) -> None:
        self._trial = trial
        self._watts: int | None = None
        self._begun: Mark | None = None
        rules = BY_COUNTER if trial.energy_source == "counter" else BY_POWER_SAMPLES
        self._shortest_seconds = rules.shortest_seconds
        wanted = trial.profile_power_limits_watts
        self._highest = max(wanted, default=0)
        if wanted and trial.energy_source is not None:
            self._train_under(wanted[0])

    def mark(self, epoch: float) -> Mark | None:
        """Return where the run is now; None when nothing is measured."""
        return None if self._watts is None else Mark(epoch, monotonic(), self._trial.energy_joules())

    def take(self, mark: Mark | None) -> None:
        """Measure from the last mark to this one, and go on to the next limit."""
        if self._watts is None or mark is None:
            return
        if self._begun is None:
            self._begun = mark
            return
        if mark.at_seconds - self._begun.at_seconds < self._shortest_seconds:
            return
        # Setting it again checks that the limit was in force to the end.
        if (found := self._measurement(self._begun, mark, self._watts)) and self._trial.limit_power(self._watts):
            best = self._trial.measured([found])
            if wanted := self._trial.profile_power_limits_watts:
                self._train_under(wanted[0])
                self._begun = self.mark(mark.epoch)
                return
            self._trial.limit_power(self._highest if best is None else best)
        self._watts = None

    def _train_under(self, watts: int) -> None:
        self._watts = watts if self._trial.limit_power(watts) else None

    @staticmethod
    def _measurement(begun: Mark, ended: Mark, watts: int) -> PowerLimitMeasurement | None:
        if begun.energy_joules is None or ended.energy_joules is None or ended.energy_joules <= begun.energy_joules:
            _log.info("Profiling of power limits ends: the energy is unknown.")
            return None
        return PowerLimitMeasurement(
            power_limit_watts=watts,
            time_seconds=ended.at_seconds - begun.at_seconds,
            energy_joules=ended.energy_joules - begun.energy_joules,
            steps=ended.epoch - begun.epoch,
            steps_per_epoch=1.0,
        )
