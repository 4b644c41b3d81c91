"""What the ledger records: the limit found on a GPU, and the terms of a lease. Checked when they are read."""

import re
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from rheostat.agent.states import LimitOrigin, limit_origin
from rheostat.schemas.agent import Pid, TtlSeconds, Uuid

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,95}")
"""The UUID of a GPU or the id of a lease, which names its file."""
FILE = ConfigDict(strict=True, extra="ignore")
"""Fields of a later version are ignored; the version says when they must not be."""

_Milliwatts = Annotated[int, Field(ge=0, le=100_000_000)]


@dataclass(frozen=True, slots=True, config=FILE)
class Owner:
    """The process that owns a lease.

    Attributes:
        pid: Its process id.
        start_ticks: When it started, in clock ticks since boot; distinguishes it from a later process of the same id.
        uid: Its user id.
    """

    pid: Pid
    start_ticks: Annotated[int, Field(ge=0)]
    uid: Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True, slots=True, config=FILE)
class Terms:
    """The terms of a lease.

    Attributes:
        lease_id: The id of the lease.
        owner: The process that owns it.
        ttl_seconds: It expires when it is not renewed for this long.
        job_id: The job that the owner trains, if known.
        trial_id: The trial of that job, if known.
    """

    lease_id: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
    owner: Owner
    ttl_seconds: TtlSeconds
    job_id: str | None = None
    trial_id: str | None = None


@dataclass(frozen=True, slots=True, config=FILE)
class Entry:
    """What must be restored on a GPU.

    Attributes:
        uuid: The GPU.
        found_milliwatts: The limit found before the agent's first change.
        ours_milliwatts: The limits that the agent may have set: the current one and the one it is about to set.
        terms: The lease that the limits were set for.
        pending_milliwatts: The one of them that was not read back yet, so that the driver's rounding is not known.
    """

    uuid: Uuid
    found_milliwatts: _Milliwatts
    ours_milliwatts: tuple[_Milliwatts, ...]
    terms: Terms
    pending_milliwatts: _Milliwatts | None = None

    def origin_of(self, current_milliwatts: int) -> LimitOrigin:
        """Return who set the GPU's current limit."""
        return limit_origin(current_milliwatts, self.found_milliwatts, self.ours_milliwatts, self.pending_milliwatts)


@dataclass(frozen=True, slots=True, config=FILE)
class LeaseRecord:
    """A lease in force.

    Attributes:
        gpus: Its GPUs.
        terms: Its terms.
    """

    gpus: tuple[Uuid, ...]
    terms: Terms
