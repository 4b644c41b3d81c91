"""Trials: which arm is chosen, what ends one, what is refused, and when its lease ends."""

from datetime import timedelta

import pytest

from rheostat.domain.events import TrialEnded, TrialStarted
from rheostat.errors import InvalidInput, KeyReused, ReportContradicts, TrialNotFound
from rheostat.schemas.nodes import NodeReport, ReportedGpu
from rheostat.schemas.trials import Trial
from tests.domain.examples import A40, LEASE, V100, ExampleJob


def test_a_trial_takes_the_next_number_and_a_lease_and_is_running() -> None:
    job = ExampleJob()
    first, second = job.predict(node="gpu-7"), job.predict()
    assert (first.number, second.number, job.detail.trials) == (1, 2, 2)
    assert first.lease_expires_at == job.clock() + LEASE
    assert list(job.value.running) == [first.trial_id, second.trial_id]
    detail = job.show(first)
    assert (detail.state, detail.state_reason, detail.node, detail.gpu) == (
        "running",
        "not at the target yet",
        "gpu-7",
        V100,
    )


def test_the_same_idempotency_key_gives_the_same_trial_and_changes_nothing() -> None:
    job = ExampleJob()
    first = job.predict(key="run-1")
    before = job.value
    assert job.predict(key="run-1") == first
    assert job.value is before
    assert job.predict(key="run-2").number == 2


@pytest.mark.parametrize("outcome", ["converged", "failed", "oom"])
def test_the_key_of_a_trial_that_has_ended_means_it_or_a_new_one_as_asked(outcome: str) -> None:
    job = ExampleJob()
    ended = job.predict(key="night")
    if outcome == "converged":
        job.converge(ended, 100.0)
    else:
        job.report(ended, 1, outcome=outcome)
    assert job.predict(key="night").state == outcome
    new = job.predict(key="night", on_used_key="new")
    assert (new.number, new.state) == (2, "running")
    assert job.predict(key="night", on_used_key="new") == new
    assert job.predict(key="night") == new
    assert job.show(ended).state == outcome


def test_a_trial_that_crashed_before_its_first_epoch_leaves_its_key_to_a_new_one() -> None:
    job = ExampleJob()
    picks = []
    for crash in ("reported", "lost", "reported"):
        trial = job.predict(key="night")
        picks.append((trial.number, trial.batch_size))
        if crash == "reported":
            job.report(trial, 0, outcome="cancelled")
        job.clock.turn(2 * LEASE)
    assert picks == [(1, 32), (2, 32), (3, 16)]


def test_a_trial_that_has_trained_keeps_its_key_when_it_is_lost() -> None:
    job = ExampleJob()
    trial = job.predict(key="night")
    job.report(trial, 1, metric=0.1)
    job.clock.turn(2 * LEASE)
    assert job.predict(key="night").trial_id == trial.trial_id


def test_an_arm_whose_trial_is_never_heard_of_again_is_tried_again() -> None:
    job = ExampleJob()
    lost = job.predict()
    job.clock.turn(2 * LEASE)
    assert job.show(lost).state == "abandoned"
    assert job.predict().batch_size == lost.batch_size
    detail = job.show(lost)
    assert (detail.state, detail.state_reason, detail.ended_at) == ("abandoned", "its lease expired", job.clock())
    assert lost.trial_id not in job.value.running


def test_a_trial_counts_as_running_until_its_lease_has_expired() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.clock.turn(LEASE)
    assert job.show(trial).state == "running"
    assert job.predict().batch_size != trial.batch_size
    job.clock.turn(timedelta(microseconds=1))
    detail = job.show(trial)
    assert (detail.state, detail.ended_at) == ("abandoned", trial.lease_expires_at)


def test_events_say_which_trials_started_and_ended() -> None:
    job = ExampleJob()
    silent, trial = job.predict(), job.predict()
    assert job.events == [TrialStarted(t.trial_id, t.batch_size) for t in (silent, trial)]
    job.converge(trial, 100.0)
    assert job.events[2:] == [TrialEnded(trial.trial_id, "converged", 100.0, 1.0)]
    job.report(trial, 2, energy_joules=200.0)
    job.clock.turn(2 * LEASE)
    third = job.predict()
    assert job.events[3:] == [
        TrialEnded(silent.trial_id, "abandoned"),
        TrialStarted(third.trial_id, third.batch_size),
    ]


def test_an_ended_trial_keeps_its_state_and_lease_on_a_heartbeat() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.converge(trial, 100.0)
    job.clock.turn(2 * LEASE)
    before = job.value
    beat = job.renew_lease(trial)
    assert (beat.state, beat.lease_expires_at) == ("converged", trial.lease_expires_at)
    assert job.value is before


def test_a_heartbeat_of_an_abandoned_trial_makes_it_run_again() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.clock.turn(2 * LEASE)
    job.predict()
    assert job.renew_lease(trial).state == "running"
    detail = job.show(trial)
    assert (detail.state, detail.state_reason, detail.ended_at) == ("running", "it reported again", None)
    assert trial.trial_id in job.value.running


def test_a_heartbeat_says_what_the_trial_runs_on_and_a_later_one_need_not() -> None:
    job = ExampleJob()
    trial = job.predict()
    nodes = [NodeReport(node="n1", agent="ready", gpus=[ReportedGpu(gpu="GPU-1", found_watts=300.0)])]
    job.renew_lease(trial, nodes)
    job.renew_lease(trial)
    assert job.show(trial).nodes == nodes
    job.converge(trial, 100.0)
    absent = [NodeReport(node="n1", agent="absent", problems=["There is no socket."])]
    assert job.renew_lease(trial, absent).state == "converged"
    assert job.show(trial).nodes == absent


def test_a_trial_of_another_job_is_not_found() -> None:
    other: Trial = ExampleJob().predict()
    job = ExampleJob()
    for ask in (lambda: job.report(other, 1), lambda: job.renew_lease(other), lambda: job.show(other)):
        with pytest.raises(TrialNotFound):
            ask()


def test_trials_that_start_together_learn_about_different_batch_sizes() -> None:
    job = ExampleJob()
    together = [job.predict() for _ in range(5)]
    assert together[0].batch_size == 32
    assert sorted(trial.batch_size for trial in together) == [8, 16, 32, 64, 128]
    assert job.predict().batch_size == 32, "all are taken and nothing is known yet"


def test_a_trial_that_starts_while_all_is_explored_takes_the_cheapest_so_far() -> None:
    job = ExampleJob()
    together = [job.predict() for _ in range(5)]
    job.converge(together[1], 100.0)
    second_round = job.predict()
    assert second_round.batch_size == together[1].batch_size


def test_an_idempotency_key_cannot_move_to_other_gpus() -> None:
    job = ExampleJob()
    job.predict(V100, key="run-1")
    with pytest.raises(KeyReused):
        job.predict(A40, key="run-1")


def test_out_of_memory_closes_the_arm_and_all_larger_ones_on_that_gpu_alone() -> None:
    job = ExampleJob()
    job.report(job.predict(V100), 0, outcome="oom")
    assert [placement.smallest_oom_batch_size for placement in job.detail.placements] == [32]
    assert {job.predict(V100).batch_size for _ in range(6)} == {8, 16}
    assert job.predict(A40).batch_size == 32


def test_the_smallest_batch_size_that_ran_out_of_memory_counts() -> None:
    job = ExampleJob()
    together = [job.predict() for _ in range(5)]
    for trial in sorted(together, key=lambda trial: -trial.batch_size)[:4]:
        job.report(trial, 0, outcome="oom")
    assert {job.predict().batch_size for _ in range(3)} == {8}


def test_a_node_with_less_memory_gets_no_larger_batch_size() -> None:
    job = ExampleJob()
    assert {job.predict(max_batch_size=16).batch_size for _ in range(4)} <= {8, 16}


def test_placements_learn_apart() -> None:
    job = ExampleJob()
    for _ in range(5):
        job.recur(dict.fromkeys([8, 16, 32, 64, 128], 100.0))
    assert job.predict(A40).batch_size == 32
    assert len(job.detail.placements) == 2


@pytest.mark.parametrize(("scaling", "rate"), [("linear", 0.2), ("sqrt", 0.1 * 2**0.5), ("none", 0.1)])
def test_the_learning_rate_follows_the_batch_size(scaling: str, rate: float) -> None:
    job = ExampleJob(learning_rate={"default": 0.1, "scaling": scaling})
    rates = {trial.batch_size: trial.learning_rate for trial in (job.predict() for _ in range(5))}
    assert rates[32] == pytest.approx(0.1)
    assert rates[64] == pytest.approx(rate)


def test_a_batch_size_without_measurements_asks_for_them_and_then_gets_the_best_limit() -> None:
    job = ExampleJob(batch_sizes=[32], eta_knob=1.0, power_limits_watts=[100, 175, 250])
    first = job.predict()
    assert (first.power_limit_watts, first.profile_power_limits_watts) == (None, [250, 175, 100])
    job.measure(32, w250=200.0)
    second = job.predict()
    assert (second.power_limit_watts, second.profile_power_limits_watts) == (None, [175, 100])
    job.measure(32, w175=150.0, w100=170.0)
    third = job.predict()
    assert (third.power_limit_watts, third.profile_power_limits_watts) == (175, [])


def test_a_node_with_a_narrower_range_gets_a_limit_that_it_can_set() -> None:
    job = ExampleJob(eta_knob=1.0, power_limits_watts=[100, 175, 250])
    job.measure(32, w250=200.0, w175=180.0, w100=150.0)
    capped = V100.model_copy(update={"min_power_limit_watts": 150})
    assert job.predict(capped).power_limit_watts == 175
    assert job.detail.placements[0].gpu == V100


def test_the_same_seed_makes_the_same_decisions() -> None:
    joules = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}
    histories = []
    for _ in range(2):
        job = ExampleJob(seed=5)
        histories.append([job.recur(joules) for _ in range(20)])
    assert histories[0] == histories[1]


def test_a_falling_metric_converges_from_above() -> None:
    job = ExampleJob(target={"metric": "word error rate", "value": 40.0, "direction": "minimize"})
    trial = job.predict()
    assert job.report(trial, 1, metric=55.0).state == "running"
    assert job.report(trial, 2, metric=39.5).state == "converged"


def test_a_trial_that_misses_its_target_has_failed_after_its_epochs() -> None:
    job = ExampleJob(max_epochs=2)
    trial = job.predict()
    assert job.report(trial, 1.5, metric=0.5).state == "running"
    assert job.report(trial, 2, metric=0.6).state == "failed"


def test_a_job_without_a_target_converges_by_running_its_epochs() -> None:
    job = ExampleJob(target=None, max_epochs=2)
    trial = job.predict()
    assert job.report(trial, 1, energy_joules=10.0).state == "running"
    assert job.report(trial, 2, energy_joules=20.0).state == "converged"


def test_a_trial_is_stopped_when_its_cost_passes_beta_times_the_lowest() -> None:
    job = ExampleJob(eta_knob=1.0, beta_knob=2.0)
    job.converge(job.predict(), 100.0)
    stopped = job.report(job.predict(), 1, metric=0.1, energy_joules=210.0)
    assert (stopped.state, stopped.action) == ("stopped", "stop")
    assert "210 J-eq, passed 200 J-eq" in stopped.reason


def test_a_trial_is_stopped_before_the_epoch_that_would_pass_the_bound() -> None:
    job = ExampleJob(eta_knob=1.0, beta_knob=2.0)
    job.converge(job.predict(), 100.0)
    trial = job.predict()
    assert job.report(trial, 1, metric=0.1, energy_joules=70.0).action == "continue"
    stopped = job.report(trial, 2, metric=0.2, energy_joules=140.0)
    assert stopped.action == "stop"
    assert "one more epoch" in stopped.reason


def test_without_a_beta_knob_nothing_is_stopped() -> None:
    job = ExampleJob(eta_knob=1.0, beta_knob=None)
    job.converge(job.predict(), 1.0)
    assert job.report(job.predict(), 1, metric=0.1, energy_joules=1e9).action == "continue"


def test_reaching_the_target_counts_even_past_the_bound() -> None:
    job = ExampleJob(eta_knob=1.0)
    job.converge(job.predict(), 100.0)
    assert job.converge(job.predict(), 1000.0).state == "converged"


@pytest.mark.parametrize("outcome", ["failed", "oom", "cancelled"])
def test_the_trainer_may_end_a_trial_itself(outcome: str) -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 1, metric=0.3, energy_joules=10.0)
    ended = job.report(trial, 1, outcome=outcome)
    assert (ended.state, ended.action) == (outcome, "stop")
    assert job.show(trial).energy_joules == 10.0


def test_a_cancelled_trial_teaches_nothing() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 1, energy_joules=1.0, outcome="cancelled")
    assert job.arms()[32].runs == 0
    assert job.predict().batch_size == 32


def test_a_repeated_report_gets_the_same_answer_and_counts_once() -> None:
    job = ExampleJob()
    trial = job.predict()
    figures = {"metric": 0.95, "energy_joules": 10.0, "time_seconds": 1.0}
    answers = [job.report(trial, 3, **figures) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert job.arms()[32].runs == 1


def test_a_report_that_contradicts_an_earlier_one_is_refused_with_what_was_said() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 1, metric=0.5, energy_joules=10.0)
    with pytest.raises(ReportContradicts) as refused:
        job.report(trial, 1, metric=0.6, energy_joules=10.0)
    assert [(field.field, field.message) for field in refused.value.fields] == [
        ("metric", "was 0.5 in the first report")
    ]


def test_reports_may_arrive_out_of_order() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 2, metric=0.6, energy_joules=20.0)
    assert job.report(trial, 1, metric=0.5, energy_joules=10.0).action == "continue"
    detail = job.show(trial)
    assert (detail.epochs, detail.metric, detail.energy_joules) == (2, 0.6, 20.0)
    assert job.report(trial, 3, metric=0.9, energy_joules=30.0).state == "converged"


def test_figures_that_fall_are_refused_for_they_must_be_totals() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 1, energy_joules=100.0, time_seconds=10.0)
    job.report(trial, 3, energy_joules=300.0, time_seconds=30.0)
    with pytest.raises(InvalidInput, match="total") as refused:
        job.report(trial, 4, energy_joules=90.0, time_seconds=31.0)
    assert [field.field for field in refused.value.fields] == ["energy_joules"]
    with pytest.raises(InvalidInput, match="total"):
        job.report(trial, 2, energy_joules=200.0, time_seconds=31.0)
    assert job.report(trial, 2, energy_joules=200.0, time_seconds=20.0).action == "continue"


def test_a_report_of_an_abandoned_trial_is_taken() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.clock.turn(2 * LEASE)
    job.predict()
    assert job.show(trial).state == "abandoned"
    assert job.report(trial, 1, metric=0.5, energy_joules=10.0).state == "running"
    assert job.show(trial).state == "running"
    job.clock.turn(2 * LEASE)
    assert job.converge(job.predict(), 50.0).state == "converged"
    assert job.report(trial, 2, metric=0.95, energy_joules=20.0).state == "converged"
    assert job.arms()[32].runs >= 1


def test_a_heartbeat_and_a_report_renew_the_lease() -> None:
    job = ExampleJob()
    trial = job.predict()
    for epoch in range(1, 4):
        job.clock.turn(LEASE - timedelta(seconds=1))
        beat = job.renew_lease(trial)
        assert (beat.state, beat.lease_expires_at) == ("running", job.clock() + LEASE)
        job.clock.turn(LEASE - timedelta(seconds=1))
        job.report(trial, epoch, metric=0.1)
        assert job.show(trial).lease_expires_at == job.clock() + LEASE


def test_an_unknown_energy_is_not_taken_for_zero() -> None:
    job = ExampleJob(eta_knob=1.0)
    trial = job.predict()
    job.report(trial, 1, metric=0.95, time_seconds=2.0)
    detail = job.show(trial)
    assert detail.energy_joules is None
    assert detail.cost == 2.0 * 250.0


def test_a_run_of_unknown_cost_converges_but_teaches_nothing() -> None:
    job = ExampleJob()
    trial = job.predict()
    assert job.report(trial, 1, metric=0.95).state == "converged"
    assert job.arms()[32].runs == 0


def test_a_run_that_is_said_to_have_cost_nothing_teaches_nothing() -> None:
    job = ExampleJob()
    job.report(job.predict(), 1, metric=0.95, energy_joules=0.0, time_seconds=0.0)
    assert job.arms()[32].runs == 0
    assert job.report(job.predict(), 1, metric=0.1, energy_joules=1e6).action == "continue"


def test_one_tiny_run_does_not_stop_all_later_ones_for_good() -> None:
    job = ExampleJob(eta_knob=1.0)
    job.converge(job.predict(), 0.001)
    ends = []
    for _ in range(12):
        trial = job.predict()
        answer = job.report(trial, 1, metric=0.5, energy_joules=50.0)
        if answer.action == "continue":
            answer = job.report(trial, 2, metric=0.95, energy_joules=100.0)
        ends.append(answer.state)
    assert ends[-8:] == ["converged"] * 8


def test_a_run_that_fails_at_once_does_not_become_the_cheapest() -> None:
    job = ExampleJob(eta_knob=1.0)
    job.converge(job.predict(), 100.0)
    diverged = job.predict()
    job.report(diverged, 0.1, energy_joules=0.5, outcome="failed")
    joules = {8: 130.0, 16: 120.0, 32: 100.0, 64: 90.0, 128: 95.0}
    assert diverged.batch_size not in [job.recur(joules) for _ in range(30)][-10:]


def test_a_trial_of_one_phase_may_be_reported_in_the_next() -> None:
    job = ExampleJob(batch_sizes=[16, 32], default_batch_size=32)
    early = [job.predict(), job.predict()]
    joules = {16: 100.0, 32: 90.0}
    for _ in range(6):
        job.recur(joules)
    for trial in early:
        assert job.converge(trial, joules[trial.batch_size]).state == "converged"


def test_beta_may_be_changed_while_a_trial_runs() -> None:
    job = ExampleJob(eta_knob=1.0)
    job.converge(job.predict(), 100.0)
    trial = job.predict()
    job.update(beta_knob=None)
    answer = job.report(trial, 1, metric=0.1, energy_joules=1e6)
    assert answer.action == "continue"


def a_diverged_run(job: ExampleJob, reports: int, first: int = 1) -> Trial:
    trial = job.predict()
    for epoch in range(first, first + reports):
        job.report(trial, epoch, diverged=True, energy_joules=epoch * 100.0, time_seconds=float(epoch))
    return trial


def test_a_run_of_which_the_metric_is_no_number_again_and_again_has_failed() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 1, metric=0.5)
    assert job.report(trial, 2, diverged=True).action == "continue"
    assert job.report(trial, 3, metric=0.5).action == "continue"
    assert [job.report(trial, epoch, diverged=True).action for epoch in (4, 5, 6)] == ["continue", "continue", "stop"]
    shown = job.show(trial)
    assert (shown.state, shown.state_reason) == (
        "failed",
        "diverged: accuracy was NaN or infinite in 3 evaluations in a row",
    )
    assert shown.metric == 0.5


def test_how_many_such_evaluations_are_too_many_is_a_setting() -> None:
    first, never = ExampleJob(diverged_after_reports=1), ExampleJob(diverged_after_reports=None)
    assert first.show(a_diverged_run(first, 1)).state == "failed"
    assert never.show(a_diverged_run(never, 9)).state == "running"
    trial = a_diverged_run(never, 10)
    assert (never.show(trial).state, "diverged" in never.show(trial).state_reason) == ("failed", True)


@pytest.mark.parametrize("policy", ["zeus", "rheostat"])
def test_one_diverged_run_does_not_close_its_batch_size_and_a_second_one_does(policy: str) -> None:
    job = ExampleJob(policy=policy, batch_sizes=[32, 64])
    tried = []
    for _ in range(40):
        trial = job.predict()
        tried.append(trial.batch_size)
        if trial.batch_size == 64:
            for epoch in (1, 2, 3):
                job.report(trial, epoch, diverged=True, energy_joules=epoch * 10.0, time_seconds=epoch * 0.1)
        else:
            job.converge(trial, 1000.0)
    assert tried.count(64) == 2


def test_a_report_repeated_after_a_diverged_one_does_not_count_twice() -> None:
    job = ExampleJob()
    trial = job.predict()
    answers = [job.report(trial, epoch, diverged=True).action for epoch in (1, 1, 2, 2)]
    assert answers == ["continue"] * 4


@pytest.mark.parametrize(("outcome", "state"), [("oom", "oom"), ("cancelled", "cancelled"), ("failed", "failed")])
def test_what_the_trainer_says_of_its_end_is_in_the_reason(outcome: str, state: str) -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 0, outcome=outcome, detail=" no room\x00\nfor a batch ")
    shown = job.show(trial)
    assert (shown.state, shown.state_reason) == (state, f"the trainer reported {outcome}: no room for a batch")
