"""Long work on the database, done in short transactions with pauses in which others write."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from time import monotonic

from sqlalchemy import Connection

from rheostat.storage.engine import Database

STEP_SECONDS = 0.01
"""How long a step may work before its commit: others wait for one or two steps."""

PAUSE_PER_STEP = 3.0
LONGEST_PAUSE_SECONDS = 0.1
"""A pause is so many times as long as the step before it, up to this: SQLite's waiters look for the lock at intervals
of 1 to 100 ms (`sqliteDefaultBusyCallback`), and find it free three times of four."""

FEWEST_ROWS = 100
"""On a slow or busy machine a commit takes long whatever is in it: smaller steps would never come to an end."""

MOST_ROWS = 900
"""SQLite before 3.32 takes 999 parameters in a statement ("Limits In SQLite", 9)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far long work has come.

    Attributes:
        rows: How many rows it has changed.
        share: Which share of the whole is done, from 0 to 1; None: that is unknown.
    """

    rows: int
    share: float | None = None


Watch = Callable[[Progress], None]
"""Called with how far long work is, after every step."""


def unwatched(_: Progress) -> None:
    """Show nothing."""


class Steps:
    """Runs the steps of long work, and chooses how many rows each takes by the time that the last one took.

    Args:
        database: Where the work is done.
        stop: Ends the work after the step at hand once it is set.
        watch: Called with the progress after every step.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        database: Database,
        stop: Event | None = None,
        watch: Watch = unwatched,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.database = database
        self.done = 0
        self.rows = FEWEST_ROWS
        self._stop = stop or Event()
        self._watch = watch
        self._now = now

    @property
    def is_stopped(self) -> bool:
        """Whether no further step is to be made."""
        return self._stop.is_set()

    def take(self, work: Callable[[Connection], int]) -> int:
        """Do one step, which changes up to :attr:`rows` rows, in a transaction, and pause; return how many it changed.

        Raises:
            Unavailable: The database cannot be written.
        """
        began = worked = 0.0

        def timed(connection: Connection) -> int:
            nonlocal began, worked
            began = self._now()  # the time before was spent waiting for others
            changed = work(connection)
            worked = self._now() - began
            return changed

        changed = self.database.write(timed)
        self.done += changed
        if worked > STEP_SECONDS:
            self.rows = max(self.rows // 2, FEWEST_ROWS)
        elif worked < STEP_SECONDS / 2:
            self.rows = min(self.rows * 2, MOST_ROWS)
        self._stop.wait(min(PAUSE_PER_STEP * (self._now() - began), LONGEST_PAUSE_SECONDS))
        return changed

    def show(self, share: float | None = None) -> None:
        """Tell how far the work has come."""
        self._watch(Progress(self.done, share))
