"""Frozen values of what the database keeps beside jobs, one a row."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token, without its secret: only the secret's SHA-256 is kept; ``namespace`` None: it is bound to none."""

    token_id: str
    name: str
    scopes: str
    namespace: str | None
    secret_sha256: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who changed what, when; ``namespace`` None: it concerns the whole server."""

    at: datetime
    namespace: str | None
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    audit_pk: int | None = None
