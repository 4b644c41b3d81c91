import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from rheostat.invocation import command_line
from tests.demo.leftovers import processes_naming
from tests.waiting import PATIENCE_SECONDS, eventually


@contextmanager
def running_demo(
    temporary: Path, recurrences: int, *options: str, **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run a demo for the length of a block, and no longer."""
    with subprocess.Popen(
        [sys.executable, "-m", "rheostat", "demo", "--recurrences", str(recurrences), "--seed", "5", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": os.fspath(temporary), **environment},
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_it_runs_without_a_terminal_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with running_demo(tmp_path, recurrences=2) as process:
        output, complaints = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, complaints) == (0, "")
    assert "The GPU is simulated" in output
    assert "no joule was measured" in " ".join(output.split())
    assert len(re.findall(r"^│ +\d+ │", output, re.MULTILINE)) == 2
    assert re.search(r"All 2, with all .* energy, .* time, .* cost\.", " ".join(output.split()))
    explained = " ".join(output.split())
    assert all(f"{column}:" in explained for column in ("Runs", "Cost"))
    assert output.endswith(f"\n  {command_line()} demo --recurrences 2 --seed 5 --open\n")
    assert "\x1b" not in output
    assert not processes_naming(tmp_path)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def typed(line: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a line in a shell, which it replaces, for the length of a block."""
    with subprocess.Popen(
        f"exec {line}", shell=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_its_last_lines_work_as_they_stand(tmp_path: Path) -> None:
    with running_demo(tmp_path, recurrences=1) as process:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    commands = re.findall(r"^  (\S.*)$", output, re.MULTILINE)
    serve, doctor, agent, again = [line for line in commands if command_line() in line]
    with typed(serve, RHEOSTAT_PORT="0", RHEOSTAT_DATABASE_URL=f"sqlite:///{tmp_path / 'r.db'}") as server:
        assert server.stdout is not None
        url = server.stdout.readline().removeprefix("Rheostat listens on ").strip()
        assert httpx.get(f"{url}/healthz", trust_env=False, timeout=PATIENCE_SECONDS).status_code == 200
    assert "versions" in subprocess.run(doctor, shell=True, capture_output=True, text=True, check=False).stdout
    # On a node it would set limits; here that its packages are installed is what can be tried.
    subprocess.run(f"{agent.removeprefix('sudo ')} --help", shell=True, stdout=subprocess.DEVNULL, check=True)
    assert find_spec("pynvml") is not None
    with typed(again, TMPDIR=os.fspath(tmp_path), BROWSER="true") as once_more:
        page, _ = page_of(once_more)
        assert httpx.get(page, trust_env=False, timeout=PATIENCE_SECONDS).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with running_demo(tmp_path, recurrences=1000) as process:
        assert process.stdout is not None
        assert any("recurrence 1 of" in line for line in process.stdout)
        assert processes_naming(tmp_path)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode > 0
    assert not processes_naming(tmp_path)
    assert list(tmp_path.iterdir()) == []


def page_of(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Return where the demo says that its page is, and what it has printed before."""
    assert process.stdout is not None
    before = ""
    for line in process.stdout:
        if (said := re.fullmatch(r"The page of the job, until Ctrl-C: (http\S+)\n", line)) is not None:
            return said[1], before
        before += line
    raise AssertionError(before)


def test_the_page_opens_in_a_browser_and_is_served_until_ctrl_c(tmp_path: Path) -> None:
    browser, noted = tmp_path / "browser", tmp_path / "noted"
    browser.write_text(f'#!/bin/sh\necho "$@" >>{noted}\n')
    browser.chmod(0o755)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with running_demo(temporary, 1, "--open", BROWSER=os.fspath(browser)) as process:
        page, _ = page_of(process)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/jobs/demo", page)
        eventually(noted.exists)
        shown = httpx.get(page, trust_env=False, timeout=PATIENCE_SECONDS)
        assert shown.status_code == 200
        assert ">simulated</a></dd>" in shown.text
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, complaints) == (0, "")
    assert noted.read_text() == f"{page}\n"
    assert not processes_naming(temporary)
    assert list(temporary.iterdir()) == []


def test_the_database_is_kept_and_can_be_served_again_as_it_says(tmp_path: Path) -> None:
    with running_demo(tmp_path, 1, "--keep") as process:
        _, before = page_of(process)
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert not processes_naming(tmp_path)
    again = re.search(
        r"^Its database is kept. To serve it again: (.+) serve (--database-url \S+)$", before, re.MULTILINE
    )
    assert again is not None
    with typed(f"{again[1]} serve {again[2]}", RHEOSTAT_PORT="0") as server:
        assert server.stdout is not None
        url = server.stdout.readline().removeprefix("Rheostat listens on ").strip()
        shown = httpx.get(f"{url}/v1/jobs/demo", trust_env=False, timeout=PATIENCE_SECONDS)
    assert shown.json()["job_id"] == "demo"
