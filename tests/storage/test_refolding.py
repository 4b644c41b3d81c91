"""States that are derived while all else goes on: nothing waits for that, and nothing of what comes is lost."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from random import Random
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sql

from rheostat import service as use_cases
from rheostat.domain.history import History
from rheostat.domain.job import Job
from rheostat.domain.records import StatePart
from rheostat.domain.refold import derive
from rheostat.errors import DatabaseBusy, DatabaseUnavailable, JobNotFound, PolicyFailed
from rheostat.policy.interface import State
from rheostat.policy.zeus import PruningThompsonSampling
from rheostat.schemas.control import OrderRequest
from rheostat.schemas.server import Gpu, JobUpdate
from rheostat.schemas.trials import ObserveRunRequest, PredictRequest
from rheostat.service import Decision, Service
from rheostat.storage import history, job_store, refolding
from rheostat.storage.engine import Database
from rheostat.storage.history import Page
from rheostat.storage.job_store import JobStore
from rheostat.storage.stored_job import Key
from rheostat.storage.tables import policy_states
from tests.domain.examples import A40, JOB, V100, Clock
from tests.service.examples import done, measure, predict, recur, register, report
from tests.waiting import PATIENCE_SECONDS

JOULES = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}
LOWER = {"metric": "accuracy", "value": 0.5, "direction": "maximize"}


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few pieces of evidence be too many for a decision."""
    monkeypatch.setattr(refolding, "PAGE", 2)
    monkeypatch.setattr(refolding, "LEFT", 0)
    monkeypatch.setattr(history, "MOST_AT_ONCE", 1)


@pytest.fixture
def other(service: Service) -> Iterator[Service]:
    """The same service as another process has it: with a cache of its own."""
    database = Database(service.database.url.render_as_string(hide_password=False))
    made = replace(service, database=database, jobs=JobStore(database))
    yield made
    made.jobs.close()
    database.close()


def _with_past(service: Service, **settings: Any) -> None:
    """Let a job run on two placements, until there are too many pieces of evidence for a decision."""
    register(service, **settings)
    for _ in range(3):
        recur(service, JOULES)
    measure(service, 32, w250=30.0, w200=28.0)
    _import(service, A40)


def _import(service: Service, gpu: Gpu, **figures: Any) -> None:
    run = ObserveRunRequest(batch_size=64, gpu=gpu, energy_joules=150.0, time_seconds=1.5, **figures)
    done(use_cases.observe_run(service, JOB, run, None))


def _update(service: Service, **changes: Any) -> Future[Decision[Any]]:
    return use_cases.update_job(service, JOB, JobUpdate.model_validate(changes))


def _before_each_page(service: Service, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    refolder = service.jobs._refolder
    read = refolder._page

    def page(key: Key, since: int) -> tuple[Job, Page]:
        work()
        return read(key, since)

    monkeypatch.setattr(refolder, "_page", page)


def _states(service: Service) -> Any:
    return service.jobs.read(service.job(JOB), lambda job, _: job.states)


def _learned(parts: Mapping[StatePart, State]) -> dict[StatePart, State]:
    """Return the parts of a placement's state that are derived from evidence."""
    return {part: state for part, state in parts.items() if part not in ("beginnings", "totals")}


def _is_derived(service: Service) -> bool:
    """Return whether the stored states are what a fold of all evidence makes."""

    def compare(job: Job, past: History) -> bool:
        derived = derive(job, past).states
        stored = {key: _learned(parts) for key, parts in job.states.items()}
        return bool(stored == derived)

    return JobStore(service.database).read(service.job(JOB), compare)


_CHANGES: dict[str, Callable[[Service], Future[Decision[Any]]]] = {
    "policy": lambda service: _update(service, policy="rheostat"),
    "target": lambda service: _update(service, target=LOWER, max_epochs=5),
    "window": lambda service: _update(service, window_size=2, eta_knob=0.9),
    "rebuild": lambda service: use_cases.rebuild_job(service, JOB),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("change", _CHANGES)
def test_states_are_those_of_all_evidence_whatever_came_while_they_were_derived(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch, change: str, seed: int
) -> None:
    draw = Random(seed)
    learned = [0]

    def learn(work: Callable[[], object]) -> None:
        work()
        learned[0] += 1

    def fail() -> None:
        report(other, predict(other), 1, outcome="failed", metric=0.6)

    def unknown_gpu() -> None:
        _import(other, Gpu(model=f"GPU {draw.randrange(2)}"))

    def known_gpu() -> None:  # prices what an unknown one cost again
        limits: Any = {"min_power_limit_watts": 100, "max_power_limit_watts": 400}
        _import(other, Gpu(model=f"GPU {draw.randrange(2)}", **limits))

    actions: list[Callable[[], object]] = [
        *[lambda: learn(lambda: recur(other, JOULES))] * 4,
        lambda: learn(lambda: measure(other, 64, A40, w250=20.0 + draw.random())),
        lambda: learn(fail),
        lambda: learn(unknown_gpu),
        lambda: learn(known_gpu),
        lambda: predict(other),
        lambda: done(_update(other, beta_knob=2.0 + draw.random(), learning_rate=None)),
        lambda: done(use_cases.pin_job(other, JOB, OrderRequest(batch_size=64))),
    ]
    left = [8]

    def meanwhile() -> None:
        if left[0] and draw.random() < 0.7:
            left[0] -= 1
            draw.choice(actions)()

    _with_past(service)
    before = service.jobs.read(service.job(JOB), lambda job, _: job.next_sequence)
    _before_each_page(service, monkeypatch, meanwhile)
    done(_CHANGES[change](service))
    assert _is_derived(service)
    evidence = service.jobs.read(service.job(JOB), lambda _, past: past.evidence())
    assert [piece.sequence for piece in evidence] == list(range(1, before + learned[0]))
    assert left[0] < 8


def test_the_job_and_all_others_go_on_while_states_are_derived(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_past(service)
    register(service, "another")
    entered, release = Event(), Event()

    def stand_still() -> None:
        entered.set()
        assert release.wait(PATIENCE_SECONDS)

    _before_each_page(service, monkeypatch, stand_still)
    changed = _update(service, policy="rheostat")
    assert entered.wait(PATIENCE_SECONDS)
    for one in (service, other):
        recur(one, JOULES)
        assert use_cases.get_job(one, JOB).settings.policy == "zeus"
        assert done(use_cases.predict(one, "another", PredictRequest(gpu=V100), None)).job_id == "another"
    assert not changed.done()
    assert not changed.cancel()  # as where a client goes away: what it asked for is done
    release.set()
    assert done(changed).settings.policy == "rheostat"
    assert _is_derived(service)


def test_changes_of_one_job_at_once_are_all_made(service: Service, other: Service) -> None:
    _with_past(service)
    wanted = [
        _update(service, policy="rheostat"),
        use_cases.rebuild_job(other, JOB),
        _update(other, window_size=3),
        use_cases.rebuild_job(service, JOB),
        _update(service, target=LOWER),
    ]
    for change in wanted:
        done(change)
    settings = use_cases.get_job(other, JOB).settings
    assert (settings.policy, settings.window_size, settings.target and settings.target.value) == ("rheostat", 3, 0.5)
    assert _is_derived(service)


def test_a_job_that_changes_each_time_is_refused_for_now_and_left_as_it_is(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_past(service)
    before = _states(service)
    monkeypatch.setattr(job_store, "MOST_TRIES", 3)
    knobs = iter(range(1, 100))
    _before_each_page(service, monkeypatch, lambda: done(_update(other, max_slowdown=1.0 + next(knobs))))
    with pytest.raises(DatabaseBusy, match="changed again and again") as refused:
        done(_update(service, policy="rheostat"))
    assert refused.value.retryable
    assert use_cases.get_job(service, JOB).settings.policy == "zeus"
    assert _states(service) == before


def test_a_job_that_is_deleted_meanwhile_is_not_found(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_past(service)
    _before_each_page(service, monkeypatch, lambda: done(use_cases.delete_job(other, JOB, force=True)))
    with pytest.raises(JobNotFound):
        done(_update(service, policy="rheostat"))


def test_a_job_that_is_made_again_meanwhile_gets_states_of_its_own(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    _with_past(service)
    left = [1]

    def replace_it() -> None:
        if left.pop():
            done(use_cases.delete_job(other, JOB, force=True))
            clock.turn(timedelta(seconds=1))
            _with_past(other)
        left.append(0)

    _before_each_page(service, monkeypatch, replace_it)
    done(_update(service, policy="rheostat"))
    assert _is_derived(service)


def test_a_policy_that_fails_over_the_past_is_refused_and_changes_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_past(service, policy="rheostat")
    before = _states(service)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PruningThompsonSampling, "observe", fail)
    with pytest.raises(PolicyFailed, match="ZeroDivisionError"):
        done(_update(service, policy="zeus"))
    assert use_cases.get_job(service, JOB).settings.policy == "rheostat"
    assert _states(service) == before


def test_a_server_that_stops_gives_up_what_it_derives(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_past(service)
    _before_each_page(service, monkeypatch, service.jobs.close)
    with pytest.raises(DatabaseUnavailable, match="stopping"):
        done(_update(service, policy="rheostat"))
    assert use_cases.get_job(service, JOB).settings.policy == "zeus"


def test_trials_that_wait_for_a_placement_to_be_priced_again_are_all_made(service: Service) -> None:
    unknown, known = Gpu(model="A100"), Gpu(model="A100", min_power_limit_watts=100, max_power_limit_watts=400)
    register(service)
    for at in range(5):
        _import(service, unknown, converged=at != 2)
    wanted = [use_cases.predict(service, JOB, PredictRequest(gpu=known), f"key {at}") for at in range(4)]
    assert sorted(done(change).number for change in wanted) == [1, 2, 3, 4]
    assert _is_derived(service)


def test_crashes_that_are_not_those_of_the_trials_are_derived_again(service: Service) -> None:
    _with_past(service)
    report(service, predict(service), 0, outcome="cancelled")
    before = _states(service)
    service.database.write(
        lambda connection: connection.execute(
            sql.update(policy_states).where(policy_states.c.part == "beginnings").values(state={"trained": []})
        )
    )
    service = replace(service, jobs=JobStore(service.database))
    assert done(use_cases.rebuild_job(service, JOB)) == 6
    assert _states(service) == before
    service.jobs.close()


_KILLED = """
import sys, time
from datetime import timedelta
from rheostat import service as use_cases
from rheostat.schemas.server import JobUpdate
from rheostat.service import Service
from rheostat.storage import history, refolding
from rheostat.storage.engine import Database

history.MOST_AT_ONCE = 1
refolding.PAGE = 2
with_pauses = refolding._with_pauses

def stand_still(evidence):
    yield from with_pauses(evidence)
    print("folding", flush=True)
    time.sleep(60)

refolding._with_pauses = stand_still
service = Service.of(Database(sys.argv[1]), timedelta(minutes=10))
use_cases.update_job(service, "nightly", JobUpdate(policy="rheostat")).result()
"""


def test_a_process_that_is_killed_while_it_derives_states_has_changed_nothing(service: Service) -> None:
    _with_past(service)
    before = _states(service)
    url = service.database.url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", _KILLED, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "folding\n"
        process.send_signal(signal.SIGKILL)
    recur(service, JOULES)
    assert use_cases.get_job(service, JOB).settings.policy == "zeus"
    done(use_cases.rebuild_job(service, JOB))
    assert _states(service) != before
    assert _is_derived(service)
