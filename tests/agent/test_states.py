"""The rules of power limits, without a GPU."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rheostat.agent.states import Bounds, State, Verdict, effective_limit, judge, move

V100 = Bounds(driver_min_milliwatts=100_000, driver_max_milliwatts=300_000)


def test_a_limit_goes_its_way_and_comes_back() -> None:
    state = State.FREE
    for following in (State.HELD, State.INTENT, State.SET, State.VERIFIED, State.RESTORING, State.FREE):
        state = move(state, following)
    assert state is State.FREE


@pytest.mark.parametrize(
    ("state", "to"),
    [
        (State.FREE, State.INTENT),
        (State.HELD, State.SET),
        (State.VERIFIED, State.FREE),
        (State.FOREIGN, State.RESTORING),
        (State.FOREIGN, State.INTENT),
        (State.RESTORE_FAILED, State.FREE),
    ],
)
def test_no_state_is_skipped_and_a_foreign_limit_is_never_fought(state: State, to: State) -> None:
    with pytest.raises(ValueError, match="does not go from"):
        move(state, to)


@pytest.mark.parametrize(
    ("current", "verdict"),
    [
        (300_000, Verdict.FOUND),
        (200_000, Verdict.OURS),
        (175_000, Verdict.OURS),
        (200_400, Verdict.OURS),
        (299_900, Verdict.FOUND),
        (201_000, Verdict.FOREIGN),
        (250_000, Verdict.FOREIGN),
    ],
)
def test_a_limit_is_ours_the_one_found_or_foreign(current: int, verdict: Verdict) -> None:
    assert judge(current, 300_000, (175_000, 200_000)) is verdict


def test_limits_closer_than_the_drivers_rounding_are_still_told_apart() -> None:
    assert judge(250_300, 250_300, (250_000,)) is Verdict.FOUND
    assert judge(250_000, 250_300, (250_000,)) is Verdict.OURS


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
def test_what_is_asked_for_is_cut_to_what_is_allowed(
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
