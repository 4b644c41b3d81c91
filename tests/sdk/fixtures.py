"""A real server for several test files, a client that waits for a busy machine, and a job of a test's own."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from rheostat import Client
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url, timeout_seconds=PATIENCE_SECONDS, answer_seconds=PATIENCE_SECONDS) as client:
        yield client


@pytest.fixture
def job() -> str:
    return f"job-{uuid4().hex}"


@pytest.fixture
def job_id(job: str) -> str:
    return job
