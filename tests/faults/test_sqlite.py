"""SQLite's file is locked by another process, cannot be written, or cannot grow."""

import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from tests.faults.invariants import check
from tests.faults.load import Trainers, register
from tests.serving import Serving, migrate, serving
from tests.waiting import PATIENCE_SECONDS, eventually

# Even root then needs permission: 24 is PR_CAPBSET_DROP, 1 and 2 are the capabilities that override it.
WITHOUT_PRIVILEGE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
for capability in (1, 2):
    libc.prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    migrate(f"sqlite:///{tmp_path / 'rheostat.db'}")
    return tmp_path / "rheostat.db"


@pytest.fixture
def server(path: Path) -> Iterator[Serving]:
    with serving(f"sqlite:///{path}", path.with_name("log")) as running:
        register(str(running.client.base_url))
        yield running


def test_a_lock_of_another_process_is_waited_for(path: Path, server: Serving) -> None:
    with Trainers([str(server.client.base_url)]) as trainers:
        trainers.wait_for_reports(20)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        sleep(1.5)
        other.execute("ROLLBACK")
        other.close()
        trainers.wait_for_reports(20)
    check(f"sqlite:///{path}", trainers.said)
    assert trainers.said.refusals == []


def test_a_full_disk_is_told_and_passes(path: Path, server: Serving) -> None:
    with Trainers([str(server.client.base_url)]) as trainers:
        trainers.wait_for_reports(20)
        log = path.with_name(f"{path.name}-wal")
        limit = max(path.stat().st_size, log.stat().st_size) + 4096
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        eventually(lambda: bool(trainers.said.refusals))
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        trainers.wait_for_reports(20)
    check(f"sqlite:///{path}", trainers.said)
    assert {status for status, _ in trainers.said.refusals} == {503}


def test_a_file_that_cannot_be_written_is_told_in_words(path: Path) -> None:
    path.chmod(0o444)
    path.parent.chmod(0o555)
    command = [sys.executable, "-c", WITHOUT_PRIVILEGE, "-m", "rheostat", "serve", "--port", "0"]
    done = subprocess.run(
        [*command, "--database-url", f"sqlite:///{path}"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    path.parent.chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "cannot be" in done.stderr
    assert "Traceback" not in done.stderr
