"""One way to change a job: as good from the cache as without, and right whatever another process did meanwhile."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, select

from rheostat import service as use_cases
from rheostat.domain.history import History
from rheostat.domain.job import Changes, Decision, Job
from rheostat.errors import DatabaseBusy, InvalidInput, JobNotFound, RheostatError, TrialNotFound
from rheostat.schemas.server import JobUpdate
from rheostat.schemas.trials import ObserveRequest, PredictRequest, Trial
from rheostat.service import Service
from rheostat.storage import engine, job_cache
from rheostat.storage.engine import Database
from rheostat.storage.job_store import JobStore
from rheostat.storage.tables import jobs, policy_states, trials
from tests.domain.examples import A40, JOB, V100, Clock
from tests.service.examples import converge, done, predict, recur, register, report
from tests.waiting import PATIENCE_SECONDS

JOULES = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}


@pytest.fixture
def other(service: Service) -> Iterator[Service]:
    """The same service as another process has it: with a cache of its own."""
    database = Database(service.database.url.render_as_string(hide_password=False))
    made = replace(service, database=database, jobs=JobStore(database))
    yield made
    made.jobs.close()
    database.close()


@contextmanager
def _held(service: Service) -> Iterator[None]:
    """Let changes wait until the end of the block, so that they share one commit."""
    entered, release = Event(), Event()

    def wait(job: Job, _: History) -> Decision[None]:
        entered.set()
        assert release.wait(PATIENCE_SECONDS)
        return Decision(None, job)

    holding = service.change(service.job(JOB), wait)
    assert entered.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        release.set()
        holding.result(PATIENCE_SECONDS)


def _wanted(service: Service, job_id: str = JOB, key: str | None = None) -> Future[Decision[Trial]]:
    return use_cases.predict(service, job_id, PredictRequest(gpu=V100), key)


def _together(service: Service, count: int) -> list[Trial]:
    """Return trials that were made in one commit."""
    with _held(service):
        changes = [_wanted(service) for _ in range(count)]
    return [done(change) for change in changes]


def _numbers(service: Service) -> list[int]:
    page = use_cases.list_trials(service, JOB, state=None, cursor=None, limit=200)
    return sorted(trial.number for trial in page.trials)


def _is_what_a_rebuild_makes(service: Service) -> bool:
    def states() -> list[tuple[object, ...]]:
        query = select(policy_states).order_by(policy_states.c.placement_pk, policy_states.c.part)
        return service.database.read(lambda connection: [tuple(row) for row in connection.execute(query)])

    before = states()
    done(use_cases.rebuild_job(service, JOB))
    return states() == before


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_a_cached_job_is_decided_about_as_one_that_is_read_each_time(service: Service, policy: str) -> None:
    chosen: dict[str, list[tuple[object, ...]]] = {}
    for job_id, cached in (("cached", True), ("read", False)):
        register(service, job_id, policy=policy)
        chosen[job_id] = []
        for at in range(25):
            asked = service if cached else replace(service, jobs=JobStore(service.database))
            trial = done(use_cases.predict(asked, job_id, PredictRequest(gpu=V100), None))
            joules = JOULES[trial.batch_size] * (1 + at % 3 / 100)
            request = ObserveRequest(epoch=1, metric=0.95, energy_joules=joules, time_seconds=1)
            answer = done(use_cases.observe(asked, trial.trial_id, request))
            chosen[job_id].append((trial.number, trial.batch_size, trial.reason, answer.state, answer.reason))
            if not cached:
                asked.jobs.close()
    assert chosen["cached"] == chosen["read"]
    assert len({decision[1] for decision in chosen["cached"]}) > 1


def test_two_processes_that_take_turns_number_without_twins(service: Service, other: Service) -> None:
    register(service)
    for _ in range(5):
        for one in (service, other):
            recur(one, JOULES)
    assert _numbers(service) == list(range(1, 11))
    assert _is_what_a_rebuild_makes(service)


def test_changes_of_one_commit_build_on_what_another_process_changed(service: Service, other: Service) -> None:
    register(service)
    recur(service, JOULES)
    recur(other, JOULES)
    assert [trial.number for trial in _together(service, 4)] == [3, 4, 5, 6]
    assert predict(other).number == 7
    assert _numbers(service) == list(range(1, 8))


def test_two_processes_on_one_hot_job_refuse_only_what_is_wrong(service: Service, other: Service) -> None:
    register(service, policy="rheostat")
    recur(service, JOULES)
    for _ in range(3):
        for one in (service, other):
            trial = predict(one)
            report(one, trial, 1, metric=0.1, energy_joules=100.0)
            with _held(one):
                wanted = [_wanted(one) for _ in range(4)]
                less = use_cases.observe(one, trial.trial_id, ObserveRequest(epoch=2, metric=0.2, energy_joules=1.0))
            assert len({done(change).trial_id for change in wanted}) == 4
            with pytest.raises(InvalidInput, match="total"):
                done(less)
    assert _numbers(service) == list(range(1, 32))
    assert _is_what_a_rebuild_makes(service)


@contextmanager
def _locked(other: Service) -> Iterator[None]:
    """Lock the job in a transaction of another process for as long as the block lasts."""
    entered, release = Event(), Event()

    def hold(connection: Connection) -> None:
        connection.execute(select(jobs).where(jobs.c.job_id == JOB).with_for_update())
        entered.set()
        assert release.wait(PATIENCE_SECONDS)

    holder = Thread(target=other.database.write, args=(hold,))
    holder.start()
    assert entered.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        release.set()
        holder.join(PATIENCE_SECONDS)


@pytest.mark.parametrize("migrated", ["postgresql"], indirect=True)  # SQLite has one writer, whatever the job
def test_a_job_that_another_transaction_locks_does_not_delay_the_others(service: Service, other: Service) -> None:
    register(service)
    register(service, "another")
    with _locked(other):
        waiting = [_wanted(service) for _ in range(3)]
        assert done(_wanted(service, "another")).number == 1
        assert not any(change.done() for change in waiting)
    assert sorted(done(change).number for change in waiting) == [1, 2, 3]
    assert predict(service).number == 4


@pytest.mark.parametrize("migrated", ["postgresql"], indirect=True)
def test_a_lock_that_lasts_too_long_is_an_error_that_says_so(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_TIMEOUT_SECONDS", 1)
    register(service)
    impatient = Database(str(other.database.url.render_as_string(hide_password=False)))
    store = JobStore(impatient)
    with _locked(other):
        refused = _wanted(replace(service, database=impatient, jobs=store))
        with pytest.raises(DatabaseBusy, match="database lock"):
            done(refused)
    store.close()
    impatient.close()
    assert predict(service).number == 1


def test_many_changes_share_one_commit_and_each_has_its_answer(service: Service) -> None:
    register(service)
    recur(service, JOULES)
    begun = _together(service, 5)
    assert [trial.number for trial in begun] == [2, 3, 4, 5, 6]
    with _held(service):
        reports = [
            use_cases.observe(service, trial.trial_id, ObserveRequest(epoch=1, metric=0.95, energy_joules=100.0))
            for trial in begun
        ]
        beat = use_cases.heartbeat(service, begun[0].trial_id)
    assert [done(change).state for change in reports] == ["converged"] * 5
    assert done(beat).state == "converged"
    assert _is_what_a_rebuild_makes(service)


def test_a_change_reads_what_an_earlier_one_of_the_same_commit_wrote(service: Service) -> None:
    register(service)
    with _held(service):
        twins = [_wanted(service, key="same") for _ in range(3)]
    assert len({done(change).trial_id for change in twins}) == 1
    assert _numbers(service) == [1]


def test_one_decision_that_fails_takes_no_other_with_it(service: Service) -> None:
    register(service)

    def fail(job: Job, _: History) -> Decision[Any]:
        raise ZeroDivisionError

    with _held(service):
        changes: Sequence[Future[Decision[Trial]]] = [_wanted(service), _wanted(service)]
        failed = service.change(service.job(JOB), fail)
        missing = _wanted(service, "nowhere")
        last = _wanted(service)
    assert [done(change).number for change in (*changes, last)] == [1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        done(failed)
    with pytest.raises(JobNotFound):
        done(missing)


def test_a_figure_that_the_database_refuses_fails_by_itself(service: Service) -> None:
    register(service)

    def overflow(job: Job, _: History) -> Decision[None]:
        trial = replace(next(iter(job.running.values())), sequence=2**70)
        return Decision(None, replace(job, next_sequence=2), Changes(trials=(trial,)))

    with _held(service):
        good = [_wanted(service), _wanted(service)]
        bad = service.change(service.job(JOB), overflow)
    assert sorted(done(change).number for change in good) == [1, 2]
    with pytest.raises((RheostatError, OverflowError)):
        done(bad)
    assert predict(service).number == 3


def test_a_change_that_is_no_longer_wanted_is_not_made(service: Service) -> None:
    register(service)
    with _held(service):
        unwanted = _wanted(service)
        assert unwanted.cancel()
    assert predict(service).number == 1


def test_what_another_process_changed_counts_at_once(service: Service, other: Service) -> None:
    register(service)
    recur(service, JOULES)
    done(use_cases.update_job(other, JOB, JobUpdate(batch_sizes=[4, 8, 16, 32, 64, 128], eta_knob=1.0)))
    predict(service)
    report(other, predict(other, A40), 1, outcome="oom")
    assert predict(service, A40).batch_size < 32
    done(use_cases.delete_job(other, JOB, force=True))
    with pytest.raises(JobNotFound):
        predict(service)
    register(other)
    assert predict(service).number == 1


def test_a_job_in_the_row_of_a_deleted_one_does_not_pass_for_it(service: Service, other: Service) -> None:
    register(service)
    recur(service, JOULES)
    known = predict(service)
    done(use_cases.delete_job(other, JOB, force=True))
    register(other)
    recur(other, JOULES)
    with pytest.raises(TrialNotFound):
        converge(service, known, 100.0)
    assert predict(service).number == 2


def test_a_job_with_too_many_running_trials_is_not_cached_and_still_right(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_cache, "MOST_RUNNING", 3)
    register(service)
    begun = [predict(service) for _ in range(8)]
    assert [trial.number for trial in begun] == list(range(1, 9))
    for trial in begun:
        assert converge(service, trial, 100.0).state == "converged"
    assert _is_what_a_rebuild_makes(service)


def test_only_so_many_jobs_are_cached(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_cache, "MOST_JOBS", 2)
    begun = {}
    for job_id in ("a", "b", "c"):
        register(service, job_id)
        begun[job_id] = done(use_cases.predict(service, job_id, PredictRequest(gpu=V100), None))
    for job_id, trial in begun.items():
        assert converge(service, trial, 100.0).state == "converged", job_id


def test_a_heartbeat_in_another_process_keeps_a_trial_whose_cached_lease_has_expired(
    service: Service, other: Service, clock: Clock
) -> None:
    register(service)
    recur(service, JOULES)
    trial = predict(service)
    clock.turn(service.lease * 0.9)
    done(use_cases.heartbeat(other, trial.trial_id))
    clock.turn(service.lease * 0.5)
    predict(service)
    assert use_cases.get_trial(service, trial.trial_id).state == "running"
    clock.turn(service.lease)
    predict(service)
    query = select(trials.c.state).where(trials.c.trial_id == trial.trial_id)
    assert service.database.read(lambda connection: connection.execute(query).scalar_one()) == "abandoned"


def test_every_change_gives_the_job_another_version(service: Service) -> None:
    def version() -> int:
        query = select(jobs.c.version).where(jobs.c.job_id == JOB)
        return service.database.read(lambda connection: int(connection.execute(query).scalar_one()))

    register(service)
    seen = {version()}
    trial = predict(service)
    seen.add(version())
    report(service, trial, 0.5, metric=0.1)
    seen.add(version())
    done(use_cases.update_job(service, JOB, JobUpdate(eta_knob=1.0)))
    seen.add(version())
    converge(service, trial, 100.0)
    seen.add(version())
    assert len(seen) == 5


def test_a_job_of_the_same_name_in_another_namespace_is_another_job(service: Service) -> None:
    others = replace(service, namespace="vision")
    for one, policy in ((service, "zeus"), (others, "rheostat")):
        register(one, policy=policy)
    mine, theirs = [[predict(one) for one in (service, others)] for _ in range(2)]
    assert [trial.number for trial in mine + theirs] == [1, 1, 2, 2]
    assert _numbers(service) == _numbers(others) == [1, 2]
    assert len({trial.trial_id for trial in mine + theirs}) == 4


def test_a_trial_of_another_namespace_does_not_exist_even_where_its_job_is_cached(service: Service) -> None:
    others = replace(service, namespace="vision")
    register(service)
    trial = predict(service)
    before = use_cases.get_trial(service, trial.trial_id)
    request = ObserveRequest(epoch=1, metric=0.5, energy_joules=1, time_seconds=1)
    for asks in (
        lambda: done(use_cases.observe(others, trial.trial_id, request)),
        lambda: done(use_cases.heartbeat(others, trial.trial_id)),
    ):
        with pytest.raises(TrialNotFound):
            asks()
    assert use_cases.get_trial(service, trial.trial_id) == before
    with pytest.raises(JobNotFound):
        predict(others)
    assert done(use_cases.observe(service, trial.trial_id, request)).action == "continue"
