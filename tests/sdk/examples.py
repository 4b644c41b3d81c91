"""What the tests of the client send, and what a scripted server answers."""

import socket
from datetime import UTC, datetime

from rheostat.schemas.agent import NodeGpu
from rheostat.schemas.server import Gpu, JobDetail, JobSettings
from rheostat.schemas.trials import ObserveAnswer, Trial
from rheostat.sdk.client import Client
from tests.sdk.scripted_server import ScriptedServer

SETTINGS = JobSettings(batch_sizes=[32, 64], default_batch_size=32, max_epochs=10)
GPU = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
JOB = JobDetail(
    job_id="nightly",
    settings=SETTINGS,
    effective_seed=1,
    trials=0,
    placements=[],
    created_at=NOW,
    updated_at=NOW,
)
TRIAL = Trial(
    trial_id="0" * 32,
    job_id="nightly",
    number=1,
    batch_size=32,
    learning_rate=None,
    power_limit_watts=None,
    profile_power_limits_watts=[],
    reason="its turn",
    lease_expires_at=NOW,
)
GOES_ON = ObserveAnswer(state="running", action="continue", reason="not there yet", power_limit_watts=None)


def client(server: ScriptedServer, *, timeout_seconds: float = 5.0, retry_for_seconds: float = 5.0) -> Client:
    return Client(server.url, timeout_seconds=timeout_seconds, retry_for_seconds=retry_for_seconds)


def unused_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def node_gpu(index: int, lowest_watts: float = 100, highest_watts: float = 300) -> NodeGpu:
    """Return a GPU as the agent describes it."""
    return NodeGpu(
        gpu=f"GPU-{index}aaaaaaa-0000",
        index=index,
        model="V100",
        state="free",
        min_power_limit_watts=100,
        max_power_limit_watts=300,
        default_power_limit_watts=300,
        power_limit_watts=300,
        enforced_watts=300,
        found_watts=None,
        target_watts=None,
        lowest_settable_watts=lowest_watts,
        highest_settable_watts=highest_watts,
        holder=None,
        answers=True,
        problem=None,
        foreign_changes=0,
    )
