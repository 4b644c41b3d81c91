"""Signing in and out: a token in a cookie that only pages accept."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from rheostat.dashboard.forms import is_from_here
from rheostat.dashboard.site import Site
from rheostat.dashboard.visit import COOKIE, render
from rheostat.errors import RheostatError

SIGN_IN = "/sign-in"
SIGN_OUT = "/sign-out"

_LIFETIME_SECONDS = 30 * 86_400

Check = Callable[[Request, str], Awaitable[None]]
"""Raises an error where a token does not permit to read."""


def add_session(router: APIRouter, site: Site, check: Check) -> None:
    """Add the routes to sign in and out."""

    async def sign_in_page(request: Request) -> Response:
        return _form(request, site, "")

    async def sign_in(request: Request) -> Response:
        if not is_from_here(request):
            return _form(request, site, "Sign in on this page itself.", status=403)
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        token = fields.get("token", [""])[0].strip()
        try:
            await check(request, token)
        except RheostatError as error:
            return _form(request, site, error.message, status=403)
        answer = _to(request, _safe(fields.get("next", ["/"])[0]))
        answer.set_cookie(
            COOKIE,
            token,
            max_age=_LIFETIME_SECONDS,
            path=_root(request) or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return answer

    async def sign_out(request: Request) -> Response:
        answer = _to(request, SIGN_IN)
        if is_from_here(request):
            answer.delete_cookie(COOKIE, path=_root(request) or "/")
        return answer

    for path, method, route in (
        (SIGN_IN, "GET", sign_in_page),
        (SIGN_IN, "POST", sign_in),
        (SIGN_OUT, "POST", sign_out),
    ):
        router.add_api_route(path, route, methods=[method], include_in_schema=False)


def _form(request: Request, site: Site, problem: str, *, status: int = 200) -> Response:
    wanted = _safe(request.query_params.get("next", "/"))
    return render(request, site, "sign_in.html", status=status, problem=problem, wanted=wanted)


def _safe(path: str) -> str:
    """Return a path of this server; the first page for anything else, as an address of another one."""
    parts = urlsplit(path)
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return path if is_ours else "/"


def _to(request: Request, path: str) -> Response:
    return RedirectResponse(_root(request) + quote(path, safe="/?=&%#"), 303)


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")
