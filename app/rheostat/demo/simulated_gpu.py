"""The simulated GPU of the demo's agent: its steps run at once, in simulated time."""

from rheostat.agent.simulated import MAX_POWER_LIMIT_WATTS
from rheostat.schemas.agent import SimulatedSteps
from rheostat.sdk.node_agent import NodeAgent


class SimulatedGpu:
    """Adds up the simulated time and energy of the steps that run on it, under the limit that the agent has set.

    Attributes:
        power_limit_watts: The limit in force at the latest steps.
        time_seconds: Simulated time of all steps so far.
        energy_joules: Simulated energy of all steps so far.

    Args:
        agent: The agent; its first GPU is used.
    """

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent
        self._gpu = agent.gpus()[0].gpu
        self.power_limit_watts = MAX_POWER_LIMIT_WATTS
        self.time_seconds = 0.0
        self.energy_joules = 0.0

    def run(self, samples: int, steps: int) -> None:
        """Run training steps of so many samples each."""
        usage = self._agent.simulate_steps(SimulatedSteps(gpu=self._gpu, batch_size=samples, steps=steps))
        self.power_limit_watts = round(usage.power_limit_watts)
        self.time_seconds += usage.time_seconds
        self.energy_joules += usage.energy_joules
