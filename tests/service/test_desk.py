"""Decisions from memory: as good as those under the lock, and never wrong for what another process did meanwhile."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection, select

from rheostat import service as use_cases
from rheostat.errors import InvalidInput, JobNotFound, TrialNotFound
from rheostat.schemas.server import JobUpdate, ObserveRequest, PredictRequest, Trial
from rheostat.service import Service, desk
from rheostat.service.desk import Decision, Desk, Settled
from rheostat.storage.engine import Database
from rheostat.storage.tables import jobs, policy_states, trials
from tests.service.examples import A40, JOB, V100, Clock, converge, predict, recur, register, report

JOULES = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}


@pytest.fixture
def other(service: Service, database_url: str) -> Iterator[Service]:
    """The same service as another process has it: it remembers for itself."""
    database = Database(database_url)
    yield replace(Service(database), lease=service.lease, now=service.now)
    database.close()


def _wants(service: Service) -> Decision[Trial]:
    return use_cases.to_predict(service, JOB, PredictRequest(gpu=V100), None)


def _numbers(service: Service) -> list[int]:
    page = use_cases.list_trials(service, JOB, state=None, cursor=None, limit=200)
    return sorted(trial.number for trial in page.trials)


def _is_what_a_rebuild_makes(service: Service) -> bool:
    def states() -> list[tuple[object, ...]]:
        query = select(policy_states).order_by(policy_states.c.placement_pk, policy_states.c.part)
        return service.database.read(lambda connection: [tuple(row) for row in connection.execute(query)])

    before = states()
    use_cases.rebuild_job(service, JOB)
    return states() == before


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_memory_decides_as_a_process_that_remembers_nothing(service: Service, policy: str) -> None:
    chosen: dict[str, list[tuple[object, ...]]] = {}
    for job_id, forgets in (("remembered", False), ("forgotten", True)):
        register(service, job_id, policy=policy)
        chosen[job_id] = []
        for at in range(25):
            asked = replace(service, own_desk=Desk(service.database)) if forgets else service
            trial = use_cases.predict(asked, job_id, PredictRequest(gpu=V100), None)
            joules = JOULES[trial.batch_size] * (1 + at % 3 / 100)
            request = ObserveRequest(epoch=1, metric=0.95, energy_joules=joules, time_seconds=1)
            asked = replace(service, own_desk=Desk(service.database)) if forgets else service
            answer = use_cases.observe(asked, trial.trial_id, request)
            chosen[job_id].append((trial.number, trial.batch_size, trial.reason, answer.state, answer.reason))
    assert chosen["remembered"] == chosen["forgotten"]
    assert len({decision[1] for decision in chosen["remembered"]}) > 1


def test_two_processes_that_take_turns_number_without_twins(service: Service, other: Service) -> None:
    register(service)
    for _ in range(5):
        for one in (service, other):
            recur(one, JOULES)
    assert _numbers(service) == list(range(1, 11))
    assert _is_what_a_rebuild_makes(service)


def test_a_batch_decided_on_what_another_process_changed_is_decided_anew(service: Service, other: Service) -> None:
    register(service)
    recur(service, JOULES)
    # As many changes as the first of the batch imagines: its followers must not take them for their own.
    recur(other, JOULES)
    settled = service.desk.settle([_wants(service) for _ in range(4)])
    numbers = [answer.answer.number for answer in settled if answer is not None]
    assert numbers == [3, 4, 5, 6]
    assert predict(other).number == 7
    assert _numbers(service) == list(range(1, 8))


def test_two_processes_on_one_hot_job_decide_together_under_its_lock(service: Service, other: Service) -> None:
    """One after the other under the lock, a hot job would take a tenth of the decisions."""
    register(service, policy="rheostat")
    recur(service, JOULES)
    for _ in range(3):
        for one in (service, other):
            trial = predict(one)
            report(one, trial, 1, metric=0.1, energy_joules=100.0)
            less = ObserveRequest(epoch=2, metric=0.2, energy_joules=1.0)
            wrong = use_cases.to_observe(one, trial.trial_id, less)
            *decided, refused = one.desk.settle([*[_wants(one) for _ in range(4)], wrong])
            assert [settled is not None for settled in decided] == [True] * 4
            assert refused is None
            with pytest.raises(InvalidInput, match="total"):
                wrong.under_lock()
    assert _numbers(service) == list(range(1, 32))
    assert _is_what_a_rebuild_makes(service)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has one writer, whatever the job
def test_a_job_that_somebody_else_keeps_locked_does_not_hold_up_the_desk(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "LOCK_WAIT_SECONDS", 0.2)
    register(service)
    recur(service, JOULES)
    recur(other, JOULES)

    def meanwhile(connection: Connection) -> list[Settled | None]:
        connection.execute(select(jobs).with_for_update())
        return service.desk.settle([_wants(service), _wants(service)])

    assert other.database.write(meanwhile) == [None, None]
    assert predict(service).number == 3


def test_many_decisions_share_one_commit_and_each_has_its_answer(service: Service) -> None:
    register(service)
    recur(service, JOULES)
    begun = [answer.answer for answer in service.desk.settle([_wants(service) for _ in range(5)]) if answer]
    assert [trial.number for trial in begun] == [2, 3, 4, 5, 6]
    questions = [
        use_cases.to_observe(service, trial.trial_id, ObserveRequest(epoch=1, metric=0.95, energy_joules=100.0))
        for trial in begun
    ]
    ended = service.desk.settle([*questions, use_cases.to_heartbeat(service, begun[0].trial_id)])
    assert [answer.answer.state for answer in ended[:5] if answer] == ["converged"] * 5
    assert ended[5] is None or ended[5].answer.state == "running"
    assert use_cases.heartbeat(service, begun[0].trial_id).state == "converged"
    assert _is_what_a_rebuild_makes(service)


def test_one_that_fails_takes_nobody_along(service: Service) -> None:
    register(service)
    recur(service, JOULES)
    trial = predict(service, key="again")
    converge(service, trial, 100.0)
    same = use_cases.to_predict(service, JOB, PredictRequest(gpu=V100), "again")
    settled = service.desk.settle([_wants(service), same, _wants(service)])
    answers = [question.under_lock() if answer is None else answer.answer
               for question, answer in zip([_wants(service), same, _wants(service)], settled, strict=True)]  # fmt: skip
    assert answers[1].trial_id == trial.trial_id
    assert sorted({answer.number for answer in answers}) == [2, 3, 4]


def test_what_another_process_changed_counts_at_once(service: Service, other: Service) -> None:
    register(service)
    recur(service, JOULES)
    use_cases.update_job(other, JOB, JobUpdate(batch_sizes=[4, 8, 16, 32, 64, 128], eta_knob=1.0))
    predict(service)
    report(other, predict(other, A40), 1, outcome="oom")
    assert predict(service, A40).batch_size < 32
    use_cases.delete_job(other, JOB, force=True)
    with pytest.raises(JobNotFound):
        predict(service)
    register(other)
    assert predict(service).number == 1


def test_a_job_in_the_row_of_a_deleted_one_does_not_pass_for_it(service: Service, other: Service) -> None:
    register(service)
    recur(service, JOULES)
    known = predict(service)
    use_cases.delete_job(other, JOB, force=True)
    register(other)
    recur(other, JOULES)
    with pytest.raises(TrialNotFound):
        converge(service, known, 100.0)
    assert predict(service).number == 2


def test_too_many_running_trials_are_not_remembered_and_still_counted(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rheostat.service.desk.MOST_RUNNING", 3)
    monkeypatch.setattr("rheostat.service.remembered.MOST_RUNNING", 3)
    register(service)
    begun = [predict(service) for _ in range(8)]
    assert [trial.number for trial in begun] == list(range(1, 9))
    for trial in begun:
        assert converge(service, trial, 100.0).state == "converged"
    assert _is_what_a_rebuild_makes(service)


def test_only_so_many_jobs_are_remembered(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rheostat.service.remembered.MOST_JOBS", 2)
    begun = {}
    for job_id in ("a", "b", "c"):
        register(service, job_id)
        begun[job_id] = use_cases.predict(service, job_id, PredictRequest(gpu=V100), None)
    for job_id, trial in begun.items():
        assert converge(service, trial, 100.0).state == "converged", job_id


def test_a_sign_of_life_in_another_process_keeps_a_trial_that_memory_takes_for_lost(
    service: Service, other: Service, clock: Clock
) -> None:
    register(service)
    recur(service, JOULES)
    trial = predict(service)
    clock.turn(service.lease * 0.9)
    use_cases.heartbeat(other, trial.trial_id)
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
    use_cases.update_job(service, JOB, JobUpdate(eta_knob=1.0))
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


def test_a_trial_of_another_namespace_is_not_there_even_for_a_desk_that_remembers_it(service: Service) -> None:
    others = replace(service, namespace="vision")
    register(service)
    trial = predict(service)
    before = use_cases.get_trial(service, trial.trial_id)
    request = ObserveRequest(epoch=1, metric=0.5, energy_joules=1, time_seconds=1)
    for asks in (
        lambda: use_cases.observe(others, trial.trial_id, request),
        lambda: use_cases.heartbeat(others, trial.trial_id),
    ):
        with pytest.raises(TrialNotFound):
            asks()
    assert use_cases.get_trial(service, trial.trial_id) == before
    with pytest.raises(JobNotFound):
        predict(others)
    assert use_cases.observe(service, trial.trial_id, request).action == "continue"
