"""Statements that are compiled once: on each engine they do what SQLAlchemy would have done."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from rheostat.storage.engine import Database
from rheostat.storage.statements import PIPELINED_FROM, Execution, Statement, execute_groups, first_rows
from rheostat.storage.tables import audit, tokens

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

_OPEN = ("token_id", "name", "scopes", "secret_sha256", "created_at")
INSERT = Statement(insert(tokens).values({name: bindparam(name, type_=tokens.c[name].type) for name in _OPEN}))
RENAME = Statement(update(tokens).where(tokens.c.token_id == bindparam("of_token_id")).values(name=bindparam("name")))
NAME = Statement(select(tokens.c.name).where(tokens.c.token_id == bindparam("token_id")))


def _token(token_id: str, name: str = "", created_at: datetime = NOON) -> Execution:
    row = {"token_id": token_id, "name": name, "scopes": "read", "secret_sha256": "", "created_at": created_at}
    return INSERT, row


def _rename(token_id: str, name: str) -> Execution:
    return RENAME, {"of_token_id": token_id, "name": name}


def _names(connection: Connection) -> dict[str, str]:
    return {row.token_id: row.name for row in connection.execute(select(tokens))}


@contextmanager
def _writing(database: Database) -> Iterator[Connection]:
    """Give a transaction, which is rolled back."""
    with database._writer.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


class _Spy:
    """Notes what the driver is given.

    Attributes:
        texts: The statements that were executed.
        values: The parameters of each.
        pipelines: How many pipelines were opened.
    """

    def __init__(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        self.values: list[dict[str, Any]] = []
        self.pipelines = 0
        driver: Any = connection.connection.driver_connection
        execute, pipeline = driver.execute, driver.pipeline

        def noted(sent: str, values: dict[str, Any]) -> Any:
            self.texts.append(sent)
            self.values.append(values)
            return execute(sent, values)

        def counted() -> Any:
            self.pipelines += 1
            return pipeline()

        monkeypatch.setattr(driver, "execute", noted)
        monkeypatch.setattr(driver, "pipeline", counted)


def test_groups_are_executed_in_order_each_statement_with_its_own_parameters(migrated: Database) -> None:
    groups: Sequence[Sequence[Execution]] = [
        [_token("a", "first"), _token("b", "second"), _token("c", "third")],
        [_rename("a", "A"), _rename("b", "B")],
        [_rename("a", "last")],
    ]
    with _writing(migrated) as connection:
        execute_groups(connection, groups)
        assert _names(connection) == {"a": "last", "b": "B", "c": "third"}


def test_no_groups_execute_nothing(migrated: Database) -> None:
    with _writing(migrated) as connection:
        execute_groups(connection, [])
        assert first_rows(connection, []) == []


@pytest.mark.parametrize("migrated", ["postgresql"], indirect=True)
def test_postgresql_is_sent_one_statement_a_group(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with _writing(migrated) as connection:
        spy = _Spy(connection, monkeypatch)
        execute_groups(connection, [[_token("a", "x"), _token("b", "y")], [_rename("a", "z")]])
    assert [sent.count(" AS (") for sent in spy.texts] == [2, 1]
    first, second = spy.values
    assert (first["token_id_0"], first["name_0"], first["token_id_1"], first["name_1"]) == ("a", "x", "b", "y")
    assert second == {"of_token_id_0": "a", "name_0": "z"}
    for sent, values in zip(spy.texts, spy.values, strict=True):
        assert all(f"%({name})s" in sent for name in values)


@pytest.mark.parametrize("migrated", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("count", "pipelines"), [(PIPELINED_FROM - 1, 0), (PIPELINED_FROM, 1)])
def test_postgresql_is_sent_many_statements_in_one_pipeline(
    migrated: Database, monkeypatch: pytest.MonkeyPatch, count: int, pipelines: int
) -> None:
    ids = [f"{at:02}" for at in range(count)]
    with _writing(migrated) as connection:
        spy = _Spy(connection, monkeypatch)
        execute_groups(connection, [[_token(token_id, f"name of {token_id}")] for token_id in ids])
        rows = first_rows(connection, [(NAME, {"token_id": token_id}) for token_id in ids])
    assert rows == [(f"name of {token_id}",) for token_id in ids]
    assert spy.pipelines == 2 * pipelines


def test_the_first_row_of_each_query_is_returned_in_their_order(migrated: Database) -> None:
    with _writing(migrated) as connection:
        execute_groups(connection, [[_token("a", "x"), _token("b", "y")]])
        asked = [(NAME, {"token_id": token_id}) for token_id in ("b", "none", "a", "b")]
        assert first_rows(connection, asked) == [("y",), None, ("x",), ("y",)]


def test_parameters_are_converted_as_sqlalchemy_converts_them(migrated: Database) -> None:
    moment = datetime(2026, 7, 1, 14, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
    names = [column.name for column in audit.c if column.name not in ("audit_pk", "namespace")]
    note = Statement(insert(audit).values({name: bindparam(name, type_=audit.c[name].type) for name in names}))
    details = {"ä": [1, 2.5, None, {"100%": "%(name)s"}]}
    row = {"at": moment, "actor": "it's me", "action": "a", "subject": "100%", "details": details}
    with _writing(migrated) as connection:
        execute_groups(connection, [[(note, row)]])
        stored = connection.execute(select(*[audit.c[name] for name in names])).one()
    assert dict(stored._mapping) == row
    assert stored.at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("count", [1, PIPELINED_FROM])
def test_a_failure_is_raised_as_sqlalchemy_raises_it(migrated: Database, count: int) -> None:
    groups = [[_token("a")] for _ in range(count + 1)]
    with pytest.raises(IntegrityError), _writing(migrated) as connection:
        execute_groups(connection, groups)
    missing = Statement(select(func.no_such_function()))
    with pytest.raises(DBAPIError), _writing(migrated) as connection:
        first_rows(connection, [(missing, {})])
    with _writing(migrated) as connection:
        assert _names(connection) == {}


def test_sqlite_may_have_a_statement_of_its_own(migrated: Database) -> None:
    one = Statement(text("SELECT 'PostgreSQL'"), sqlite=text("SELECT 'SQLite'"))
    with _writing(migrated) as connection:
        assert first_rows(connection, [(one, {})]) == [("SQLite" if migrated.is_sqlite else "PostgreSQL",)]


def test_a_statement_is_compiled_once_for_each_engine(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Statement(select(tokens.c.name).where(tokens.c.token_id == bindparam("token_id")))
    with _writing(migrated) as connection:
        first_rows(connection, [(one, {"token_id": "a"})])
        monkeypatch.setattr("rheostat.storage.statements._compile", None)
        assert first_rows(connection, [(one, {"token_id": "a"})]) == [None]
