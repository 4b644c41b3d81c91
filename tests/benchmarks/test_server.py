"""The benchmark of the server, in small: it measures, on both databases, and a long past changes no decision."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from benchmarks.server.big import BIG_JOB, fill
from benchmarks.server.comparison import Row, line
from benchmarks.server.load import Figures
from rheostat import service as use_cases
from rheostat.service import Service
from rheostat.storage.engine import Database
from rheostat.storage.tables import jobs, observations, trials
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_tiny_run_prints_a_row_for_each_case_and_nothing_fails(kind: str) -> None:
    small = ["--no-peer", "--seconds", "0.2", "--clients", "1", "--clients", "4", "--trials", "50", "--policy", "zeus"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.server", "--database", kind, *small],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [row for row in done.stdout.splitlines() if row.startswith(kind)]
    assert len(rows) == 5
    for row in rows:
        rate, _, _, failed = row.partition("|")[0].split()[-4:]
        assert int(rate) > 0
        assert failed == "0"


def test_a_row_tells_both_servers_and_their_ratios() -> None:
    ours = Figures(seconds=1.0, latencies=[0.01] * 100)
    theirs = Figures(seconds=1.0, latencies=[0.1] * 10)
    text = line(Row("case", ours, theirs, megabytes=90.0, cpu_milliseconds=1.5))
    assert "10.0x   0.10" in text
    assert "not measured" in line(Row("case", ours, None, megabytes=90.0, cpu_milliseconds=1.5))


def test_a_big_database_holds_what_was_asked_for_and_all_of_it_can_be_rebuilt(database_url: str) -> None:
    fill(database_url, length=200, small_jobs=3, reports=800)
    service = Service.of(Database(database_url))
    try:
        counts = [select(func.count()).select_from(table) for table in (jobs, trials, observations)]
        rows = service.database.read(lambda connection: [connection.execute(count).scalar_one() for count in counts])
        concluded = use_cases.rebuild_job(service, BIG_JOB).result().answer
        newest = use_cases.list_trials(service, BIG_JOB, state=None, cursor=None, limit=1).trials[0]
        copied = use_cases.rebuild_job(service, "small-00003").result().answer
        original = use_cases.rebuild_job(service, "small").result().answer
    finally:
        service.close()
    assert rows[:2] == [1 + 1 + 3, 200 + 3 * (1 + 3)]
    assert 800 <= rows[2] < 1300
    assert 100 < concluded <= 200 + 40
    assert newest.number == 200
    assert copied == original > 0
