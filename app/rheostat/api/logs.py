"""The server's log, on standard error: a line each, for people or as JSON."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from rheostat.service.notes import current_notes

REQUESTS = "rheostat.requests"
"""Logger of one line a request."""

_LONGEST_VALUE = 500
_SAID = ("method", "path", "status")  # in the message of the line of a request


def configure(log_format: Literal["text", "json"], level: str) -> None:
    """Send all logs of this process to standard error in one format."""
    # No line tells these, and to find them out takes a good part of the time that a line takes.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"  # `rheostat.api.watch` writes one line a request
    logging.getLogger("alembic").setLevel(logging.WARNING)


def facts_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of a line: its own, and which request it belongs to."""
    own: dict[str, object] = getattr(record, "facts", {})
    request_id = current_notes().get("request_id")
    return own if request_id is None else {"request_id": request_id, **own}


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _moment(record, "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= facts_of(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{name}={_word(value)}" for name, value in facts_of(record).items() if name not in _SAID)
        # What callers sent stands in no message as it came: a line break in it would look like a line of ours.
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        line = f"{_moment(record, 'seconds')} {record.levelname} {message} {facts}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _moment(record: logging.LogRecord, timespec: str) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def _word(value: object) -> str:
    text = str(value)[:_LONGEST_VALUE]
    return text if text and text.isprintable() and " " not in text else json.dumps(text)
