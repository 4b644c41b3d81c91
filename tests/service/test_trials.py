"""Reports of trials: what ends one, what is kept, what is refused."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from rheostat import service as use_cases
from rheostat.errors import InvalidInput, PolicyFailed, ReportContradicts, TrialNotFound
from rheostat.policy.zeus import PruningThompsonSampling
from rheostat.schemas.server import JobUpdate, ObserveAnswer
from rheostat.service import Service
from rheostat.storage.trials import Observations
from tests.service.examples import JOB, LEASE, Clock, converge, predict, recur, register, report


def _runs(service: Service, batch_size: int) -> int:
    """Return how many results the policy has learnt of a batch size."""
    arms = use_cases.estimates(service, JOB).placements[0].arms
    return next(arm.runs for arm in arms if arm.batch_size == batch_size)


def test_a_trial_goes_on_until_it_reaches_its_target(service: Service) -> None:
    register(service)
    trial = predict(service)
    first = report(service, trial, 1, metric=0.5, energy_joules=100.0, time_seconds=1.0)
    last = report(service, trial, 2, metric=0.9, energy_joules=200.0, time_seconds=2.0)
    assert (first.state, first.action) == ("running", "continue")
    assert (last.state, last.action) == ("converged", "stop")
    detail = use_cases.get_trial(service, trial.trial_id)
    assert (detail.epochs, detail.metric, detail.energy_joules, detail.time_seconds) == (2, 0.9, 200.0, 2.0)
    assert detail.ended_at is not None


def test_a_falling_metric_converges_from_above(service: Service) -> None:
    register(service, target={"metric": "word error rate", "value": 40.0, "direction": "minimize"})
    trial = predict(service)
    assert report(service, trial, 1, metric=55.0).state == "running"
    assert report(service, trial, 2, metric=39.5).state == "converged"


def test_a_trial_that_misses_its_target_has_failed_after_its_epochs(service: Service) -> None:
    register(service, max_epochs=2)
    trial = predict(service)
    assert report(service, trial, 1.5, metric=0.5).state == "running"
    assert report(service, trial, 2, metric=0.6).state == "failed"


def test_a_job_without_a_target_converges_by_running_its_epochs(service: Service) -> None:
    register(service, target=None, max_epochs=2)
    trial = predict(service)
    assert report(service, trial, 1, energy_joules=10.0).state == "running"
    assert report(service, trial, 2, energy_joules=20.0).state == "converged"


def test_a_trial_is_stopped_when_its_cost_passes_beta_times_the_lowest(service: Service) -> None:
    register(service, eta_knob=1.0, beta_knob=2.0)
    converge(service, predict(service), 100.0)
    stopped = report(service, predict(service), 1, metric=0.1, energy_joules=210.0)
    assert (stopped.state, stopped.action) == ("stopped", "stop")
    assert "210 J, passed 200 J" in stopped.reason


def test_a_trial_is_stopped_before_the_epoch_that_would_pass_the_bound(service: Service) -> None:
    register(service, eta_knob=1.0, beta_knob=2.0)
    converge(service, predict(service), 100.0)
    trial = predict(service)
    assert report(service, trial, 1, metric=0.1, energy_joules=70.0).action == "continue"
    stopped = report(service, trial, 2, metric=0.2, energy_joules=140.0)
    assert stopped.action == "stop"
    assert "one more epoch" in stopped.reason


def test_without_a_beta_knob_nothing_is_stopped(service: Service) -> None:
    register(service, eta_knob=1.0, beta_knob=None)
    converge(service, predict(service), 1.0)
    assert report(service, predict(service), 1, metric=0.1, energy_joules=1e9).action == "continue"


def test_reaching_the_target_counts_even_past_the_bound(service: Service) -> None:
    register(service, eta_knob=1.0)
    converge(service, predict(service), 100.0)
    assert converge(service, predict(service), 1000.0).state == "converged"


@pytest.mark.parametrize("outcome", ["failed", "oom", "cancelled"])
def test_the_trainer_may_end_a_trial_itself(service: Service, outcome: str) -> None:
    register(service)
    trial = predict(service)
    report(service, trial, 1, metric=0.3, energy_joules=10.0)
    ended = report(service, trial, 1, outcome=outcome)
    assert (ended.state, ended.action) == (outcome, "stop")
    assert use_cases.get_trial(service, trial.trial_id).energy_joules == 10.0


def test_a_cancelled_trial_teaches_nothing(service: Service) -> None:
    register(service)
    trial = predict(service)
    report(service, trial, 1, energy_joules=1.0, outcome="cancelled")
    assert _runs(service, 32) == 0
    assert predict(service).batch_size == 32


def test_a_repeated_report_gets_the_same_answer_and_counts_once(service: Service) -> None:
    register(service)
    trial = predict(service)
    figures = {"metric": 0.95, "energy_joules": 10.0, "time_seconds": 1.0}
    answers = [report(service, trial, 3, **figures) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert _runs(service, 32) == 1


def test_sixteen_simultaneous_reports_are_one_conclusion(service: Service) -> None:
    register(service)
    trial = predict(service)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: converge(service, trial, 100.0), range(16)))
    assert all(answer == answers[0] for answer in answers)
    assert _runs(service, 32) == 1
    observations = service.database.read(lambda c: Observations(c).of_trial(trial.trial_id))
    assert len(observations) == 1


def test_a_report_that_contradicts_an_earlier_one_is_refused_with_what_was_said(service: Service) -> None:
    register(service)
    trial = predict(service)
    report(service, trial, 1, metric=0.5, energy_joules=10.0)
    with pytest.raises(ReportContradicts) as refused:
        report(service, trial, 1, metric=0.6, energy_joules=10.0)
    assert [(field.field, field.message) for field in refused.value.fields] == [
        ("metric", "was 0.5 in the first report")
    ]


def test_reports_may_arrive_out_of_order(service: Service) -> None:
    register(service)
    trial = predict(service)
    report(service, trial, 2, metric=0.6, energy_joules=20.0)
    assert report(service, trial, 1, metric=0.5, energy_joules=10.0).action == "continue"
    detail = use_cases.get_trial(service, trial.trial_id)
    assert (detail.epochs, detail.metric, detail.energy_joules) == (2, 0.6, 20.0)
    assert report(service, trial, 3, metric=0.9, energy_joules=30.0).state == "converged"


def test_figures_that_fall_are_refused_for_they_must_be_totals(service: Service) -> None:
    register(service)
    trial = predict(service)
    report(service, trial, 1, energy_joules=100.0, time_seconds=10.0)
    report(service, trial, 3, energy_joules=300.0, time_seconds=30.0)
    with pytest.raises(InvalidInput, match="total") as refused:
        report(service, trial, 4, energy_joules=90.0, time_seconds=31.0)
    assert [field.field for field in refused.value.fields] == ["energy_joules"]
    with pytest.raises(InvalidInput, match="total"):
        report(service, trial, 2, energy_joules=200.0, time_seconds=31.0)
    assert report(service, trial, 2, energy_joules=200.0, time_seconds=20.0).action == "continue"


def test_a_report_of_a_trial_that_was_given_up_for_lost_is_taken(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service)
    clock.turn(2 * LEASE)
    predict(service)
    assert use_cases.get_trial(service, trial.trial_id).state == "abandoned"
    assert report(service, trial, 1, metric=0.5, energy_joules=10.0).state == "running"
    assert use_cases.get_trial(service, trial.trial_id).state == "running"
    clock.turn(2 * LEASE)
    assert converge(service, predict(service), 50.0).state == "converged"
    assert report(service, trial, 2, metric=0.95, energy_joules=20.0).state == "converged"
    assert _runs(service, 32) >= 1


def test_any_sign_of_life_renews_the_lease(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service)
    for epoch in range(1, 4):
        clock.turn(LEASE - timedelta(seconds=1))
        beat = use_cases.heartbeat(service, trial.trial_id)
        assert (beat.state, beat.lease_expires_at) == ("running", clock() + LEASE)
        clock.turn(LEASE - timedelta(seconds=1))
        report(service, trial, epoch, metric=0.1)
        assert use_cases.get_trial(service, trial.trial_id).lease_expires_at == clock() + LEASE


def test_a_clock_that_jumps_back_shortens_no_lease(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service)
    clock.turn(timedelta(hours=-1))
    assert use_cases.heartbeat(service, trial.trial_id).lease_expires_at == trial.lease_expires_at


def test_a_report_after_the_end_is_kept_and_answered_with_the_end(service: Service) -> None:
    register(service)
    trial = predict(service)
    converge(service, trial, 100.0)
    late = report(service, trial, 2, metric=0.2, energy_joules=200.0)
    assert (late.state, late.action) == ("converged", "stop")
    assert use_cases.heartbeat(service, trial.trial_id).state == "converged"
    assert _runs(service, 32) == 1
    assert len(service.database.read(lambda c: Observations(c).of_trial(trial.trial_id))) == 2


def test_a_trial_that_nobody_made_is_not_found(service: Service) -> None:
    register(service)
    with pytest.raises(TrialNotFound):
        use_cases.get_trial(service, "0" * 32)
    with pytest.raises(TrialNotFound):
        use_cases.heartbeat(service, "0" * 32)


def test_an_unknown_energy_is_not_taken_for_zero(service: Service) -> None:
    register(service, eta_knob=1.0)
    trial = predict(service)
    report(service, trial, 1, metric=0.95, time_seconds=2.0)
    detail = use_cases.get_trial(service, trial.trial_id)
    assert detail.energy_joules is None
    assert detail.cost == 2.0 * 250.0


def test_a_run_of_unknown_cost_converges_but_teaches_nothing(service: Service) -> None:
    register(service)
    trial = predict(service)
    assert report(service, trial, 1, metric=0.95).state == "converged"
    assert _runs(service, 32) == 0


def test_a_run_that_is_said_to_have_cost_nothing_teaches_nothing(service: Service) -> None:
    register(service)
    report(service, predict(service), 1, metric=0.95, energy_joules=0.0, time_seconds=0.0)
    assert _runs(service, 32) == 0
    assert report(service, predict(service), 1, metric=0.1, energy_joules=1e6).action == "continue"


def test_a_report_after_the_end_may_be_repeated_and_must_fit_the_others(service: Service) -> None:
    register(service)
    trial = predict(service)
    converge(service, trial, 100.0)
    late = {"metric": 0.96, "energy_joules": 200.0, "time_seconds": 2.0}
    assert len({report(service, trial, 2, **late).reason for _ in range(3)}) == 1
    assert len(service.database.read(lambda c: Observations(c).of_trial(trial.trial_id))) == 2
    with pytest.raises(ReportContradicts, match="metric"):
        report(service, trial, 2, **late | {"metric": 0.97})
    with pytest.raises(InvalidInput, match="total"):
        report(service, trial, 3, **late | {"energy_joules": 150.0})


def test_one_tiny_run_does_not_stop_all_later_ones_for_good(service: Service) -> None:
    register(service, eta_knob=1.0)
    converge(service, predict(service), 0.001)
    ends = []
    for _ in range(12):
        trial = predict(service)
        answer = report(service, trial, 1, metric=0.5, energy_joules=50.0)
        if answer.action == "continue":
            answer = report(service, trial, 2, metric=0.95, energy_joules=100.0)
        ends.append(answer.state)
    assert ends[-8:] == ["converged"] * 8


def test_a_run_that_fails_at_once_does_not_become_the_cheapest(service: Service) -> None:
    register(service, eta_knob=1.0)
    converge(service, predict(service), 100.0)
    diverged = predict(service)
    report(service, diverged, 0.1, energy_joules=0.5, outcome="failed")
    joules = {8: 130.0, 16: 120.0, 32: 100.0, 64: 90.0, 128: 95.0}
    assert diverged.batch_size not in [recur(service, joules) for _ in range(30)][-10:]


def test_a_trial_of_one_phase_may_be_reported_in_the_next(service: Service) -> None:
    register(service, batch_sizes=[16, 32], default_batch_size=32)
    early = [predict(service), predict(service)]
    joules = {16: 100.0, 32: 90.0}
    for _ in range(6):
        recur(service, joules)
    for trial in early:
        assert converge(service, trial, joules[trial.batch_size]).state == "converged"


def test_a_policy_that_fails_loses_no_observation(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    register(service)
    trial = predict(service)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(PruningThompsonSampling, "observe", fail)
        assert converge(service, trial, 100.0).state == "converged"
        with pytest.raises(PolicyFailed, match="zeus"):
            use_cases.rebuild_job(service, JOB)
    assert _runs(service, 32) == 0
    use_cases.rebuild_job(service, JOB)
    assert _runs(service, 32) == 1


def test_beta_may_be_changed_while_a_trial_runs(service: Service) -> None:
    register(service, eta_knob=1.0)
    converge(service, predict(service), 100.0)
    trial = predict(service)
    use_cases.update_job(service, JOB, JobUpdate(beta_knob=None))
    answer: ObserveAnswer = report(service, trial, 1, metric=0.1, energy_joules=1e6)
    assert answer.action == "continue"


def test_trials_are_listed_newest_first_page_by_page(service: Service) -> None:
    register(service)
    for _ in range(5):
        converge(service, predict(service), 100.0)
    running = predict(service)
    first = use_cases.list_trials(service, JOB, state=None, cursor=None, limit=4)
    assert first.trials[0].trial_id == running.trial_id
    assert first.next_cursor is not None
    second = use_cases.list_trials(service, JOB, state=None, cursor=int(first.next_cursor), limit=4)
    assert [trial.number for trial in (*first.trials, *second.trials)] == [6, 5, 4, 3, 2, 1]
    assert second.next_cursor is None
    assert len(use_cases.list_trials(service, JOB, state="converged", cursor=None, limit=10).trials) == 5
