"""How many connections fit under the limit on open files."""

import resource

import pytest

from rheostat.api.file_limit import RESERVED_FILES, room_for


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The limits of this process, the present ones last; none of the real ones is changed."""
    kept = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: kept[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: kept.append(new))
    return kept


def test_the_soft_limit_is_raised_as_far_as_needed(limits: list[tuple[int, int]]) -> None:
    assert room_for(1000, 200) == (1000, 200)
    assert limits[-1] == (RESERVED_FILES + 1200, 4096)


def test_what_fits_already_changes_nothing(limits: list[tuple[int, int]]) -> None:
    assert room_for(500, 100) == (500, 100)
    limits.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert room_for(50_000, 2048) == (50_000, 2048)
    assert len(limits) == 2


@pytest.mark.parametrize("hard", [64, 256, 1024, 4096])
def test_files_are_left_for_the_database_under_a_low_hard_limit(limits: list[tuple[int, int]], hard: int) -> None:
    limits.append((min(hard, 1024), hard))
    connections, backlog = room_for(8192, 2048)
    assert limits[-1][0] <= hard
    assert connections >= 1
    assert backlog >= 1
    assert connections + backlog <= max(2, hard - RESERVED_FILES)
