import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.leftovers import processes_naming
from tests.waiting import PATIENCE_SECONDS


def start_demo(temporary: Path, recurrences: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "rheostat", "demo", "--recurrences", str(recurrences), "--seed", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": os.fspath(temporary)},
    )


def test_it_runs_without_a_terminal_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = start_demo(tmp_path, recurrences=2)
    output, complaints = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, complaints) == (0, "")
    assert "The GPU is simulated" in output
    assert "no joule was measured" in " ".join(output.split())
    assert len(re.findall(r"^│ +\d+ │", output, re.MULTILINE)) == 2
    assert re.search(r"All 2, with all .* energy, .* time, .* cost\.", " ".join(output.split()))
    assert "rheostat serve" in output
    assert "\x1b" not in output
    assert not processes_naming(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with start_demo(tmp_path, recurrences=1000) as process:
        assert process.stdout is not None
        assert any("recurrence 1 of" in line for line in process.stdout)
        assert processes_naming(tmp_path)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode > 0
    assert not processes_naming(tmp_path)
    assert list(tmp_path.iterdir()) == []
