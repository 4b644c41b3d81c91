"""How a browser shows its token: in a cookie, which only pages accept.

The cookie holds the token itself, so that revoking the token ends the session, and scripts cannot read it. The API does
not accept it: a page of another site that makes a browser send requests here reaches nothing that changes anything.
"""

from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from rheostat.api.paths import header, path_of, root_path_of
from rheostat.dashboard.app import is_page
from rheostat.dashboard.session import SIGN_IN
from rheostat.dashboard.visit import COOKIE, NAMESPACE_COOKIE
from rheostat.schemas.fields import NAMESPACE


def credentials(scope: Scope) -> str | None:
    """Return the header Authorization of a request, or what stands for it where a page is asked for."""
    authorization = header(scope, b"authorization")
    if authorization is None and is_page(path_of(scope)):
        token = _in_cookie(scope, COOKIE)
        return None if token is None else f"Bearer {token}"
    return authorization


def sign_in_first(scope: Scope) -> Response | None:
    """Return the way to the sign-in page, from where the browser comes back; None: no page was asked for."""
    path = path_of(scope)
    if not is_page(path):
        return None
    query = scope["query_string"].decode("latin-1")
    wanted = quote(f"{path}?{query}" if query else path, safe="")
    return RedirectResponse(f"{root_path_of(scope)}{SIGN_IN}?next={wanted}", 303, {"Cache-Control": "no-store"})


def chosen_namespace(scope: Scope) -> str | None:
    """Return the namespace that a browser has chosen; None: it has not, or what it sends is none."""
    chosen = _in_cookie(scope, NAMESPACE_COOKIE)
    return chosen if chosen is not None and NAMESPACE.fullmatch(chosen) else None


def _in_cookie(scope: Scope, name: str) -> str | None:
    try:
        cookie = SimpleCookie(header(scope, b"cookie") or "").get(name)
    except CookieError:
        return None
    return None if cookie is None else cookie.value
