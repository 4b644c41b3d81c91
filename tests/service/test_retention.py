"""Pruned reports were folded before: no answer changes, neither now nor after a rebuild."""

from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from sqlalchemy import func, select

from rheostat import service as use_cases
from rheostat.service import Service
from rheostat.service.audit import list_audit
from rheostat.service.operations import Progress, prune
from rheostat.storage import retention
from rheostat.storage.tables import observations, policy_states
from tests.domain.examples import JOB, Clock
from tests.service.examples import done, measure, predict, register, report

JOULES = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}


def _run(service: Service, clock: Clock, epochs: int = 4) -> None:
    """Run one trial with several reports, some without a metric, and one that comes late."""
    trial = predict(service)
    joules = JOULES[trial.batch_size]
    for epoch in range(1, epochs + 1):
        clock.turn(timedelta(minutes=1))
        metric = 0.95 if epoch == epochs else 0.5 + 0.1 * epoch
        figures = {"energy_joules": joules * epoch, "time_seconds": 2.0 * epoch}
        if report(service, trial, epoch, metric=metric, **figures).action == "stop":
            break
    report(service, trial, 0.5, energy_joules=1.0)


def _answers(service: Service) -> dict[str, Any]:
    states = service.database.read(
        lambda c: c.execute(select(policy_states).order_by(*policy_states.primary_key)).all()
    )
    return {
        "estimates": use_cases.estimates(service, JOB),
        "savings": use_cases.savings(service, JOB),
        "trials": use_cases.list_trials(service, JOB, state=None, cursor=None, limit=100),
        "job": use_cases.get_job(service, JOB),
        "states": [tuple(row) for row in states],
    }


def _reports(service: Service) -> int:
    return service.database.read(lambda c: c.execute(select(func.count()).select_from(observations)).scalar_one())


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_pruning_changes_no_answer(service: Service, clock: Clock, policy: str) -> None:
    register(service, policy=policy)
    measure(service, 32, w250=100.0, w200=90.0)
    for _ in range(8):
        _run(service, clock)
    clock.turn(timedelta(days=31))
    _run(service, clock)
    predict(service)
    before, reports = _answers(service), _reports(service)
    assert prune(service, timedelta(days=30)) == reports - 8 - 5
    assert prune(service, timedelta(days=30)) == 0
    assert _answers(service) == before
    done(use_cases.rebuild_job(service, JOB))
    assert _answers(service) == before


def test_the_last_report_of_a_pruned_trial_still_has_its_answer(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service)
    report(service, trial, 1, metric=0.1, energy_joules=5.0, time_seconds=1.0)
    last = report(service, trial, 2, metric=0.95, energy_joules=9.0, time_seconds=2.0)
    clock.turn(timedelta(days=2))
    assert prune(service, timedelta(days=1)) == 1
    assert report(service, trial, 2, metric=0.95, energy_joules=9.0, time_seconds=2.0) == last


def test_a_trial_that_fell_silent_long_ago_may_still_go_on(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service)
    for epoch in (1, 2, 3):
        report(service, trial, epoch, metric=0.1 * epoch, energy_joules=5.0 * epoch, time_seconds=1.0 * epoch)
    clock.turn(timedelta(days=2))
    assert prune(service, timedelta(days=1)) == 2
    ended = report(service, trial, 4, metric=0.95, energy_joules=20.0, time_seconds=4.0)
    assert ended.state == "converged"


def test_what_runs_or_ended_lately_is_kept(service: Service, clock: Clock) -> None:
    register(service)
    _run(service, clock)
    trial = predict(service)
    report(service, trial, 1, metric=0.1, energy_joules=5.0, time_seconds=1.0)
    report(service, trial, 2, metric=0.2, energy_joules=9.0, time_seconds=2.0)
    assert prune(service, timedelta(days=1)) == 0
    clock.turn(timedelta(seconds=1))
    assert prune(service, timedelta(0)) == 4
    assert _reports(service) == 3


def _train_for_long(service: Service, epochs: int = 30) -> None:
    register(service, max_epochs=100)
    trial = predict(service)
    for epoch in range(1, epochs):
        report(service, trial, epoch, metric=0.1)
    report(service, trial, epochs, metric=0.95)


def test_every_report_is_looked_at_once(service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    _train_for_long(service)
    clock.turn(timedelta(days=2))
    monkeypatch.setattr(retention, "_LOOKED_AT", 4)
    look, looked_at = retention._look, list[int]()

    def note(*arguments: Any, **keywords: Any) -> Any:
        found = look(*arguments, **keywords)
        looked_at.extend(report.observation_pk for report in found)
        return found

    monkeypatch.setattr(retention, "_look", note)
    seen: list[Progress] = []
    assert prune(service, timedelta(days=1), watch=seen.append) == 29
    assert len(looked_at) == len(set(looked_at)) == 30
    assert [progress.rows for progress in seen] == sorted(progress.rows for progress in seen)
    assert (seen[-1].rows, seen[-1].share) == (29, 28 / 29)


def test_what_is_interrupted_goes_on_with_the_next_call(
    service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train_for_long(service)
    clock.turn(timedelta(days=2))
    monkeypatch.setattr(retention, "_LOOKED_AT", 10)
    stop = Event()
    first = prune(service, timedelta(days=1), stop, lambda _: stop.set())
    assert first == 10
    assert prune(service, timedelta(days=1)) == 29 - first
    entries = list_audit(service, namespace=None, cursor=None, limit=9).entries
    assert [entry.details["deleted"] for entry in entries if entry.action == "prune"] == [29 - first, first]


def test_reports_that_come_meanwhile_are_left_to_the_next_time(
    service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train_for_long(service)
    clock.turn(timedelta(days=2))
    monkeypatch.setattr(retention, "_LOOKED_AT", 10)
    trials = iter([predict(service)])

    def go_on(_: Progress) -> None:
        for trial in trials:
            for epoch in range(1, 6):
                report(service, trial, epoch, metric=0.1)
            clock.turn(timedelta(days=2))

    assert prune(service, timedelta(days=1), watch=go_on) == 29
    assert prune(service, timedelta(days=1)) == 4


def test_of_two_reports_of_one_epoch_the_later_one_is_kept(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service)
    report(service, trial, 2, metric=0.1)
    report(service, trial, 2, metric=0.1, outcome="failed")
    clock.turn(timedelta(days=2))
    assert prune(service, timedelta(days=1)) == 1
    assert report(service, trial, 2, metric=0.1, outcome="failed").state == "failed"
