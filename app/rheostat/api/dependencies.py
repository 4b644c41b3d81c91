"""What routes ask for, and how they wait for what a use case promises."""

import asyncio
from concurrent.futures import Future
from threading import get_ident
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Path, Query, Request, Security

from rheostat.api.authentication import Authorised
from rheostat.api.request_record import record_of
from rheostat.api.waiting import answered_within
from rheostat.errors import DatabaseBusy, DatabaseUnavailable
from rheostat.schemas.fields import IdempotencyKey, JobId, TrialId
from rheostat.service import Decision, Service

A = TypeVar("A")


async def the_service(request: Request) -> Service:
    """Return the service that a request is for."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def answer_of(request: Request, change: Future[Decision[A]], *, late: str | None = None) -> A:
    """Return the answer of a change once it is durable, and record what happened.

    Args:
        request: The request.
        change: The change.
        late: Says why the change may take longer than a request, and is made nevertheless; None: it does not.

    Raises:
        DatabaseUnavailable: The database does not answer. The change may yet be made.
        DatabaseBusy: The change takes longer than a request may.
    """
    loop, thread, decided = asyncio.get_running_loop(), get_ident(), asyncio.Event()

    def wake(_: object) -> None:
        if get_ident() == thread:
            decided.set()
        else:
            loop.call_soon_threadsafe(decided.set)

    # Not asyncio.wrap_future: it leaves each change, and the job in it, to the next garbage collection.
    change.add_done_callback(wake)
    try:
        await answered_within(request.app.state.request_timeout_seconds, decided.wait())
    except DatabaseUnavailable as error:
        if late is None:
            raise
        raise DatabaseBusy(late, hint="Show the job until its settings are the new ones, or ask again.") from error
    finally:
        change.cancel()  # of no effect on one that is being decided
    decision = change.result()
    record = record_of(request)
    record.events = decision.events
    record.job_id = None if decision.job is None else decision.job.job_id
    return decision.answer


# The service for anybody: what it answers is no secret.
TheService = Annotated[Service, Depends(the_service)]
# The service for those who may read, train, or do everything, in the namespace that they ask for.
ReaderService = Annotated[Service, Security(Authorised("read"), scopes=["read"])]
TrainerService = Annotated[Service, Security(Authorised("trainer"), scopes=["trainer"])]
AdminService = Annotated[Service, Security(Authorised("admin"), scopes=["admin"])]
JobIdPath = Annotated[JobId, Path(description="Identifier of the recurring job.")]
TrialIdPath = Annotated[TrialId, Path(description="Identifier of the trial, from `predict`.")]
Limit = Annotated[int, Query(ge=1, le=200, description="Longest page wanted.")]
IdempotencyKeyHeader = Annotated[
    IdempotencyKey | None,
    Header(alias="Idempotency-Key", description="The same key gives the same answer, however often it is sent."),
]
