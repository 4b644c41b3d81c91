"""Reads the metric from lines that a command writes: from JSON lines or CSV. Pure."""

import csv
import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite, nan

from rheostat.sdk.seen_metrics import UNREAD

_log = logging.getLogger(__name__)

_LONGEST_LINE_BYTES = 2**20
_DELIMITERS = (",", "\t", ";")
_PYTHON_WORD = re.compile(r"(?<=[\s:-])(?:nan|inf|None|True|False)(?=[,}\s])")
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
    """Reads JSON lines, printed Python dictionaries or CSV, whichever a line is. A CSV header may come again.

    Attributes:
        metric: Key or column of the metric; None: each line is an epoch.
        names: Keys and columns that were there, in the order in which they came.
    """

    def __init__(self, metric: str | None) -> None:
        self.names: dict[str, None] = {}
        self.metric = metric
        self._columns: list[str] | None = None
        self._delimiter = ","
        self._missed = False

    def __call__(self, line: str) -> Reading | None:
        """Read a line; None: it is not an evaluation."""
        line = line.strip().lstrip("\ufeff")
        if not line:
            return None
        record = _json(line) if line.startswith("{") else self._row(line)
        return None if record is None else self.read(record)

    def printed(self, line: str) -> Reading | None:
        """Read a record among other lines of output; None: it is not an evaluation."""
        record = _json(line.strip()) if line.lstrip().startswith("{") else None
        return None if record is None else self.read(record)

    def read(self, record: Mapping[str, object]) -> Reading | None:
        """Read a record, or one in it that has the metric; None: it is not an evaluation."""
        if self.metric is not None and self.metric not in record:
            for inner in record.values():
                if isinstance(inner, dict) and self.metric in inner:
                    record = {**record, **inner}
        self.names.update(dict.fromkeys(record))
        metric = UNREAD if self.metric is None else number(record.get(self.metric))
        return None if metric is None else Reading(metric, number(record.get("epoch", record.get("Epoch"))))

    def _row(self, line: str) -> dict[str, object] | None:
        if '":' in line or not any(map(str.isalnum, line)):  # a part of a JSON document of several lines
            return None
        if self._columns is None:
            self._delimiter = max(_DELIMITERS, key=line.count)
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter))]
        except csv.Error:
            return None
        if self._columns is None and len(cells) == 1 and self.metric not in (None, *cells):
            return None  # text
        if self._columns is None or self.metric in cells or cells == self._columns:
            self._columns = cells
            self.names.update(dict.fromkeys(cells))
            if self.metric not in (None, *cells) and not self._missed:
                self._missed = True
                _log.warning("The metrics file has no column %r; there are: %s.", self.metric, ", ".join(cells))
            return None
        return dict(zip(self._columns, cells, strict=False))


def _json(line: str) -> dict[str, object] | None:
    """Return a line of JSON, or of a Python dictionary as trainers print it."""
    for text in (line, _as_json(line) if line.startswith("{'") else ""):
        with suppress(ValueError):
            record = json.loads(text)
            return record if isinstance(record, dict) else None
    return None


def _as_json(line: str) -> str:
    words = {"nan": "NaN", "inf": "Infinity", "None": "null", "True": "true", "False": "false"}
    return _PYTHON_WORD.sub(lambda word: words[word[0]], line.replace("'", '"'))


def number(value: object) -> float | None:
    """Return a number; NaN for one that is not finite, which is unknown; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(ValueError, OverflowError):
        figure = float(value)
        return figure if isfinite(figure) else nan
    return None
