"""The interface to GPUs and their driver, implemented by `nvml.py` for real GPUs and `simulated.py` for simulated ones.

Limits are whole milliwatts, as in the driver, so that the original limit is restored exactly.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from rheostat.schemas.agent import PowerScope

ThrottleReason = Literal["power_cap", "thermal", "hardware"]
"""Why the clock is reduced: by the power limit, by heat, or by the board (slowdown or power brake)."""


@dataclass(frozen=True, slots=True)
class PowerRange:
    """The power limits that the driver accepts for a GPU.

    Attributes:
        min_milliwatts: The lowest.
        max_milliwatts: The highest.
        default_milliwatts: The one after the driver is loaded; None: unknown.
    """

    min_milliwatts: int
    max_milliwatts: int
    default_milliwatts: int | None


@dataclass(frozen=True, slots=True)
class GpuDescription:
    """The fixed properties of a GPU.

    Attributes:
        uuid: Its UUID, which identifies it everywhere.
        index: Its number on this node, for display.
        name: Its model.
        power_range: The power limits that the driver accepts; None: it does not say, so none can be set.
        minor: The minor number of its device file, which may differ from its index; None: unknown.
        most_watts: More than it can draw; None: unknown, or unlimited as on a simulated GPU, whose time jumps.
        partitioned: Whether it is split by MIG; it is then not leased, because power is per whole GPU.
        simulated: Whether it draws no power.
        virtual: Whether it is a share of a GPU that a hypervisor gives to this machine (vGPU).
    """

    uuid: str
    index: int
    name: str
    power_range: PowerRange | None
    partitioned: bool = False
    minor: int | None = None
    most_watts: float | None = None
    simulated: bool = False
    virtual: bool = False


class Device(Protocol):
    """One GPU.

    Any method may hang, and raises:
        GpuUnavailable: When the GPU is lost or needs a reset.
        GpuReadOnly: When this process is not permitted to do that.
        GpuUnsupported: When the GPU does not support that.
        DriverReloaded: When the driver was replaced while in use.
        GpuCallFailed: On any other failure.
    """

    @property
    def description(self) -> GpuDescription:
        """Its fixed properties; no call to the driver."""

    def power_limit_milliwatts(self) -> int:
        """Return the limit that is set."""

    def enforced_power_limit_milliwatts(self) -> int:
        """Return the limit in force: the lowest of the one set and those from other sources."""

    def set_power_limit_milliwatts(self, milliwatts: int) -> None:
        """Set the limit."""

    def power_scope(self) -> PowerScope | None:
        """Return whether GPU and processor have a limit in common (module) or not; None: the driver does not say."""

    def power_profile(self) -> str | None:
        """Return the names of the workload power profiles in force; None: none is, or the driver has none."""

    def energy_millijoules(self) -> int:
        """Return the energy counter, which is updated about every 100 ms.

        Raises:
            GpuUnsupported: When the GPU has none.
        """

    def power_samples(self, since_us: int) -> list[tuple[int, int]]:
        """Return the driver's power samples of the last seconds, oldest first.

        Each has the wall clock's time in microseconds and the power in milliwatts.

        Args:
            since_us: Only samples with a later time.
        """

    def instant_power_milliwatts(self) -> int:
        """Return the power drawn at this moment."""

    def power_milliwatts(self) -> int:
        """Return the power drawn, averaged over up to the last second."""

    def throttle_reasons(self) -> frozenset[ThrottleReason]:
        """Return why its clock is reduced now."""


class Driver(Protocol):
    """All GPUs of a node."""

    def open(self) -> list[Device]:
        """Open the driver if it is closed, and return the GPUs that respond.

        Raises:
            AgentError: As `Device` does; the driver is then closed.
        """

    def unresponsive(self) -> tuple[int, ...]:
        """Return the indices of the GPUs that did not respond to the last `open`."""

    def close(self) -> None:
        """Close the driver, so that an administrator can reset GPUs."""

    def may_set_limits(self) -> bool:
        """Return whether this process seems to be privileged enough to change limits."""
