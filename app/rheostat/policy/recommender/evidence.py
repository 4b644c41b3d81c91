"""What the recommender stores of a placement: a few sums per arm, as plain JSON.

All beliefs are derived from these; their size does not grow with the number of runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from statistics import median_low
from types import MappingProxyType
from typing import NamedTuple

from rheostat.policy.interface import State

LATEST_KEPT = 5
"""Latest runs of an arm whose cost per epoch is kept, latest stops whose cost is, and latest runs of the placement of
which the fixed part is."""

_SMALLEST, _LARGEST = 1e-6, 1e18


def safe_log(figure: float) -> float:
    """Return the natural logarithm of a figure that was reported, however absurd, as a moderate number."""
    return log(min(max(figure, _SMALLEST), _LARGEST))


@dataclass(frozen=True, slots=True)
class Tally:
    """Logarithms of one figure over the runs of an arm.

    Attributes:
        count: How many; a fraction once old ones were discounted.
        total: Their sum.
        squares: The sum of their squares.
        latest: The latest of them, oldest first, as many as ``window_size``; empty without a window.
        held_back: An outlier that no second run has confirmed yet (``doubted`` in the state); see :mod:`.outliers`.
    """

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    latest: tuple[float, ...] = ()
    held_back: float | None = None

    def add(self, value: float, window_size: int = 0) -> "Tally":
        """Return the tally with another value; with a window only so many latest ones count."""
        if window_size == 0:
            return Tally(self.count + 1.0, self.total + value, self.squares + value * value)
        latest = (*self.latest, value)[-window_size:]
        if len(self.latest) < window_size:
            return replace(self.add(value), latest=latest)
        return Tally(float(window_size), sum(latest), sum(kept * kept for kept in latest), latest)

    def scaled(self, factor: float) -> "Tally":
        """Return the tally with less weight on its values; a window starts again."""
        return Tally(self.count * factor, self.total * factor, self.squares * factor)

    def plus(self, other: "Tally") -> "Tally":
        """Return the sums over the values of both."""
        return Tally(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def to_state(self) -> State:
        """Return the tally as plain JSON."""
        return {
            "count": self.count,
            "total": self.total,
            "squares": self.squares,
            "latest": self.latest,
            "doubted": self.held_back,
        }

    @classmethod
    def from_state(cls, state: State) -> "Tally":
        """Return the tally that :meth:`to_state` wrote."""
        if not state["count"] and state["doubted"] is None:
            return _EMPTY  # as most are: of arms that never ran, and of whole costs where epochs are known
        return cls(state["count"], state["total"], state["squares"], tuple(state["latest"]), state["doubted"])


_EMPTY = Tally()


class Arm(NamedTuple):
    """What was seen of one batch size on one placement.

    Attributes:
        runs: All runs that were learnt from.
        epochs: Of the log epochs of converged runs.
        whole_costs: Of the log cost of converged runs whose number of epochs is unknown.
        censored: A stopped run as a censored observation of the log epochs: precision, and precision times mean
            (``site`` in the state).
        failures: Score of the runs that failed; see :mod:`.closing`.
        lost_joules: Cost of runs that did not converge although the arm had, or that ran all of ``max_epochs``.
        stop_costs: Costs in joules of the latest runs that were stopped.
        epoch_costs: Log of the mean cost per epoch of the latest runs, oldest first.
        curve: Per metric level sum and count of log(epoch at the level / epochs to the target).
        paid: Converged runs since evidence was last discounted or found wrong; see :mod:`.account`.
    """

    runs: int = 0
    epochs: Tally = Tally()
    whole_costs: Tally = Tally()
    censored: tuple[float, float] = (0.0, 0.0)
    failures: float = 0.0
    lost_joules: float = 0.0
    stop_costs: tuple[float, ...] = ()
    epoch_costs: tuple[float, ...] = ()
    curve: tuple[tuple[float, int], ...] = ()
    paid: int = 0

    @property
    def converged(self) -> float:
        """Converged runs, discounted ones by their weight."""
        return self.epochs.count + self.whole_costs.count

    def with_epoch_cost(self, log_cost: float) -> "Arm":
        """Return the arm with the mean cost per epoch of another run."""
        return self._replace(epoch_costs=(*self.epoch_costs, log_cost)[-LATEST_KEPT:])

    def with_stop(self, cost: float) -> "Arm":
        """Return the arm after a run was stopped at a cost in joules."""
        return self._replace(stop_costs=(*self.stop_costs, cost)[-LATEST_KEPT:])

    def to_state(self) -> State:
        """Return the arm as plain JSON."""
        return {
            "runs": self.runs,
            "epochs": self.epochs.to_state(),
            "whole_costs": self.whole_costs.to_state(),
            "site": self.censored,
            "failures": self.failures,
            "lost_joules": self.lost_joules,
            "stop_costs": self.stop_costs,
            "epoch_costs": self.epoch_costs,
            "curve": self.curve,
            "paid": self.paid,
        }

    @classmethod
    def from_state(cls, state: State) -> "Arm":
        """Return the arm that :meth:`to_state` wrote."""
        return cls(
            state["runs"],
            Tally.from_state(state["epochs"]),
            Tally.from_state(state["whole_costs"]),
            tuple(state["site"]),
            state["failures"],
            state["lost_joules"],
            tuple(state["stop_costs"]),
            tuple(state["epoch_costs"]),
            tuple(map(tuple, state["curve"])),
            state.get("paid", 0),  # states of before there was an account have none
        )


class Evidence(NamedTuple):
    """What was seen of a placement.

    Attributes:
        arms: By batch size, ascending.
        levels: Metric values on the way to the target that learning curves are compared at, the easiest first.
        drift: The two cumulative sums of the drift test, upwards and downwards.
        learned: Converged runs since evidence was last discounted.
        unconverged: How often each batch size did not converge since the last run that did.
        wasted_joules: Cost of the runs that did not converge of arms other than the default that had not converged
            before (those of the others are in ``lost_joules``), since evidence was last discounted or found wrong.
        fixed_costs: What the latest runs cost in joules before their first step, oldest first.
    """

    arms: dict[int, Arm]
    levels: tuple[float, ...] = ()
    drift: tuple[float, float] = (0.0, 0.0)
    learned: int = 0
    unconverged: Mapping[int, int] = MappingProxyType({})
    wasted_joules: float = 0.0
    fixed_costs: tuple[float, ...] = ()

    @property
    def fixed_cost(self) -> float | None:
        """What a run usually costs in joules before its first step; None: unknown."""
        return median_low(self.fixed_costs) if self.fixed_costs else None

    def with_fixed_cost(self, cost: float) -> "Evidence":
        """Return the evidence with the fixed part of another run's cost."""
        return self._replace(fixed_costs=(*self.fixed_costs, cost)[-LATEST_KEPT:])

    def with_arm(self, batch_size: int, arm: Arm) -> "Evidence":
        """Return the evidence with one arm replaced."""
        return self._replace(arms={**self.arms, batch_size: arm})

    @classmethod
    def from_state(cls, state: State) -> "Evidence":
        """Return the evidence that :meth:`to_state` wrote."""
        arms = state["arms"]
        return cls(
            arms={int(size): Arm.from_state(arms[size]) for size in sorted(arms, key=int)},
            levels=tuple(state["levels"]),
            drift=(state["drift"][0], state["drift"][1]),
            learned=state["learned"],
            unconverged={int(size): count for size, count in state["fruitless"].items()},
            wasted_joules=state.get("wasted_joules", 0.0),
            fixed_costs=tuple(state.get("fixed_costs", ())),
        )

    def to_state(self) -> State:
        """Return the evidence as plain JSON."""
        return {
            "arms": {str(size): arm.to_state() for size, arm in self.arms.items()},
            "levels": list(self.levels),
            "drift": list(self.drift),
            "learned": self.learned,
            "fruitless": {str(size): count for size, count in self.unconverged.items()},
            "wasted_joules": self.wasted_joules,
            "fixed_costs": self.fixed_costs,
        }
