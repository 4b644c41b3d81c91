"""What every use case is given: a database, a clock and the length of a lease."""

from collections.abc import Callable
from dataclasses import dataclass, field
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
        desk: Where decisions on the hot path are made.
    """

    database: Database
    lease: timedelta = timedelta(minutes=15)
    now: Callable[[], datetime] = _utc_now
    desk: Desk = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "desk", Desk(self.database))
