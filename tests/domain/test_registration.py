"""Registering, changing and deleting a job, and deriving its state again."""

from dataclasses import replace
from typing import Any

import pytest

from rheostat.domain import evidence, insight, registration
from rheostat.domain.history import Derived
from rheostat.domain.job import NO_CHANGES, Decision, Job, stored_settings
from rheostat.domain.memory import JobInMemory
from rheostat.domain.records import AuditNote
from rheostat.errors import InvalidInput, JobBusy, JobDiffers
from rheostat.policy.interface import Policy
from rheostat.policy.zeus import JustInTimePowerLimit, PruningThompsonSampling
from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.schemas.server import Gpu, JobSettings, JobUpdate
from rheostat.schemas.trials import ObserveRunRequest
from tests.domain.examples import A40, JOB, LEASE, V100, Clock, ExampleJob, settings

NEW_SETTINGS = ("first_run", "exploration_budget_runs", "survey_seconds")


def test_a_new_job_has_no_past_and_is_noted_in_the_audit_trail() -> None:
    now = Clock()()
    decision = registration.register(registration.new_job(JOB, settings(), seed=7, now=now))
    detail, is_new = decision.answer
    assert is_new
    assert (detail.job_id, detail.trials, detail.placements, detail.created_at) == (JOB, 0, [], now)
    assert decision.audit == AuditNote(now, "register_job", {})


def test_the_seed_of_the_settings_counts_before_the_one_that_is_drawn() -> None:
    now = Clock()()
    assert registration.new_job(JOB, settings(seed=5), seed=7, now=now).seed == 5
    assert registration.new_job(JOB, settings(seed=None), seed=7, now=now).seed == 7


def test_an_unknown_policy_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InvalidInput, match="zeus") as refused:
        registration.register(ExampleJob(policy="missing").new)
    assert refused.value.fields[0].field == "policy"
    job = ExampleJob()
    with pytest.raises(InvalidInput, match="zeus"):
        job.register_again(policy="missing")
    with pytest.raises(InvalidInput, match="zeus"):
        job.update(policy="missing")


def test_the_same_settings_find_the_job_as_it_is() -> None:
    job = ExampleJob()
    job.predict()
    before = job.value
    assert job.register_again() == job.detail
    assert job.value is before
    assert job.detail.trials == 1


def test_other_settings_under_the_same_id_are_refused_with_what_differs() -> None:
    job = ExampleJob()
    with pytest.raises(JobDiffers) as refused:
        job.register_again(eta_knob=1.0, max_epochs=20)
    assert [field.field for field in refused.value.fields] == ["eta_knob", "max_epochs"]
    assert "registered as 10, now 20" in refused.value.fields[1].message


def test_a_trainer_that_registers_again_does_not_undo_what_an_operator_changed() -> None:
    job = ExampleJob()
    job.update(eta_knob=1.0)
    assert job.register_again().settings.eta_knob == 1.0


def test_a_job_of_before_a_setting_existed_is_found_with_its_default_and_not_with_another() -> None:
    job = ExampleJob()
    stored = {name: value for name, value in job.value.registered_settings.items() if name not in NEW_SETTINGS}
    older = replace(job.value, registered_settings=stored, settings=stored_settings(stored))
    assert not registration.register_again(older, settings()).answer[1]
    with pytest.raises(JobDiffers) as refused:
        registration.register_again(older, settings(survey_seconds=60.0))
    assert [field.field for field in refused.value.fields] == ["survey_seconds"]
    assert "registered as 120.0, now 60.0" in refused.value.fields[0].message


def test_what_bounds_exploring_may_be_changed_without_losing_the_past() -> None:
    joules = {8: 400.0, 16: 200.0, 32: 100.0, 64: 50.0, 128: 110.0}
    job = ExampleJob(policy="rheostat", eta_knob=1.0, exploration_budget_runs=0.0)
    assert [job.recur(joules) for _ in range(3)] == [32] * 3
    before = job.value.states
    job.update(exploration_budget_runs=None, first_run="default", survey_seconds=0.0)
    assert job.value.states == before
    assert (
        job.register_again(exploration_budget_runs=0.0, policy="rheostat", eta_knob=1.0).settings.first_run == "default"
    )
    assert {job.recur(joules) for _ in range(4)} > {64}


def test_a_first_run_at_the_default_is_what_a_job_may_ask_for() -> None:
    for first_run, expected in (("predicted", 128), ("default", 32)):
        job = ExampleJob(policy="rheostat", eta_knob=1.0, power_limits_watts=[250], first_run=first_run)
        for size, joules in ((8, 400.0), (16, 200.0), (32, 100.0), (64, 50.0), (128, 25.0)):
            job.measure(size, w250=joules)
        assert job.predict().batch_size == expected


def test_a_new_eta_knob_applies_to_past_runs() -> None:
    job = ExampleJob(eta_knob=1.0)
    trial = job.predict()
    job.converge(trial, joules=300.0, seconds=10.0)
    assert job.show(trial).cost == 300.0
    job.update(eta_knob=0.0)
    assert job.show(trial).cost == 250.0 * 10.0
    assert job.arms()[32].cost == 2500.0


class NothingToFold(JobInMemory):
    """A past that must not be folded."""

    def derived(self, job: Job) -> Derived:
        raise AssertionError("the past was folded")


class PricedWhenRead(PruningThompsonSampling):
    read_time_knobs = frozenset({"eta_knob", "beta_knob", "max_power_watts", "power_limits_watts"})


class MeasuredRaw(JustInTimePowerLimit):
    read_time_knobs = frozenset({"eta_knob", "max_power_watts", "power_limits_watts", "window_size"})


@pytest.mark.parametrize(
    ("change", "folds"),
    [
        ({"eta_knob": 0.25, "power_limit_step_watts": 50}, False),
        ({"survey_seconds": 1.0, "learning_rate": {"default": 0.1, "scaling": "none"}}, False),
        ({"policy": "zeus", "batch_sizes": [8, 16, 32, 64, 128], "max_epochs": 10}, False),  # as they are
        ({"beta_knob": 3.0}, True),  # each of the two has to say so
        ({"window_size": 3}, True),
        ({"max_epochs": 9}, True),
        ({"batch_sizes": [8, 16, 32, 64, 128, 256]}, True),
        ({"policy": "rheostat"}, True),
    ],
)
def test_only_a_change_on_which_the_policys_state_depends_folds_the_past(change: dict[str, Any], folds: bool) -> None:
    example = ExampleJob()
    example.converge(example.predict(), 100.0)
    job = replace(example.value, find_policy=lambda _: Policy(PricedWhenRead, MeasuredRaw))
    past, request = NothingToFold(job), JobUpdate.model_validate(change)
    if folds:
        with pytest.raises(AssertionError, match="folded"):
            registration.update(job, past, request, example.clock())
        return
    decision = registration.update(job, past, request, example.clock())
    assert decision.changes == NO_CHANGES
    assert decision.answer.settings == JobSettings.model_validate({**job.settings.model_dump(), **change})


def test_the_recommender_folds_nothing_for_another_price_or_for_more_batch_sizes() -> None:
    example = ExampleJob(policy="rheostat")
    for gpu in (V100, A40):
        example.converge(example.predict(gpu), 100.0)
    request = JobUpdate(eta_knob=0.9, beta_knob=None, max_slowdown=1.1, batch_sizes=[8, 16, 32, 64, 128, 256])
    decision = registration.update(example.value, NothingToFold(example.value), request, example.clock())
    assert {part for _, part in decision.changes.states} == {"batch_size"}
    assert decision.job is not None
    assert all(256 in [arm.batch_size for arm in one.arms] for one in insight.estimates(decision.job).placements)


def test_the_power_of_a_placement_that_becomes_known_folds_nothing_where_states_do_not_depend_on_it() -> None:
    example = ExampleJob()
    unknown = Gpu(model="V100", count=1)
    example.converge(example.predict(unknown), 100.0)
    request = ObserveRunRequest(batch_size=32, gpu=V100, energy_joules=1.0, time_seconds=1.0)

    def observed(job: Job) -> Decision[Any]:
        past = NothingToFold(job)
        return evidence.observe_run(job, past, request, run_id="1", idempotency_key=None, now=example.clock())

    with pytest.raises(AssertionError, match="folded"):
        observed(example.value)
    decision = observed(replace(example.value, find_policy=lambda _: Policy(PricedWhenRead, MeasuredRaw)))
    assert [placement.max_power_limit_watts for placement in decision.changes.placements] == [250]


def test_a_new_eta_knob_may_choose_another_power_limit() -> None:
    job = ExampleJob(eta_knob=1.0, power_limits_watts=[100, 250])
    job.predict()
    fast = PowerLimitMeasurement(power_limit_watts=250, time_seconds=1.0, energy_joules=200.0, steps=1)
    frugal = PowerLimitMeasurement(power_limit_watts=100, time_seconds=1.5, energy_joules=140.0, steps=1)
    assert job.measured(32, V100, [fast, frugal]).power_limit_watts == 100
    job.update(eta_knob=0.0)
    assert job.power_limit().power_limit_watts == 250


def test_an_update_that_does_not_fit_together_is_refused_by_field() -> None:
    job = ExampleJob()
    with pytest.raises(InvalidInput, match="default_batch_size") as refused:
        job.update(default_batch_size=48)
    assert refused.value.fields[0].field == "default_batch_size"
    with pytest.raises(InvalidInput):
        job.update(batch_sizes=[8, 16, 32, 64, 128, 48], default_batch_size=49)
    assert job.update(batch_sizes=[8, 16, 32, 48, 64, 128], default_batch_size=48).settings.default_batch_size == 48
    assert job.predict().batch_size == 48


def test_a_new_learning_rate_scales_from_the_new_default() -> None:
    job = ExampleJob()
    job.update(default_batch_size=64, learning_rate={"default": 0.2, "scaling": "linear"})
    trial = job.predict()
    assert (trial.batch_size, trial.learning_rate) == (64, 0.2)


def test_batch_sizes_can_be_added_and_are_then_explored() -> None:
    job = ExampleJob(batch_sizes=[16, 32], default_batch_size=32)
    joules = {16: 100.0, 32: 90.0, 64: 50.0}
    assert {job.recur(joules) for _ in range(8)} == {16, 32}
    job.update(batch_sizes=[16, 32, 64])
    assert 64 in {job.recur(joules) for _ in range(8)}


def test_batch_sizes_cannot_be_taken_away() -> None:
    job = ExampleJob()
    with pytest.raises(InvalidInput, match="8, 128") as refused:
        job.update(batch_sizes=[16, 32, 64, 256])
    assert refused.value.fields[0].field == "batch_sizes"


def test_an_update_changes_only_what_it_names_and_notes_it() -> None:
    job = ExampleJob(eta_knob=0.5, max_epochs=10)
    created = job.clock()
    job.clock.turn(LEASE)
    detail = job.update(eta_knob=0.25)
    assert detail.settings == settings(eta_knob=0.25)
    assert (detail.created_at, detail.updated_at) == (created, job.clock())
    assert job.value.registered_settings["eta_knob"] == 0.5
    assert job.audit == [AuditNote(job.clock(), "update_job", {"eta_knob": 0.25})]


def test_an_update_that_is_refused_changes_nothing() -> None:
    job = ExampleJob()
    before = job.value
    with pytest.raises(InvalidInput):
        job.update(eta_knob=1.0, batch_sizes=[8])
    assert job.value is before
    assert job.audit == []


def test_a_rebuild_says_how_much_it_folded_and_changes_nothing_that_was_right() -> None:
    job = ExampleJob()
    job.converge(job.predict(), 100.0)
    job.measure(32, w250=10.0, w200=9.0)
    before = job.value
    assert job.rebuild() == 3
    assert job.value is before
    assert job.audit == [AuditNote(job.clock(), "rebuild_job", {})]


def test_a_job_with_running_trials_is_deleted_only_by_force() -> None:
    job = ExampleJob()
    job.predict()
    with pytest.raises(JobBusy, match="1 trials") as refused:
        job.delete(force=False)
    assert "force" in refused.value.hint
    decision = job.delete(force=True)
    assert decision.job is None
    assert decision.audit == AuditNote(job.clock(), "delete_job", {"trials": 1})


def test_a_job_whose_trials_are_all_over_or_lost_is_deleted() -> None:
    job = ExampleJob()
    job.converge(job.predict(), 100.0)
    job.predict()
    with pytest.raises(JobBusy):
        job.delete(force=False)
    job.clock.turn(2 * LEASE)
    assert job.delete(force=False).job is None
