"""Looking back, on each engine."""

from datetime import date, timedelta

import pytest

from rheostat import service as use_cases
from rheostat.errors import TrialNotFound
from rheostat.schemas.nodes import HeartbeatRequest, NodeReport
from rheostat.schemas.trials import ObserveRunRequest
from rheostat.service import Service, review
from tests.domain.examples import A40, JOB, LEASE, V100, Clock
from tests.service.examples import converge, done, measure, predict, register, report, restarted


def test_a_power_curve_has_the_latest_measurement_of_each_limit(service: Service) -> None:
    register(service, eta_knob=1.0)
    predict(service)
    measure(service, 32, w250=100.0, w200=90.0)
    measure(service, 32, w200=80.0)
    measure(service, 64, w250=70.0)
    (placement,) = review.power_curves(service, JOB).placements
    assert placement.gpu.model == V100.model
    curves = {curve.batch_size: [(p.power_limit_watts, p.cost) for p in curve.points] for curve in placement.curves}
    assert curves == {32: [(200, 80.0), (250, 100.0)], 64: [(250, 70.0)]}


def test_the_reports_of_a_trial_come_in_pages_by_epoch(service: Service) -> None:
    register(service)
    trial = predict(service)
    for epoch in (1, 2, 3):
        report(service, trial, epoch, metric=0.1 * epoch, energy_joules=100.0 * epoch, time_seconds=1.0 * epoch)
    first = review.list_observations(service, trial.trial_id, cursor=None, limit=2)
    rest = review.list_observations(service, trial.trial_id, cursor=int(first.next_cursor or 0), limit=2)
    assert [one.epoch for one in first.observations] == [1, 2]
    assert [(one.epoch, one.energy_joules, one.state) for one in rest.observations] == [(3, 300.0, "running")]
    assert rest.next_cursor is None
    with pytest.raises(TrialNotFound):
        review.list_observations(service.on_behalf_of("them", "vision"), trial.trial_id, cursor=None, limit=1)


def test_running_trials_are_those_of_the_namespace_whose_lease_is_valid(service: Service, clock: Clock) -> None:
    register(service)
    register(service.on_behalf_of("them", "vision"))
    predict(service.on_behalf_of("them", "vision"))
    old = predict(service)
    clock.turn(LEASE / 2)
    new = predict(service, A40, node="n1")
    converge(service, predict(service), 100.0)
    running = review.running_trials(service, limit=10)
    assert [(one.trial_id, one.gpu_model, one.node) for one in running] == [
        (new.trial_id, A40.model, "n1"),
        (old.trial_id, V100.model, None),
    ]
    assert [one.trial_id for one in review.running_trials(service, limit=1)] == [new.trial_id]
    clock.turn(LEASE / 2 + timedelta(seconds=1))
    assert [one.trial_id for one in review.running_trials(service, limit=10)] == [new.trial_id]


def test_the_version_of_a_job_changes_with_its_trials(service: Service) -> None:
    register(service)
    register(service, "other")
    before = review.job_versions(service)
    predict(service)
    after = review.job_versions(service)
    assert list(after) == [JOB, "other"]
    assert (after[JOB] != before[JOB], after["other"] == before["other"]) == (True, True)


def test_the_use_of_days_adds_up_to_what_the_savings_count(service: Service, clock: Clock) -> None:
    register(service)
    for day in range(3):
        converge(service, predict(service), 100.0 + day)
        clock.turn(timedelta(days=1))
    report(service, predict(service), 1, energy_joules=7.0, time_seconds=1.0, outcome="failed")
    predict(service)  # it runs, and has used nothing yet
    run = ObserveRunRequest(batch_size=32, gpu=V100, time_seconds=5.0, converged=True)
    done(use_cases.observe_run(service, JOB, run, None))
    (placement,) = review.use_by_day(service, JOB)
    assert [
        (day.day, day.runs, day.converged_runs, day.energy_joules, day.runs_without_energy) for day in placement.days
    ] == [
        (date(2026, 1, 1), 1, 1, 100.0, 0),
        (date(2026, 1, 2), 1, 1, 101.0, 0),
        (date(2026, 1, 3), 1, 1, 102.0, 0),
        (date(2026, 1, 4), 1, 0, 7.0, 0),
    ]
    (saved,) = use_cases.savings(service, JOB).placements
    assert sum(day.time_seconds for day in placement.days) == pytest.approx(saved.time_seconds.actual)


def test_a_report_says_how_sure_the_savings_are(service: Service) -> None:
    register(service, policy="rheostat", exploration_budget_runs=0)
    for _ in range(3):
        trial = predict(service)
        measure(service, trial.batch_size, w250=100.0, w200=90.0)
        report(service, trial, 4, metric=0.95, energy_joules=360.0, time_seconds=4.0)
    (placement,) = review.job_report(service, JOB).placements
    energy = placement.energy_joules
    assert (energy.actual, energy.baseline, energy.saved, energy.origin) == (1080.0, 1200.0, 120.0, "measured")
    assert energy.saved_low is not None
    assert energy.saved_high is not None
    assert energy.saved_low < 120.0 < energy.saved_high


def test_a_node_is_shown_by_its_latest_trial_in_the_namespace(service: Service, clock: Clock) -> None:
    other = service.on_behalf_of("them", "vision")
    register(service)
    register(other)
    predict(other, node="elsewhere")
    converge(service, predict(service, node="n1"), 100.0)
    clock.turn(timedelta(minutes=1))
    report(service, predict(service, A40, node="n1"), 1, time_seconds=1.0)
    clock.turn(timedelta(minutes=1))
    predict(service, node="n2")
    predict(service)
    found = review.list_nodes(service, limit=10)
    assert [(node.node, node.number, node.state, node.energy) for node in found] == [
        ("n2", 3, "running", "unknown"),
        ("n1", 2, "running", "unknown"),
    ]
    assert found[1].gpu == A40
    clock.turn(LEASE)
    assert review.list_nodes(service, limit=1)[0].state == "running"
    clock.turn(timedelta(seconds=1))
    assert [node.state for node in review.list_nodes(service, limit=1)] == ["abandoned"]


def test_every_node_of_a_trial_is_shown_as_it_was_reported(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service, node="n1")
    n1, n2 = NodeReport(node="n1", agent="ready"), NodeReport(node="n2", agent="absent", problems=["No socket."])
    done(use_cases.heartbeat(service, trial.trial_id, HeartbeatRequest(nodes=[n1, n2])))
    clock.turn(timedelta(minutes=1))
    predict(service, node="n3")
    found = [(node.node, node.number, node.running, node.report) for node in review.list_nodes(service, limit=10)]
    assert found == [("n3", 2, 1, None), ("n1", 1, 1, n1), ("n2", 1, 1, n2)]
    assert use_cases.get_trial(restarted(service), trial.trial_id).nodes == [n1, n2]


def test_what_is_simulated_says_so_whatever_its_gpu_is_called(service: Service) -> None:
    register(service)
    converge(service, predict(service), 100.0)
    simulated = V100.model_copy(update={"simulated": True})
    assert [one.energy_joules.origin for one in review.job_report(service, JOB).placements] == ["measured"]
    converge(service, predict(service, simulated), 100.0)
    for one in (service, restarted(service)):
        (placement,) = review.job_report(one, JOB).placements
        assert (placement.energy_joules.origin, placement.time_seconds.origin) == ("simulated", "simulated")


def test_what_was_predicted_is_kept_with_the_trial(service: Service) -> None:
    register(service, policy="rheostat", eta_knob=1.0)
    for joules in (100.0, 104.0, 96.0):
        converge(service, predict(service), joules)
    predict(service)
    found = review.calibration(service, JOB)
    (placement,) = found.placements
    assert (found.policy, found.latest_trials, placement.converged_runs) == ("rheostat", 1000, 2)
    assert [(run.number, run.cost) for run in placement.runs] == [(2, 104.0), (3, 96.0)]
    done(use_cases.rebuild_job(service, JOB))
    assert review.calibration(service, JOB) == found
