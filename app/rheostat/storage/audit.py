"""The trail of who changed what, in SQL. Rows are added, never changed."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from rheostat.storage.records import AuditRecord
from rheostat.storage.tables import audit


class Audit:
    """The audit trail, within the transaction of the change that it tells of."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self, at: datetime, *, namespace: str | None, actor: str, action: str, subject: str, details: dict[str, Any]
    ) -> None:
        """Insert an entry."""
        self._connection.execute(
            insert(audit).values(
                at=at, namespace=namespace, actor=actor, action=action, subject=subject, details=details
            )
        )

    def page(self, *, namespace: str | None, before: int | None, limit: int) -> list[AuditRecord]:
        """Return up to ``limit`` entries, newest first: those of a namespace, or all."""
        query = select(audit)
        if namespace is not None:
            query = query.where(audit.c.namespace == namespace)
        if before is not None:
            query = query.where(audit.c.audit_pk < before)
        query = query.order_by(audit.c.audit_pk.desc()).limit(limit)
        return [AuditRecord(**row) for row in self._connection.execute(query).mappings()]
