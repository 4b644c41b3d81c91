"""What the recommender stores of a placement: a few sums per arm, as plain JSON.

All beliefs are derived from these; their size does not grow with the number of runs. Energy and time are kept apart,
and priced when they are read: nothing here depends on a knob. What had to be judged when it came was judged at
:meth:`rheostat.policy.interface.Job.at_reference_knobs`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from rheostat.policy.cost import NOTHING, Outlay
from rheostat.policy.identity import ByIdentity
from rheostat.policy.interface import State

Price: TypeAlias = Callable[[Outlay], float]
"""What an outlay costs at some knobs: :meth:`rheostat.policy.interface.Job.price`."""

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

    def shifted(self, by: float) -> "Tally":
        """Return the sums over values that are larger by so much."""
        squares = self.squares + by * (2.0 * self.total + by * self.count)
        return Tally(self.count, self.total + by * self.count, squares)

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
        whole_costs: Of the log cost, at the reference knobs, of converged runs whose number of epochs is unknown.
        whole: What those took together.
        censored: A stopped run as a censored observation of the log epochs: precision, and precision times mean
            (``site`` in the state).
        failures: Score of the runs that failed; see :mod:`.closing`.
        lost: What runs took that did not converge although the arm had, or that ran all of ``max_epochs``.
        stops: What the epochs of the latest runs took that were stopped.
        epoch_costs: What an epoch of the latest runs took in the mean, oldest first.
        curve: Per metric level sum and count of log(epoch at the level / epochs to the target).
        paid: Converged runs since evidence was last discounted or found wrong; see :mod:`.account`.
    """

    runs: int = 0
    epochs: Tally = Tally()
    whole_costs: Tally = Tally()
    whole: Outlay = NOTHING
    censored: tuple[float, float] = (0.0, 0.0)
    failures: float = 0.0
    lost: Outlay = NOTHING
    stops: tuple[Outlay, ...] = ()
    epoch_costs: tuple[Outlay, ...] = ()
    curve: tuple[tuple[float, int], ...] = ()
    paid: int = 0

    @property
    def converged(self) -> float:
        """Converged runs, discounted ones by their weight."""
        return self.epochs.count + self.whole_costs.count

    def priced_whole_costs(self, price: Price, reference: Price) -> Tally:
        """Return the tally of whole costs at some knobs: the arm's runs all change by the ratio that their sum does."""
        if not self.whole_costs.count:
            return self.whole_costs
        return self.whole_costs.shifted(safe_log(price(self.whole)) - safe_log(reference(self.whole)))

    def with_epoch_cost(self, epoch: Outlay) -> "Arm":
        """Return the arm with what an epoch of another run took in the mean."""
        return self._replace(epoch_costs=(*self.epoch_costs, epoch)[-LATEST_KEPT:])

    def with_stop(self, outlay: Outlay) -> "Arm":
        """Return the arm after a run was stopped whose epochs took so much."""
        return self._replace(stops=(*self.stops, outlay)[-LATEST_KEPT:])

    def to_state(self) -> State:
        """Return the arm as plain JSON."""
        return _UNSEEN_STATE if self is UNSEEN else self._figures()

    def _figures(self) -> State:
        return {
            "runs": self.runs,
            "epochs": self.epochs.to_state(),
            "whole_costs": self.whole_costs.to_state(),
            "whole": self.whole.to_state(),
            "site": self.censored,
            "failures": self.failures,
            "lost": self.lost.to_state(),
            "stops": [outlay.to_state() for outlay in self.stops],
            "epoch_costs": [outlay.to_state() for outlay in self.epoch_costs],
            "curve": self.curve,
            "paid": self.paid,
        }

    @classmethod
    def from_state(cls, state: State) -> "Arm":
        """Return the arm that :meth:`to_state` wrote."""
        if not state["runs"] and not state["epoch_costs"]:
            return UNSEEN  # as many are
        return cls(
            state["runs"],
            Tally.from_state(state["epochs"]),
            Tally.from_state(state["whole_costs"]),
            Outlay.from_state(state["whole"]),
            tuple(state["site"]),
            state["failures"],
            Outlay.from_state(state["lost"]),
            tuple(map(Outlay.from_state, state["stops"])),
            tuple(map(Outlay.from_state, state["epoch_costs"])),
            tuple(map(tuple, state["curve"])),
            state["paid"],
        )


UNSEEN = Arm()
"""An arm that never ran."""

_UNSEEN_STATE = UNSEEN._figures()


class Evidence(NamedTuple):
    """What was seen of a placement.

    Attributes:
        arms: By batch size, ascending.
        levels: Metric values on the way to the target that learning curves are compared at, the easiest first.
        drift: The two cumulative sums of the drift test, upwards and downwards.
        learned: Converged runs since evidence was last discounted.
        unconverged: How often each batch size did not converge since the last run that did.
        wasted: What the runs took that did not converge of arms other than the default that had not converged before
            (those of the others are in ``lost``), since evidence was last discounted or found wrong.
        fixed: What the latest runs took before their first step, oldest first.
    """

    arms: dict[int, Arm]
    levels: tuple[float, ...] = ()
    drift: tuple[float, float] = (0.0, 0.0)
    learned: int = 0
    unconverged: Mapping[int, int] = MappingProxyType({})
    wasted: Outlay = NOTHING
    fixed: tuple[Outlay, ...] = ()

    def usually_fixed(self, price: Price) -> Outlay | None:
        """Return what a run usually takes before its first step, the lower median; None: unknown."""
        return sorted(self.fixed, key=price)[(len(self.fixed) - 1) // 2] if self.fixed else None

    def with_fixed(self, outlay: Outlay) -> "Evidence":
        """Return the evidence with the fixed part of another run."""
        return self._replace(fixed=(*self.fixed, outlay)[-LATEST_KEPT:])

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
            wasted=Outlay.from_state(state["wasted"]),
            fixed=tuple(map(Outlay.from_state, state["fixed"])),
        )

    def to_state(self) -> State:
        """Return the evidence as plain JSON."""
        return {
            "arms": {str(size): arm.to_state() for size, arm in self.arms.items()},
            "levels": list(self.levels),
            "drift": list(self.drift),
            "learned": self.learned,
            "fruitless": {str(size): count for size, count in self.unconverged.items()},
            "wasted": self.wasted.to_state(),
            "fixed": [outlay.to_state() for outlay in self.fixed],
        }


@lru_cache(maxsize=512)  # read by the decisions before a run, and again when that is learnt from
def evidence_of(state: ByIdentity[State]) -> Evidence:
    """Return the evidence of a stored state, which is replaced when it changes."""
    return Evidence.from_state(state.value)
