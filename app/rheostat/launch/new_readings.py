"""Tells what a run has added to a file that is written anew. Pure."""

from collections.abc import Sequence

from rheostat.launch.readings import Reading


class NewReadings:
    """Compares all evaluations that a file has with those of before.

    A file may be written whole again with one evaluation more, with what earlier runs had left in it or without, and
    may be seen while it is written. So what begins as before is as before; what differs from there on is new.
    """

    def __init__(self) -> None:
        self._earlier: list[str] = []
        self._own: list[str] = []

    def begin_with(self, earlier: Sequence[Reading]) -> None:
        """Note what the file had when the run began."""
        self._earlier = list(map(repr, earlier))

    @property
    def count(self) -> int:
        """How many evaluations the file should have: those of earlier runs that are still there, and the run's own."""
        return len(self._earlier) + len(self._own)

    def append(self, reading: Reading) -> None:
        """Note one that was appended."""
        self._own.append(repr(reading))

    def update(self, readings: Sequence[Reading], *, is_stable: bool) -> list[Reading] | None:
        """Return those that are new; None: ask again when it is known whether the file is complete.

        Args:
            readings: All that the file has now, after it was written anew.
            is_stable: Whether it has not changed for a moment. Less than earlier runs had left is the beginning of the
                same, or a run of its own that repeats it.
        """
        now = list(map(repr, readings))
        if self._earlier:
            if now[: len(self._earlier)] == self._earlier and len(now) > len(self._earlier):
                readings, now = readings[len(self._earlier) :], now[len(self._earlier) :]
            elif now == self._earlier[: len(now)] and not is_stable:
                return None
            else:
                self._earlier = []
        common = next(
            (at for at, (one, other) in enumerate(zip(now, self._own, strict=False)) if one != other),
            min(len(now), len(self._own)),
        )
        if common == len(now):
            return []
        self._own = now
        return list(readings[common:])
