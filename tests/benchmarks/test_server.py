"""The benchmark of the server, in small: it measures, on both databases, and a long past changes no decision."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.server.comparison import Row, line
from benchmarks.server.load import Figures
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
