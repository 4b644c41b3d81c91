"""The audit trail in SQL: who changed what. Rows are added, never changed."""

from dataclasses import asdict

from sqlalchemy import Connection, insert, select

from rheostat.storage.engine import Database
from rheostat.storage.records import AuditRecord
from rheostat.storage.tables import audit


def add_audit_entry(connection: Connection, entry: AuditRecord) -> None:
    """Insert an entry, within the transaction of the change that it describes."""
    values = asdict(entry)
    del values["audit_pk"]
    connection.execute(insert(audit).values(values))


class AuditTrail:
    """The audit trail of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: AuditRecord) -> None:
        """Insert an entry about something that no transaction of ours changed.

        Raises:
            Unavailable: The database cannot be written.
        """
        self._database.write(lambda connection: add_audit_entry(connection, entry))

    def page(self, *, namespace: str | None, before: int | None, limit: int) -> list[AuditRecord]:
        """Return up to ``limit`` entries, newest first: those of a namespace, or all.

        Raises:
            Unavailable: The database cannot be read.
        """
        query = select(audit)
        if namespace is not None:
            query = query.where(audit.c.namespace == namespace)
        if before is not None:
            query = query.where(audit.c.audit_pk < before)
        query = query.order_by(audit.c.audit_pk.desc()).limit(limit)

        def read(connection: Connection) -> list[AuditRecord]:
            return [AuditRecord(**row) for row in connection.execute(query).mappings()]

        return self._database.read(read)
