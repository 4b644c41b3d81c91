"""Reads the metric from lines that a command writes: from JSON lines or CSV. Pure."""

import csv
import json
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite, nan

from rheostat.sdk.seen_metrics import UNREAD

_log = logging.getLogger(__name__)

_LONGEST_LINE_BYTES = 2**20
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Reading:
    """An evaluation.

    Attributes:
        metric: Value of the target metric; NaN when it is not finite, and `UNREAD` when the line has none.
        epoch: As the command counts; None when the line has none.
    """

    metric: float
    epoch: float | None


Reader = Callable[[str], Reading | None]
"""Reads a line; None: it is not an evaluation."""


class LineSplitter:
    """Splits bytes into complete lines, each as a terminal shows it: without what a progress bar overwrote."""

    def __init__(self) -> None:
        self._begun = b""

    def feed(self, data: bytes) -> list[str]:
        """Add bytes; return the lines that they complete."""
        *finished, self._begun = (self._begun + data).split(b"\n")
        self._begun = self._begun[-_LONGEST_LINE_BYTES:]
        return [shown(line) for line in finished]

    def rest(self) -> list[str]:
        """Return the incomplete last line, if any, at the end of the output."""
        begun, self._begun = self._begun, b""
        return [shown(begun)] if begun else []


def shown(line: bytes) -> str:
    """Return a line as a terminal shows it: without colours, and without what was overwritten."""
    last = next((part for part in reversed(line.split(b"\r")) if part.strip()), b"")
    return _COLOUR.sub("", last.decode(errors="replace"))


class FileReader:
    """Reads JSON lines or CSV, whichever a line is. A CSV header may come again at any time.

    Attributes:
        names: Keys and columns that were there, in the order in which they came.

    Args:
        metric: Key or column of the metric; None: each line is an epoch.
    """

    def __init__(self, metric: str | None) -> None:
        self.names: dict[str, None] = {}
        self._metric = metric
        self._columns: list[str] | None = None
        self._missed = False

    def __call__(self, line: str) -> Reading | None:
        """Read a line; None: it is not an evaluation."""
        if not line.strip():
            return None
        record = _json(line) if line.lstrip().startswith("{") else self._row(line)
        if record is None:
            return None
        self.names.update(dict.fromkeys(record))
        metric = UNREAD if self._metric is None else number(record.get(self._metric))
        return None if metric is None else Reading(metric, number(record.get("epoch")))

    def _row(self, line: str) -> dict[str, object] | None:
        if '":' in line or not any(map(str.isalnum, line)):  # a part of a JSON document of several lines
            return None
        try:
            cells = [cell.strip() for cell in next(csv.reader([line]))]
        except csv.Error:
            return None
        if self._columns is None or self._metric in cells or cells == self._columns:
            self._columns = cells
            if self._metric not in (None, *cells) and not self._missed:
                self._missed = True
                _log.warning("The metrics file has no column %r; it has: %s.", self._metric, ", ".join(cells))
            return None
        return dict(zip(self._columns, cells, strict=False))


def _json(line: str) -> dict[str, object] | None:
    with suppress(ValueError):
        record = json.loads(line)
        return record if isinstance(record, dict) else None
    return None


def number(value: object) -> float | None:
    """Return a number; NaN for one that is not finite, which is unknown; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(ValueError, OverflowError):
        figure = float(value)
        return figure if isfinite(figure) else nan
    return None
