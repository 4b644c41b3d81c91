from collections.abc import Iterator
from pathlib import Path

import pytest

from rheostat.sdk.client import ANSWER_VARIABLE
from tests.agent.agents import Agent
from tests.nvml.fake import FakeNvml
from tests.sdk.fixtures import client, job, server
from tests.waiting import PATIENCE_SECONDS

__all__ = ["client", "job", "server"]


@pytest.fixture(autouse=True)
def patient_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reports wait for a server that a busy machine makes slow."""
    monkeypatch.setenv(ANSWER_VARIABLE, str(PATIENCE_SECONDS))


@pytest.fixture
def agent(fake: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    with Agent(fake, tmp_path) as agent:
        agent.start()
        monkeypatch.setenv("RHEOSTAT_AGENT_DIR", str(agent.directory))
        yield agent
