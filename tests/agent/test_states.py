"""The rules of power limits, without a GPU."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rheostat.agent.states import Bounds, GuardState, LimitOrigin, effective_limit, limit_origin, transition

V100 = Bounds(driver_min_milliwatts=100_000, driver_max_milliwatts=300_000)


def test_a_limit_is_set_and_restored() -> None:
    state = GuardState.FREE
    for name in ("held", "intent", "set", "verified", "restoring", "free"):
        state = transition(state, GuardState(name))
    assert state is GuardState.FREE


@pytest.mark.parametrize(
    ("state", "to"),
    [
        (GuardState.FREE, GuardState.INTENT),
        (GuardState.HELD, GuardState.SET),
        (GuardState.VERIFIED, GuardState.FREE),
        (GuardState.FOREIGN, GuardState.RESTORING),
        (GuardState.FOREIGN, GuardState.INTENT),
        (GuardState.RESTORE_FAILED, GuardState.FREE),
    ],
)
def test_no_state_is_skipped_and_a_foreign_limit_is_never_overwritten(state: GuardState, to: GuardState) -> None:
    with pytest.raises(ValueError, match="no transition from"):
        transition(state, to)


@pytest.mark.parametrize(
    ("current", "origin"),
    [
        (300_000, LimitOrigin.FOUND),
        (200_000, LimitOrigin.OURS),
        (175_000, LimitOrigin.OURS),
        (200_400, LimitOrigin.OURS),
        (299_900, LimitOrigin.FOUND),
        (201_000, LimitOrigin.FOREIGN),
        (250_000, LimitOrigin.FOREIGN),
    ],
)
def test_a_limit_is_ours_the_one_found_or_foreign(current: int, origin: LimitOrigin) -> None:
    assert limit_origin(current, 300_000, (175_000, 200_000)) is origin


def test_limits_closer_than_the_drivers_rounding_are_still_distinguished() -> None:
    assert limit_origin(250_300, 250_300, (250_000,)) is LimitOrigin.FOUND
    assert limit_origin(250_000, 250_300, (250_000,)) is LimitOrigin.OURS


@pytest.mark.parametrize(
    ("requested", "found", "bounds", "expected"),
    [
        (200_000, 300_000, V100, (200_000, None)),
        (50_000, 300_000, V100, (100_000, "driver")),
        (300_000, 250_000, V100, (250_000, "found")),
        (300_000, 300_000, Bounds(100_000, 300_000, site_max_milliwatts=220_000), (220_000, "site")),
        (110_000, 300_000, Bounds(100_000, 300_000, site_min_milliwatts=150_000), (150_000, "site")),
        (280_000, 250_000, Bounds(100_000, 300_000, may_raise=True), (280_000, None)),
        (280_000, 250_000, Bounds(100_000, 300_000, None, 270_000, may_raise=True), (270_000, "site")),
        (200_000, 120_000, Bounds(100_000, 300_000, site_min_milliwatts=150_000), (120_000, "found")),
    ],
)
def test_what_is_asked_for_is_reduced_to_what_is_allowed(
    requested: int, found: int, bounds: Bounds, expected: tuple[int, str | None]
) -> None:
    assert effective_limit(requested, found, bounds) == expected


@given(
    requested=st.integers(1, 1_000_000),
    found=st.integers(100_000, 300_000),
    site_max=st.integers(100_000, 300_000),
    site_min=st.integers(100_000, 300_000),
    may_raise=st.booleans(),
)
def test_no_request_gets_above_the_sites_maximum_or_what_was_found(
    *, requested: int, found: int, site_max: int, site_min: int, may_raise: bool
) -> None:
    limit, _ = effective_limit(requested, found, Bounds(100_000, 300_000, site_min, site_max, may_raise))
    assert limit == found or site_min <= limit <= site_max
    assert may_raise or limit <= found
