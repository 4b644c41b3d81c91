"""The history of a job in SQL: the same on both engines as in memory."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from rheostat.domain.job import Job
from rheostat.domain.records import Evidence
from rheostat.service import Service
from rheostat.storage.history import StoredHistory
from rheostat.storage.job_store import JobStore
from tests.domain.examples import JOB, LEASE, Clock, ExampleJob
from tests.domain.histories import STEPS, Step, take
from tests.domain.history_contract import HistoryContract, MakeJob
from tests.service.examples import ServedJob, converge, delete, predict, register


class TestStoredHistory(HistoryContract):
    @pytest.fixture
    def make_job(self, service: Service) -> MakeJob:
        return partial(ServedJob, service)


def _stored(service: Service) -> tuple[Job, list[Evidence]]:
    """Return the job and its evidence as a process without a cache reads them."""
    return JobStore(service.database).read(service.job(JOB), lambda job, history: (job, history.evidence()))


@hypothesis_settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
@given(steps=STEPS)
def test_what_is_stored_is_what_a_job_in_memory_comes_to(service: Service, policy: str, steps: list[Step]) -> None:
    stored, memory = ServedJob(service, policy=policy), ExampleJob(policy=policy)
    for step in steps:
        take(stored, step)
        take(memory, step)
    job, evidence = _stored(service)
    assert replace(job, created_at=memory.new.created_at, updated_at=memory.value.updated_at) == memory.value
    assert evidence == memory.read(lambda _, history: history.evidence())
    delete(service)


def _page(
    service: Service, clock: Clock, state: str | None, *, before: int | None = None, limit: int = 10
) -> list[int]:
    def numbers(_: Job, history: StoredHistory) -> list[int]:
        return [trial.number for trial in history.trials(state=state, now=clock(), before=before, limit=limit)]

    return service.jobs.read(service.job(JOB), numbers)


def test_a_page_has_the_newest_trials_below_a_number(service: Service, clock: Clock) -> None:
    register(service)
    for _ in range(5):
        predict(service)
    assert _page(service, clock, None) == [5, 4, 3, 2, 1]
    assert _page(service, clock, None, before=4, limit=2) == [3, 2]
    assert _page(service, clock, None, before=1) == []


def test_a_trial_whose_lease_has_expired_is_on_the_page_of_the_abandoned_ones(service: Service, clock: Clock) -> None:
    register(service)
    predict(service)
    clock.turn(LEASE)
    assert (_page(service, clock, "running"), _page(service, clock, "abandoned")) == ([1], [])
    clock.turn(timedelta(microseconds=1))
    assert (_page(service, clock, "running"), _page(service, clock, "abandoned")) == ([], [1])
    converge(service, predict(service), 100.0)  # writes that the first one is abandoned
    assert (_page(service, clock, "running"), _page(service, clock, "abandoned")) == ([], [1])
    predict(service)
    pages = [_page(service, clock, state) for state in ("running", "abandoned", "converged", "failed", None)]
    assert pages == [[3], [1], [2], [], [3, 2, 1]]


def test_a_page_of_a_state_is_filled_whatever_lies_between(service: Service, clock: Clock) -> None:
    register(service)
    for _ in range(3):
        converge(service, predict(service), 100.0)
        predict(service)
    assert _page(service, clock, "converged", limit=2) == [5, 3]
    assert _page(service, clock, "converged", before=3, limit=2) == [1]


def test_a_trial_and_a_key_of_another_job_are_not_found(service: Service) -> None:
    register(service)
    register(service, "another")
    trial = predict(service, key="run-1")
    key = service.job("another")
    assert service.jobs.read(key, lambda _, history: history.trial(trial.trial_id)) is None
    assert service.jobs.read(key, lambda _, history: history.trial_by_key("run-1")) is None
    assert service.jobs.read(key, lambda _, history: history.evidence()) == []
