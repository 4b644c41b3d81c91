from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from rheostat import Client
from tests.agent.agents import Agent
from tests.nvml.fake import FakeNvml
from tests.sdk.server_process import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture
def job() -> str:
    return f"job-{uuid4().hex}"


@pytest.fixture
def agent(fake: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    with Agent(fake, tmp_path) as agent:
        agent.start()
        monkeypatch.setenv("RHEOSTAT_AGENT_DIR", str(agent.directory))
        yield agent
