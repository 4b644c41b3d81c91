"""How a run approaches its target: what must be remembered of its evaluations while it trains."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

MOST_POINTS = 64
"""A curve with more points than that is thinned: a run may be evaluated many thousand times."""


@dataclass(frozen=True, slots=True)
class Target:
    """The metric value that a run is to reach.

    Attributes:
        metric: Its name.
        value: The value to reach.
        maximize: Whether higher is better.
    """

    metric: str
    value: float
    maximize: bool

    def reached(self, metric: float) -> bool:
        """Return whether a value is at least as good as the target."""
        return not self.is_better(self.value, metric)

    def is_better(self, metric: float, other: float) -> bool:
        """Return whether one value is strictly better than another."""
        return metric > other if self.maximize else metric < other


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The best metric of a run by epoch, from evaluations that come every epoch, less often, or more often.

    Attributes:
        points: Epoch and metric of each evaluation that was better than all before it, in order.
        epoch: When the latest evaluation was, better or not; 0 before the first.
        gap: Epochs between the latest two evaluations: how precisely it is known when something was reached.
        not_finite: How many of the latest evaluations in a row were NaN or infinite.
    """

    points: tuple[tuple[float, float], ...] = ()
    epoch: float = 0.0
    gap: float = 1.0
    not_finite: int = 0

    def diverged_again(self) -> "LearningCurve":
        """Return the curve with another evaluation that was NaN or infinite."""
        return replace(self, not_finite=self.not_finite + 1)

    def add(self, epoch: float, metric: float | None, target: Target | None) -> "LearningCurve":
        """Return the curve with another evaluation; one without a metric, or of an earlier epoch, adds nothing."""
        if metric is None or target is None or epoch <= self.epoch:
            return self
        points = self.points
        if not points or target.is_better(metric, points[-1][1]):
            points = (*points, (epoch, metric))
        if len(points) > MOST_POINTS:
            points = _thinned(points)
        return LearningCurve(points, epoch, epoch - self.epoch)

    def reached(self, level: float, target: Target) -> float | None:
        """Return the epoch of the first evaluation that was as good as a level, or None when none was."""
        if not self.points or target.is_better(level, self.points[-1][1]):  # no point is better than the last
            return None
        return next((epoch for epoch, metric in self.points if not target.is_better(level, metric)), None)

    def reached_each(self, levels: Iterable[float], target: Target) -> Iterator[float | None]:
        """Iterate over what :meth:`reached` returns of levels from the easiest to the hardest."""
        at = 0
        for level in levels:
            while at < len(self.points) and target.is_better(level, self.points[at][1]):
                at += 1
            yield self.points[at][0] if at < len(self.points) else None

    @classmethod
    def from_state(cls, state: dict[str, Any] | None) -> "LearningCurve":
        """Return the curve that :meth:`to_state` wrote; of a run that has none an empty one."""
        if state is None:
            return cls()
        return cls(
            tuple((epoch, metric) for epoch, metric in state["points"]),
            state["epoch"],
            state["gap"],
            state.get("not_finite", 0),
        )

    def to_state(self) -> dict[str, Any]:
        """Return the curve as plain JSON."""
        state = {"points": [list(point) for point in self.points], "epoch": self.epoch, "gap": self.gap}
        return state if self.not_finite == 0 else {**state, "not_finite": self.not_finite}


def _thinned(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Return a curve without the point whose neighbours are closest, so that the rest stays evenly spread.

    To drop every second one each time would leave a long run with nothing but its first epoch and its latest ones.
    """
    epochs = [epoch for epoch, _ in points]
    gaps = [later - earlier for earlier, later in zip(epochs, epochs[2:], strict=False)]
    at = 1 + gaps.index(min(gaps))
    return points[:at] + points[at + 1 :]


NO_CURVE = LearningCurve()
"""Of a run that was not evaluated yet, or whose evaluations are unknown."""
