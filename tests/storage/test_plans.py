"""What a request asks of a long past is found by an index, on each engine: it takes as long after 100,000 trials."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from rheostat import service as use_cases
from rheostat.domain.health import LOOK_BACK
from rheostat.domain.job import Job
from rheostat.domain.records import PlacementKey
from rheostat.schemas.trials import ObserveRunRequest
from rheostat.service import Service, review
from rheostat.storage.history import StoredHistory
from rheostat.storage.review import recent_trials_of
from rheostat.storage.tables import observations, power_measurements, runs, trials
from tests.domain.examples import JOB, V100
from tests.service.examples import done, measure, predict, recur, register

PLACEMENT = PlacementKey("V100", 1)
JOULES = dict.fromkeys((8, 16, 32, 64, 128), 100.0)
_SORT = re.compile("TEMP B-TREE|Sort")
LONG = 3000
"""Rows of each table: enough for PostgreSQL to prefer an index."""


@pytest.fixture
def long_past(service: Service) -> Service:
    """A job with many ended trials, whole runs and measurements, none of batch size 8."""
    register(service)
    recur(service, JOULES)
    measure(service, 32, w250=30.0)
    run = ObserveRunRequest(batch_size=32, gpu=V100, energy_joules=1.0, time_seconds=1.0)
    done(use_cases.observe_run(service, JOB, run, "run"))
    service.database.write(_multiply)
    predict(service)
    return service


def _multiply(connection: Connection) -> None:
    for table, key, number in (
        (trials, "'copy ' || n", {"number": "n"}),
        (runs, "'copy ' || n", {}),
        (power_measurements, "n", {}),
        (observations, "n", {"epoch": "n", "trial_id": "'copy ' || (n - n % 9)"}),
    ):
        (primary,) = table.primary_key
        own = {
            primary.name: key,
            "sequence": "n",
            "idempotency_key": "'key ' || n",
            "batch_size": "16 * (1 + n % 4)",
            "node": "'node ' || (n % 7)",
            **number,
        }
        values = ", ".join(own.get(column.name, column.name) for column in table.columns)
        names = ", ".join(column.name for column in table.columns)
        connection.execute(
            text(
                "WITH RECURSIVE counted(n) AS (SELECT 1008 UNION ALL SELECT n + 1 FROM counted WHERE n < :last) "
                f"INSERT INTO {table} ({names}) SELECT {values} FROM counted, (SELECT * FROM {table} LIMIT 1) AS one"
            ),
            {"last": 1007 + LONG},
        )
    connection.execute(text("UPDATE jobs SET next_trial_number = 9000, next_sequence = 9000, version = version + 1"))
    connection.execute(text("ANALYZE"))


@contextmanager
def _explained(connection: Connection | Engine, plans: list[str]) -> Iterator[None]:
    """Note how each statement of a block is executed."""
    is_sqlite = connection.dialect.name == "sqlite"
    prefix = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN (FORMAT TEXT) "

    def explain(_: object, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
        if statement.startswith(("SELECT", "WITH")):
            rows = cursor.connection.cursor().execute(prefix + statement, parameters).fetchall()
            plans.append("\n".join(str(row[-1]) for row in rows))

    event.listen(connection, "before_cursor_execute", explain)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", explain)


_READS: dict[str, Callable[[StoredHistory, Any], object]] = {
    "trial": lambda past, _: past.trial("copy 1008"),
    "trial_by_key": lambda past, _: past.trial_by_key("key 1008"),
    "trial_resuming": lambda past, _: past.trial_resuming("copy 1008"),
    "all trials": lambda past, now: past.trials(state=None, now=now, before=None, limit=50),
    "running trials": lambda past, now: past.trials(state="running", now=now, before=None, limit=50),
    "abandoned trials": lambda past, now: past.trials(state="abandoned", now=now, before=900, limit=50),
    "failed trials": lambda past, now: past.trials(state="failed", now=now, before=900, limit=50),
    "predicted trials": lambda past, _: past.predicted(4000),
    "trials with a tag": lambda past, now: past.trials(state=None, now=now, before=900, limit=50, tag="run=7"),
    "observation": lambda past, _: past.observation("copy 1008", 1.0, closing=False),
    "observation_before": lambda past, _: past.observation_before("copy 1008", 1.0),
    "observation_after": lambda past, _: past.observation_after("copy 1008", 1.0),
    "run_by_key": lambda past, _: past.run_by_key("key 1008"),
    "latest_measurement": lambda past, _: past.latest_measurement(PLACEMENT, 8),
    "measurements_by_key": lambda past, _: past.measurements_by_key("key 1008"),
    "has_trained": lambda past, _: past.has_trained(PLACEMENT, 8),
    "page of evidence": lambda past, _: past.evidence(1000, 1064),
}


_FOUND_BY = {
    "has_trained": "batch_size",
    "latest_measurement": "batch_size",
    "failed trials": "state",
    "predicted trials": "number",
    "trials with a tag": "number",
    "page of evidence": "sequence",
}


def test_what_is_asked_of_a_long_past_is_found_by_an_index(long_past: Service) -> None:
    plans: dict[str, list[str]] = {}

    def explain(_: object, past: StoredHistory) -> None:
        for name, read in _READS.items():
            with _explained(past._connection, plans.setdefault(name, [])):
                read(past, long_past.now())

    long_past.jobs.read(long_past.job(JOB), explain)
    for name, of_read in plans.items():
        assert of_read, name
        for plan in of_read:
            assert "SCAN" not in plan, f"{name}: {plan}"  # of SQLite
            is_short = "ix_trials_running" in plan or name == "measurements_by_key"
            assert is_short or not _SORT.search(plan), f"{name}: {plan}"
            assert "Seq Scan" not in plan, f"{name}: {plan}"  # of PostgreSQL
            found_by = [line for line in plan.splitlines() if "SEARCH" in line or "Index Cond" in line]
            assert any(_FOUND_BY.get(name, "") in line for line in found_by), f"{name}: {plan}"


def test_the_latest_run_of_each_node_is_found_by_an_index(long_past: Service) -> None:
    plans: list[str] = []
    with _explained(long_past.database._reader, plans):
        assert len(review.list_nodes(long_past, limit=50)) == 7
    of_nodes = "\n".join(plans)
    assert not re.search("(SCAN|Seq Scan on) trials", of_nodes), of_nodes
    assert "ix_trials_node" in of_nodes


def test_the_latest_trials_of_a_job_are_found_by_their_numbers(long_past: Service) -> None:
    plans: list[str] = []

    def explain(job: Job, past: StoredHistory) -> None:
        with _explained(past._connection, plans):
            assert len(recent_trials_of(job, past)) <= LOOK_BACK

    long_past.jobs.read(long_past.job(JOB), explain)
    (plan,) = plans
    assert re.search(r"number(>|\W+>= )", plan), plan
    assert not re.search("(SCAN|Seq Scan on) trials", plan), plan


def test_the_use_of_days_reads_each_trial_once(long_past: Service) -> None:
    plans: list[str] = []
    with _explained(long_past.database._reader, plans):
        review.use_by_day(long_past, JOB)
    for plan in plans:
        assert "CORRELATED" not in plan, plan  # of SQLite
        assert "SubPlan" not in plan or "hashed SubPlan" in plan, plan  # of PostgreSQL
