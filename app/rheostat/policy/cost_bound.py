"""How much a run may cost before it is stopped: ``beta_knob`` times the lowest cost so far (NSDI 2023, 4.4).

The lowest cost is one number that stops every later run, so one false report must not set it for good:

- only runs that converged count;
- a cost far under the usual is not used (:data:`TRUSTED_SHARE` of the median of the latest runs);
- a bound that stops :data:`STOPS_IN_A_ROW` runs one after the other is lifted until a run converges, and what
  that run costs then refutes every lower cost that would have stopped it.

Energy and time are kept apart, and priced when the bound is asked for: it depends on no knob.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from rheostat.policy.cost import Outlay
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

_Price = Callable[[Outlay], float]


class Low(NamedTuple):
    """A run that cost little.

    Attributes:
        outlay: What it took.
        refuted_by: What the dearest run took that converged once the bound was lifted: it is a false report where it
            would have stopped that one; None: there was none.
    """

    outlay: Outlay
    refuted_by: Outlay | None = None


class CostBound(NamedTuple):
    """What the bound of a placement rests on.

    Attributes:
        lowest: The converged runs that cost least at any knob.
        recent: The latest runs that converged, oldest first.
        stops: Runs stopped since the last one that converged.
    """

    lowest: tuple[Low, ...] = ()
    recent: tuple[Outlay, ...] = ()
    stops: int = 0

    def bound(self, job: Job) -> float | None:
        """Return the cost in joules at which a run is stopped, or None when none is."""
        if job.beta_knob is None or not self.recent or self.stops >= STOPS_IN_A_ROW:
            return None
        return job.beta_knob * job.price(self._trusted_lowest(job))

    def charged(self, job: Job, outlay: Outlay) -> Outlay:
        """Return what a failed run is charged: no less than what the bound would have let it spend.

        Without a ``beta_knob`` the usual one stands in; before anything converged there is nothing to go by.
        """
        if not self.recent:
            return outlay
        return max(outlay, self._trusted_lowest(job).scaled(_beta(job)), key=job.price)

    def stopped(self) -> "CostBound":
        """Return the state after a run was stopped by the bound."""
        return self._replace(stops=self.stops + 1)

    def converged(self, reference: Job, outlay: Outlay) -> "CostBound":
        """Return the state after a run of a placement, taken at its reference knobs, converged."""
        kept = self.lowest
        if self.stops >= STOPS_IN_A_ROW:
            kept = tuple(Low(low, max(old or outlay, outlay, key=reference.price)) for low, old in kept)
        return CostBound(_lowest((*kept, Low(outlay)), reference), (*self.recent, outlay)[-_RECENT_KEPT:], 0)

    def _trusted_lowest(self, job: Job) -> Outlay:
        beta, price = _beta(job), job.price
        usual = _median(self.recent, price)
        least = TRUSTED_SHARE * price(usual) if len(self.recent) >= _MEDIAN_FROM else 0.0
        trusted = [
            low.outlay
            for low in self.lowest
            if price(low.outlay) >= least
            and (low.refuted_by is None or beta * price(low.outlay) >= price(low.refuted_by))
        ]
        return min(trusted, key=price, default=usual)

    @classmethod
    def from_state(cls, state: State) -> "CostBound":
        """Return the bound that :meth:`to_state` wrote."""
        return cls(
            tuple(
                Low(Outlay.from_state(low), None if by is None else Outlay.from_state(by))
                for low, by in zip(state["lowest"], state["refuted"], strict=True)
            ),
            tuple(map(Outlay.from_state, state["recent"])),
            state["stops"],
        )

    def to_state(self) -> State:
        """Return the bound as plain JSON."""
        return {
            "lowest": [low.outlay.to_state() for low in self.lowest],
            "refuted": [None if low.refuted_by is None else low.refuted_by.to_state() for low in self.lowest],
            "recent": [outlay.to_state() for outlay in self.recent],
            "stops": self.stops,
        }


def _beta(job: Job) -> float:
    return _USUAL_BETA if job.beta_knob is None else job.beta_knob


def _lowest(lows: tuple[Low, ...], reference: Job) -> tuple[Low, ...]:
    """Return the runs that are among the lowest in energy, in time, or in both together; refuted ones last."""
    kept: dict[Low, None] = {}
    for eta_knob in (reference.eta_knob, 0.0, 1.0):
        prices = {low: low.outlay.price(eta_knob=eta_knob, max_power_watts=reference.max_power_watts) for low in lows}
        ordered = sorted(lows, key=lambda low: (low.refuted_by is not None, prices[low], low.outlay))
        kept.update(dict.fromkeys(ordered[:_LOWEST_KEPT]))
    return tuple(kept)


def _median(outlays: tuple[Outlay, ...], price: _Price) -> Outlay:
    ordered = sorted(outlays, key=price)
    half = (len(ordered) - 1) // 2
    return ordered[half].plus(ordered[len(ordered) // 2]).scaled(0.5)


@lru_cache(maxsize=512)  # asked with every evaluation, and changed by the ends of runs alone
def known_bound(state: ByIdentity[State | None]) -> CostBound:
    """Return the bound of a stored state, which is replaced when it changes; None: nothing was stored yet."""
    return CostBound() if state.value is None else CostBound.from_state(state.value)


@lru_cache(maxsize=512)
def _priced(state: ByIdentity[State | None], price: tuple[float, float, float | None], job: Job) -> float | None:
    return known_bound(state).bound(job)


def cost_bound(state: State | None, job: Job) -> float | None:
    """Return the cost in joules at which a run of a placement is stopped, or None, by its stored state."""
    return _priced(ByIdentity(state), (job.eta_knob, job.max_power_watts, job.beta_knob), job)
