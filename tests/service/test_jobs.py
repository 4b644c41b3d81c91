"""Registering, changing, listing, deleting and rebuilding jobs."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from sqlalchemy import select

from rheostat import service as use_cases
from rheostat.errors import InvalidInput, JobBusy, JobNotFound, TrialNotFound
from rheostat.service import Service
from rheostat.storage.tables import jobs, policy_states
from tests.domain.examples import A40, JOB, LEASE, V100, Clock, settings
from tests.domain.histories import KINDS, STEPS, Step, take
from tests.service.examples import ServedJob, converge, delete, done, measure, predict, register, report, restarted


def test_a_job_is_new_once_and_then_found_again(service: Service) -> None:
    job, is_new = done(use_cases.register_job(service, JOB, settings()))
    again, is_new_again = done(use_cases.register_job(service, JOB, settings()))
    assert (is_new, is_new_again) == (True, False)
    assert again == job == use_cases.get_job(service, JOB)


def test_a_registration_that_is_refused_leaves_no_job(service: Service) -> None:
    with pytest.raises(InvalidInput, match="zeus"):
        register(service, policy="missing")
    with pytest.raises(JobNotFound):
        use_cases.get_job(service, JOB)


def test_without_a_seed_the_server_picks_one_and_keeps_it(service: Service) -> None:
    register(service, "a", seed=None)
    register(service, "b", seed=None)
    first, second = (use_cases.get_job(service, job_id).effective_seed for job_id in "ab")
    assert first != second
    assert done(use_cases.register_job(service, "a", settings(seed=None)))[0].effective_seed == first


def test_jobs_are_listed_page_by_page_in_the_order_of_their_ids(service: Service) -> None:
    for job_id in ("c", "a", "d", "b", "e"):
        register(service, job_id)
    pages, cursor = [], None
    while True:
        page = use_cases.list_jobs(service, cursor=cursor, limit=2)
        pages.append([job.job_id for job in page.jobs])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == [["a", "b"], ["c", "d"], ["e"]]


def test_a_job_with_running_trials_is_deleted_only_by_force(service: Service) -> None:
    register(service)
    trial = predict(service)
    with pytest.raises(JobBusy):
        done(use_cases.delete_job(service, JOB, force=False))
    assert use_cases.get_trial(service, trial.trial_id).state == "running"
    done(use_cases.delete_job(service, JOB, force=True))
    with pytest.raises(JobNotFound):
        use_cases.get_job(service, JOB)
    with pytest.raises(TrialNotFound):
        report(service, trial, 1)


def test_a_job_whose_trials_are_all_over_or_lost_is_deleted(service: Service, clock: Clock) -> None:
    register(service)
    converge(service, predict(service), 100.0)
    predict(service)
    clock.turn(2 * LEASE)
    done(use_cases.delete_job(service, JOB, force=False))
    assert use_cases.list_jobs(service, cursor=None, limit=10).jobs == []


@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
@given(steps=STEPS)
def test_a_rebuild_gives_the_state_that_is_stored(service: Service, policy: str, steps: list[Step]) -> None:
    """Whatever happened, and on which GPU: the state is a fold over the evidence."""
    job = ServedJob(service, window_size=3, policy=policy)
    for step in steps:
        take(job, step)
    before = _states(service)
    done(use_cases.rebuild_job(service, JOB))
    assert _states(service) == before
    delete(service)


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_a_rebuild_of_a_job_to_which_everything_happened_gives_what_is_stored(service: Service, policy: str) -> None:
    job = ServedJob(service, policy=policy)
    take(job, ("measure", V100, 300.0))
    take(job, ("no room", V100, 300.0))
    for gpu, figure in ((V100, 300.0), (A40, 90.0)):
        for kind in KINDS:
            take(job, (kind, gpu, figure))
            if kind in ("pin", "force", "pause"):
                take(job, ("slowly", gpu, figure))
                take(job, ("withdraw", gpu, figure))
    before = _states(service)
    shown = use_cases.estimates(service, JOB), use_cases.savings(service, JOB)
    other = restarted(service)
    done(use_cases.rebuild_job(other, JOB))
    assert _states(service) == before
    assert (use_cases.estimates(other, JOB), use_cases.savings(other, JOB)) == shown
    parts = {part for _, part, *_ in before}
    assert parts >= {"batch_size", "power_limit", "energy", "survey", "beginnings"}


def _states(service: Service) -> list[tuple[object, ...]]:
    query = select(policy_states).order_by(policy_states.c.placement_pk, policy_states.c.part)
    return service.database.read(lambda connection: [tuple(row) for row in connection.execute(query)])


def test_a_rebuild_says_how_much_it_folded(service: Service) -> None:
    register(service)
    converge(service, predict(service), 100.0)
    measure(service, 32, w250=10.0, w200=9.0)
    assert done(use_cases.rebuild_job(service, JOB)) == 3
    with pytest.raises(JobNotFound):
        done(use_cases.rebuild_job(service, "another"))
    assert service.database.read(lambda c: c.execute(select(jobs.c.next_sequence)).scalar_one()) == 4
