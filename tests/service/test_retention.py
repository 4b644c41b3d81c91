"""Pruned reports were folded before: no answer changes, neither now nor after a rebuild."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from rheostat import service as use_cases
from rheostat.service import Service
from rheostat.service.operations import prune
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
