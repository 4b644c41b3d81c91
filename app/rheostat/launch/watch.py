"""Looks through a command's output for what tells why it ended."""

import re
from collections.abc import Iterator, Sequence
from threading import Lock
from time import monotonic

from rheostat.launch.readings import shown
from rheostat.sdk.out_of_memory import may_show_either, shows_a_kill, shows_out_of_memory

_LONGEST_PART_BYTES = 2**16
_TAIL_BYTES = 2**12
_LONGEST_SHOWN = 200
_LONGEST_LINE = 2**12
_GOT_OVER_SECONDS = 1.0
"""Two outputs are read by two threads: what is nearer than that may have been written in the other order."""


class OutputWatch:
    """Notes in all of a command's output what its end may be explained by; safe to share between the outputs' threads.

    Attributes:
        out_of_memory: The first line that says that memory ran out; None: there was none.
        shows_a_kill: Whether a line says that a process was ended by SIGKILL.

    Args:
        oom_patterns: The user's own patterns of lines that say that memory ran out.
    """

    def __init__(self, oom_patterns: Sequence[re.Pattern[str]] = ()) -> None:
        self.out_of_memory: str | None = None
        self.shows_a_kill = False
        self._noted_at = 0.0
        self._patterns = oom_patterns
        self._begun: dict[int, bytes] = {}
        self._tail = b""
        self._lock = Lock()

    def feed(self, output: int, data: bytes) -> None:
        """Look through what was written to one of the outputs."""
        with self._lock:
            *finished, begun = (self._begun.get(output, b"") + data).rpartition(b"\n")
            self._begun[output] = begun[-_LONGEST_PART_BYTES:]
            self._look(b"".join(finished))

    def note_progress(self) -> None:
        """Note that the command goes on: it got over what it said of its memory some time ago."""
        if self.out_of_memory is not None and monotonic() - self._noted_at > _GOT_OVER_SECONDS:
            self.out_of_memory = None

    def finish(self) -> None:
        """Look through the lines that have no end."""
        with self._lock:
            for begun in self._begun.values():
                self._look(begun)
            self._begun.clear()

    def _look(self, lines: bytes) -> None:
        self._tail = (self._tail + lines)[-_TAIL_BYTES:]
        text = lines.decode(errors="replace")
        if not self._patterns and not may_show_either(text):
            return
        for line in _lines_of(text):
            if self.out_of_memory is None and shows_out_of_memory(line, self._patterns):
                self.out_of_memory, self._noted_at = line, monotonic()
            self.shows_a_kill = self.shows_a_kill or shows_a_kill(line)

    def last_lines(self, count: int = 1) -> list[str]:
        """Return the last lines that are not blank, as a terminal shows them, the newest last."""
        lines = [shown(line).strip()[:_LONGEST_SHOWN] for line in self._tail.split(b"\n")]
        return [line for line in lines if line][-count:]


def _lines_of(text: str) -> Iterator[str]:
    """Yield the lines of a text, long ones in parts: to look through a line takes longer than its length."""
    for line in text.splitlines():
        for begin in range(0, len(line), _LONGEST_LINE):
            yield line[begin : begin + _LONGEST_LINE]
