"""How a run approaches its target: what must be remembered of its evaluations while it trains."""

from collections.abc import Iterable, Iterator, Sequence
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
        return self.add_all([(epoch, metric)], target)

    def add_all(self, evaluations: Iterable[tuple[float, float | None]], target: Target | None) -> "LearningCurve":
        """Return the curve with more evaluations, of which :meth:`add` makes what it makes of each in turn."""
        kept = _Thinned(self.points)
        epoch, gap, is_new = self.epoch, self.gap, False
        for at, metric in evaluations:
            if metric is None or target is None or at <= epoch:
                continue
            if not kept.points or target.is_better(metric, kept.points[-1][1]):
                kept.add(at, metric)
            epoch, gap, is_new = at, at - epoch, True
        return LearningCurve(tuple(kept.points), epoch, gap) if is_new else self

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


class _Thinned:
    """Points, of which only so many are kept.

    The point goes whose neighbours are closest, so that the rest stays evenly spread: to drop every second one each
    time would leave a long run with nothing but its first epoch and its latest ones.
    """

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self.points = list(points)
        self._gaps = [later[0] - earlier[0] for earlier, later in zip(points, points[2:], strict=False)]

    def add(self, epoch: float, metric: float) -> None:
        points, gaps = self.points, self._gaps
        gaps += [epoch - before for before, _ in points[-2:-1]]
        points.append((epoch, metric))
        if len(points) > MOST_POINTS:
            at = gaps.index(min(gaps))
            del points[at + 1], gaps[at]
            for changed in range(max(at - 1, 0), min(at + 1, len(gaps))):
                gaps[changed] = points[changed + 2][0] - points[changed][0]


NO_CURVE = LearningCurve()
"""Of a run that was not evaluated yet, or whose evaluations are unknown."""
