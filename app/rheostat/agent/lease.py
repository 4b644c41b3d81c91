"""The leases of GPUs, in memory; what must survive the agent is in the ledger."""

import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic

from rheostat.agent.ledger import Ledger
from rheostat.agent.peer import reopen_owner, user_name
from rheostat.agent.records import Entry, LeaseRecord, Terms
from rheostat.errors import GpuHeld, LeaseNotFound, LedgerFailed
from rheostat.schemas.agent import HEARTBEAT_SECONDS, LeaseGrant

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Lease:
    """A lease in force.

    Attributes:
        terms: Its terms.
        uuids: Its GPUs.
        descriptor: A descriptor that becomes readable when its owner exits.
        clock: The clock of `expires_at`, in seconds.
        expires_at: When it expires.
        changing: A lock to hold while its limits are changed.
    """

    terms: Terms
    uuids: tuple[str, ...]
    descriptor: int
    clock: Callable[[], float] = monotonic
    expires_at: float = field(init=False)
    changing: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Extend the lease by its full term from now."""
        self.expires_at = self.clock() + self.terms.ttl_seconds

    @property
    def expiry(self) -> datetime:
        """When it expires, in wall-clock time."""
        return datetime.now(UTC) + timedelta(seconds=self.expires_at - self.clock())

    @property
    def is_expired(self) -> bool:
        """Whether it was not renewed in time."""
        return self.expires_at <= self.clock()

    def to_wire(self) -> LeaseGrant:
        """Return the lease as granted, to be renewed four times per term, or at least every 15 s."""
        ttl_seconds = self.terms.ttl_seconds
        return LeaseGrant(
            lease_id=self.terms.lease_id,
            gpus=list(self.uuids),
            ttl_seconds=ttl_seconds,
            heartbeat_seconds=min(HEARTBEAT_SECONDS, ttl_seconds / 4),
            expires_at=self.expiry,
        )


def holder(terms: Terms) -> str:
    """Return the holder of a lease, for messages."""
    owner = terms.owner
    what = "".join(
        f", {name} {value}" for name, value in (("job", terms.job_id), ("trial", terms.trial_id)) if value is not None
    )
    return f"process {owner.pid} of user {user_name(owner.uid)}{what}"


class Leases:
    """The leases of a node, at most one per GPU. Thread-safe.

    Args:
        ledger: The ledger that tells the next agent of them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._by_id: dict[str, Lease] = {}
        self._by_uuid: dict[str, Lease] = {}

    def readopt(
        self, entries: Mapping[str, Entry], present: Collection[str], clock: Callable[[], float]
    ) -> dict[str, Terms]:
        """Continue the leases of the last agent whose owners are alive, and forget the others.

        Args:
            entries: The limits to restore, by GPU, with the leases that they were set for.
            present: The GPUs that respond; the others may `join` later.
            clock: A monotonic clock in seconds.

        Returns:
            The terms of the leases by GPU, also of those that do not respond.
        """
        recorded = self._ledger.read_leases()
        by_gpu = {uuid: record.terms for record in recorded for uuid in record.gpus}
        by_gpu.update((uuid, entry.terms) for uuid, entry in entries.items())
        alive: dict[str, Terms] = {}
        for terms in dict.fromkeys([*by_gpu.values(), *(record.terms for record in recorded)]):
            held = sorted(uuid for uuid, of in by_gpu.items() if of == terms)
            descriptor = reopen_owner(terms.owner) if held else None
            if descriptor is None:
                logger.info("%s exited while no agent was running", holder(terms))
                self._forget(terms.lease_id)
                continue
            self.add(Lease(terms, tuple(uuid for uuid in held if uuid in present), descriptor, clock))
            alive.update(dict.fromkeys(held, terms))
        return alive

    def drop(self, *, keep_alive: bool) -> None:
        """Forget the leases of the last agent, or only those whose owners have exited."""
        for record in self._ledger.read_leases():
            descriptor = reopen_owner(record.terms.owner) if keep_alive else None
            if descriptor is None:
                self._forget(record.terms.lease_id)
            else:
                os.close(descriptor)

    def record(self, lease: Lease) -> None:
        """Tell the next agent of a lease; if that fails, the lease lasts as long as this agent."""
        try:
            self._ledger.write_lease(LeaseRecord(lease.uuids, lease.terms))
        except LedgerFailed as error:
            logger.warning("the lease of %s would not survive the agent: %s", holder(lease.terms), error)
        with self._lock:
            has_ended = lease.terms.lease_id not in self._by_id
        if has_ended:  # while it was being written
            self._forget(lease.terms.lease_id)

    def _forget(self, lease_id: str) -> None:
        try:
            self._ledger.remove_lease(lease_id)
        except LedgerFailed as error:
            logger.warning("the record of lease %s is left: %s", lease_id, error)

    def add(self, lease: Lease) -> None:
        """Add a lease.

        Raises:
            GpuHeld: When one of its GPUs is leased.
        """
        with self._lock:
            for uuid in lease.uuids:
                if (other := self._by_uuid.get(uuid)) is not None:
                    raise GpuHeld(
                        f"GPU {uuid} is held by {holder(other.terms)} until {other.expiry:%H:%M:%S} UTC or longer.",
                        hint="Lease another GPU, or wait.",
                    )
            self._by_id[lease.terms.lease_id] = lease
            self._by_uuid.update(dict.fromkeys(lease.uuids, lease))

    def get(self, lease_id: str) -> Lease:
        """Return a lease by id.

        Raises:
            LeaseNotFound: When there is no such lease.
        """
        with self._lock:
            if lease_id not in self._by_id:
                raise LeaseNotFound(
                    f"There is no lease {lease_id}.", hint="It has ended or expired: request a new one."
                )
            return self._by_id[lease_id]

    def join(self, lease_id: str, uuid: str) -> None:
        """Add a GPU to a lease.

        Raises:
            LeaseNotFound: When there is no such lease.
        """
        lease = self.get(lease_id)
        with self._lock:
            lease.uuids = (*lease.uuids, uuid)
            self._by_uuid[uuid] = lease

    def of(self, uuid: str) -> Lease | None:
        """Return the lease of a GPU, if any."""
        with self._lock:
            return self._by_uuid.get(uuid)

    def remove(self, lease_id: str) -> Lease | None:
        """Remove and return a lease; None: another thread has removed it."""
        with self._lock:
            lease = self._by_id.pop(lease_id, None)
            for uuid in lease.uuids if lease else ():
                del self._by_uuid[uuid]
        if lease is not None:
            self._forget(lease_id)
        return lease

    def all(self) -> tuple[Lease, ...]:
        """Return all leases."""
        with self._lock:
            return tuple(self._by_id.values())

    def expired(self) -> list[str]:
        """Return the ids of the leases that were not renewed in time."""
        return [lease.terms.lease_id for lease in self.all() if lease.is_expired]
