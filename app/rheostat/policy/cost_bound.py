"""How much a run may cost before it is stopped: ``beta_knob`` times the lowest cost so far (NSDI 2023, 4.4).

The lowest cost is one number that stops every later run, so one false report must not set it for good:

- only runs that converged count;
- a cost far under the usual is not used (:data:`TRUSTED_SHARE` of the median of the latest runs);
- a bound that stops :data:`STOPS_IN_A_ROW` runs one after the other is lifted until a run converges, and what
  that run costs then replaces every lower cost that would have stopped it.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import median

from rheostat.policy.identity import ByIdentity
from rheostat.policy.interface import Job, State

TRUSTED_SHARE = 0.05
"""A cost below this share of the median is taken for a false report: recorded batch sizes of one job differ by
less than that."""

STOPS_IN_A_ROW = 3
"""Exploring down and then up stops two runs in a row in the ordinary course of things; a third is one too many."""

_USUAL_BETA = 2.0
_LOWEST_KEPT = 8
_RECENT_KEPT = 31
_MEDIAN_FROM = 3


@dataclass(frozen=True)
class CostBound:
    """What the bound of a placement rests on.

    Attributes:
        lowest: The lowest costs of converged runs in joules, ascending.
        recent: The latest costs of converged runs, oldest first.
        stops: Runs stopped since the last one that converged.
    """

    lowest: tuple[float, ...] = ()
    recent: tuple[float, ...] = ()
    stops: int = 0

    def bound(self, job: Job) -> float | None:
        """Return the cost in joules at which a run is stopped, or None when none is."""
        if job.beta_knob is None or not self.lowest or self.stops >= STOPS_IN_A_ROW:
            return None
        return job.beta_knob * self._trusted_lowest

    def failure_charge(self, job: Job) -> float:
        """Return the least that a failed run is charged in joules: what the bound would have let it spend.

        Without a ``beta_knob`` the usual one stands in; before anything converged there is nothing to go by.
        """
        if not self.lowest:
            return 0.0
        return self._trusted_lowest * (_USUAL_BETA if job.beta_knob is None else job.beta_knob)

    def stopped(self) -> "CostBound":
        """Return the state after a run was stopped by the bound."""
        return CostBound(self.lowest, self.recent, self.stops + 1)

    def converged(self, job: Job, cost: float) -> "CostBound":
        """Return the state after a run converged at a cost."""
        kept = self.lowest
        if self.stops >= STOPS_IN_A_ROW and job.beta_knob is not None:
            kept = tuple(low for low in kept if low * job.beta_knob >= cost)
        return CostBound(tuple(sorted((*kept, cost))[:_LOWEST_KEPT]), (*self.recent, cost)[-_RECENT_KEPT:], 0)

    @cached_property
    def _trusted_lowest(self) -> float:
        if len(self.recent) < _MEDIAN_FROM:
            return self.lowest[0]
        usual = median(self.recent)
        return next((low for low in self.lowest if low >= TRUSTED_SHARE * usual), usual)

    @classmethod
    def from_state(cls, state: State) -> "CostBound":
        """Return the bound that :meth:`to_state` wrote."""
        return cls(tuple(state["lowest"]), tuple(state["recent"]), state["stops"])

    def to_state(self) -> State:
        """Return the bound as plain JSON."""
        return {"lowest": list(self.lowest), "recent": list(self.recent), "stops": self.stops}


@lru_cache(maxsize=512)  # asked with every evaluation, and changed by the ends of runs alone
def known_bound(state: ByIdentity[State | None]) -> CostBound:
    """Return the bound of a stored state, which is replaced when it changes; None: nothing was stored yet."""
    return CostBound() if state.value is None else CostBound.from_state(state.value)
