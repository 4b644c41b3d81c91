"""What an operator orders on the page of a job: the same use cases as the API's routes of control."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ValidationError

from rheostat import service as use_cases
from rheostat.dashboard.forms import fields_of
from rheostat.dashboard.visit import Surroundings, problem
from rheostat.errors import InvalidInput, RheostatError
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.server import JobDetail
from rheostat.service import Decision, Service

M = TypeVar("M", bound=BaseModel)
Fields = Mapping[str, str]

_ORDERS: dict[str, Callable[[Service, str, Fields], Future[Decision[JobDetail]]]] = {
    "pin": lambda service, job_id, fields: use_cases.pin_job(service, job_id, _read(OrderRequest, fields)),
    "unpin": lambda service, job_id, _: use_cases.unpin_job(service, job_id),
    "pause": lambda service, job_id, fields: use_cases.pause_job(service, job_id, _read(PauseRequest, fields)),
    "resume": lambda service, job_id, _: use_cases.resume_job(service, job_id),
    "force": lambda service, job_id, fields: use_cases.force_job(service, job_id, _read(OrderRequest, fields)),
    "unforce": lambda service, job_id, _: use_cases.unforce_job(service, job_id),
}


DONE_COOKIE = "rheostat_done"
"""Holds the order that was carried out, for the page of its job to say so once."""

_SHOWN_WITHIN_SECONDS = 60


def without_done(request: Request, page: Response) -> Response:
    """Return a page that says what was done, in a way that the next one does not."""
    if DONE_COOKIE in request.cookies:
        page.delete_cookie(DONE_COOKIE, path=_page(request))
    return page


def add_control(router: APIRouter, path: str, surroundings: Surroundings) -> None:
    """Add the route that takes an order for a job, and leads back to its page, which shows the result."""

    async def order(request: Request) -> Response:
        job_id = request.path_params["job_id"]
        try:
            service, fields = surroundings.operator(request), await fields_of(request)
            make = _ORDERS.get(wanted := fields.get("order", ""))
            if make is None:
                raise InvalidInput("There is no such order.")
            await surroundings.answer(request, make(service, job_id, fields))
        except RheostatError as error:
            return problem(request, surroundings.site, error, back=f"/jobs/{quote(job_id)}")
        answer = RedirectResponse(_page(request), 303)
        answer.set_cookie(
            DONE_COOKIE, wanted, max_age=_SHOWN_WITHIN_SECONDS, path=_page(request), httponly=True,
            secure=request.url.scheme == "https", samesite="strict",
        )  # fmt: skip
        return answer

    router.add_api_route(path, order, methods=["POST"], include_in_schema=False)


def _page(request: Request) -> str:
    """Return the path of the page of the job that a request is about."""
    root = request.scope.get("root_path", "").rstrip("/")
    return f"{root}/jobs/{quote(request.path_params['job_id'])}"


def _read(model: type[M], fields: Fields) -> M:
    """Return what a form says; a field that is left empty counts as not given."""
    given = {name: text for name in model.model_fields if (text := fields.get(name, "").strip())}
    try:
        return model.model_validate(given, strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInput(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
