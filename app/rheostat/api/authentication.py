"""Bearer tokens in the header ``Authorization``, checked before any of a request's body is read.

The peer's client can send no header of its own, but httpx makes one of a user and a password in the URL: under `/zeus`
the token may be that password.

Every path requires a token except those in ``_OPEN``, so that a new route is protected by default. Each route declares
the scope that it needs with :class:`Authorised`.

A valid token is cached for ``CACHE_SECONDS``, so that a busy trainer does not cost a query per request. Each worker
therefore notices a revocation up to that much later.
"""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from time import monotonic

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.types import ASGIApp, Receive, Scope, Send

from rheostat.api import problems
from rheostat.api.page_access import chosen_namespace, credentials, sign_in_first
from rheostat.api.paths import PROBES, client_of, header, is_zeus, path_of
from rheostat.api.request_record import record_of
from rheostat.api.waiting import SUSPECT_TOKEN_CHECKS, TOKEN_CHECKS, read_within
from rheostat.api.wrong_tokens import WrongTokens
from rheostat.dashboard.session import SIGN_IN, SIGN_OUT
from rheostat.errors import (
    InvalidInput,
    NamespaceForbidden,
    RheostatError,
    TokenInvalid,
    TokenRequired,
    TooManyWrongTokens,
    Unauthenticated,
)
from rheostat.schemas import fields
from rheostat.schemas.fields import NAMESPACE_PATTERN
from rheostat.service import Service
from rheostat.service.identity import LOCAL, Identity
from rheostat.service.review import list_namespaces
from rheostat.service.tokens import authenticate, has_tokens

CACHE_SECONDS = 5.0
NAMESPACE_HEADER = "Rheostat-Namespace"
_NAMESPACE_HEADER = NAMESPACE_HEADER.lower().encode()

_OPEN = (*PROBES, "/docs", "/openapi.json", SIGN_IN, SIGN_OUT)
_MAX_CACHED_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class _CachedIdentity:
    identity: Identity
    until: float


class TokenAuthenticator:
    """Authenticates bearer tokens; caches the result for 5 s.

    Args:
        service: Service that stores the tokens.
        allow_anonymous: Whether requests without a token are accepted until the first token is created: only on a
            loopback address.
        timeout_seconds: How long the database may take.
        now: The clock.
    """

    def __init__(
        self,
        service: Service,
        *,
        allow_anonymous: bool,
        timeout_seconds: float = 30.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._service = service
        self._allow_anonymous = allow_anonymous
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._cache: dict[bytes, _CachedIdentity] = {}
        self._wrong = WrongTokens()
        self._anonymous_until = 0.0

    async def identify(
        self, authorization: str | None, address: str = "", *, accepts_password: bool = False
    ) -> Identity:
        """Return the sender of a request.

        Args:
            authorization: The request's header.
            address: The client's address.
            accepts_password: Whether the token may be the password of Basic authentication.

        Raises:
            TokenRequired: There is no header, and anonymous requests are not, or no longer, accepted.
            TokenInvalid: It does not hold a valid token.
            TooManyWrongTokens: Neither did too many others of this address.
        """
        if authorization is None:
            return await self._anonymous()
        kind, _, token = authorization.partition(" ")
        if accepts_password and kind.lower() == "basic":
            return await self._owner_of(_password(token), address)
        if kind.lower() != "bearer":
            raise TokenInvalid(
                "The header Authorization holds no bearer token.", hint="Send Authorization: Bearer TOKEN."
            )
        return await self._owner_of(token.strip(), address)

    async def _anonymous(self) -> Identity:
        if self._allow_anonymous:
            if self._now() < self._anonymous_until:
                return LOCAL
            if not await read_within(self._timeout_seconds, partial(has_tokens, self._service), TOKEN_CHECKS):
                self._anonymous_until = self._now() + CACHE_SECONDS
                return LOCAL
        raise TokenRequired(
            "Authentication required.",
            hint="Send Authorization: Bearer TOKEN, as clients do that have RHEOSTAT_TOKEN; an operator creates one "
            "with: rheostat token create NAME.",
        )

    async def _owner_of(self, token: str, address: str) -> Identity:
        key = sha256(token.encode()).digest()  # a dump of this process's memory must not reveal cached tokens
        cached = self._cache.get(key)
        if cached is not None and self._now() < cached.until and not self._is_expired(cached.identity):
            return cached.identity
        # A token that was valid a moment ago does not wait for those of an address that guesses.
        is_suspect = cached is None and self._wrong.is_over(address, self._now())
        threads = SUSPECT_TOKEN_CHECKS if is_suspect else TOKEN_CHECKS
        try:
            identity = await read_within(self._timeout_seconds, partial(authenticate, self._service, token), threads)
        except TokenInvalid as error:
            self._cache.pop(key, None)
            raise self._refused(error, address) from None
        if len(self._cache) >= _MAX_CACHED_TOKENS:
            self._cache.clear()
        self._cache[key] = _CachedIdentity(identity, self._now() + CACHE_SECONDS)
        return identity

    def _refused(self, error: TokenInvalid, address: str) -> RheostatError:
        """Count a wrong token, and return what to answer."""
        wait_seconds = self._wrong.wait_seconds(address, self._now())
        self._wrong.add(address, self._now())
        if not wait_seconds:
            return error
        return TooManyWrongTokens(
            f"{error.message} This address has sent too many that are not.", wait_seconds=wait_seconds, hint=error.hint
        )

    def _is_expired(self, identity: Identity) -> bool:
        return identity.expires_at is not None and identity.expires_at <= self._service.now()


class Authenticate:
    """Passes on authenticated requests, and those to open paths, and refuses all others."""

    def __init__(self, app: ASGIApp, authenticator: TokenAuthenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the identity of its sender, or refuse it."""
        if scope["type"] == "http" and not _is_open(path_of(scope)):
            try:
                identity = await self._authenticator.identify(
                    credentials(scope), client_of(scope) or "", accepts_password=is_zeus(scope)
                )
            except RheostatError as error:
                way_in = sign_in_first(scope) if isinstance(error, Unauthenticated) else None
                await (way_in or problems.answer(scope, error))(scope, receive, send)
                return
            scope["state"]["identity"] = identity
        await self._app(scope, receive, send)


class Authorised(SecurityBase):
    """A dependency: the service, for callers with the scope that a route needs, which the OpenAPI document names.

    Args:
        scope: The scope.
    """

    def __init__(self, scope: fields.Scope) -> None:
        self._scope = scope
        self.scheme_name = "token"
        self.model = HTTPBearer(
            description="A token from `rheostat token create`. A server on a loopback address requires none until the "
            "first token is created."
        )

    async def __call__(self, request: Request) -> Service:
        """Return the service, bound to the caller and the namespace of a request.

        Raises:
            ScopeMissing: The token lacks the scope.
            NamespaceForbidden: The token is for another namespace.
            InvalidInput: The header names an impossible namespace.
        """
        return authorise(request.scope, self._scope)


def authorise(request: Scope, needed: fields.Scope, namespace: str | None = None) -> Service:
    """Return the service, bound to the caller and the namespace of a request.

    Args:
        request: Its ASGI scope.
        needed: The scope that a token needs.
        namespace: The namespace; None: the one that its header names.

    Raises:
        ScopeMissing: The token lacks the scope.
        NamespaceForbidden: The token is for another namespace.
        InvalidInput: The header names an impossible namespace.
    """
    identity, service = request["state"]["identity"], request["app"].state.service
    assert isinstance(identity, Identity)
    assert isinstance(service, Service)
    authorised = identity.authorise(service, needed, namespace or wanted_namespace(request))
    record_of(request).namespace = authorised.namespace
    return authorised


def authorise_page(request: Scope, needed: fields.Scope) -> Service:
    """Return the service for a page as :func:`authorise` does, in the namespace that the browser has chosen.

    A choice that its token does not permit, as one from before it signed in, is left out.
    """
    try:
        return authorise(request, needed, chosen_namespace(request))
    except NamespaceForbidden:
        return authorise(request, needed)


def namespaces_of(request: Scope) -> list[str]:
    """Return the namespaces that the sender of a request may choose from; none where there is no choice."""
    identity, service = request["state"]["identity"], request["app"].state.service
    may_choose = identity.namespace is None and "admin" in identity.scopes
    return list_namespaces(service) if may_choose else []


def wanted_namespace(request: Scope) -> str | None:
    """Return the namespace in a request's header, if it has one.

    Raises:
        InvalidInput: It is not a valid name.
    """
    wanted = header(request, _NAMESPACE_HEADER)
    if wanted is not None and fields.NAMESPACE.fullmatch(wanted) is None:
        raise InvalidInput(
            f"The header {NAMESPACE_HEADER} is not a valid namespace.", hint=f"It must match {NAMESPACE_PATTERN}."
        )
    return wanted


def _password(credentials: str) -> str:
    """Return the password of Basic authentication (RFC 7617); empty where there is none."""
    try:
        return b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(("/docs/assets/", "/assets/"))
