"""What is said of a database that fails, by what its driver says."""

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from rheostat.errors import DatabaseUnavailable
from rheostat.storage.failures import translated


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ('connection to server at "10.0.0.1", port 5432 failed: Connection refused', "Does PostgreSQL run"),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "host and port"),
        ("connection timeout expired", "host and port"),
        ('FATAL:  password authentication failed for user "me"', "RHEOSTAT_DATABASE_PASSWORD"),
        ("fe_sendauth: no password supplied", "RHEOSTAT_DATABASE_PASSWORD"),
        ('FATAL:  role "me" does not exist', "createuser"),
        ('FATAL:  database "rheostat" does not exist', "createdb"),
        ("server closed the connection unexpectedly", "/readyz"),
    ],
)
def test_a_postgresql_that_cannot_be_used_has_the_remedy_of_its_cause(said: str, remedy: str) -> None:
    error = translated(DBAPIError(None, None, psycopg.OperationalError(said)))
    assert isinstance(error, DatabaseUnavailable)
    assert remedy in error.hint
    assert said not in str(error)


@pytest.mark.parametrize("said", ["attempt to write a readonly database", "unable to open database file"])
def test_a_file_that_cannot_be_written_names_who_must_be_able_to(said: str) -> None:
    error = translated(DBAPIError(None, None, sqlite3.OperationalError(said)))
    assert "must be able to write the database file and its directory" in error.hint
