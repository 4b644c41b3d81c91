"""Reads across jobs, on each engine."""

from dataclasses import replace
from datetime import timedelta

from rheostat.service import Counts, Service
from rheostat.storage.queries import counts, page_of_jobs
from tests.domain.examples import A40, LEASE, V100, Clock
from tests.service.examples import converge, predict, register, report


def _ids(service: Service, after: str = "", limit: int = 10) -> list[str]:
    return [job.job_id for job in page_of_jobs(service.database, service.namespace, after=after, limit=limit)]


def test_a_page_has_the_jobs_of_one_namespace_after_an_id(service: Service) -> None:
    for job_id in ("b", "d", "a"):
        register(service, job_id)
    register(replace(service, namespace="vision"), "c")
    assert _ids(service) == ["a", "b", "d"]
    assert _ids(service, after="a", limit=1) == ["b"]
    assert _ids(service, after="c") == ["d"]
    assert _ids(service, after="d") == []
    assert _ids(replace(service, namespace="vision")) == ["c"]


def test_the_jobs_of_a_page_come_with_their_placements_alone(service: Service) -> None:
    register(service, "idle")
    register(service)
    predict(service)
    report(service, predict(service, A40), 0, outcome="oom")
    idle, busy = page_of_jobs(service.database, service.namespace, after="", limit=10)
    assert idle.placements == {}
    assert [(placement.gpu_model, placement.smallest_oom_batch_size) for placement in busy.placements.values()] == [
        (V100.model, None),
        (A40.model, 32),
    ]
    assert (busy.next_trial_number, busy.states, busy.running) == (3, {}, {})


def test_jobs_and_running_trials_are_counted_in_all_namespaces(service: Service, clock: Clock) -> None:
    assert counts(service.database, clock()) == Counts(0, 0)
    for one in (service, replace(service, namespace="vision")):
        register(one)
        predict(one)
    converge(service, predict(service), 100.0)
    assert counts(service.database, clock()) == Counts(2, 2)
    assert counts(service.database, clock() + LEASE) == Counts(2, 2)
    assert counts(service.database, clock() + LEASE + timedelta(microseconds=1)) == Counts(2, 0)
