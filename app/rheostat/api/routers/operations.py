"""Routes for those who run the server."""

from fastapi import APIRouter

from rheostat.api.dependencies import TheService
from rheostat.api.problems import responses
from rheostat.schemas import Health
from rheostat.service.operations import check_ready

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> Health:
    """Tell that the process lives."""
    return Health(status="ok")


@router.get("/readyz", responses=responses())
def readyz(service: TheService) -> Health:
    """Tell whether requests can be answered: the database is reachable and its schema is this version's."""
    check_ready(service)
    return Health(status="ok")
