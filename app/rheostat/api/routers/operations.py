"""Routes for those who run the server."""

from contextlib import suppress
from functools import partial
from typing import Annotated

from anyio import move_on_after, to_thread
from fastapi import APIRouter, Query, Request, Response

from rheostat.api.authentication import wanted_namespace
from rheostat.api.dependencies import AdminService, Limit, TheService
from rheostat.api.metrics import MEDIA_TYPE, Metrics
from rheostat.api.problems import responses
from rheostat.api.routing import JsonRoute
from rheostat.api.waiting import PROBE_CHECKS, read_within
from rheostat.errors import RheostatError
from rheostat.schemas.operations import AuditPage, Health
from rheostat.service import audit as trail
from rheostat.service.operations import check_ready, count

_PATIENCE_SECONDS = 3.0
"""A probe or scrape is worth most when the database is in trouble; it must not wait for it."""

router = APIRouter(route_class=JsonRoute, tags=["operations"])


@router.get("/healthz")
async def healthz() -> Health:
    """Answer that the process runs."""
    return Health(status="ok")


@router.get("/readyz", responses=responses())
async def readyz(service: TheService) -> Health:
    """Say whether requests can be answered: the database is reachable and its schema is this version's."""
    await read_within(_PATIENCE_SECONDS, partial(check_ready, service), PROBE_CHECKS)
    return Health(status="ok")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "In the text format of Prometheus.", "content": {"text/plain": {}}}},
)
async def metrics(request: Request, service: TheService) -> Response:
    """Return the metrics of all workers of this server."""
    kept = request.app.state.metrics
    assert isinstance(kept, Metrics)
    counted = None
    with move_on_after(_PATIENCE_SECONDS), suppress(RheostatError):
        counted = await to_thread.run_sync(count, service, abandon_on_cancel=True, limiter=PROBE_CHECKS)
    return Response(kept.page(counted), media_type=MEDIA_TYPE)


@router.get("/v1/audit", responses=responses())
def list_audit(
    request: Request,
    service: AdminService,
    limit: Limit = 50,
    cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next_cursor` of the page before.")] = None,
) -> AuditPage:
    """List who changed what, newest first: in one namespace, or all for an admin whose token is bound to none."""
    everywhere = request.state.identity.namespace is None and wanted_namespace(request.scope) is None
    return trail.list_audit(service, namespace=None if everywhere else service.namespace, cursor=cursor, limit=limit)
