"""The audit trail: who registered, changed and deleted jobs, and made and revoked tokens."""

from rheostat.schemas.server import AuditEntry, AuditPage
from rheostat.service.context import Service
from rheostat.storage.audit import Audit


def list_audit(service: Service, *, namespace: str | None, cursor: int | None, limit: int) -> AuditPage:
    """Return a page of the audit trail, newest first.

    Args:
        service: Where.
        namespace: Only what concerns this one; None: all.
        cursor: ``next_cursor`` of the page before.
        limit: Longest page wanted.
    """
    entries = service.database.read(
        lambda connection: Audit(connection).page(namespace=namespace, before=cursor, limit=limit + 1)
    )
    return AuditPage(
        entries=[
            AuditEntry(
                at=entry.at,
                namespace=entry.namespace,
                actor=entry.actor,
                action=entry.action,
                subject=entry.subject,
                details=entry.details,
            )
            for entry in entries[:limit]
        ],
        next_cursor=str(entries[limit - 1].audit_pk) if len(entries) > limit else None,
    )
