"""The node agent's simulated GPU, stepped through at once instead of in its own time."""

from rheostat.agent.simulated import (
    MAX_POWER_LIMIT_WATTS,
    MIN_POWER_LIMIT_WATTS,
    MODEL,
    step_seconds,
    step_watts,
)
from rheostat.schemas import Gpu

DESCRIPTION = Gpu(
    model=MODEL,
    count=1,
    min_power_limit_watts=MIN_POWER_LIMIT_WATTS,
    max_power_limit_watts=MAX_POWER_LIMIT_WATTS,
)


class SimulatedGpu:
    """Counts the time and the energy of the steps that are run on it.

    Attributes:
        power_limit_watts: The limit in force; the highest at first.
        time_seconds: Simulated time of all steps so far.
        energy_joules: Simulated energy of all steps so far.
    """

    def __init__(self) -> None:
        self.power_limit_watts = DESCRIPTION.max_power_limit_watts
        self.time_seconds = 0.0
        self.energy_joules = 0.0

    def step(self, samples: int) -> None:
        """Run one training step over a number of samples."""
        seconds = step_seconds(samples, self.power_limit_watts)
        self.time_seconds += seconds
        self.energy_joules += step_watts(samples, self.power_limit_watts) * seconds
