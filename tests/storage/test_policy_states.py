"""The policies' state in SQL behaves as a dict does."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text

from rheostat.errors import PolicyFailed
from rheostat.policy.interface import Job
from rheostat.storage.engine import Database
from rheostat.storage.jobs import Jobs, Placements
from rheostat.storage.policy_states import PolicyStates
from tests.policy.examples import a_job

V100, A40 = a_job(gpu_model="V100"), a_job(gpu_model="A40")


@pytest.fixture
def placement_pks(database: Database) -> dict[Job, int]:
    def make(connection: Connection) -> dict[Job, int]:
        job = Jobs(connection).add("default", "nightly", {}, 0, datetime(2026, 1, 1, tzinfo=UTC))
        placements = Placements(connection)
        return {view: placements.add(job.job_pk, view.gpu_model, 1, 100, 300).placement_pk for view in (V100, A40)}

    return database.write(make)


def _write(database: Database, placement_pks: dict[Job, int], changes: dict[Job, Any]) -> None:
    def work(connection: Connection) -> None:
        states = PolicyStates(connection, placement_pks)
        states.part("batch_size").update(changes)
        states.save()

    database.write(work)


def _read(database: Database, placement_pks: dict[Job, int]) -> dict[Job, Any]:
    return database.read(lambda connection: dict(PolicyStates(connection, placement_pks).part("batch_size")))


def test_what_was_saved_is_there_and_placements_are_apart(database: Database, placement_pks: dict[Job, int]) -> None:
    assert _read(database, placement_pks) == {}
    _write(database, placement_pks, {V100: {"a": [1, 2.5, None, "x"]}})
    assert _read(database, placement_pks) == {V100: {"a": [1, 2.5, None, "x"]}}
    _write(database, placement_pks, {A40: {}, V100: {"a": 0.1 + 0.2}})
    assert _read(database, placement_pks) == {V100: {"a": 0.1 + 0.2}, A40: {}}


def test_once_loaded_nothing_more_is_read(database: Database, placement_pks: dict[Job, int]) -> None:
    """What fails while a policy is asked would pass for the policy's fault."""
    _write(database, placement_pks, {V100: {"a": 1}})

    def work(connection: Connection) -> None:
        states = PolicyStates(connection, placement_pks)
        states.load()
        connection.execute(text("DELETE FROM policy_states"))
        assert states.part("batch_size")[V100] == {"a": 1}
        assert A40 not in states.part("batch_size")
        assert list(states.part("power_limit")) == []

    database.write(work)


def test_a_change_in_place_is_saved(database: Database, placement_pks: dict[Job, int]) -> None:
    _write(database, placement_pks, {V100: {"seen": []}})

    def work(connection: Connection) -> None:
        states = PolicyStates(connection, placement_pks)
        states.part("batch_size")[V100]["seen"].append(32)
        states.save()

    database.write(work)
    assert _read(database, placement_pks) == {V100: {"seen": [32]}}


def test_the_knobs_of_a_job_do_not_hide_its_state(database: Database, placement_pks: dict[Job, int]) -> None:
    _write(database, placement_pks, {V100: {"a": 1}})
    assert _read(database, placement_pks)[a_job(gpu_model="V100", eta_knob=1.0, trial_number=9)] == {"a": 1}


def test_an_unknown_placement_has_no_state(database: Database, placement_pks: dict[Job, int]) -> None:
    def work(connection: Connection) -> object:
        return PolicyStates(connection, placement_pks).part("power_limit").get(a_job(gpu_model="H100"))

    assert database.read(work) is None


@pytest.mark.parametrize("state", [{"a": float("nan")}, {"a": float("inf")}, {"a": {1, 2}}, {"a": object()}])
def test_state_that_is_no_plain_json_is_refused(
    database: Database, placement_pks: dict[Job, int], state: dict[str, Any]
) -> None:
    with pytest.raises(PolicyFailed, match="plain JSON"):
        _write(database, placement_pks, {V100: state})
    assert _read(database, placement_pks) == {}
