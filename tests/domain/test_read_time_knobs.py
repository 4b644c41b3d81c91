"""What is learnt depends on no knob that is applied when it is read: a change of one needs no fold over the past."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rheostat.domain import insight
from rheostat.domain.evidence import depends_on
from rheostat.domain.job import Job
from rheostat.domain.policy_states import state_text
from rheostat.policy.interface import READ_TIME_KNOBS
from rheostat.schemas.server import Gpu
from tests.domain.examples import A40, V100, ExampleJob
from tests.domain.histories import STEPS, Step, take

KNOBS = st.fixed_dictionaries(
    {
        "eta_knob": st.sampled_from([0.0, 0.3, 1.0]),
        "beta_knob": st.sampled_from([None, 1.2, 5.0]),
        "max_slowdown": st.sampled_from([None, 1.05, 2.0]),
        "exploration_budget_runs": st.sampled_from([None, 0.0, 3.0]),
        "first_run": st.sampled_from(["predicted", "default"]),
        "diverged_after_reports": st.sampled_from([None, 1]),
        "power_limits_watts": st.sampled_from([None, [100, 250], [150]]),
    }
)


def a_job(steps: list[Step], **changes: Any) -> ExampleJob:
    job = ExampleJob(policy="rheostat", **changes)
    for step in steps:
        take(job, step)
    return job


def texts(job: Job) -> dict[object, str]:
    """Return all states as they would be stored."""
    return {
        (placement, part): state_text(state) for placement, parts in job.states.items() for part, state in parts.items()
    }


@settings(max_examples=25)
@given(steps=STEPS, knobs=KNOBS, window=st.sampled_from([0, 3]))
def test_the_same_history_gives_the_same_state_at_any_knobs(
    steps: list[Step], knobs: dict[str, Any], window: int
) -> None:
    job = a_job(steps, window_size=window)
    before, answers = texts(job.value), [insight.estimates(job.value), job.power_limit(16)]
    usual = {name: getattr(job.value.settings, name) for name in knobs}
    job.update(**knobs)
    job.rebuild()
    assert texts(job.value) == before
    job.update(**usual)
    assert [insight.estimates(job.value), job.power_limit(16)] == answers


@settings(max_examples=15)
@given(steps=STEPS)
def test_added_batch_sizes_leave_what_was_learnt_as_if_they_had_always_been_there(steps: list[Step]) -> None:
    job = a_job(steps)
    sizes = [4, 8, 16, 24, 32, 64, 128, 256]
    job.update(batch_sizes=sizes)
    added = texts(job.value)
    job.rebuild()
    assert texts(job.value) == added


def test_every_knob_that_an_operator_may_turn_without_a_fold_is_declared() -> None:
    job = ExampleJob(policy="rheostat")
    job.predict()
    (placement,) = job.value.placements.values()
    before = job.value
    job.update(
        eta_knob=0.9,
        beta_knob=None,
        max_slowdown=1.1,
        exploration_budget_runs=None,
        first_run="default",
        diverged_after_reports=None,
        power_limits_watts=[100, 250],
        survey_seconds=1.0,
        learning_rate={"default": 0.1, "scaling": "linear"},
    )
    after = replace(job.value.view(placement), max_power_watts=999.0)
    assert before.view(placement).differs_in(after) == READ_TIME_KNOBS
    assert not depends_on(before, job.value)


@pytest.mark.parametrize("change", [{"window_size": 3}, {"max_epochs": 5}, {"default_batch_size": 16}])
def test_other_knobs_need_a_fold(change: dict[str, Any]) -> None:
    job = ExampleJob(policy="rheostat")
    job.predict()
    before = job.value
    job.update(**change)
    assert depends_on(before, job.value)


def test_a_placement_whose_maximum_power_becomes_known_keeps_its_state_and_is_priced_with_it() -> None:
    job = ExampleJob(policy="rheostat", eta_knob=0.0)
    unknown = Gpu(model="V100", count=1)
    for _ in range(3):
        job.converge(job.predict(unknown), joules=900.0, seconds=10.0)
    before = texts(job.value)
    assert job.arms()[32].epoch_cost == pytest.approx(10.0 * 300.0, rel=1e-3)
    job.predict(V100)
    assert job.arms()[32].epoch_cost == pytest.approx(10.0 * 250.0, rel=1e-3)
    assert texts(job.value) == before
    job.rebuild()
    assert texts(job.value) == before


def test_unknown_energy_counts_at_the_maximum_power_of_the_moment() -> None:
    job = ExampleJob(policy="rheostat", eta_knob=1.0)
    job.report(job.predict(A40), 1, metric=0.95, time_seconds=10.0)
    assert job.arms()[32].epoch_cost == pytest.approx(10.0 * 2 * 300.0)
    job.update(eta_knob=0.2)
    assert job.arms()[32].epoch_cost == pytest.approx(10.0 * 2 * 300.0)
