"""Deleted jobs are gone at once; their rows go afterwards, in steps."""

import logging
from collections.abc import Callable
from itertools import count as counter
from itertools import pairwise
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select

from rheostat import service as use_cases
from rheostat.errors import DatabaseBusy, JobNotFound, TrialNotFound
from rheostat.service import Service
from rheostat.service.operations import begin_deletion, count, finish_deletion
from rheostat.storage import deletion
from rheostat.storage.deletion import Purger
from rheostat.storage.engine import Database
from rheostat.storage.steps import STEP_SECONDS, Progress, Steps, Watch, unwatched
from rheostat.storage.tables import DELETED, jobs, metadata
from tests.domain.examples import A40, JOB, V100
from tests.domain.histories import KINDS, take
from tests.service.examples import ServedJob, done, measure, predict, recur, register, report
from tests.waiting import eventually

JOULES = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}


def _rows(service: Service) -> dict[str, int]:
    """Return how many rows each table has."""

    def read(connection: Connection) -> dict[str, int]:
        tables = [table for table in metadata.sorted_tables if table.name not in ("audit", "tokens")]
        return {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}

    return service.database.read(read)


def _live(service: Service) -> None:
    """Let everything happen to the job that can happen to one, on two placements."""
    job = ServedJob(service)
    for gpu in (V100, A40):
        for kind in KINDS:
            take(job, (kind, gpu, 90.0))


class _NoPause(Event):
    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def _steps(service: Service, rows: int, stop: Event | None = None, watch: Watch = unwatched) -> Steps:
    """Return steps of always so many rows: by their clock all take equally long."""
    times = (0.7 * STEP_SECONDS * call for call in counter())
    steps = Steps(service.database, stop or _NoPause(), watch, now=lambda: next(times))
    steps.rows = rows
    return steps


def _delete(service: Service) -> None:
    done(use_cases.delete_job(service, JOB, force=True))


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_all_rows_of_a_deleted_job_go_and_no_others(service: Service, rows: int) -> None:
    register(service, "another")
    before = _rows(service)
    _live(service)
    assert all(number > before[table] for table, number in _rows(service).items())
    _delete(service)
    deletion.delete_rows(_steps(service, rows))
    assert _rows(service) == before
    assert [job.job_id for job in use_cases.list_jobs(service, cursor=None, limit=9).jobs] == ["another"]
    assert finish_deletion(service) == 0


def test_a_deleted_job_is_gone_while_its_rows_are_still_there(service: Service) -> None:
    register(service)
    recur(service, JOULES)
    trial = predict(service)
    _delete(service)
    assert _rows(service)["trials"] == 2
    counts = count(service)
    assert (counts.jobs, counts.running_trials) == (0, 0)
    assert use_cases.list_jobs(service, cursor=None, limit=9).jobs == []
    with pytest.raises(JobNotFound):
        use_cases.get_job(service, JOB)
    with pytest.raises(JobNotFound):
        _delete(service)
    with pytest.raises(TrialNotFound):
        use_cases.get_trial(service, trial.trial_id)
    with pytest.raises(TrialNotFound):
        done(use_cases.heartbeat(service, trial.trial_id))
    with pytest.raises(TrialNotFound):
        report(service, trial, 1, metric=0.5)


def test_a_job_of_the_same_id_has_nothing_of_the_deleted_one(service: Service) -> None:
    for time in range(3):
        register(service, eta_knob=0.25 * time)
        measure(service, 32, w250=100.0, w200=90.0)
        recur(service, JOULES)
        trial = predict(service, key="night-1")
        assert (trial.number, use_cases.get_job(service, JOB).trials) == (2, 2)
        assert [one.number for one in use_cases.list_trials(service, JOB, state=None, cursor=None, limit=9).trials] == [
            2,
            1,
        ]
        _delete(service)
    register(service)
    assert finish_deletion(service) > 0
    assert (_rows(service)["jobs"], predict(service).number) == (1, 1)


def test_a_deletion_that_is_interrupted_goes_on_later(service: Service) -> None:
    _live(service)
    _delete(service)
    stop, before = _NoPause(), _rows(service)

    def stop_early(progress: Progress) -> None:
        if progress.rows > 5:
            stop.set()

    deletion.delete_rows(_steps(service, 1, stop, stop_early))
    assert 0 < sum(_rows(service).values()) < sum(before.values())
    finish_deletion(service)
    assert sum(_rows(service).values()) == 0


def test_a_trial_with_many_reports_is_deleted_in_steps_as_well(service: Service) -> None:
    register(service, max_epochs=100)
    trial = predict(service)
    for epoch in range(1, 50):
        report(service, trial, epoch, metric=0.1)
    _delete(service)
    seen = [0]
    deletion.delete_rows(_steps(service, 10, watch=lambda progress: seen.append(progress.rows)))
    assert max(after - before for before, after in pairwise(seen)) == 10
    assert sum(_rows(service).values()) == 0


def test_a_server_deletes_what_is_left_and_what_is_deleted_from_then_on(service: Service) -> None:
    register(service)
    recur(service, JOULES)
    _delete(service)
    begin_deletion(service)
    try:
        eventually(lambda: _rows(service)["jobs"] == 0)
        register(service)
        recur(service, JOULES)
        _delete(service)
        eventually(lambda: sum(_rows(service).values()) == 0)
    finally:
        service.purger.close()


def test_a_database_that_fails_is_tried_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    register(service)
    _delete(service)
    monkeypatch.setattr(deletion, "_TRY_AGAIN_SECONDS", 0.01)
    failures = iter([DatabaseBusy("Timed out waiting for a database lock.")])

    def write(work: Callable[[Connection], Any]) -> Any:
        for failure in failures:
            raise failure
        return service.database.write(work)

    purger = Purger(_Failing(service.database, write))  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        purger.start()
        eventually(lambda: _rows(service)["jobs"] == 0)
        purger.close()
    assert "deleted later: Timed out waiting" in caplog.text


class _Failing:
    def __init__(self, database: Database, write: Callable[[Any], Any]) -> None:
        self.read = database.read
        self.write = write


def test_what_another_process_deletes_is_left_to_it(service: Service) -> None:
    if service.database.is_sqlite:
        pytest.skip("its transactions have the whole database")
    for job_id in ("first", "second"):
        register(service, job_id)
        done(use_cases.delete_job(service, job_id, force=True))

    def hold_first(connection: Connection) -> int:
        first = select(jobs.c.job_pk).where(jobs.c.namespace == DELETED).order_by(jobs.c.job_pk).limit(1)
        connection.execute(first.with_for_update())
        return finish_deletion(service)

    assert service.database.write(hold_first) == 1
    assert _rows(service)["jobs"] == 1


def test_a_deletion_passes_no_trial_twice(service: Service) -> None:
    """PostgreSQL keeps deleted rows in its indexes until a vacuum: a query that starts over passes all of them."""
    register(service)
    for _ in range(6):
        recur(service, JOULES)
    _delete(service)
    engine = service.database._writer
    seen: list[int] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "trials.number >" in statement:
            seen.append(list(parameters.values() if isinstance(parameters, dict) else parameters)[1])

    event.listen(engine, "before_cursor_execute", note)
    try:
        deletion.delete_rows(_steps(service, 2))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert set(seen) == {0, 2, 4, 6}
