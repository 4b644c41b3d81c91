"""The two formats of the log, and that nothing from outside can imitate a line or control a terminal."""

import json
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

from rheostat.api import logs

HOSTILE = "a\nERROR all is lost\r\x1b[2J\x00\u202e\u2028"


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """Return a function that reads what was logged since its last call; restore the logging of the tests at the end."""

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    root = logging.getLogger()
    handlers, level, thread_hook = root.handlers[:], root.level, threading.excepthook
    yield lines
    threading.excepthook = thread_hook
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    clear_contextvars()


def test_lines_of_both_libraries_are_alike_as_text(read: Callable[[], list[str]]) -> None:
    logs.configure("text", "info")
    bind_contextvars(request_id="r1")
    structlog.get_logger().info("GET /x 200", method="GET", path="/x", status=200, actor="ci (1)", job_id="nightly")
    logging.getLogger("rheostat.x").warning("%d connections", 3)
    request, other = read()
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO GET /x 200 actor="ci \(1\)" job_id=nightly request_id=r1', request
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING 3 connections request_id=r1", other)


def test_lines_of_both_libraries_are_alike_as_json(read: Callable[[], list[str]]) -> None:
    logs.configure("json", "info")
    bind_contextvars(request_id="r1")
    structlog.get_logger().info("GET /x 200", status=200)
    logging.getLogger("rheostat.x").warning("%d connections", 3)
    request, other = map(json.loads, read())
    assert request.pop("time") <= other.pop("time")
    assert request == {"level": "info", "message": "GET /x 200", "status": 200, "request_id": "r1"}
    assert other == {"level": "warning", "logger": "rheostat.x", "message": "3 connections", "request_id": "r1"}


@pytest.mark.parametrize(
    "log", [lambda **values: structlog.get_logger().error(HOSTILE, **values), lambda **_: logging.error(HOSTILE)]
)
def test_control_characters_are_escaped_in_text(read: Callable[[], list[str]], log: Callable[..., None]) -> None:
    logs.configure("text", "info")
    log(value=HOSTILE)
    (line,) = read()
    assert line.isprintable()
    assert r" ERROR a\nERROR all is lost\r\x1b[2J\x00\u202e\u2028" in line


def test_values_are_short_and_cannot_imitate_others(read: Callable[[], list[str]]) -> None:
    logs.configure("text", "info")
    structlog.get_logger().info("x", long="y" * 10_000, quoted='a" b=c', empty="", umlaut="\xfc")
    (line,) = read()
    assert line.endswith(f' x long={"y" * 500} quoted="a\\" b=c" empty="" umlaut="\\u00fc"')


def test_a_traceback_is_indented_and_escaped(read: Callable[[], list[str]]) -> None:
    logs.configure("text", "info")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("rheostat.x").exception("failed")
    first, *rest = read()
    assert first.endswith(" ERROR failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert "    ERROR all is lost" in rest


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_ends_a_thread_and_what_a_library_warns_of_are_lines_of_the_log(
    read: Callable[[], list[str]], log_format: Literal["text", "json"]
) -> None:
    logs.configure(log_format, "info")

    def fail() -> None:
        raise ValueError(HOSTILE)

    thread = threading.Thread(target=fail, name="writer")
    thread.start()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)  # which the line before has undone
        warnings.warn(HOSTILE, stacklevel=1)
    lines = read()
    assert all(line.isprintable() for line in lines)
    assert "thread writer ended" in lines[0]
    assert "WARNING" in lines[-1].upper()
    assert "\\u202e" in lines[-1]


def test_a_traceback_is_one_field_in_json(read: Callable[[], list[str]]) -> None:
    logs.configure("json", "info")
    logging.getLogger("rheostat.x").error("failed", exc_info=ValueError("why"))
    (line,) = read()
    assert json.loads(line)["exception"].endswith("ValueError: why")


def test_lines_below_the_level_and_those_of_migrations_are_left_out(read: Callable[[], list[str]]) -> None:
    logs.configure("text", "info")
    structlog.get_logger().debug("x")
    logging.getLogger("rheostat.x").debug("x")
    logging.getLogger("alembic.runtime").info("x")
    assert read() == []
    logs.configure("text", "debug")
    logging.getLogger("rheostat.x").debug("x")
    structlog.get_logger().debug("x")
    assert len(read()) == 2
