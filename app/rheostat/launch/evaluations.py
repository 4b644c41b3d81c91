"""The command's evaluations between the threads that read them and the one that reports them."""

import logging
from dataclasses import dataclass, field
from math import isfinite
from threading import Condition
from time import monotonic

from rheostat.launch.readings import Reading
from rheostat.schemas.server import JobSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation, with the epochs that were done by then.

    Attributes:
        read_at: When it was read, on the monotonic clock.
    """

    metric: float
    epoch: float
    read_at: float = field(default_factory=monotonic, compare=False)


class Evaluations:
    """Holds at most one evaluation that is not reported yet; safe to share between threads.

    A command may write them faster than a server takes them. Only the newest counts then, except that the first one at
    the target is kept: so no report waits for others, and no success is lost.

    Args:
        settings: What the job asks for.
        first_epoch: The number that the command gives its first epoch; None: 0 or 1, which the server finds out.
        epochs_before: Epochs that another process reported, for a command that does not number them.
    """

    def __init__(self, settings: JobSettings, first_epoch: float | None, epochs_before: float = 0.0) -> None:
        self._settings = settings
        self._first_epoch = first_epoch
        self._epochs_before = epochs_before
        self._changed = Condition()
        self._latest: Evaluation | None = None
        self._next: Evaluation | None = None
        self._has_ended = self._has_warned = self._counts_from_0 = False

    @property
    def latest(self) -> Evaluation | None:
        """The newest one, reported or not."""
        return self._latest

    def put(self, reading: Reading) -> None:
        """Add what was read; an epoch that is not new does not count."""
        with self._changed:
            epoch = self._epoch_of(reading)
            if epoch is None:
                return
            self._counts_from_0 = self._counts_from_0 or (epoch == 0 and self._latest is None)
            self._latest = Evaluation(reading.metric, epoch)
            if self._next is None or not self._settings.has_converged(self._next.metric, self._next.epoch):
                self._next = self._latest
            self._changed.notify()

    @property
    def counts_from_0(self) -> bool:
        """Whether the first evaluation was of epoch 0, so that the last one may be of the epoch before the last."""
        return self._counts_from_0

    def _epoch_of(self, reading: Reading) -> float | None:
        """Return the epochs done, or None if the evaluation does not count."""
        before = None if self._latest is None else self._latest.epoch
        if reading.epoch is None:
            return (self._epochs_before if before is None else before) + 1
        epoch = reading.epoch if self._first_epoch is None else reading.epoch + 1 - self._first_epoch
        if self._first_epoch is not None and epoch <= 0:
            if not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "An evaluation of epoch %g does not count, since --first-epoch is %g. If the command counts from 0,"
                    " give --first-epoch 0.",
                    reading.epoch,
                    self._first_epoch,
                )
            return None
        is_new = isfinite(epoch) and epoch >= 0 and (before is None or epoch > before)
        return epoch if is_new else None

    def take(self, wait_seconds: float = 0.0) -> Evaluation | None:
        """Return the one that is to be reported next; None when there is none in time, or the command has ended."""
        give_up_at = monotonic() + wait_seconds
        with self._changed:
            while self._next is None and not self._has_ended and (left := give_up_at - monotonic()) > 0:
                self._changed.wait(left)
            evaluation, self._next = self._next, None
            return evaluation

    @property
    def has_ended(self) -> bool:
        """Whether the command has ended."""
        return self._has_ended

    def end(self) -> None:
        """Note that the command has ended; what is still in its outputs may follow."""
        with self._changed:
            self._has_ended = True
            self._changed.notify()
