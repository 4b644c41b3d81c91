"""The outermost middleware: what a trusted reverse proxy says of a request, and the prefix that the server is under.

A proxy may serve the server under a prefix, as ``https://ml.example.org/rheostat``, and take the prefix off a request's
path or leave it there. Either way the request then looks as if the application were mounted there, so that pages name
their addresses with the prefix.
"""

import os
import re

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from rheostat.api.paths import header

PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
"""A prefix gets into pages: nothing in it needs to be quoted there."""

_MAX_LENGTH = 256
_TRUSTED_VARIABLE = "FORWARDED_ALLOW_IPS"  # uvicorn's own


def trusted_proxies() -> str:
    """Return the addresses of the proxies whose headers count, with commas between them."""
    return os.environ.get(_TRUSTED_VARIABLE, "127.0.0.1,::1")


class BehindProxy:
    """Mounts requests under the prefix, and takes scheme and client from a trusted proxy's headers.

    Args:
        app: The next application.
        root_path: The prefix of all requests; empty: what a trusted proxy's ``X-Forwarded-Prefix`` says, if it does.
        trusted: Addresses and networks of the trusted proxies, with commas between them; ``*``: any.
    """

    def __init__(self, app: ASGIApp, root_path: str, trusted: str) -> None:
        self._root_path = root_path
        # Its own types of a scope are not Starlette's, though they are the same dictionaries.
        self._with_headers = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            # First: the next middleware replaces the proxy's address by the client's.
            prefix = self._root_path or self._forwarded(scope)
            if prefix:
                _mount(scope, prefix)
        await self._with_headers(scope, receive, send)  # type: ignore[arg-type]

    def _forwarded(self, scope: Scope) -> str:
        """Return the prefix that the proxy names; several proxies in a row each add theirs."""
        value = header(scope, b"x-forwarded-prefix")
        peer = scope.get("client")
        if value is None or peer is None or peer[0] not in self._with_headers.trusted_hosts:
            return ""
        prefix = "".join(part.strip().rstrip("/") for part in value.split(","))
        return prefix if len(value) <= _MAX_LENGTH and PREFIX.fullmatch(prefix) else ""


def _mount(scope: Scope, prefix: str) -> None:
    scope["root_path"] = prefix
    if not f"{scope['path']}/".startswith(f"{prefix}/"):
        scope["path"] = prefix + scope["path"]
        scope["raw_path"] = prefix.encode() + scope["raw_path"]
