"""The outermost middleware: what a trusted reverse proxy says of a request, and the prefix that the server is under.

A proxy may serve the server under a prefix, as ``https://ml.example.org/rheostat``, and take the prefix off a request's
path or leave it there. Either way the request then looks as if the application were mounted there, so that pages name
their addresses with the prefix.
"""

import os
import re
from ipaddress import ip_address

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
        self._app = app
        self._root_path = root_path
        self._trusted = ProxyHeadersMiddleware(app, trusted).trusted_hosts  # type: ignore[arg-type]  # only its parser

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            is_trusted = scope.get("client") is not None and scope["client"][0] in self._trusted
            prefix = self._root_path or (_forwarded_prefix(scope) if is_trusted else "")
            if is_trusted:
                self._take_origin(scope)
            if prefix:
                _mount(scope, prefix)
        await self._app(scope, receive, send)

    def _take_origin(self, scope: Scope) -> None:
        """Take client and scheme from the headers; what is no address, or no scheme of ours, does not count."""
        scheme = (header(scope, b"x-forwarded-proto") or "").strip()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme
        values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if values:
            host, port = self._trusted.get_trusted_client_address(b", ".join(values).decode("latin-1"))
            if (address := _address(host)) is not None:
                scope["client"] = (address, port)


def _forwarded_prefix(scope: Scope) -> str:
    """Return the prefix that the proxy names; several proxies in a row each add theirs."""
    value = header(scope, b"x-forwarded-prefix") or ""
    prefix = "".join(part.strip().rstrip("/") for part in value.split(","))
    return prefix if len(value) <= _MAX_LENGTH and PREFIX.fullmatch(prefix) else ""


def _address(text: str) -> str | None:
    """Return an IP address in its usual form; None: it is none, or names a zone, which may be any text."""
    try:
        return None if "%" in text else str(ip_address(text))
    except ValueError:
        return None


def _mount(scope: Scope, prefix: str) -> None:
    scope["root_path"] = prefix
    if not f"{scope['path']}/".startswith(f"{prefix}/"):
        scope["path"] = prefix + scope["path"]
        scope["raw_path"] = prefix.encode() + scope["raw_path"]
