"""What the agent asks of a GPU. `nvml.py` does it on real ones, `simulated.py` on formulas.

Limits are whole milliwatts, as the driver counts them, so that what was found is put back to the digit.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

ThrottleReason = Literal["power_cap", "thermal", "hardware"]
"""Why the clock is held down: by the power limit, by heat, or by the board (slowdown or power brake)."""


@dataclass(frozen=True, slots=True)
class GpuDescription:
    """What does not change about a GPU.

    Attributes:
        uuid: Names the GPU everywhere.
        index: Its number on this node, for people.
        name: Its model.
        min_power_limit_milliwatts: The lowest limit that the driver takes.
        max_power_limit_milliwatts: The highest.
        default_power_limit_milliwatts: What it has after the driver was loaded.
        partitioned: Whether it is split by MIG; power is per whole GPU, so that such a one is not leased.
    """

    uuid: str
    index: int
    name: str
    min_power_limit_milliwatts: int
    max_power_limit_milliwatts: int
    default_power_limit_milliwatts: int
    partitioned: bool = False


class Device(Protocol):
    """One GPU.

    Any method may hang, and raises:
        GpuUnavailable: When the GPU is lost or needs a reset.
        GpuReadOnly: When this process may not do that.
        GpuUnsupported: When the GPU cannot do that.
        DriverReloaded: When the driver was replaced underneath.
        GpuCallFailed: On any other failure.
    """

    @property
    def description(self) -> GpuDescription:
        """What does not change about it; no call to the driver."""

    def power_limit_milliwatts(self) -> int:
        """The limit that is set."""

    def enforced_power_limit_milliwatts(self) -> int:
        """The limit in force: the lowest of the one set and those from elsewhere."""

    def set_power_limit_milliwatts(self, milliwatts: int) -> None:
        """Set the limit."""

    def energy_millijoules(self) -> int:
        """The energy counter, which moves about every 100 ms.

        Raises:
            GpuUnsupported: When it has none.
        """

    def power_milliwatts(self) -> int:
        """The power drawn, averaged over up to the last second."""

    def throttle_reasons(self) -> frozenset[ThrottleReason]:
        """Why its clock is held down now."""

    def process_ids(self) -> tuple[int, ...]:
        """The processes that compute on it."""


class Driver(Protocol):
    """All GPUs of a node."""

    def open(self) -> list[Device]:
        """Begin to use the GPUs, or look again which of them are there.

        Raises:
            AgentError: As `Device` says; the driver is closed then.
        """

    def silent(self) -> tuple[int, ...]:
        """The numbers of the GPUs that did not answer when they were last looked for."""

    def close(self) -> None:
        """Let go of the GPUs, so that an administrator can reset them."""

    def may_set_limits(self) -> bool:
        """Whether this process seems to be privileged enough to change limits."""
