"""A server for trainings, and a place without an agent for those that need none."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from rheostat import Client
from tests.sdk.server_process import ServerProcess

# Small models on a busy machine: threads that wait for each other cost more than they bring.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture
def job_id() -> str:
    return f"job-{uuid4().hex}"


@pytest.fixture(autouse=True)
def no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep away from an agent that this machine may run."""
    monkeypatch.setenv("RHEOSTAT_AGENT_DIR", str(tmp_path / "no-agent"))
