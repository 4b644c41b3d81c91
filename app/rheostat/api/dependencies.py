"""What routes ask for."""

from typing import Annotated

from fastapi import Depends, FastAPI, Header, Path, Query, Request, Security

from rheostat.api.authentication import Authorised
from rheostat.api.desk import AsyncDesk
from rheostat.schemas.server import IdempotencyKey, JobId, TrialId
from rheostat.service import Service


async def the_service(request: Request) -> Service:
    """Return the service that a request is for."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def the_desk(request: Request) -> AsyncDesk:
    """Return the way to the service's desk."""
    return desk_of(request.app)


def desk_of(app: FastAPI) -> AsyncDesk:
    """Return the way to the desk of an application's service."""
    desk = app.state.desk
    assert isinstance(desk, AsyncDesk)
    return desk


TheDesk = Annotated[AsyncDesk, Depends(the_desk)]
# The service for anybody: what it answers, no secret hangs on.
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
