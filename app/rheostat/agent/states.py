"""What may follow what on a GPU, whose limit it is, and how far it may be changed. Pure.

::

    FREE -> HELD -> INTENT -> SET -> VERIFIED -> RESTORING -> FREE
                      ^-----------------'           |  (a lease that lives on: HELD)
    SUSPENDED       not looked at yet, lost or quiesced: not touched until it is back
    FOREIGN         somebody else has set another limit: reported, never overwritten
    RESTORE_FAILED  the limit found could not be put back: tried for ever
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """Where a GPU stands."""

    FREE = "free"
    HELD = "held"
    INTENT = "intent"
    SET = "set"
    VERIFIED = "verified"
    RESTORING = "restoring"
    SUSPENDED = "suspended"
    FOREIGN = "foreign"
    RESTORE_FAILED = "restore_failed"


# From SUSPENDED a GPU comes back to where the ledger and its limit say that it stands; INTENT falls back to HELD or
# VERIFIED when the driver refused; HELD is where a living lease is left when its limit was put back.
_NEXT: Mapping[State, frozenset[State]] = {
    State.FREE: frozenset({State.HELD, State.SUSPENDED}),
    State.HELD: frozenset({State.INTENT, State.FREE, State.SUSPENDED}),
    State.INTENT: frozenset({State.SET, State.HELD, State.VERIFIED, State.FOREIGN, State.RESTORING, State.SUSPENDED}),
    State.SET: frozenset({State.VERIFIED, State.FOREIGN, State.RESTORING, State.SUSPENDED}),
    State.VERIFIED: frozenset({State.INTENT, State.RESTORING, State.FOREIGN, State.SUSPENDED}),
    State.RESTORING: frozenset({State.FREE, State.HELD, State.FOREIGN, State.RESTORE_FAILED, State.SUSPENDED}),
    State.SUSPENDED: frozenset({State.FREE, State.HELD, State.VERIFIED, State.FOREIGN, State.RESTORING}),
    State.FOREIGN: frozenset({State.FREE, State.SUSPENDED}),
    State.RESTORE_FAILED: frozenset({State.RESTORING, State.SUSPENDED}),
}


def move(state: State, to: State) -> State:
    """Give the next state.

    Raises:
        ValueError: When it may not follow.
    """
    if to is not state and to not in _NEXT[state]:
        raise ValueError(f"a GPU does not go from {state} to {to}")
    return to


class Verdict(StrEnum):
    """Whose limit is on a GPU."""

    OURS = "ours"
    FOUND = "found"
    FOREIGN = "foreign"


# We set whole watts, and so do people: what a driver rounds a limit to stays within half a watt of it.
_ROUNDING_MILLIWATTS = 500


def close(one_milliwatts: int, other_milliwatts: int) -> bool:
    """Whether two limits are the same but for the driver's rounding."""
    return abs(one_milliwatts - other_milliwatts) < _ROUNDING_MILLIWATTS


def is_ours(current_milliwatts: int, ours_milliwatts: Sequence[int]) -> bool:
    """Whether a limit is one of those that we set."""
    return any(close(current_milliwatts, limit) for limit in ours_milliwatts)


def judge(current_milliwatts: int, found_milliwatts: int, ours_milliwatts: Sequence[int]) -> Verdict:
    """Tell what is to be put back: nothing, where the limit found is there or one that is neither.

    The exact match comes first, for limits that differ by less than the rounding.
    """
    if current_milliwatts == found_milliwatts:
        return Verdict.FOUND
    if is_ours(current_milliwatts, ours_milliwatts):
        return Verdict.OURS
    return Verdict.FOUND if close(current_milliwatts, found_milliwatts) else Verdict.FOREIGN


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a GPU's limit may be changed.

    Attributes:
        driver_min_milliwatts: The lowest that the driver takes.
        driver_max_milliwatts: The highest.
        site_min_milliwatts: The lowest that the site allows; None: any.
        site_max_milliwatts: The highest; None: any.
        may_raise: Whether a limit above the one found may be set.
    """

    driver_min_milliwatts: int
    driver_max_milliwatts: int
    site_min_milliwatts: int | None = None
    site_max_milliwatts: int | None = None
    may_raise: bool = False


LimitedBy = Literal["driver", "site", "found"]


def effective_limit(requested_milliwatts: int, found_milliwatts: int, bounds: Bounds) -> tuple[int, LimitedBy | None]:
    """Give the limit to set for one that is asked for, and what it was cut by.

    Where no limit fits, as when the one found is below the site's minimum and must not be raised, the one found stays.
    """
    ceilings: list[tuple[int, LimitedBy]] = [(bounds.driver_max_milliwatts, "driver")]
    floors: list[tuple[int, LimitedBy]] = [(bounds.driver_min_milliwatts, "driver")]
    if bounds.site_max_milliwatts is not None:
        ceilings.append((bounds.site_max_milliwatts, "site"))
    if bounds.site_min_milliwatts is not None:
        floors.append((bounds.site_min_milliwatts, "site"))
    if not bounds.may_raise:
        ceilings.append((found_milliwatts, "found"))
    (highest, cut_above), (lowest, cut_below) = min(ceilings), max(floors)
    if lowest > highest:
        return found_milliwatts, "found"
    if requested_milliwatts > highest:
        return highest, cut_above
    if requested_milliwatts < lowest:
        return lowest, cut_below
    return requested_milliwatts, None
