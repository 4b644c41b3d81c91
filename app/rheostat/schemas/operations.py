"""The wire models of operations: the audit trail, health, and the errors of server and agent."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from rheostat.schemas.fields import Body


class AuditEntry(Body):
    """One change, and its author."""

    at: datetime
    namespace: str | None = Field(description="Namespace of the job; null: the change concerns the whole server.")
    actor: str = Field(description="The token's name and id, or the user of the command line.")
    action: str
    subject: str = Field(description="Id of the job, or of the token.")
    details: dict[str, JsonValue]


class AuditPage(Body):
    """One page of the audit trail, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: this is the last.")


class Health(Body):
    """The answer of the health routes."""

    status: Literal["ok"]


class FieldProblem(Body):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Body):
    """An error, as `application/problem+json` (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable name of the error.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    hint: str = ""
    fields: list[FieldProblem] = Field(default_factory=list)
