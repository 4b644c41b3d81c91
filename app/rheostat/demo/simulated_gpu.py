"""A GPU that is a formula: time and energy of a training step by batch size and power limit.

A step has a part that no clock shortens (launching kernels, feeding data) and computing, which overlap::

    clock     = min(1, ((power limit - idle) / dynamic) ^ (1/3))    relative; dynamic power goes with its cube
    computing = samples * work / clock
    step time = sqrt(latency^2 + computing^2)
    power     = idle + dynamic * clock^3 * computing / step time

The four constants were fitted to published measurements of ShuffleNetV2 on CIFAR-100 on an NVIDIA V100, batch
sizes 8 to 2048 under limits of 100 to 250 W (the power trace of You, Chung, Chowdhury: "Zeus: Understanding and
Optimizing GPU Energy Consumption of DNN Training", NSDI 2023). The formula is typically 5 % off in time and 14 %
off in power there, at worst 12 % and 38 %: good enough for its shape, not for a figure.
"""

from math import hypot

from rheostat.schemas import Gpu

LATENCY_SECONDS = 0.037
WORK_SECONDS_PER_SAMPLE = 0.00015
IDLE_WATTS = 36.0
DYNAMIC_WATTS = 157.0

DESCRIPTION = Gpu(model="Simulated V100", count=1, min_power_limit_watts=100, max_power_limit_watts=250)


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
        clock = min(1.0, ((self.power_limit_watts - IDLE_WATTS) / DYNAMIC_WATTS) ** (1 / 3))
        computing_seconds = samples * WORK_SECONDS_PER_SAMPLE / clock
        step_seconds = hypot(LATENCY_SECONDS, computing_seconds)
        power_watts = IDLE_WATTS + DYNAMIC_WATTS * clock**3 * computing_seconds / step_seconds
        self.time_seconds += step_seconds
        self.energy_joules += power_watts * step_seconds
