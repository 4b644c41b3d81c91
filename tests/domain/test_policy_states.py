"""What a policy sees of its state, and what a decision makes of it."""

from typing import Any

import pytest

from rheostat.domain.policy_states import States, WorkingStates
from rheostat.domain.records import PlacementKey
from rheostat.errors import PolicyFailed
from rheostat.policy.interface import Job
from tests.policy.examples import a_job

V100, A40 = a_job(gpu_model="V100"), a_job(gpu_model="A40")
ON_V100, ON_A40 = PlacementKey("V100", 1), PlacementKey("A40", 1)


def working(stored: States | None = None) -> WorkingStates:
    return WorkingStates(stored or {}, {ON_V100: V100, ON_A40: A40})


def changed(states: WorkingStates) -> dict[tuple[PlacementKey, str], Any]:
    return {key: None if change is None else change.state for key, change in states.changes().items()}


def test_placements_and_parts_are_apart() -> None:
    states = working()
    store = states.store("batch_size", replaced=True)
    store[V100] = {"a": [1, 2.5, None, "x"]}
    store[A40] = {}
    assert dict(store) == {V100: {"a": [1, 2.5, None, "x"]}, A40: {}}
    assert list(states.store("power_limit", replaced=True)) == []
    assert changed(states) == {(ON_V100, "batch_size"): {"a": [1, 2.5, None, "x"]}, (ON_A40, "batch_size"): {}}


def test_what_the_job_holds_stays_as_it_is() -> None:
    stored: States = {ON_V100: {"batch_size": {"seen": []}}}
    states = working(stored)
    states.store("batch_size", replaced=False)[V100]["seen"].append(32)
    assert stored == {ON_V100: {"batch_size": {"seen": []}}}
    assert changed(states) == {(ON_V100, "batch_size"): {"seen": [32]}}


def test_what_was_only_read_is_no_change() -> None:
    states = working({ON_V100: {"batch_size": {"a": 1}}})
    for replaced in (True, False):
        assert states.store("batch_size", replaced=replaced)[V100] == {"a": 1}
    assert changed(states) == {}


def test_the_same_state_set_again_is_no_change_and_another_type_of_number_is() -> None:
    states = working({ON_V100: {"batch_size": {"a": 1}}})
    store = states.store("batch_size", replaced=True)
    store[V100] = {"a": 1}
    assert changed(states) == {}
    store[V100] = {"a": 1.0}
    assert changed(states) == {(ON_V100, "batch_size"): {"a": 1.0}}


def test_of_states_that_are_replaced_those_of_crashes_stay_and_others_that_are_not_given_are_gone() -> None:
    states = working({ON_V100: {"batch_size": {"a": 1}, "power_limit": {}, "beginnings": {"trained": []}}})
    states.store("batch_size", replaced=True)[V100] = {"a": 2}
    states.replace({ON_V100: {"batch_size": {"a": 1}, "cost_bound": {"b": 1}}})
    assert changed(states) == {(ON_V100, "cost_bound"): {"b": 1}, (ON_V100, "power_limit"): None}


@pytest.mark.parametrize("replaced", [True, False])
def test_a_lesson_that_fails_changes_nothing_and_keeps_what_was_learned_before(replaced: bool) -> None:
    states = working({ON_V100: {"batch_size": {"seen": [8]}}})
    store = states.store("batch_size", replaced=replaced)

    def learn(size: int, *, fail: bool) -> None:
        state = store[V100]
        if replaced:
            store[V100] = {"seen": [*state["seen"], size]}
        else:
            state["seen"].append(size)
        if fail:
            raise PolicyFailed("it raised")

    states.learn(lambda: learn(16, fail=False))
    with pytest.raises(PolicyFailed, match="it raised"):
        states.learn(lambda: learn(32, fail=True))
    states.learn(lambda: learn(64, fail=False))
    assert changed(states) == {(ON_V100, "batch_size"): {"seen": [8, 16, 64]}}


def test_the_knobs_of_a_job_do_not_hide_its_state() -> None:
    store = working({ON_V100: {"batch_size": {"a": 1}}}).store("batch_size", replaced=True)
    assert store[a_job(gpu_model="V100", eta_knob=1.0, trial_number=9)] == {"a": 1}


def test_a_placement_that_the_job_does_not_have_has_no_state_and_takes_none() -> None:
    store = working().store("power_limit", replaced=True)
    unknown: Job = a_job(gpu_model="H100")
    assert store.get(unknown) is None
    with pytest.raises(KeyError):
        store[unknown] = {}


def test_state_cannot_be_deleted() -> None:
    store = working({ON_V100: {"batch_size": {}}}).store("batch_size", replaced=True)
    with pytest.raises(TypeError, match="cannot delete"):
        del store[V100]


@pytest.mark.parametrize("state", [{"a": float("nan")}, {"a": float("inf")}, {"a": {1, 2}}, {"a": object()}])
def test_state_that_is_no_plain_json_is_refused(state: dict[str, Any]) -> None:
    states = working()
    states.store("batch_size", replaced=True)[V100] = state
    with pytest.raises(PolicyFailed, match="plain JSON"):
        states.changes()
