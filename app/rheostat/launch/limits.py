"""Measures power limits over whole epochs, or a whole run, because the steps of a command are not visible."""

import logging
from dataclasses import dataclass
from time import monotonic

from rheostat.errors import RheostatError
from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.sdk.gpu_lease import may_pass
from rheostat.sdk.slices import BY_COUNTER, BY_POWER_READINGS
from rheostat.sdk.trial import RunningTrial

_log = logging.getLogger(__name__)

_MOST_INTERRUPTIONS = 5
# Later than that it is unknown how far into its next epochs a command is.
_PROMPT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a run, right after it has ended an epoch, and its energy up to then; None when unknown."""

    epoch: float
    ended_at: float
    at_seconds: float
    energy_joules: float | None


class EpochLimits:
    """Measures each limit that the server asks for from one report to the next, then sets the best one.

    Such an interval includes an evaluation, as every epoch of the command does. The one before the first report
    includes the command's start, and is not used.

    Where that breaks off, the command runs on under the best limit that is known, or the one found. If it may have
    been by chance, the limit is tried again from the next report on, a few times.

    Args:
        trial: The run, entered.
    """

    def __init__(self, trial: RunningTrial) -> None:
        self._trial = trial
        self._watts: int | None = None
        self._begun: Mark | None = None
        self._measured: list[PowerLimitMeasurement] = []
        self._given_up: set[int] = set()
        self._interruptions = 0
        rules = BY_POWER_READINGS if trial.energy_source == "power_readings" else BY_COUNTER
        self._shortest_seconds = rules.shortest_seconds
        self._wanted: list[int] = []
        if trial.energy_source is not None and trial.profile_power_limits_watts:
            self._wanted = list(trial.profile_power_limits_watts)
            self._try_next()

    def mark(self, epoch: float, ended_at: float) -> Mark | None:
        """Return where the run is now; None when nothing is measured, or the epoch has ended too long ago.

        Args:
            epoch: The epochs that it has done.
            ended_at: When it had, on the monotonic clock: agent or server may have held up whoever asks.
        """
        now = monotonic()
        if not self._wanted or now - ended_at > _PROMPT_SECONDS:
            return None
        return Mark(epoch, ended_at, now, self._trial.energy_joules())

    def take(self, mark: Mark | None) -> None:
        """Measure from the last mark to this one, and go on to the next limit."""
        if mark is None or not self._wanted:
            return
        if self._watts is None:
            self._try_next()
            self._begun = self.mark(mark.epoch, mark.ended_at)
        elif self._begun is None:
            self._begun = mark
        elif mark.at_seconds - self._begun.at_seconds >= self._shortest_seconds:
            self._measure(self._watts, self._begun, mark)
            self._begun = self.mark(mark.epoch, mark.ended_at)

    def begin_run(self) -> None:
        """Measure the limit that is in force over the whole run: the command shows neither steps nor epochs."""
        now = monotonic()
        self._begun = self.mark(0.0, now)

    def end_run(self, epochs: float) -> PowerLimitMeasurement | None:
        """Return what the limit came to over a run of so many epochs that ends now; None: it was not measured."""
        ended = self.mark(epochs, monotonic())
        if self._watts is None or self._begun is None or ended is None:
            return None
        if ended.at_seconds - self._begun.at_seconds < self._shortest_seconds:
            return None
        return self._measurement(self._watts, self._begun, ended)

    def _measure(self, watts: int, begun: Mark, ended: Mark) -> None:
        measurement = self._measurement(watts, begun, ended)
        if measurement is None:
            return
        self._measured.append(measurement)
        self._trial.measured([measurement])
        self._wanted = [limit for limit in self._trial.profile_power_limits_watts if limit not in self._given_up]
        self._try_next()

    def _measurement(self, watts: int, begun: Mark, ended: Mark) -> PowerLimitMeasurement | None:
        """Return what a limit came to from one mark to another; break off where that is unknown."""
        if begun.energy_joules is None or ended.energy_joules is None or ended.energy_joules <= begun.energy_joules:
            self._break_off("the energy is unknown.", may_go_on=True)
            return None
        try:
            # Setting it again checks that it was in force to the end.
            stayed = self._trial.try_power_limit(watts)
        except RheostatError as error:
            self._break_off(str(error), may_go_on=may_pass(error))
            return None
        if not stayed:
            self._break_off(f"{watts} W did not stay in force.", may_go_on=False)
            return None
        return PowerLimitMeasurement(
            power_limit_watts=watts,
            time_seconds=ended.at_seconds - begun.at_seconds,
            energy_joules=ended.energy_joules - begun.energy_joules,
            steps=ended.epoch - begun.epoch,
            steps_per_epoch=1.0,
        )

    def _try_next(self) -> None:
        """Set the next limit that can be set, or the best one when none is left."""
        self._watts = None
        while self._wanted:
            limit = self._wanted[0]
            try:
                if self._trial.try_power_limit(limit):
                    self._watts = limit
                    return
            except RheostatError as error:
                self._break_off(str(error), may_go_on=may_pass(error))
                return
            self._given_up.add(self._wanted.pop(0))
        best = self._trial.power_limit_watts
        if best is None and self._trial.profile_power_limits_watts:
            # The server waits for limits that cannot be set.
            best = self._trial.cheapest_power_limit(self._measured)
        self._trial.settle_power_limit(best)

    def _break_off(self, why: str, *, may_go_on: bool) -> None:
        self._watts = None
        self._trial.settle_power_limit(self._trial.power_limit_watts)
        self._interruptions += 1
        if may_go_on and self._interruptions < _MOST_INTERRUPTIONS:
            _log.info("Profiling of power limits is interrupted: %s", why)
        else:
            self._wanted = []
            _log.info("Profiling of power limits ends: %s", why)
