import os
import sys
from pathlib import Path

import httpx
import pytest

from rheostat.demo import processes
from rheostat.demo.processes import demo_agent, demo_server
from rheostat.errors import RheostatError
from tests.demo.leftovers import processes_naming
from tests.waiting import PATIENCE_SECONDS, eventually


def pretend_server(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", os.fspath(program))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which the demo makes its own."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.fspath(directory))
    return directory


def test_it_serves_an_empty_database_and_leaves_nothing_behind(temporary: Path) -> None:
    with demo_server() as server:
        assert httpx.get(f"{server.url}/v1/jobs", trust_env=False, timeout=PATIENCE_SECONDS).json()["jobs"] == []
        assert processes_naming(temporary)
    assert not processes_naming(temporary)
    assert list(temporary.iterdir()) == []


def test_settings_of_another_server_do_not_reach_it(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    monkeypatch.setenv("RHEOSTAT_PORT", "1")
    with demo_server() as server:
        assert httpx.get(f"{server.url}/healthz", trust_env=False, timeout=PATIENCE_SECONDS).status_code == 200


def test_the_error_has_the_output_of_a_server_that_does_not_start(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_server(tmp_path, "echo 'no module named this' >&2; exit 3", monkeypatch)
    with pytest.raises(RheostatError, match="no module named this"), demo_server():
        pytest.fail("there is no server")
    assert list(temporary.iterdir()) == []


def test_a_server_that_does_not_answer_times_out(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_START_SECONDS", 0.3)
    pretend_server(tmp_path, "exec sleep 3600", monkeypatch)
    with pytest.raises(RheostatError, match="did not start"), demo_server():
        pytest.fail("there is no server")


def test_a_server_that_ignores_its_termination_is_killed(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_STOP_SECONDS", 0.3)
    script = "trap '' TERM; echo 'Rheostat listens on http://127.0.0.1:1'; while :; do sleep 0.1; done"
    pretend_server(tmp_path, script, monkeypatch)
    with demo_server() as server:
        assert server.url == "http://127.0.0.1:1"
    # A shell that is killed between fork and exec leaves a child that goes by its name for a moment.
    eventually(lambda: not processes_naming(temporary))


def test_a_server_that_is_waited_for_and_ends_by_itself_is_an_error(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_server(tmp_path, "echo 'Rheostat listens on http://127.0.0.1:1'; sleep 0.2; exit 3", monkeypatch)
    with pytest.raises(RheostatError, match="ended with exit code 3"), demo_server(keep=True) as server:
        server.wait()
    assert list(temporary.iterdir()) == []


def test_an_agent_has_one_simulated_gpu_and_leaves_nothing_behind() -> None:
    with demo_agent() as agent:
        assert [gpu.model for gpu in agent.gpus()] == ["Simulated V100"]
        assert processes_naming(agent.socket.parent)
    assert not processes_naming(agent.socket.parent)
    assert not agent.socket.parent.exists()


def test_an_agent_starts_wherever_temporary_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("deep" * 25)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.fspath(deep))
    with demo_agent() as agent:
        assert agent.gpus()


def test_the_error_has_the_output_of_an_agent_that_does_not_start(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_server(tmp_path, "echo 'no such option' >&2; exit 2", monkeypatch)
    with pytest.raises(RheostatError, match=r"agent did not start.\nno such option"), demo_agent():
        pytest.fail("there is no agent")
