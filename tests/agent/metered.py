"""A meter over the first fake GPU, in time that the test drives and that the driver's calls take."""

from rheostat.agent.energy import EnergyMeter
from rheostat.agent.nvml import NvmlDriver
from rheostat.schemas.agent import GpuUsage
from tests.nvml.fake import FakeNvml

SECOND = 1_000_000_000


class MeteredGpu:
    """The meter, which is polled whenever it asks to be.

    Attributes:
        gpu: The GPU.
        meter: Its meter.
    """

    def __init__(self, fake: FakeNvml) -> None:
        self.fake = fake
        self.gpu = fake.gpus[0]
        self._driver = NvmlDriver()
        self.meter = EnergyMeter(self._driver.open()[0], fake.now_ns, fake.wall_ns)
        self._due_ns = fake.now_ns()

    def run(self, seconds: float) -> int:
        """Let time pass; return what time it is then."""
        return self.run_until(self.fake.now_ns() + round(seconds * SECOND))

    def run_until(self, end_ns: int) -> int:
        while self._due_ns <= end_ns:
            self._advance_to(self._due_ns)
            pause_seconds = self.meter.poll()
            self._due_ns = self.fake.now_ns() + round(pause_seconds * SECOND)
        self._advance_to(end_ns)
        return self.fake.now_ns()

    def _advance_to(self, time_ns: int) -> None:
        if time_ns > self.fake.now_ns():
            self.fake.advance((time_ns - self.fake.now_ns()) / SECOND)

    def ask(self, seconds: float) -> GpuUsage:
        """Return the usage of the last seconds, as an answer to a request does."""
        until_ns = self.fake.now_ns()
        self.meter.refresh()
        return self.meter.usage(until_ns - round(seconds * SECOND), until_ns)

    def count(self) -> float:
        """Return the count now."""
        count = self.ask(0).cumulative_joules
        assert count is not None
        return count

    def truth(self, since_ns: int, until_ns: int) -> float:
        """Return the true energy between two moments."""
        return self.gpu.energy_joules(until_ns) - self.gpu.energy_joules(since_ns)

    def error(self, seconds: float) -> float:
        """Return by which part of the truth an answer about the last seconds is wrong."""
        now_ns = self.fake.now_ns()
        energy = self.ask(seconds).energy_joules
        assert energy is not None
        return abs(energy / self.truth(now_ns - round(seconds * SECOND), now_ns) - 1)

    def close(self) -> None:
        self._driver.close()
