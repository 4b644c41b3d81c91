"""The host names that the server answers to.

A web page that somebody on this machine looks at can let its own name point to 127.0.0.1 and so reach a server
that asks for no token (DNS rebinding). The name in the request gives it away.
"""

import re
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from rheostat.api import problems
from rheostat.api.paths import PROBES, header, path_of

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
ANY = "*"


class CheckHost:
    """Refuses requests to names that are not this server's.

    Args:
        app: What is behind.
        names: The names, in small letters, without ports; ``*``: any.
    """

    def __init__(self, app: ASGIApp, names: tuple[str, ...]) -> None:
        self._app = app
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and ANY not in self._names and path_of(scope) not in PROBES:
            name = host_name(header(scope, b"host") or "")
            if name not in self._names:
                refusal = HTTPException(
                    HTTPStatus.MISDIRECTED_REQUEST, f"This server does not answer to the host name {name[:253]!r}"
                )
                response = await problems.of_http_exception(Request(scope), refusal)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_name(header: str) -> str:
    """Return the name in a header ``Host``, without its port and the brackets of an IPv6 address."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([^:]*)(?::\d+)?", header)
    return "" if match is None else (match[1] or match[2]).lower()
