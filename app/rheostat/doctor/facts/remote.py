"""The server that trainers of this machine talk to."""

import json
import os
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time

from rheostat.errors import RheostatError, ServerRefused
from rheostat.sdk.address import checked_url, full_url, is_loopback, proxy_of
from rheostat.sdk.exchange import Reply
from rheostat.sdk.server import DEFAULT_URL, ServerClient

_PORTS = {"http": 80, "https": 443}
_TITLE = "Rheostat"
_TIMEOUT_SECONDS = 5.0
_NO_TRIAL = "0" * 32


@dataclass(frozen=True, slots=True)
class Remote:
    """A server.

    Attributes:
        url: Its address.
        is_named: Whether that was named, by a variable or an option.
        host: Its host in that.
        port: Its port in that.
        is_local: Whether the host is this machine.
        error: Why it cannot be used; None: it answers.
        is_rheostat: Whether it is a Rheostat server.
        version: Its version; empty: unknown.
        not_ready: Why it is not ready.
        behind_seconds: How far this machine's clock is behind the server's; None: unknown.
        doubt_seconds: How far that may be wrong.
        has_token: Whether a token was sent.
        refusal: How a request of a trainer was refused; None: it was accepted.
        proxy: The proxy that requests go through; empty: none.
    """

    url: str = DEFAULT_URL
    is_named: bool = False
    host: str = "127.0.0.1"
    port: int = 8420
    is_local: bool = True
    error: RheostatError | None = None
    is_rheostat: bool = False
    version: str = ""
    not_ready: RheostatError | None = None
    behind_seconds: float | None = None
    doubt_seconds: float = 0.0
    has_token: bool = False
    refusal: RheostatError | None = None
    proxy: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether a Rheostat server answers."""
        return self.error is None and self.is_rheostat


def look_at_server(url: str | None) -> Remote:
    """Return the server at an address; None: at the usual one. What is asked of it changes nothing."""
    named = url or os.environ.get("RHEOSTAT_URL")
    address = full_url(named or DEFAULT_URL)
    has_token = any(os.environ.get(name) for name in ("RHEOSTAT_TOKEN", "RHEOSTAT_TOKEN_FILE"))
    seen = {"url": address, "is_named": bool(named), "has_token": has_token}
    try:
        parsed = checked_url(address)
        proxy = (proxy_of(parsed) or "").rpartition("@")[2]  # without user and password
        seen |= {
            "host": parsed.host,
            "port": parsed.port or _PORTS[parsed.scheme],
            "is_local": is_loopback(parsed.host),
            "proxy": proxy,
        }
        with ServerClient(address, timeout_seconds=_TIMEOUT_SECONDS, retry_for_seconds=0.0) as client:
            return Remote(**seen, **_ask(client))  # type: ignore[arg-type]
    except RheostatError as error:
        return Remote(**seen, error=error)  # type: ignore[arg-type]


def _ask(client: ServerClient) -> dict[str, object]:
    before = time()
    health, error = client.look("/healthz")
    after = time()
    title, version = _identity(client.look("/openapi.json")[0])
    found = {"error": None, "is_rheostat": title == _TITLE, "version": version}
    if title != _TITLE:
        # It may be ours, and refuse to answer to this host name.
        return found | ({"error": error} if isinstance(error, ServerRefused) else {})
    return found | {
        "not_ready": client.look("/readyz")[1],
        "behind_seconds": _behind(health, before, after),
        "doubt_seconds": (after - before) / 2 + 0.5,
        "refusal": _refusal(client),
    }


def _identity(reply: Reply) -> tuple[str, str]:
    """Return what a program calls itself in its OpenAPI document, and its version."""
    try:
        information = json.loads(reply.content)["info"]
        return str(information["title"]), str(information["version"])
    except (ValueError, LookupError, TypeError):
        return "", ""


def _behind(reply: Reply, before: float, after: float) -> float | None:
    """Return by how much the header Date, whole seconds, is ahead of the middle of the request."""
    try:
        first = reply.headers["date"].partition("GMT")[0]  # a proxy may add another
        moment = parsedate_to_datetime(f"{first}GMT").timestamp() + 0.5
    except (LookupError, ValueError, TypeError):
        return None
    return moment - (before + after) / 2


def _refusal(client: ServerClient) -> RheostatError | None:
    """Return how a trainer is refused: by the heartbeat of a trial that does not exist, which changes nothing."""
    try:
        client.heartbeat(_NO_TRIAL)
    except ServerRefused as error:
        return None if error.status == HTTPStatus.NOT_FOUND else error
    except RheostatError as error:
        return error
    return None
