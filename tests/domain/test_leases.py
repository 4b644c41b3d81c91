"""Leases of a clock that ran ahead."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rheostat.domain import leases
from rheostat.domain.job import NO_CHANGES, Changes, Decision
from rheostat.domain.trials import Clock
from tests.domain.examples import LEASE, ExampleJob

AHEAD = timedelta(hours=12)


@pytest.fixture
def job() -> ExampleJob:
    """A job with a trial of a clock that ran ahead, and one of the right clock."""
    job = ExampleJob()
    job.clock.turn(AHEAD)
    job.predict()
    job.clock.turn(-AHEAD)
    job.predict()
    return job


def test_a_lease_that_ends_too_late_is_taken_back_and_written(job: ExampleJob) -> None:
    clock = Clock(job.clock(), LEASE)
    decision = leases.take_back(Decision(None, job.value), clock)
    assert decision.job is not None
    first, second = decision.job.running.values()
    assert first.lease_expires_at == second.lease_expires_at == clock.lease_expires_at
    assert decision.changes.trials == (first,)
    assert [trial.number for trial in (first, second)] == [1, 2]
    assert leases.take_back(decision, clock) is decision


def test_what_the_decision_itself_changes_of_such_a_trial_is_kept(job: ExampleJob) -> None:
    clock = Clock(job.clock(), LEASE)
    first, second = job.value.running.values()
    changed = replace(first, epochs=3.0)
    value = replace(job.value, running={changed.trial_id: changed, second.trial_id: second})
    decision = leases.take_back(Decision(None, value, Changes(trials=(changed, second))), clock)
    assert decision.changes.trials == (replace(changed, lease_expires_at=clock.lease_expires_at), second)


def test_a_small_difference_of_clocks_takes_no_lease_back(job: ExampleJob) -> None:
    clock = Clock(job.clock() + AHEAD - leases.CLOCK_DIFFERENCE, LEASE)
    decision = Decision(None, job.value)
    assert leases.take_back(decision, clock) is decision
    assert leases.take_back(decision, replace(clock, now=clock.now - timedelta(seconds=1))) is not decision


def test_a_deleted_job_has_no_leases() -> None:
    decision = Decision(None, None)
    assert leases.take_back(decision, Clock(ExampleJob().clock(), LEASE)) is decision
    assert decision.changes is NO_CHANGES


def test_a_renewed_lease_ends_by_the_clock_of_now() -> None:
    job = ExampleJob()
    job.clock.turn(AHEAD)
    trial = job.predict()
    job.clock.turn(-AHEAD)
    assert job.renew_lease(trial).lease_expires_at == job.clock() + LEASE
    job.clock.turn(AHEAD)
    job.renew_lease(trial)
    job.clock.turn(-AHEAD)
    job.report(trial, 1, metric=0.1)
    assert job.show(trial).lease_expires_at == job.clock() + LEASE
