"""Training on a GPU of the fake NVML: steps that take as long as the GPU needs for them, in real time."""

from collections.abc import Sequence
from math import cbrt
from time import sleep

from tests.nvml.fake import FakeGpu

LOAD = 0.9


class FakeTraining:
    """Runs steps on a fake GPU, which is idle otherwise.

    Attributes:
        steps: How many were run.
    """

    def __init__(self, gpu: FakeGpu, work_per_step: float, load: float = LOAD) -> None:
        self._gpu = gpu
        self._work_per_step = work_per_step
        self._load = load
        self.steps = 0

    def step(self) -> None:
        """Run a step to its end."""
        self._gpu.load(self._load)
        end = self._gpu.work() + self._work_per_step
        while self._gpu.work() < end:
            sleep(0.001)
        self.steps += 1

    def rest(self, seconds: float) -> None:
        """Leave the GPU idle, as during something other than training."""
        self._gpu.load(0)
        sleep(seconds)

    def costs(self, limits_watts: Sequence[int], eta_knob: float) -> dict[int, float]:
        """Return the true cost of a unit of work under each limit, on a GPU that is warm.

        As in fake_gpu.c: the clock follows the cube root of the power above idle, and warmth adds leakage.
        """
        gpu = self._gpu.state
        costs = {}
        for limit in limits_watts:
            clock = min(1.0, cbrt((limit - gpu.idle_watts) / gpu.dynamic_watts))
            own = gpu.idle_watts + gpu.dynamic_watts * clock**3 * self._load
            watts = min(limit, own / (1 - gpu.leakage_watts_per_kelvin * gpu.kelvin_per_watt))
            seconds = 1 / (self._load * clock)
            costs[limit] = (eta_knob * watts + (1 - eta_knob) * gpu.max_mw / 1000) * seconds
        return costs
