"""What every use case is given: a database, a clock and the length of a lease."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rheostat.service.desk import Desk
from rheostat.storage.engine import Database


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Service:
    """The surroundings of the use cases.

    Attributes:
        database: Where all state is.
        lease: How long a trial may be silent before it counts as abandoned.
        now: The clock, in UTC.
        own_desk: Where decisions on the hot path are made; None: a new one. A changed copy keeps it.
    """

    database: Database
    lease: timedelta = timedelta(minutes=15)
    now: Callable[[], datetime] = _utc_now
    own_desk: Desk | None = None

    def __post_init__(self) -> None:
        if self.own_desk is None:
            object.__setattr__(self, "own_desk", Desk(self.database))

    @property
    def desk(self) -> Desk:
        """Where decisions on the hot path are made."""
        assert self.own_desk is not None
        return self.own_desk
