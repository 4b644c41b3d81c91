from collections.abc import Iterator

import pytest

from rheostat.agent.simulated import MAX_POWER_LIMIT_WATTS, step_seconds, step_watts
from rheostat.demo.processes import demo_agent
from rheostat.demo.simulated_gpu import SimulatedGpu
from rheostat.schemas.agent import LeaseRequest
from rheostat.sdk.node_agent import NodeAgent


@pytest.fixture(scope="module")
def agent() -> Iterator[NodeAgent]:
    with demo_agent() as agent:
        yield agent


def test_it_starts_at_its_highest_limit_with_empty_counters(agent: NodeAgent) -> None:
    gpu = SimulatedGpu(agent)
    assert gpu.power_limit_watts == MAX_POWER_LIMIT_WATTS
    assert (gpu.time_seconds, gpu.energy_joules) == (0, 0)


def test_the_counters_add_up(agent: NodeAgent) -> None:
    gpu = SimulatedGpu(agent)
    gpu.run(64, 3)
    gpu.run(64, 7)
    assert gpu.time_seconds == pytest.approx(10 * step_seconds(64, 250))
    assert gpu.energy_joules == pytest.approx(10 * step_seconds(64, 250) * step_watts(64, 250))


def test_it_runs_under_the_limit_that_a_lease_has_set(agent: NodeAgent) -> None:
    gpu = SimulatedGpu(agent)
    lease_id = agent.lease(LeaseRequest(gpus=[agent.gpus()[0].gpu])).lease_id
    agent.set_power_limit(lease_id, 125)
    gpu.run(512, 1)
    agent.end_lease(lease_id)
    assert gpu.power_limit_watts == 125
    assert gpu.time_seconds == pytest.approx(step_seconds(512, 125))
    assert gpu.energy_joules / gpu.time_seconds <= 125
