"""A server for trainings, and a place without an agent for those that need none."""

import os
from pathlib import Path

import pytest

from tests.sdk.fixtures import client, job, job_id, server

__all__ = ["client", "job", "job_id", "server"]

# Small models on a busy machine: threads that wait for each other cost more than they bring.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep away from an agent that this machine may run."""
    monkeypatch.setenv("RHEOSTAT_AGENT_DIR", str(tmp_path / "no-agent"))
