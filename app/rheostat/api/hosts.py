"""The host names that the server answers to.

A web page opened on this machine can point its own name at 127.0.0.1 and so reach a server that requires no token (DNS
rebinding). The name in the ``Host`` header reveals it. Probes come by IP address from kubelets, load balancers and
Prometheus, which cannot be given another name, or from this machine; an address in the header is never a page's name.
"""

import re
from http import HTTPStatus
from ipaddress import ip_address

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from rheostat.api import problems
from rheostat.api.paths import PROBES, header, path_of

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
ANY = "*"

_HOST = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([^:]*)(?::\d+)?")


class CheckHost:
    """Refuses requests to host names that are not this server's.

    Args:
        app: The next application.
        names: The names, in lower case, without ports; ``*``: any.
    """

    def __init__(self, app: ASGIApp, names: tuple[str, ...]) -> None:
        self._app = app
        self._names = None if ANY in names else frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and self._names is not None:
            name = host_name(header(scope, b"host") or "")
            if name not in self._names and not (path_of(scope) in PROBES and _is_address_or_loopback(name)):
                refusal = HTTPException(
                    HTTPStatus.MISDIRECTED_REQUEST, f"This server does not answer to the host name {name[:253]!r}"
                )
                await problems.http_problem(scope, refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_address_or_loopback(name: str) -> bool:
    if not name or name in LOOPBACK_NAMES:  # a browser always sends a name
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def host_name(header: str) -> str:
    """Return the name in a header ``Host``, without its port and the brackets of an IPv6 address."""
    match = _HOST.fullmatch(header)
    return "" if match is None else (match[1] or match[2]).lower()
