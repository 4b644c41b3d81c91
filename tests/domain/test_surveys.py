"""Surveys: what is asked for, what is learned from the slices, and what bounds them."""

import pytest
from pydantic import ValidationError

from rheostat.domain.records import PlacementKey
from rheostat.errors import KeyReused, NoBatchSizeLeft
from rheostat.schemas.power import ObservePowerLimitRequest, PowerLimitMeasurement
from rheostat.schemas.server import Gpu
from tests.domain.examples import A40, LEASE, V100, ExampleJob, measurements_of

LIMITS = [100, 175, 250]
STEP_BOUND = {8: 400.0, 16: 200.0, 32: 100.0, 64: 50.0, 128: 25.0}
"""Joules of an epoch that shrink with the number of its steps."""


def a_job(**changes: object) -> ExampleJob:
    return ExampleJob(**{"policy": "rheostat", "eta_knob": 1.0, "power_limits_watts": LIMITS} | changes)


def make_survey(job: ExampleJob, gpu: Gpu = V100, joules: dict[int, float] = STEP_BOUND) -> list[tuple[int, int]]:
    """Measure what is asked for until nothing is; return it as batch sizes and power limits."""
    asked = []
    while steps := job.survey(gpu).survey:
        for step in steps:
            for limit in step.power_limits_watts:
                asked.append((step.batch_size, limit))
                job.measured(
                    step.batch_size, gpu, measurements_of(**{f"w{limit}": joules[step.batch_size] + limit / 10})
                )
    return asked


def test_the_limits_at_the_default_come_first_and_then_the_other_batch_sizes_at_the_best_of_them() -> None:
    job = a_job()
    first = job.survey()
    assert [(step.batch_size, step.power_limits_watts) for step in first.survey] == [(32, [250, 175, 100])]
    assert (first.slice_seconds, first.slice_epochs, first.budget_seconds) == (10.0, 0.02, 120.0)
    asked = make_survey(job)
    assert asked == [(32, 250), (32, 175), (32, 100), (16, 100), (64, 100), (8, 100), (128, 100)]
    assert job.survey().reason == "all that is worth measuring is measured"
    trial = job.predict()
    assert trial.batch_size == 128
    assert "predicted by the survey" in trial.reason


def test_what_a_survey_measured_is_in_the_estimates_before_the_first_run() -> None:
    job = a_job()
    make_survey(job)
    arms = job.arms()
    for size, joules in STEP_BOUND.items():
        assert arms[size].epoch_cost == pytest.approx(joules + 10.0, rel=0.1)
        assert (arms[size].cost, arms[size].status) == (None, "nothing has converged yet")


def test_a_survey_that_was_interrupted_goes_on_where_it_was() -> None:
    job = a_job()
    job.measure(32, w250=120.0, w175=110.0)
    assert [(step.batch_size, step.power_limits_watts) for step in job.survey().survey] == [(32, [100])]
    assert job.survey().budget_seconds == 118.0


def test_a_gpu_without_limits_and_without_energy_is_surveyed_by_time() -> None:
    job = a_job()
    bare = Gpu(model="cpu-less")
    while steps := job.survey(bare).survey:
        assert all(step.power_limits_watts == [] for step in steps)
        size = steps[0].batch_size
        slice_ = PowerLimitMeasurement(time_seconds=STEP_BOUND[size] / 10, steps=10, steps_per_epoch=10)
        job.measured(size, bare, [slice_])
    assert job.predict(bare).batch_size == 128


def test_what_does_not_fit_is_closed_upwards_before_a_run_is_lost() -> None:
    job = a_job()
    job.out_of_memory(64)
    assert {step.batch_size for step in job.survey().survey} == {32}
    assert {size for size, _ in make_survey(job)} == {8, 16, 32}
    assert job.arms()[128].status == "closed: 64 ran out of memory"
    assert job.detail.placements[0].smallest_oom_batch_size == 64
    job.out_of_memory(128)
    assert job.detail.placements[0].smallest_oom_batch_size == 64
    assert job.predict(A40).batch_size == 32


def test_a_survey_alone_does_not_close_the_smallest_batch_size() -> None:
    job = a_job()
    job.out_of_memory(8)
    trial = job.predict()
    assert trial.batch_size == 8
    job.report(trial, 0, outcome="oom")
    with pytest.raises(NoBatchSizeLeft):
        job.predict()


def test_a_run_that_trains_opens_what_a_survey_closed() -> None:
    job = a_job()
    trial = job.predict()
    job.out_of_memory(16)
    assert job.detail.placements[0].smallest_oom_batch_size == 16
    job.report(trial, 1, metric=0.5, energy_joules=1.0, time_seconds=1.0)
    assert job.detail.placements[0].smallest_oom_batch_size is None


def test_a_batch_size_that_ran_out_of_memory_in_a_run_stays_closed() -> None:
    job = a_job()
    first, second = job.predict(), job.predict()
    assert (first.batch_size, second.batch_size) == (32, 16)
    job.report(second, 0, outcome="oom")
    job.report(first, 1, metric=0.5, energy_joules=1.0, time_seconds=1.0)
    job.measure(32, w250=1.0)
    assert job.detail.placements[0].smallest_oom_batch_size == 16


def test_a_repeated_request_closes_and_counts_once() -> None:
    job = a_job()
    job.out_of_memory(64, key="a")
    job.measured(32, V100, measurements_of(w250=1.0), key="b")
    before = job.value
    job.out_of_memory(64, key="a")
    job.measured(32, V100, measurements_of(w250=1.0), key="b")
    assert job.value is before
    for size, key in ((32, "a"), (32, "b")):
        with pytest.raises(KeyReused):
            job.out_of_memory(size, key=key)


@pytest.mark.parametrize("body", [{}, {"measurements": []}, {"outcome": "failed"}])
def test_a_report_says_what_was_measured_or_that_it_did_not_fit(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ObservePowerLimitRequest.model_validate({"batch_size": 32, "gpu": V100} | body)


def test_figures_of_a_run_replace_those_of_a_survey() -> None:
    job = a_job()
    make_survey(job)
    trial = job.predict()
    assert trial.power_limit_watts is None
    assert trial.profile_power_limits_watts == [250, 175, 100]
    job.measure(128, w250=40.0)
    assert [record.surveyed for record in job.last_changes.measurements] == [False]
    job.report(trial, 1, metric=0.5, energy_joules=40.0, time_seconds=1.0)
    job.clock.turn(2 * LEASE)
    job.measure(128, w175=45.0)
    job.measure(64, w175=45.0)
    assert [record.surveyed for record in job.last_changes.measurements] == [True]
    records = job.read(lambda _, history: history.evidence())
    assert [getattr(record, "surveyed", None) for record in records[-3:]] == [False, False, True]


def test_steps_of_a_survey_and_epochs_of_a_run_do_not_contradict_each_other() -> None:
    job = a_job()
    of_a_step = PowerLimitMeasurement(power_limit_watts=250, time_seconds=1.0, energy_joules=100.0, steps=10)
    job.measured(32, V100, [of_a_step])
    job.predict()
    job.measure(32, w250=300.0)
    assert not job.last_changes.measurements[0].surveyed


def test_runs_under_way_or_over_end_the_survey() -> None:
    job = a_job()
    trial = job.predict()
    assert job.survey().survey == []
    assert "runs measure what they need" in job.survey().reason
    job.converge(trial, 100.0)
    assert job.survey().survey == []
    assert job.survey(A40).survey != []


def test_a_first_run_that_was_lost_before_its_first_epoch_lets_the_survey_go_on() -> None:
    job = a_job()
    job.predict()
    assert job.survey().survey == []
    job.clock.turn(2 * LEASE)
    assert {step.batch_size for step in job.survey().survey} == {32}


def test_a_run_that_goes_on_under_its_key_is_not_surveyed_again() -> None:
    job = a_job()
    trial = job.predict(key="nightly")
    job.report(trial, 1.0, metric=0.1, energy_joules=100.0, time_seconds=10.0)
    job.clock.turn(2 * LEASE)
    assert (job.survey(key="nightly").survey, job.survey(key="nightly").reason) == ([], "trial 1 goes on")
    assert job.survey(key="another").survey != []


def test_a_run_that_crashed_before_its_first_epoch_is_surveyed_as_a_new_one() -> None:
    job = a_job()
    job.report(job.predict(key="nightly"), 0.0, metric=None, outcome="cancelled")
    assert job.survey(key="nightly").survey != []


def test_where_there_is_one_batch_size_nothing_is_to_be_compared() -> None:
    job = a_job(batch_sizes=[32])
    assert (job.survey().survey, job.survey().reason) == ([], "there is only one batch size to run")


@pytest.mark.parametrize(("seconds", "reason"), [(0.0, "survey_seconds is 0"), (2.0, "has taken the 2 s")])
def test_a_survey_ends_when_its_time_is_up(seconds: float, reason: str) -> None:
    job = a_job(survey_seconds=seconds)
    asked = job.survey()
    assert asked.slice_seconds == seconds / 8
    job.measure(32, w250=1.0, w175=1.0)
    ended = job.survey()
    assert (ended.survey, ended.budget_seconds) == ([], 0.0)
    assert reason in ended.reason
    job.update(survey_seconds=100.0)
    assert (job.survey().budget_seconds, job.survey().survey != []) == (98.0, True)


def test_a_policy_that_knows_no_surveys_asks_for_none_and_takes_their_figures() -> None:
    job = a_job(policy="zeus")
    assert (job.survey().survey, job.survey().reason) == ([], "the policy asks for none")
    job.measure(32, w250=120.0, w175=110.0, w100=130.0)
    assert job.predict().power_limit_watts == 175


def test_a_rebuild_finds_the_same_state_and_budget() -> None:
    job = a_job()
    job.out_of_memory(128)
    make_survey(job)
    job.converge(job.predict(), 100.0)
    before = job.value
    assert before.states[PlacementKey("V100", 1)]["survey"]["slices"] == 7
    job.rebuild()
    assert job.value.states == before.states
    assert job.value.placements == before.placements


@pytest.mark.parametrize("reports", [0, 1], ids=["before", "in the middle"])
def test_a_survey_after_a_run_that_was_broken_off_takes_what_that_measured_and_ends(reports: int) -> None:
    job = ExampleJob(policy="rheostat")
    if reports:
        job.measure(32, w250=100.0, w225=95.0)
    job.report(job.predict(), 1, metric=0.1, energy_joules=100.0, time_seconds=1.0, outcome="cancelled")
    asked: list[tuple[int, list[int]]] = []
    while steps := job.survey().survey:
        assert len(asked) < 10, "the same is asked for again and again"
        for step in steps:
            asked.append((step.batch_size, step.power_limits_watts))
            limits = {f"w{limit}": 0.4 * limit for limit in step.power_limits_watts}
            job.measured(step.batch_size, V100, measurements_of(**limits))
    assert asked[0] == (32, [200, 175, 150, 125, 100] if reports else [250, 225, 200, 175, 150, 125, 100])
    assert dict(asked[1:]) == {16: [100], 64: [100], 8: [100], 128: [100]}
