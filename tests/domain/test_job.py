"""A job as a value: its choices on a GPU, and that a decision leaves it as it was."""

from dataclasses import replace

import pytest

from rheostat.domain.events import PolicyFailureTolerated
from rheostat.domain.job import NO_CHANGES, Draft
from rheostat.domain.policy_states import StateChange
from rheostat.domain.records import PlacementKey
from rheostat.errors import NoBatchSizeLeft, NoPowerLimitFits, PolicyFailed
from rheostat.policy.interface import Policy
from rheostat.policy.zeus import PruningThompsonSampling
from rheostat.schemas.server import Gpu
from tests.domain.examples import A40, V100, ExampleJob

ON_V100 = PlacementKey("V100", 1)


def test_a_decision_leaves_the_job_before_it_as_it_was() -> None:
    job = ExampleJob()
    before = job.value
    job.converge(job.predict(), 100.0)
    assert (before.next_trial_number, before.next_sequence) == (1, 1)
    assert (before.placements, before.states, before.running) == ({}, {}, {})
    after = job.value
    assert (after.next_trial_number, after.next_sequence, after.running) == (2, 2, {})
    assert list(after.placements) == [ON_V100]


def test_a_decision_that_changes_nothing_returns_the_same_job_and_no_changes() -> None:
    job = ExampleJob()
    job.predict()
    decision = Draft(job.value).decided("answer")
    assert decision.job is job.value
    assert decision.changes == NO_CHANGES


def test_only_the_changed_parts_of_the_state_are_written() -> None:
    job = ExampleJob()
    job.measure(32, w250=100.0)
    job.predict(A40)
    draft = Draft(job.value)
    draft.advisor.register(job.value.view(draft.placement(ON_V100)), [8, 16, 32, 64, 128])
    assert draft.decided(None).changes.states == {}
    job.converge(job.predict(), 100.0)
    assert {key for key, change in job.last_changes.states.items() if isinstance(change, StateChange)} == {
        (ON_V100, "batch_size"),
        (ON_V100, "cost_bound"),
        (ON_V100, "energy"),
        (ON_V100, "beginnings"),
        (ON_V100, "totals"),
    }


def test_a_placement_keeps_the_range_that_it_was_first_seen_with() -> None:
    job = ExampleJob(eta_knob=0.0)
    job.predict()
    capped = V100.model_copy(update={"max_power_limit_watts": 200})
    trial = job.predict(capped)
    assert max(trial.profile_power_limits_watts) == 200
    (placement,) = job.value.placements.values()
    assert job.value.view(placement, capped).max_power_watts == 250.0
    assert job.value.view(placement).power_limits_watts[0] == 250


def test_the_maximum_power_is_that_of_all_gpus() -> None:
    job = ExampleJob()
    job.predict(A40)
    (placement,) = job.value.placements.values()
    assert job.value.view(placement).max_power_watts == 2 * 300.0


def test_a_placement_is_found_by_the_model_and_the_count_of_its_gpus() -> None:
    job = ExampleJob()
    job.predict()
    assert job.value.find(V100) is not None
    assert job.value.find(V100.model_copy(update={"count": 2})) is None


def test_a_lesson_that_fails_is_recorded_without_its_effect() -> None:
    job = ExampleJob()
    job.predict()
    draft = Draft(job.value)

    def fail() -> None:
        raise PolicyFailed("it raised")

    draft.learn(fail)
    decision = draft.decided(None)
    assert decision.changes.states == {}
    (event,) = decision.events
    assert isinstance(event, PolicyFailureTolerated)
    assert event.error.message == "it raised"


def test_sequences_are_consecutive_and_counted_on_by_the_next_decision() -> None:
    draft = Draft(ExampleJob().value)
    assert [draft.take_sequence(), draft.take_sequence()] == [1, 2]
    after = draft.decided(None).job
    assert after is not None
    assert Draft(after).take_sequence() == 3


def test_a_policy_that_is_no_longer_installed_is_an_error_only_where_it_is_needed() -> None:
    def missing(name: str) -> Policy:
        raise PolicyFailed(f"there is no {name}")

    job = replace(ExampleJob().value, find_policy=missing)
    draft = Draft(job)
    assert draft.decided(None).job is job
    with pytest.raises(PolicyFailed, match="no zeus"):
        draft.enter(V100)


def test_when_nothing_fits_the_memory_the_error_says_what_to_do() -> None:
    job = ExampleJob(batch_sizes=[32], default_batch_size=32)
    job.report(job.predict(), 0, outcome="oom")
    with pytest.raises(NoBatchSizeLeft, match=r"32 ran out of memory.*PATCH"):
        job.predict()
    with pytest.raises(NoBatchSizeLeft, match="max_batch_size is 8"):
        job.predict(A40, max_batch_size=8)


def test_without_own_limits_the_range_of_the_gpu_is_stepped_through() -> None:
    job = ExampleJob(power_limit_step_watts=50)
    assert job.predict(V100).profile_power_limits_watts == [250, 200, 150, 100]
    assert job.predict(A40).profile_power_limits_watts == [300, 250, 200, 150, 100]


def test_an_enormous_range_is_stepped_through_in_few_steps() -> None:
    job = ExampleJob(power_limit_step_watts=1)
    huge = Gpu(model="huge", min_power_limit_watts=1, max_power_limit_watts=100_000)
    limits = job.predict(huge).profile_power_limits_watts
    assert limits[0] == 100_000
    assert len(limits) <= 64


def test_limits_outside_of_the_range_of_the_gpu_are_refused_by_name() -> None:
    job = ExampleJob(power_limits_watts=[400, 500])
    with pytest.raises(NoPowerLimitFits, match=r"400, 500.*100 to 250") as refused:
        job.predict()
    assert refused.value.fields[0].field == "gpu.min_power_limit_watts"
    assert job.detail.placements == []


def test_a_policy_that_fails_loses_no_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    job = ExampleJob()
    trial = job.predict()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(PruningThompsonSampling, "observe", fail)
        assert job.converge(trial, 100.0).state == "converged"
        with pytest.raises(PolicyFailed, match="zeus"):
            job.rebuild()
    (failure,) = job.events[-2:-1]
    assert isinstance(failure, PolicyFailureTolerated)
    assert "jobs rebuild" in failure.consequence
    assert job.arms()[32].runs == 0
    job.rebuild()
    assert job.arms()[32].runs == 1
