"""The power limit of one GPU: reading and setting it, and the range that a lease may choose from."""

import logging
from collections.abc import Callable
from typing import TypeVar

from rheostat.agent.devices import Device, PowerRange
from rheostat.agent.site import Site
from rheostat.agent.states import LimitedBy, OutsideCap, close, effective_limit, near
from rheostat.errors import AgentError, DriverReloaded, GpuCallFailed, GpuReadOnly, GpuUnavailable, GpuUnsupported
from rheostat.schemas.agent import LimitSupport, PowerScope

T = TypeVar("T")

logger = logging.getLogger(__name__)


class PowerLimit:
    """The power limit of a GPU.

    Args:
        device: The GPU; replaced when it is opened anew.
        site: What the site allows.

    Attributes:
        milliwatts: The limit as last read.
        enforced_milliwatts: The limit in force; None: not read since the limit changed, or the GPU does not tell.
        scope: Whether a limit of the whole module bounds the GPU, too.
        profile: The workload power profiles in force.
        is_read_only: Whether the driver refused to change it.
    """

    def __init__(self, device: Device, site: Site) -> None:
        self.device = device
        self._site = site
        self.milliwatts: int | None = None
        self.enforced_milliwatts: int | None = None
        self.scope: PowerScope | None = None
        self.profile: str | None = None
        self.is_read_only = False
        self._rounds = False
        self._is_readable = True
        self._cap = OutsideCap()

    def read(self) -> int:
        """Return the limit that is set.

        Raises:
            GpuUnsupported: When the GPU has none.
        """
        current = self.device.power_limit_milliwatts()
        if current != self.milliwatts:
            self.enforced_milliwatts = None  # what was read is that of the limit before
        self.milliwatts = current
        return current

    def look(self) -> int | None:
        """Read the limit that is set and the one in force; return the first, or None when the GPU has none."""
        try:
            current = self.read()
        except GpuUnsupported:
            self._is_readable = False
            return None
        self._is_readable = True
        if (enforced := self.read_enforced()) is not None:
            self._cap.note(current, enforced)
        return current

    def read_enforced(self) -> int | None:
        """Return the limit in force; None: the GPU does not tell."""
        self.enforced_milliwatts = _known(self.device.enforced_power_limit_milliwatts)
        return self.enforced_milliwatts

    def read_setting(self) -> None:
        """Read what else tells two GPUs of a model apart: the scope of power, and the workload power profiles."""
        self.scope = _known(self.device.power_scope)
        self.profile = _known(self.device.power_profile)

    def set(self, milliwatts: int) -> None:
        """Set the limit."""
        try:
            self.device.set_power_limit_milliwatts(milliwatts)
        except GpuReadOnly:
            self.is_read_only = True
            raise
        self.is_read_only = False

    def read_back(self, target: int, before: int) -> int | None:
        """Return the limit that the driver made of the one set just now; None: another process has set its own.

        Raises:
            GpuCallFailed: When the driver has set none.
        """
        now = self.read()
        if close(now, target):
            return now
        uuid = self.device.description.uuid
        if near(now, target) and self.read() == now:
            self._rounds |= now != before
            logger.info("GPU %s: the driver made %g W of %g W", uuid, now / 1000, target / 1000)
            return now
        if now == before:
            raise GpuCallFailed(f"The driver accepted a limit for GPU {uuid} but did not set it.")
        return None

    def is_made_of(self, current: int, target: int) -> bool:
        """Return whether the limit is the wanted one, or as near to it as a driver comes that is known to round."""
        return close(current, target) or (self._rounds and near(current, target))

    def effective(self, requested: int, found: int) -> tuple[int, LimitedBy | None]:
        """Return the limit to set for a requested one, and what restricted it; raises as `require_settable`."""
        driver = self.require_settable()
        return effective_limit(requested, found, self._site.bounds(self.device.description.uuid, driver))

    def require_settable(self) -> PowerRange:
        """Return the driver's range.

        Raises:
            GpuReadOnly: When the site forbids limits.
            GpuUnsupported: When the GPU has none that can be set.
        """
        this = self.device.description
        if not self.is_allowed:
            raise GpuReadOnly(f"The site file forbids changing the power limit of GPU {this.uuid}.")
        if this.power_range is None or not self._is_readable:
            raise GpuUnsupported(
                f"The driver lets nobody change the power limit of GPU {this.uuid}.",
                hint="Time and energy are measured without limits.",
            )
        return this.power_range

    @property
    def is_allowed(self) -> bool:
        """Whether the site allows limits."""
        return self._site.allows_power_limits(self.device.description.uuid)

    @property
    def support(self) -> LimitSupport:
        """Whether limits may be set, as far as is known."""
        this = self.device.description
        if this.power_range is None or this.partitioned or not self._is_readable:
            return "unsupported"
        return "allowed" if self.is_allowed and not self.is_read_only else "forbidden"

    def settable(self, found: int | None) -> tuple[int, int] | None:
        """Return the lowest and the highest limit worth setting, in milliwatts; None: none can be set.

        Args:
            found: The limit found; None: not read yet.
        """
        this = self.device.description
        if this.power_range is None or self.support != "allowed":
            return None
        lowest, highest = self._site.settable_range(this.uuid, this.power_range, found)
        cap = self._cap.milliwatts
        return lowest, highest if cap is None else max(lowest, min(highest, cap))


def _known(query: Callable[[], T | None]) -> T | None:
    """Return the answer to a query that the GPU can be used without; None when it has none."""
    try:
        return query()
    except (GpuUnavailable, DriverReloaded):
        raise
    except AgentError:
        return None
