"""What the recommender remembers of a placement: a few sums per arm, as plain JSON.

Everything that it believes is worked out anew from these; their size does not grow with the number of runs.
"""

from dataclasses import dataclass, field, replace
from math import log

from rheostat.policy.interface import State

LATEST_KEPT = 5
"""Latest runs of an arm whose cost per epoch is kept, and latest stops whose cost is."""

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
        doubted: One that was too far from all expectation to be believed at once; see :mod:`.doubt`.
    """

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    latest: tuple[float, ...] = ()
    doubted: float | None = None

    def add(self, value: float, window_size: int = 0) -> "Tally":
        """Return the tally with another value; with a window only so many latest ones count."""
        if window_size == 0:
            return Tally(self.count + 1.0, self.total + value, self.squares + value * value)
        latest = (*self.latest, value)[-window_size:]
        if len(self.latest) < window_size:
            return replace(self.add(value), latest=latest)
        return Tally(float(window_size), sum(latest), sum(kept * kept for kept in latest), latest)

    def scaled(self, factor: float) -> "Tally":
        """Return the tally with less weight on its values; a window starts anew."""
        return Tally(self.count * factor, self.total * factor, self.squares * factor)

    def plus(self, other: "Tally") -> "Tally":
        """Return the sums over the values of both."""
        return Tally(self.count + other.count, self.total + other.total, self.squares + other.squares)


@dataclass(frozen=True, slots=True)
class Arm:
    """What was seen of one batch size on one placement.

    Attributes:
        runs: All runs that were learnt from.
        epochs: Of the log epochs of converged runs.
        whole_costs: Of the log cost of converged runs whose epochs nobody told.
        site: Precision, and precision times mean, of what a stopped run told of the log epochs.
        failures: Score of the runs that failed; see :mod:`.closing`.
        lost_joules: Cost of runs that did not converge although the arm had, or that ran all of ``max_epochs``.
        stop_costs: Costs in joules of the latest runs that were stopped.
        epoch_costs: Log of the mean cost per epoch of the latest runs, oldest first.
        curve: Per metric level sum and count of log(epoch at the level / epochs to the target).
    """

    runs: int = 0
    epochs: Tally = Tally()
    whole_costs: Tally = Tally()
    site: tuple[float, float] = (0.0, 0.0)
    failures: float = 0.0
    lost_joules: float = 0.0
    stop_costs: tuple[float, ...] = ()
    epoch_costs: tuple[float, ...] = ()
    curve: tuple[tuple[float, int], ...] = ()

    @property
    def converged(self) -> float:
        """Converged runs, discounted ones by their weight."""
        return self.epochs.count + self.whole_costs.count

    def with_epoch_cost(self, log_cost: float) -> "Arm":
        """Return the arm after a run told its mean cost per epoch."""
        return replace(self, epoch_costs=(*self.epoch_costs, log_cost)[-LATEST_KEPT:])

    def with_stop(self, cost: float) -> "Arm":
        """Return the arm after a run was stopped at a cost in joules."""
        return replace(self, stop_costs=(*self.stop_costs, cost)[-LATEST_KEPT:])

    def to_state(self) -> State:
        """Return the arm as plain JSON: what `dataclasses.asdict` makes, in a tenth of the time."""
        state = {name: getattr(self, name) for name in self.__slots__}
        for name in ("epochs", "whole_costs"):
            tally = state[name]
            state[name] = {part: getattr(tally, part) for part in tally.__slots__}
        return state

    @classmethod
    def from_state(cls, state: State) -> "Arm":
        """Return the arm that :meth:`Evidence.to_state` wrote."""
        return cls(
            **state
            | {
                "epochs": _tally(state["epochs"]),
                "whole_costs": _tally(state["whole_costs"]),
                "site": (state["site"][0], state["site"][1]),
                "stop_costs": tuple(state["stop_costs"]),
                "epoch_costs": tuple(state["epoch_costs"]),
                "curve": tuple((total, count) for total, count in state["curve"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of a placement.

    Attributes:
        arms: By batch size, ascending.
        levels: Metric values on the way to the target that learning curves are compared at, the easiest first.
        drift: The two cumulative sums of the drift test, upwards and downwards.
        learned: Converged runs since evidence was last discounted.
        fruitless: How often each batch size did not converge since the last run that did.
    """

    arms: dict[int, Arm]
    levels: tuple[float, ...] = ()
    drift: tuple[float, float] = (0.0, 0.0)
    learned: int = 0
    fruitless: dict[int, int] = field(default_factory=dict)

    def with_arm(self, batch_size: int, arm: Arm) -> "Evidence":
        """Return the evidence with one arm replaced."""
        return replace(self, arms={**self.arms, batch_size: arm})

    @classmethod
    def from_state(cls, state: State) -> "Evidence":
        """Return the evidence that :meth:`to_state` wrote."""
        sizes = sorted(int(size) for size in state["arms"])
        return cls(
            arms={size: Arm.from_state(state["arms"][str(size)]) for size in sizes},
            levels=tuple(state["levels"]),
            drift=(state["drift"][0], state["drift"][1]),
            learned=state["learned"],
            fruitless={int(size): count for size, count in state["fruitless"].items()},
        )

    def to_state(self) -> State:
        """Return the evidence as plain JSON."""
        return {
            "arms": {str(size): arm.to_state() for size, arm in self.arms.items()},
            "levels": list(self.levels),
            "drift": list(self.drift),
            "learned": self.learned,
            "fruitless": {str(size): count for size, count in self.fruitless.items()},
        }


def _tally(state: State) -> Tally:
    return Tally(**state | {"latest": tuple(state["latest"])})
