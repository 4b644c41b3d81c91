"""The attacks on the server, in small: each kind runs, and prints its line; the bounds are for a machine of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.attack.bystander import Latencies, Seen
from benchmarks.attack.target import Attack, Row, Verdict
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


def test_each_kind_prints_what_the_attack_and_the_bystander_saw() -> None:
    small = [
        "--trials",
        "300",
        "--jobs",
        "3",
        "--reports",
        "600",
        "--kills",
        "1",
        "--quiet-seconds",
        "0.5",
        "--only",
        "eta_knob",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.attack", "jobs", "kills", *small],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert not done.stderr
    rows = [row for row in done.stdout.splitlines() if row.startswith(("kept", "BROKEN"))]
    assert [row[7:22].strip() for row in rows] == ["PATCH eta_knob", "1 kills of 1 wo"]
    assert "200 in" in rows[0]
    assert rows[1].startswith("kept")


def row(*, waited: float = 0.01, failures: tuple[str, ...] = (), megabytes: float = 1.0, held: bool = True) -> Row:
    quiet = Latencies(seconds=[0.05])
    seen = Seen(requests=Latencies(seconds=[0.01, waited], failures=list(failures)), probes=quiet)
    attack = Attack("case", lambda _: Verdict("", held))
    return Row(attack, Verdict("", held), seen, Seen(requests=quiet, probes=quiet), megabytes, seconds=1.0)


def test_bounds_hold_where_the_bystander_waits_hardly_longer_than_before() -> None:
    assert row(waited=0.149).kept


@pytest.mark.parametrize(
    "broken", [{"waited": 0.151}, {"failures": ("503",)}, {"megabytes": 65.0}, {"held": False}], ids=str
)
def test_bounds_are_broken_by_a_wait_a_failure_memory_or_the_attack_itself(broken: dict[str, object]) -> None:
    assert not row(**broken).kept  # type: ignore[arg-type]
