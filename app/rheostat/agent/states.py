"""The states of a guarded GPU, the origin of its current limit, and the range that it may be set to. Pure.

::

    FREE -> HELD -> INTENT -> SET -> VERIFIED -> RESTORING -> FREE
                      ^-----------------'           |  (if the lease continues: HELD)
    SUSPENDED       not checked yet, lost or quiesced: not touched until it is back
    FOREIGN         another process has set the limit: reported, never overwritten
    RESTORE_FAILED  restoring the limit found has failed: retried until it succeeds
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class GuardState(StrEnum):
    """The state of a guarded GPU."""

    FREE = "free"
    HELD = "held"
    INTENT = "intent"
    SET = "set"
    VERIFIED = "verified"
    RESTORING = "restoring"
    SUSPENDED = "suspended"
    FOREIGN = "foreign"
    RESTORE_FAILED = "restore_failed"


_S = GuardState
# From SUSPENDED a GPU returns to the state that its ledger entry and its limit imply, from INTENT to HELD or VERIFIED
# when the driver refuses, and from RESTORING to HELD when the lease continues.
_NEXT: Mapping[GuardState, set[GuardState]] = {
    _S.FREE: {_S.HELD, _S.SUSPENDED},
    _S.HELD: {_S.INTENT, _S.FREE, _S.SUSPENDED},
    _S.INTENT: {_S.SET, _S.HELD, _S.VERIFIED, _S.FOREIGN, _S.RESTORING, _S.SUSPENDED},
    _S.SET: {_S.VERIFIED, _S.FOREIGN, _S.RESTORING, _S.SUSPENDED},
    _S.VERIFIED: {_S.INTENT, _S.RESTORING, _S.FOREIGN, _S.SUSPENDED},
    _S.RESTORING: {_S.FREE, _S.HELD, _S.FOREIGN, _S.RESTORE_FAILED, _S.SUSPENDED},
    _S.SUSPENDED: {_S.FREE, _S.HELD, _S.VERIFIED, _S.FOREIGN, _S.RESTORING},
    _S.FOREIGN: {_S.FREE, _S.SUSPENDED},
    _S.RESTORE_FAILED: {_S.RESTORING, _S.SUSPENDED},
}


def transition(state: GuardState, to: GuardState) -> GuardState:
    """Return the next state.

    Raises:
        ValueError: When the transition is not allowed.
    """
    if to is not state and to not in _NEXT[state]:
        raise ValueError(f"no transition from {state} to {to}")
    return to


class LimitOrigin(StrEnum):
    """Who set a GPU's current limit."""

    OURS = "ours"
    FOUND = "found"
    FOREIGN = "foreign"


# Agents and people set whole watts, and most drivers keep them to within half a watt.
_ROUNDING_MILLIWATTS = 500
# Some drivers round to steps of several watts. What was read back is not taken for the limit that was set if it is
# nearer to the next one that a job tries: by default those are 25 W apart.
_MOST_ROUNDING_MILLIWATTS = 12_500


def close(one_milliwatts: int, other_milliwatts: int) -> bool:
    """Return whether two limits are equal."""
    return abs(one_milliwatts - other_milliwatts) < _ROUNDING_MILLIWATTS


def near(one_milliwatts: int, other_milliwatts: int) -> bool:
    """Return whether a driver may have rounded one limit to the other."""
    return abs(one_milliwatts - other_milliwatts) < _MOST_ROUNDING_MILLIWATTS


def is_ours(current_milliwatts: int, ours_milliwatts: Sequence[int]) -> bool:
    """Return whether a limit is one that this agent set."""
    return any(close(current_milliwatts, limit) for limit in ours_milliwatts)


def limit_origin(
    current_milliwatts: int,
    found_milliwatts: int,
    ours_milliwatts: Sequence[int],
    pending_milliwatts: int | None = None,
) -> LimitOrigin:
    """Return who set the current limit; only one of ours is replaced by the limit found.

    The exact match comes first, for limits that differ by less than the rounding. A limit that the driver may have
    rounded to the current one comes last, and where it may be either, the limit stays.

    Args:
        current_milliwatts: The current limit.
        found_milliwatts: The limit found.
        ours_milliwatts: The limits that the agent may have set.
        pending_milliwatts: The one of them that was not read back yet, so that its rounding is not known.
    """
    if current_milliwatts == found_milliwatts:
        return LimitOrigin.FOUND
    if is_ours(current_milliwatts, ours_milliwatts):
        return LimitOrigin.OURS
    if close(current_milliwatts, found_milliwatts):
        return LimitOrigin.FOUND
    off_found = abs(current_milliwatts - found_milliwatts)
    if pending_milliwatts is not None and near(current_milliwatts, pending_milliwatts):
        return LimitOrigin.OURS if abs(current_milliwatts - pending_milliwatts) < off_found else LimitOrigin.FOUND
    return LimitOrigin.FOUND if near(current_milliwatts, found_milliwatts) else LimitOrigin.FOREIGN


class OutsideCap:
    """The cap that something outside the driver sets, such as the board's controller, seen by the limit in force.

    Attributes:
        milliwatts: The cap; None: none is known.
    """

    def __init__(self) -> None:
        self.milliwatts: int | None = None
        self._last: int | None = None

    def note(self, limit_milliwatts: int, enforced_milliwatts: int) -> None:
        """Note one reading of the limit that is set and the one in force.

        Two readings make a cap, the higher one where it varies: the limit may have changed between the two halves of
        one. A limit under a known cap does not show whether that is still there; one above it that is in force does.
        """
        if enforced_milliwatts < limit_milliwatts and not close(enforced_milliwatts, limit_milliwatts):
            if self._last is not None:
                self.milliwatts = max(self._last, enforced_milliwatts)
            self._last = enforced_milliwatts
            return
        self._last = None
        if self.milliwatts is not None and limit_milliwatts > self.milliwatts:
            self.milliwatts = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range of a GPU's limit.

    Attributes:
        driver_min_milliwatts: The lowest limit that the driver accepts.
        driver_max_milliwatts: The highest limit that the driver accepts.
        site_min_milliwatts: The lowest limit that the site allows; None: any.
        site_max_milliwatts: The highest limit that the site allows; None: any.
        may_raise: Whether a limit above the one found may be set.
    """

    driver_min_milliwatts: int
    driver_max_milliwatts: int
    site_min_milliwatts: int | None = None
    site_max_milliwatts: int | None = None
    may_raise: bool = False


LimitedBy = Literal["driver", "site", "found"]


def effective_limit(requested_milliwatts: int, found_milliwatts: int, bounds: Bounds) -> tuple[int, LimitedBy | None]:
    """Return the limit to set for a requested one, and what restricted it.

    When no limit is allowed, as when the one found is below the site's minimum and must not be raised, it stays.
    """
    ceilings: list[tuple[int, LimitedBy]] = [(bounds.driver_max_milliwatts, "driver")]
    floors: list[tuple[int, LimitedBy]] = [(bounds.driver_min_milliwatts, "driver")]
    if bounds.site_max_milliwatts is not None:
        ceilings.append((bounds.site_max_milliwatts, "site"))
    if bounds.site_min_milliwatts is not None:
        floors.append((bounds.site_min_milliwatts, "site"))
    if not bounds.may_raise:
        ceilings.append((found_milliwatts, "found"))
    (highest, above), (lowest, below) = min(ceilings), max(floors)
    if lowest > highest:
        return found_milliwatts, "found"
    if requested_milliwatts > highest:
        return highest, above
    if requested_milliwatts < lowest:
        return lowest, below
    return requested_milliwatts, None
