"""Who has which GPUs, and until when. In memory: what must outlive the agent is in the ledger."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic

from rheostat.agent.ledger import Terms
from rheostat.agent.peer import user_name
from rheostat.errors import GpuHeld, LeaseNotFound


@dataclass(slots=True)
class Lease:
    """A lease that runs.

    Attributes:
        terms: What it was granted for.
        uuids: Its GPUs.
        descriptor: Becomes readable when its owner dies.
        expires_at: When it lapses, on the monotonic clock.
        changing: Is held while its limits are changed.
    """

    terms: Terms
    uuids: tuple[str, ...]
    descriptor: int
    expires_at: float = 0.0
    changing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Let it run for its time from now on."""
        self.expires_at = monotonic() + self.terms.ttl_seconds

    @property
    def expiry(self) -> datetime:
        """When it lapses, for people."""
        return datetime.now(UTC) + timedelta(seconds=self.expires_at - monotonic())


def holder(terms: Terms) -> str:
    """Say who has a lease."""
    owner = terms.owner
    what = "".join(
        f", {name} {value}" for name, value in (("job", terms.job_id), ("trial", terms.trial_id)) if value is not None
    )
    return f"process {owner.pid} of user {user_name(owner.uid)}{what}"


class Leases:
    """The leases of a node; each GPU has one at most. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, Lease] = {}
        self._by_uuid: dict[str, Lease] = {}

    def add(self, lease: Lease) -> None:
        """Take a lease in.

        Raises:
            GpuHeld: When another one has one of its GPUs.
        """
        with self._lock:
            for uuid in lease.uuids:
                if (other := self._by_uuid.get(uuid)) is not None:
                    raise GpuHeld(
                        f"GPU {uuid} is held by {holder(other.terms)} until {other.expiry:%H:%M:%S} UTC or longer.",
                        hint="Ask for another GPU, or wait.",
                    )
            self._by_id[lease.terms.lease_id] = lease
            self._by_uuid.update(dict.fromkeys(lease.uuids, lease))

    def get(self, lease_id: str) -> Lease:
        """Give a lease.

        Raises:
            LeaseNotFound: When there is none of that id.
        """
        with self._lock:
            if lease_id not in self._by_id:
                raise LeaseNotFound(f"There is no lease {lease_id}.", hint="It was ended, or lapsed: make a new one.")
            return self._by_id[lease_id]

    def join(self, lease_id: str, uuid: str) -> None:
        """Let a lease have one more GPU.

        Raises:
            LeaseNotFound: When there is none of that id.
        """
        lease = self.get(lease_id)
        with self._lock:
            lease.uuids = (*lease.uuids, uuid)
            self._by_uuid[uuid] = lease

    def of(self, uuid: str) -> Lease | None:
        """Give the lease that has a GPU."""
        with self._lock:
            return self._by_uuid.get(uuid)

    def remove(self, lease_id: str) -> Lease | None:
        """Take a lease out; None: it is out already. Who gets the lease is the one who ends it."""
        with self._lock:
            lease = self._by_id.pop(lease_id, None)
            for uuid in lease.uuids if lease else ():
                del self._by_uuid[uuid]
            return lease

    def all(self) -> Iterable[Lease]:
        """Give all leases."""
        with self._lock:
            return tuple(self._by_id.values())

    def lapsed(self) -> list[str]:
        """Give the leases that were silent for too long."""
        now = monotonic()
        return [lease.terms.lease_id for lease in self.all() if lease.expires_at <= now]
