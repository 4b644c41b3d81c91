import pytest

from rheostat.sdk.client import ANSWER_VARIABLE
from tests.sdk.fixtures import client, job, server
from tests.waiting import PATIENCE_SECONDS

__all__ = ["client", "job", "server"]


@pytest.fixture(autouse=True)
def patient_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reports wait for a server that a busy machine makes slow."""
    monkeypatch.setenv(ANSWER_VARIABLE, str(PATIENCE_SECONDS))
