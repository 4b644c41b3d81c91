"""Who asks: tokens in ``Authorization: Bearer``, checked before anything of a request's body is read.

Every path asks for a token but those in ``_OPEN``, so that a route which nobody thought of is closed. What a token
is for is said at each route, by :class:`Authorised`.

A token that was found good is not looked up again for ``REMEMBERED_SECONDS``, so that a busy trainer costs no query
for each request. Its revocation is seen that much later, at most, by each worker.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from time import monotonic

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from rheostat.api import problems
from rheostat.api.paths import PROBES, header, path_of
from rheostat.api.rate_limit import RateLimit
from rheostat.errors import InvalidInput, RateLimited, RheostatError, TokenInvalid, TokenRequired
from rheostat.schemas import server as schemas
from rheostat.schemas.server import NAMESPACE_PATTERN
from rheostat.service import Service
from rheostat.service.identity import LOCAL, Identity
from rheostat.service.notes import note
from rheostat.service.tokens import authenticate, has_tokens

REMEMBERED_SECONDS = 5.0
NAMESPACE_HEADER = "Rheostat-Namespace"
_NAMESPACE_HEADER = NAMESPACE_HEADER.lower().encode()

_OPEN = (*PROBES, "/docs", "/openapi.json")
_MOST_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class _Remembered:
    identity: Identity
    until: float


class Doorkeeper:
    """Tells who asks, and forgets it soon.

    Args:
        service: Where the tokens are.
        open_house: Whether requests without a token are served for as long as no token was ever made: only on a
            loopback address.
        rate_limit: How many requests a token may make.
        now: The clock.
    """

    def __init__(
        self, service: Service, *, open_house: bool, rate_limit: RateLimit, now: Callable[[], float] = monotonic
    ) -> None:
        self._service = service
        self._open_house = open_house
        self._rate_limit = rate_limit
        self._now = now
        self._remembered: dict[bytes, _Remembered] = {}
        self._open_until = 0.0

    async def identify(self, authorization: str | None) -> Identity:
        """Return who sends a request with this header.

        Raises:
            TokenRequired: There is none, and this is no open house, or not any longer.
            TokenInvalid: It is not a valid token.
            RateLimited: The token makes too many requests.
        """
        if authorization is None:
            return await self._without_token()
        kind, _, text = authorization.partition(" ")
        if kind.lower() != "bearer":
            raise TokenInvalid("The header Authorization is not understood.", hint="Send Authorization: Bearer TOKEN.")
        identity = await self._with_token(text.strip())
        assert identity.token_id is not None
        wait = self._rate_limit.wait_seconds(identity.token_id)
        if wait:
            raise RateLimited(
                "This token makes more requests than the server lets it.",
                retry_after_seconds=wait,
                hint="Come again later, ask less often, or let the operator raise RHEOSTAT_RATE_LIMIT_PER_SECOND.",
            )
        return identity

    async def _without_token(self) -> Identity:
        if self._open_house:
            if self._now() < self._open_until:
                return LOCAL
            if not await run_in_threadpool(has_tokens, self._service):
                self._open_until = self._now() + REMEMBERED_SECONDS
                return LOCAL
        raise TokenRequired(
            "This server serves nobody without a token.",
            hint="Send Authorization: Bearer TOKEN; an operator makes one with: rheostat token create NAME.",
        )

    async def _with_token(self, text: str) -> Identity:
        key = sha256(text.encode()).digest()  # nobody who sees this process's memory shall find tokens in it
        remembered = self._remembered.get(key)
        if remembered is not None and self._now() < remembered.until and not _is_over(remembered.identity):
            return remembered.identity
        self._remembered.pop(key, None)
        identity = await run_in_threadpool(authenticate, self._service, text)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = _Remembered(identity, self._now() + REMEMBERED_SECONDS)
        return identity


class Authenticate:
    """Lets only those in whom the doorkeeper knows."""

    def __init__(self, app: ASGIApp, doorkeeper: Doorkeeper) -> None:
        self._app = app
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the identity of its sender, or refuse it."""
        if scope["type"] == "http" and not _is_open(path_of(scope)):
            try:
                identity = await self._doorkeeper.identify(header(scope, b"authorization"))
            except RheostatError as error:
                await problems.answer(error)(scope, receive, send)
                return
            scope["state"]["identity"] = identity
        await self._app(scope, receive, send)


class Authorised(SecurityBase):
    """A dependency: the service, for somebody who may do what a route does; the OpenAPI document tells of it.

    Args:
        scope: What a token must be for.
    """

    def __init__(self, scope: schemas.Scope) -> None:
        self._scope = scope
        self.scheme_name = "token"
        self.model = HTTPBearer(
            description="A token from `rheostat token create`. A server on a loopback address for which no token was "
            "ever made asks for none."
        )

    async def __call__(self, request: Request) -> Service:
        """Return the service in the namespace that the request is about.

        Raises:
            ScopeMissing: The token is not for that.
            NamespaceForbidden: It is for another namespace.
            InvalidInput: The request names a namespace that cannot be one.
        """
        return authorise(request.scope, self._scope)


def authorise(request: Scope, needed: schemas.Scope) -> Service:
    """Return the service in the namespace that a request is about.

    Args:
        request: Its ASGI scope.
        needed: What a token must be for.

    Raises:
        ScopeMissing: The token is not for that.
        NamespaceForbidden: It is for another namespace.
        InvalidInput: The request names a namespace that cannot be one.
    """
    identity, service = request["state"]["identity"], request["app"].state.service
    assert isinstance(identity, Identity)
    assert isinstance(service, Service)
    authorised = identity.authorise(service, needed, wanted_namespace(request))
    note(namespace=authorised.namespace)
    return authorised


def wanted_namespace(request: Scope) -> str | None:
    """Return the namespace that a request names, if it does.

    Raises:
        InvalidInput: It cannot be one.
    """
    wanted = header(request, _NAMESPACE_HEADER)
    if wanted is not None and schemas.NAMESPACE.fullmatch(wanted) is None:
        raise InvalidInput(
            f"The header {NAMESPACE_HEADER} cannot name a namespace.", hint=f"It must match {NAMESPACE_PATTERN}."
        )
    return wanted


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith("/docs/assets/")


def _is_over(identity: Identity) -> bool:
    return identity.expires_at is not None and identity.expires_at <= datetime.now(UTC)
