"""The audit trail: who changed which job or token, and when."""

from rheostat.schemas.operations import AuditEntry, AuditPage
from rheostat.service.context import Service


def list_audit(service: Service, *, namespace: str | None, cursor: int | None, limit: int) -> AuditPage:
    """Return a page of the audit trail, newest first.

    Args:
        service: The service.
        namespace: The namespace whose entries to return; None: all.
        cursor: ``next_cursor`` of the previous page; None: the first page.
        limit: Maximum number of entries.
    """
    entries = service.audit_trail.page(namespace=namespace, before=cursor, limit=limit + 1)
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
