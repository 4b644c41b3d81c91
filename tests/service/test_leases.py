"""The server's clock runs ahead, grants leases, and is set back: nothing counts as running for hours."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from rheostat import service as use_cases
from rheostat.errors import JobBusy
from rheostat.schemas.trials import Trial
from rheostat.service import Service
from tests.domain.examples import JOB, LEASE, Clock
from tests.service.examples import done, predict, register, report, restarted
from tests.waiting import eventually

AHEAD = timedelta(hours=12)
MOMENT = timedelta(seconds=1)


@pytest.fixture
def trial(service: Service, clock: Clock) -> Trial:
    """A trial whose lease ends 12 hours too late."""
    register(service)
    clock.turn(AHEAD)
    trial = predict(service)
    clock.turn(-AHEAD)
    return trial


def _delete_in_vain(service: Service, _: Trial) -> None:
    with pytest.raises(JobBusy):
        done(use_cases.delete_job(service, JOB, force=False))


def _list(service: Service, _: Trial) -> None:
    (listed,) = use_cases.list_trials(service, JOB, state="running", cursor=None, limit=9).trials
    assert listed.lease_expires_at == service.now() + LEASE


def _show(service: Service, trial: Trial) -> None:
    assert use_cases.get_trial(service, trial.trial_id).lease_expires_at == service.now() + LEASE


TOUCHES: list[Callable[[Service, Trial], object]] = [
    lambda service, _: predict(service),
    lambda service, _: report(service, predict(service), 1, metric=0.1),
    lambda service, trial: done(use_cases.heartbeat(service, trial.trial_id)),
    lambda service, _: done(use_cases.rebuild_job(service, JOB)),
    _list,
    _show,
    _delete_in_vain,
]


@pytest.mark.parametrize("touch", TOUCHES, ids=range(len(TOUCHES)))
def test_the_lease_is_taken_back_when_the_job_is_touched(
    service: Service, clock: Clock, trial: Trial, touch: Callable[[Service, Trial], object]
) -> None:
    touch(service, trial)
    eventually(lambda: _stored_lease(service, trial) == clock() + LEASE)
    clock.turn(LEASE)
    assert use_cases.get_trial(service, trial.trial_id).state == "running"
    clock.turn(MOMENT)
    for one in (service, restarted(service)):
        assert use_cases.get_trial(one, trial.trial_id).state == "abandoned"
    assert use_cases.list_trials(service, JOB, state="running", cursor=None, limit=9).trials == []
    done(use_cases.delete_job(service, JOB, force=False))


def test_a_touch_that_cannot_be_written_fails_no_read(service: Service, trial: Trial) -> None:
    service.jobs.close()
    _list(service, trial)
    _show(service, trial)


def test_what_was_reported_meanwhile_counts(service: Service, clock: Clock, trial: Trial) -> None:
    predict(service)
    clock.turn(LEASE + MOMENT)
    predict(service)
    assert use_cases.get_trial(service, trial.trial_id).state == "abandoned"
    assert report(service, trial, 1, metric=0.95, energy_joules=9.0, time_seconds=1.0).state == "converged"


def test_reads_that_find_nothing_wrong_write_nothing(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service)
    version = service.jobs.read(service.job(JOB), lambda job, _: job)
    _show(service, trial)
    _list(service, trial)
    _settle(service)
    assert service.jobs.read(service.job(JOB), lambda job, _: job) is version


def _stored_lease(service: Service, trial: Trial) -> datetime:
    return service.jobs.read(service.job(JOB), lambda job, _: job.running[trial.trial_id].lease_expires_at)


def _settle(service: Service) -> None:
    """Wait for what was asked before: changes are decided one after the other."""
    use_cases.heartbeat(service, "0" * 32).exception(60)
