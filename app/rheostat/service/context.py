"""What every use case is given: a database, a clock and the length of a lease."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

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
    """

    database: Database
    lease: timedelta = timedelta(minutes=15)
    now: Callable[[], datetime] = _utc_now
