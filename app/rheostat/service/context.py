"""What every use case is given: a database, a clock, the length of a lease, and for whom it works."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rheostat.schemas.server import DEFAULT_NAMESPACE
from rheostat.service.desk import Desk
from rheostat.storage.audit import Audit
from rheostat.storage.engine import Database, Transaction


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Service:
    """The surroundings of the use cases.

    Attributes:
        database: Where all state is.
        lease: How long a trial may be silent before it counts as abandoned.
        now: The clock, in UTC.
        namespace: Whose jobs are seen; those of others are as if they were not there.
        actor: Who asks, for the audit trail.
        own_desk: Where decisions on the hot path are made; None: a new one. A changed copy keeps it.
    """

    database: Database
    lease: timedelta = timedelta(minutes=15)
    now: Callable[[], datetime] = _utc_now
    namespace: str = DEFAULT_NAMESPACE
    actor: str = "local"
    own_desk: Desk | None = None

    def __post_init__(self) -> None:
        if self.own_desk is None:
            object.__setattr__(self, "own_desk", Desk(self.database))

    @property
    def desk(self) -> Desk:
        """Where decisions on the hot path are made."""
        assert self.own_desk is not None
        return self.own_desk

    def audit(self, connection: Transaction, action: str, subject: str, details: dict[str, Any] | None = None) -> None:
        """Note in the audit trail, within the change's own transaction, that a job was changed."""
        Audit(connection).add(
            self.now(),
            namespace=self.namespace,
            actor=self.actor,
            action=action,
            subject=subject,
            details=details or {},
        )
