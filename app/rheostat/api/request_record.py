"""What is known of a request once it has been answered: its log line and its metrics are made from it."""

from dataclasses import dataclass

from fastapi import Request
from starlette.types import Scope

from rheostat.service import Event


@dataclass(slots=True)
class RequestRecord:
    """Filled in while a request is handled; stored in the request's state as ``record``.

    Attributes:
        request_id: The caller's, or a generated one.
        namespace: The namespace of the jobs that it is about.
        job_id: The job, where the path does not name it.
        problem: Stable code of the error that it was answered with.
        events: What it changed.
    """

    request_id: str
    namespace: str | None = None
    job_id: str | None = None
    problem: str | None = None
    events: tuple[Event, ...] = ()


def record_of(request: Request | Scope) -> RequestRecord:
    """Return the record of a request."""
    record = request["state"]["record"]
    assert isinstance(record, RequestRecord)
    return record
