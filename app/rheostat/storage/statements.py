"""Statements that are compiled once: most of what SQLAlchemy does to execute one is the same every time.

The hot path, predict and observe, executes a handful of statements thousands of times a second. Each is an ordinary
SQLAlchemy statement; :class:`Statement` keeps its text and the conversions of its parameters for each dialect, and it
is executed on the driver's own cursor, within the transaction of an SQLAlchemy connection.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeEngine

from rheostat.storage.engine import sqlalchemy_error

PIPELINED_FROM = 8
"""A pipeline saves a round trip for each of its statements and costs as much as some: on one machine it breaks even
with 8 of them (0.37 ms against 0.34), over a network it saves most of the time."""

MOST_JOINED = 64
"""Statements that one takes as its parts: PostgreSQL lets it have 65,535 parameters."""

Parameters = Mapping[str, Any]
Row = tuple[Any, ...]
_Convert = Callable[[Any], Any]
_PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement for one dialect.

    Attributes:
        text: What the driver executes.
        parameters: Each parameter's name, and its conversion if it needs one.
    """

    text: str
    parameters: tuple[tuple[str, _Convert | None], ...]


class Statement:
    """A statement, compiled on its first execution with each dialect.

    Args:
        element: The statement; its parameters are named.
        sqlite: What to execute on SQLite instead.
    """

    def __init__(self, element: Executable, *, sqlite: Executable | None = None) -> None:
        self._element = element
        self._sqlite = element if sqlite is None else sqlite
        self._compiled: dict[str, _Compiled] = {}

    def prepare(self, dialect: Dialect, parameters: Parameters) -> tuple[str, dict[str, Any]]:
        """Return the text of the statement, and the parameters as the driver takes them."""
        compiled = self._for(dialect)
        return compiled.text, {
            name: parameters[name] if convert is None else convert(parameters[name])
            for name, convert in compiled.parameters
        }

    def _for(self, dialect: Dialect) -> _Compiled:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compile(
                self._sqlite if dialect.name == "sqlite" else self._element, dialect
            )
        return compiled


Execution = tuple[Statement, Parameters]
"""A statement with its parameters."""


def execute_groups(connection: Connection, groups: Sequence[Sequence[Execution]]) -> None:
    """Execute groups of statements in order; the statements of one group change different rows.

    PostgreSQL is sent one statement a group, of which the group's statements are parts.

    Raises:
        DBAPIError: One failed.
    """
    if connection.dialect.name == "postgresql":
        parts = [group[at : at + MOST_JOINED] for group in groups for at in range(0, len(group), MOST_JOINED)]
        _execute(connection, [_joined(connection.dialect, part) for part in parts])
    else:
        _execute(connection, [s.prepare(connection.dialect, values) for group in groups for s, values in group])


def first_rows(connection: Connection, executions: Sequence[Execution]) -> list[Row | None]:
    """Execute queries in order and return the first row of each.

    Raises:
        DBAPIError: One failed.
    """
    prepared = [statement.prepare(connection.dialect, values) for statement, values in executions]
    return [cursor.fetchone() for cursor in _execute(connection, prepared)]


def _execute(connection: Connection, prepared: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Execute what the driver takes, and return its cursors."""
    driver: Any = connection.connection.driver_connection
    dialect = connection.dialect
    try:
        if dialect.name == "postgresql" and len(prepared) >= PIPELINED_FROM:
            with driver.pipeline():
                return [driver.execute(text, values) for text, values in prepared]
        return [driver.execute(text, values) for text, values in prepared]
    except Exception as error:  # the driver's own, or an overflow of its: the transaction is over either way
        raise sqlalchemy_error(connection, error) from error


def _joined(dialect: Dialect, group: Sequence[Execution]) -> tuple[str, dict[str, Any]]:
    """Return one statement that executes all of a group."""
    texts = []
    values: dict[str, Any] = {}
    for at, (statement, parameters) in enumerate(group):
        text, prepared = statement.prepare(dialect, parameters)
        texts.append(text)
        values.update((f"{name}_{at}", value) for name, value in prepared.items())
    return _joined_text(tuple(texts)), values


@lru_cache(maxsize=256)
def _joined_text(texts: tuple[str, ...]) -> str:
    parts = [_PARAMETER.sub(rf"%(\g<1>_{at})s", text) for at, text in enumerate(texts)]
    return f"WITH {', '.join(f'part_{at} AS ({part})' for at, part in enumerate(parts))} SELECT 1"


def _compile(element: Executable, dialect: Dialect) -> _Compiled:
    # Of SQLite's styles only this one lets a statement name its parameters.
    named = sqlite.dialect(paramstyle="named") if dialect.name == "sqlite" else dialect
    compiled = element.compile(dialect=named)  # type: ignore[attr-defined]
    return _Compiled(
        str(compiled),
        tuple((name, _to_database(bind.type, dialect)) for name, bind in compiled.binds.items()),
    )


def _to_database(kind: TypeEngine[Any], dialect: Dialect) -> _Convert | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)
