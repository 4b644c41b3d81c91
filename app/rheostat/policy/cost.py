"""What a run costs, and which power limit is best for which aim.

The cost of a run joins energy and time in one number of joules (You, Chung, Chowdhury: "Zeus: Understanding
and Optimizing GPU Energy Consumption of DNN Training", NSDI 2023, equation 2)::

    cost = eta_knob * energy + (1 - eta_knob) * max_power * time

``eta_knob = 1`` is energy alone, ``0`` is time alone. The unit is the joule equivalent, J-eq: a joule, or the time in
which maximum power would be one. Power limits are compared by the same formula over one
epoch (equation 7), since the number of epochs to the target depends on the batch size alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

NOMINAL_POWER_WATTS = 300
"""Stands for the maximum power limit of a GPU of which neither that nor an enforced limit is known. It weighs time
against energy; where energy is unknown, too, costs are proportional to time whatever it is."""


def run_cost(energy_joules: float, time_seconds: float, *, eta_knob: float, max_power_watts: float) -> float:
    """Return the cost of a run in joules (NSDI 2023, equation 2).

    Args:
        energy_joules: Energy of all GPUs of the run.
        time_seconds: Wall-clock time of the run.
        eta_knob: Weight of energy against time, 0 to 1.
        max_power_watts: Highest power limit of one GPU times the number of GPUs.
    """
    return eta_knob * energy_joules + (1.0 - eta_knob) * max_power_watts * time_seconds


def known_cost(
    energy_joules: float | None,
    time_seconds: float | None,
    *,
    eta_knob: float,
    max_power_watts: float,
) -> float | None:
    """Return the cost of a run of which one figure may be unknown, or None when both are.

    The missing figure is filled in at maximum power (energy = maximum power x time): the most that the energy
    can have been, and the least that the time can have been. All runs of a job without an energy counter are
    then compared by time, which is what is known of them.
    """
    outlay = outlay_of(energy_joules, time_seconds)
    return None if outlay is None else outlay.price(eta_knob=eta_knob, max_power_watts=max_power_watts)


class Outlay(NamedTuple):
    """What a run or an epoch took, energy and time apart: it is priced when it is read, at the knobs of that moment.

    Outlays add up. What was given as a cost counts as energy alone.

    Attributes:
        joules: Energy, where the time is known as well.
        seconds: Time, where the energy is known as well.
        joules_alone: Energy of which no time is known: its cost whatever the knob.
        seconds_alone: Time of which no energy is known: it costs maximum power whatever the knob.
    """

    joules: float = 0.0
    seconds: float = 0.0
    joules_alone: float = 0.0
    seconds_alone: float = 0.0

    def price(self, *, eta_knob: float, max_power_watts: float) -> float:
        """Return the cost in joules; the parameters are those of :func:`run_cost`."""
        cost = run_cost(self.joules, self.seconds, eta_knob=eta_knob, max_power_watts=max_power_watts)
        return cost + self.joules_alone + max_power_watts * self.seconds_alone

    def plus(self, other: "Outlay") -> "Outlay":
        """Return what both took."""
        return Outlay(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def scaled(self, factor: float) -> "Outlay":
        """Return so many times the outlay."""
        return Outlay(*(factor * figure for figure in self))

    def less(self, other: "Outlay") -> "Outlay":
        """Return what is left without a part, nothing of it below zero."""
        return Outlay(*(max(mine - theirs, 0.0) for mine, theirs in zip(self, other, strict=True)))

    def to_state(self) -> list[float]:
        """Return the outlay as plain JSON: its figures, as few as there must be."""
        if self.joules_alone or self.seconds_alone:
            return list(self)
        return [self.joules, self.seconds] if self.joules or self.seconds else []

    @classmethod
    def from_state(cls, state: Any) -> "Outlay":
        """Return the outlay that :meth:`to_state` wrote."""
        return cls(*state) if state else NOTHING


NOTHING = Outlay()


def given_cost(cost: float) -> Outlay:
    """Return the outlay of which only the cost in joules is known."""
    return Outlay(joules_alone=cost)


def outlay_of(energy_joules: float | None, time_seconds: float | None) -> Outlay | None:
    """Return the outlay of a run, of which one figure may be unknown, or None when both are."""
    if energy_joules is None:
        return None if time_seconds is None else Outlay(seconds_alone=time_seconds)
    return Outlay(joules_alone=energy_joules) if time_seconds is None else Outlay(energy_joules, time_seconds)


def cost_text(cost: float, energy_joules: float | None = None, time_seconds: float | None = None) -> str:
    """Return a cost as users read it, in joule equivalents: it joins energy with time at maximum power.

    Args:
        cost: In joule equivalents (J-eq).
        energy_joules: The energy in it, where that is known and worth telling.
        time_seconds: The time in it, likewise.
    """
    parts = [
        f"{figure:.4g} {unit}" for figure, unit in ((energy_joules, "J"), (time_seconds, "s")) if figure is not None
    ]
    return f"{cost:.4g} J-eq{': ' if parts else ''}{' and '.join(parts)}"


@dataclass(frozen=True, slots=True)
class PowerMeasurement:
    """One power limit, measured over a slice of training and scaled to one epoch.

    Where the number of steps in an epoch is unknown the figures are of one step instead: limits of one batch
    size compare the same either way.

    Attributes:
        power_limit_watts: The limit of each GPU.
        cost: Cost of one epoch in joules.
        time_seconds: Time of one epoch; None when only the cost was reported.
        energy_joules: Energy of one epoch over all GPUs; None when only the cost was reported.
        of_an_epoch: Whether the figures are of an epoch; False: of a step.
        surveyed: Whether it was measured in a survey, in a few steps before a run, rather than in a run.
    """

    power_limit_watts: int
    cost: float
    time_seconds: float | None = None
    energy_joules: float | None = None
    of_an_epoch: bool = True
    surveyed: bool = False

    @property
    def outlay(self) -> Outlay:
        """Energy and time of the epoch; where neither is known its cost."""
        return outlay_of(self.energy_joules, self.time_seconds) or given_cost(self.cost)


Aim = Callable[[PowerMeasurement], float]
"""What a selector makes small."""


def by_cost(measurement: PowerMeasurement) -> float:
    """Aim at the lowest cost, which weighs energy and time as the job's ``eta_knob`` says."""
    return measurement.cost


def by_energy(measurement: PowerMeasurement) -> float:
    """Aim at the lowest energy; a measurement without it comes last."""
    return float("inf") if measurement.energy_joules is None else measurement.energy_joules


def by_time(measurement: PowerMeasurement) -> float:
    """Aim at the shortest time; a measurement without it comes last."""
    return float("inf") if measurement.time_seconds is None else measurement.time_seconds


def select(
    measurements: Sequence[PowerMeasurement],
    aim: Aim = by_cost,
    *,
    max_slowdown: float | None = None,
) -> PowerMeasurement:
    """Return the measurement that serves the aim best within the allowed slowdown.

    Args:
        measurements: At least one, each of another power limit.
        aim: :func:`by_cost`, :func:`by_energy` or :func:`by_time`.
        max_slowdown: Longest time allowed, as a multiple of the shortest measured one (1.1 allows 10 % more).
            A limit of which no time is known is not known to keep the bound: where no time is known at all,
            the highest limit is chosen.

    Ties go to the lower power limit, which draws less at its peak.
    """
    candidates = list(measurements)
    if max_slowdown is not None:
        times = [m.time_seconds for m in measurements if m.time_seconds is not None]
        if not times:
            return max(measurements, key=lambda m: m.power_limit_watts)
        longest = max_slowdown * min(times)
        candidates = [m for m in measurements if m.time_seconds is not None and m.time_seconds <= longest]
    return min(candidates, key=lambda m: (aim(m), m.power_limit_watts))
