"""What decisions write: of several writes of one row the last, in few statements, and read back as it was."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Connection, func, select

from rheostat.domain.job import NO_CHANGES, Changes, Job
from rheostat.domain.policy_states import StateChange, state_text
from rheostat.domain.records import PlacementKey, PlacementRecord, StatePart
from rheostat.storage import writes
from rheostat.storage.engine import Database
from rheostat.storage.statements import Execution, execute_groups
from rheostat.storage.stored_job import StoredJob, load_job
from rheostat.storage.tables import DELETED, jobs, policy_states
from rheostat.storage.writes import Writes
from tests.domain.examples import ExampleJob, settings

V100 = PlacementRecord("V100", 1, 100, 250)
ON_V100 = V100.key
PART: StatePart = "batch_size"


class Executed:
    """Counts what is executed.

    Attributes:
        groups: The first two words of the statements, group by group.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[list[str]] = []

        def noted(connection: Connection, groups: Sequence[Sequence[Execution]]) -> None:
            for group in groups:
                texts = [statement.prepare(connection.dialect, values)[0] for statement, values in group]
                self.groups.append([" ".join(text.split()[:2]) for text in texts])
            execute_groups(connection, groups)

        monkeypatch.setattr(writes, "execute_groups", noted)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Executed:
    return Executed(monkeypatch)


@contextmanager
def _transaction(database: Database) -> Iterator[tuple[Connection, Writes, StoredJob]]:
    """Give a transaction with a new job, which is rolled back."""
    with database._writer.connect() as connection, connection.begin() as transaction:
        collected = Writes(connection)
        job = ExampleJob().new
        yield connection, collected, collected.add_job("default", job)
        transaction.rollback()


def _state(text: str | None) -> dict[tuple[PlacementKey, StatePart], StateChange | None]:
    return {(ON_V100, PART): None if text is None else StateChange(state_text({"is": text}), {"is": text})}


def _counted(job: Job, sequence: int) -> Job:
    return replace(job, next_sequence=sequence)


def test_a_new_job_is_read_back_as_it_was_written(migrated: Database) -> None:
    with _transaction(migrated) as (connection, _, stored):
        assert load_job(connection, stored.row.job_pk) == stored


def test_of_several_writes_of_a_job_only_the_last_is_executed(migrated: Database, executed: Executed) -> None:
    with _transaction(migrated) as (connection, collected, new):
        versions = {new.row.version}
        stored = new
        for sequence in (2, 3, 4):
            stored = collected.add(stored, _counted(stored.job, sequence), NO_CHANGES)
            versions.add(stored.row.version)
        collected.flush()
        assert executed.groups == [["UPDATE jobs"]]
        assert load_job(connection, stored.row.job_pk) == stored
    assert len(versions) == 4


def test_the_writes_of_another_job_are_not_taken_for_later_ones(migrated: Database, executed: Executed) -> None:
    with _transaction(migrated) as (connection, collected, new):
        other = collected.add_job("vision", new.job)
        stored = collected.add(new, _counted(new.job, 7), NO_CHANGES)
        other = collected.add(other, _counted(other.job, 9), NO_CHANGES)
        collected.flush()
        assert executed.groups == [["UPDATE jobs"], ["UPDATE jobs"]]
        assert load_job(connection, stored.row.job_pk).job.next_sequence == 7
        assert load_job(connection, other.row.job_pk).job.next_sequence == 9


def test_a_decision_that_changes_nothing_writes_nothing_and_keeps_the_version(
    migrated: Database, executed: Executed
) -> None:
    with _transaction(migrated) as (_, collected, stored):
        assert collected.add(stored, stored.job, NO_CHANGES) is stored
        assert collected.add(stored, stored.job, Changes()) is stored
        collected.flush()
    assert executed.groups == []


def test_what_was_flushed_is_not_written_again(migrated: Database, executed: Executed) -> None:
    with _transaction(migrated) as (_, collected, stored):
        collected.add(stored, _counted(stored.job, 2), NO_CHANGES)
        collected.flush()
        collected.flush()
    assert executed.groups == [["UPDATE jobs"]]


@pytest.mark.parametrize(
    ("states", "statements"),
    [
        (["a"], ["INSERT INTO"]),
        (["a", "b", "c"], ["INSERT INTO"]),
        (["a", None], ["DELETE FROM"]),
        (["a", None, "b"], ["INSERT INTO"]),
    ],
)
def test_of_several_states_the_last_is_written(
    migrated: Database, executed: Executed, states: list[str | None], statements: list[str]
) -> None:
    with _transaction(migrated) as (connection, collected, new):
        stored = collected.add(new, new.job, Changes(placements=(V100,), states=_state("before")))
        collected.flush()
        executed.groups.clear()
        for state in states:
            stored = collected.add(stored, stored.job, Changes(states=_state(state)))
        collected.flush()
        assert executed.groups == [["UPDATE jobs", *statements]]
        read = load_job(connection, stored.row.job_pk).job.states
        assert read == ({} if states[-1] is None else {ON_V100: {PART: {"is": states[-1]}}})


def test_the_parts_of_a_state_are_apart(migrated: Database) -> None:
    with _transaction(migrated) as (connection, collected, new):
        other = StateChange("{}", {})
        changes = Changes(placements=(V100,), states={**_state("kept"), (ON_V100, "cost_bound"): other})
        stored = collected.add(new, new.job, changes)
        gone: Changes = Changes(states={(ON_V100, "cost_bound"): None})
        stored = collected.add(stored, stored.job, gone)
        collected.flush()
        assert load_job(connection, stored.row.job_pk).job.states == {ON_V100: {PART: {"is": "kept"}}}


def test_settings_are_written_when_they_change(migrated: Database) -> None:
    with _transaction(migrated) as (connection, collected, new):
        changed = replace(new.job, settings=settings(eta_knob=0.25))
        stored = collected.add(new, changed, NO_CHANGES)
        collected.flush()
        read = load_job(connection, stored.row.job_pk)
        assert read == stored
        assert read.job.registered_settings["eta_knob"] == 0.5


def test_a_placement_keeps_its_row_and_learns_what_ran_out_of_memory(migrated: Database) -> None:
    with _transaction(migrated) as (connection, collected, new):
        stored = collected.add(new, new.job, Changes(placements=(V100, replace(V100, gpu_count=4))))
        rows = dict(stored.placement_pks)
        assert len(set(rows.values())) == 2
        smaller = replace(V100, smallest_oom_batch_size=64)
        stored = collected.add(stored, stored.job, Changes(placements=(smaller,)))
        collected.flush()
        read = load_job(connection, stored.row.job_pk)
        assert stored.placement_pks == read.placement_pks == rows
        assert read.job.placements[ON_V100] == smaller


def test_a_deleted_job_takes_along_what_was_still_to_be_written(migrated: Database) -> None:
    with _transaction(migrated) as (connection, collected, new):
        stored = collected.add(new, new.job, Changes(placements=(V100,), states=_state("a")))
        collected.delete_job(stored.row.job_pk)
        assert connection.execute(select(func.count()).select_from(policy_states)).scalar_one() == 1
        assert connection.execute(select(jobs.c.namespace)).scalar_one() == DELETED
