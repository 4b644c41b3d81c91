"""The log on standard error: one line per event, as text or JSON.

Requests are logged by structlog itself, which is cheaper than ``logging``; whatever is logged by ``logging`` (our other
modules, uvicorn, Alembic) passes through the same processors. Lines of a request carry its id, which the middleware
binds to structlog's context variables.
"""

import json
import logging
import re
import sys
import threading
from typing import Literal

import structlog
from structlog.contextvars import merge_contextvars
from structlog.processors import EventRenamer, JSONRenderer, TimeStamper, add_log_level, format_exc_info
from structlog.stdlib import ProcessorFormatter, add_logger_name
from structlog.typing import EventDict, Processor, WrappedLogger

from rheostat.printable import printable

_MAX_VALUE_LENGTH = 500
_JSON = json.JSONEncoder(default=str)  # json.dumps would make one for each line
_NOT_IN_TEXT = frozenset(["time", "level", "logger", "event", "exception", "method", "path", "status"])
"""Fields with a place of their own in a line of text, and those that the message of a request repeats."""

_UNQUOTED = re.compile(r"[!#-<>-~]+")  # visible ASCII but for the quotation mark and the equals sign


def configure(log_format: Literal["text", "json"], level: str) -> None:
    """Send all logs of this process to standard error in one format."""
    is_json = log_format == "json"
    context: list[Processor] = [
        merge_contextvars,
        add_log_level,
        TimeStamper("iso" if is_json else "%Y-%m-%dT%H:%M:%SZ", key="time"),
    ]
    render_json: list[Processor] = [EventRenamer("message"), JSONRenderer(lambda event, **_: _JSON.encode(event))]
    rendering: list[Processor] = [format_exc_info, *(render_json if is_json else [_render_text])]
    structlog.configure(
        processors=[*context, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*context, add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_error


def _render_text(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Render a line for people; structlog's own renderers are slower and escape no control characters.

    Callers choose parts of messages and values: no character of theirs may start a line, or control a terminal.
    """
    fields = "".join([f" {name}={_quoted(value)}" for name, value in event.items() if name not in _NOT_IN_TEXT])
    line = f"{event['time']} {event['level'].upper()} {printable(str(event['event']))}{fields}"
    # Indented, so that a line of a traceback is not mistaken for a line of the log.
    return line + "".join(f"\n    {printable(part)}" for part in event.get("exception", "").splitlines())


def _quoted(value: object) -> str:
    text = str(value)[:_MAX_VALUE_LENGTH]
    return text if _UNQUOTED.fullmatch(text) else json.dumps(text)


def _log_thread_error(args: threading.ExceptHookArgs) -> None:
    """Log what ended a thread; Python would write the text of the exception as it is."""
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else "a thread"
        logging.getLogger(__name__).error("thread %s ended", name, exc_info=args.exc_value)
