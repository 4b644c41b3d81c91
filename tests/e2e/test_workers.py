"""`rheostat serve --workers`: several processes behind one address, on one database."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import sleep

import httpx

from tests.faults.invariants import check
from tests.faults.load import Trainers, register
from tests.serving import SETTINGS, migrate, serving
from tests.waiting import PATIENCE_SECONDS, eventually


def _children(pid: int) -> set[int]:
    """Return the processes that serve: those that multiprocessing spawned."""
    serving = set()
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with suppress(FileNotFoundError, ProcessLookupError):  # It died since it was listed.
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                serving.add(child)
    return serving


def test_two_workers_share_one_hot_job_and_a_killed_one_is_replaced(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    with serving(database_url, tmp_path / "log", "--workers", "2") as server:
        url = str(server.client.base_url)
        register(url)
        first = _children(server.pid)
        assert len(first) == 2
        with Trainers([url], count=6) as trainers:
            eventually(lambda: len(trainers.said.reports) > 40)
            os.kill(min(first), signal.SIGKILL)
            eventually(lambda: len(_children(server.pid) - first) == 1)
            before = len(trainers.said.reports)
            eventually(lambda: len(trainers.said.reports) > before + 20)
        assert server.terminate() in (0, -15)
        assert "Traceback" not in server.log()
    check(database_url, trainers.said)
    assert trainers.said.refusals == []


def test_a_worker_that_dies_while_it_is_asked_whether_it_is_well_is_replaced_at_once(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log", "--workers", "2") as server:
        assert server.client.get("/readyz").status_code == 200
        first = _children(server.pid)
        os.kill(min(first), signal.SIGSTOP)
        sleep(1)  # it is asked twice a second
        os.kill(min(first), signal.SIGKILL)
        eventually(lambda: len(_children(server.pid) - first) == 1)


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log", "--workers", "2") as server:
        assert server.client.get("/readyz").status_code == 200
        workers = _children(server.pid)
        assert server.client.get("/v1/jobs").status_code == 200
        eventually(lambda: "GET /v1/jobs 200" in server.log())
        assert server.log().count("/v1/jobs") == 1  # one line a request, as of a single process
        server.kill()
        eventually(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_registrations_at_once_through_two_workers_make_one_job(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log", "--workers", "2") as server:
        url = str(server.client.base_url)

        def put(_: int) -> int:
            return httpx.put(
                f"{url}/v1/jobs/nightly", json=SETTINGS, timeout=PATIENCE_SECONDS, trust_env=False
            ).status_code

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(put, range(16))) == [200] * 15 + [201]
