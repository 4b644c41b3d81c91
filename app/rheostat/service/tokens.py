"""Tokens: create, list, revoke, authenticate.

A token is ``rht_``, a public id, and a secret of 256 random bits. The database stores the SHA-256 of the secret. A
slow, salted hash, as passwords need, would only make every request slower: 256 random bits cannot be guessed. Digests
are compared in constant time, so that response times reveal nothing about a secret.
"""

import logging
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from typing import Literal, cast

from rheostat.errors import InvalidInput, RheostatError, TokenInvalid, TokenNotFound
from rheostat.schemas.fields import NAMESPACE, Scope
from rheostat.service.context import Service
from rheostat.service.identity import SCOPES, Identity
from rheostat.storage.records import AuditRecord, TokenRecord

_TOKEN = re.compile(r"rht_([0-9a-f]{12})_([0-9a-f]{64})")

_LAST_USE_EVERY = timedelta(minutes=5)
"""The minimum time between two updates of a token's last use, so that not every request writes to the database."""

_log = logging.getLogger(__name__)

TokenState = Literal["valid", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token as operators see it, without its secret."""

    token_id: str
    name: str
    scopes: tuple[Scope, ...]
    namespace: str | None
    state: TokenState
    expires_at: datetime | None
    last_used_at: datetime | None


def new_token() -> str:
    """Return a new, random token; the database does not know it yet."""
    return f"rht_{secrets.token_hex(6)}_{secrets.token_hex(32)}"


def create_token(
    service: Service,
    name: str,
    scopes: Collection[str],
    *,
    namespace: str | None = None,
    lifetime: timedelta | None = None,
    token: str | None = None,
) -> tuple[str, bool]:
    """Add a token and return it; its secret cannot be read again later.

    Args:
        service: The service.
        name: A name for its holder.
        scopes: What it permits.
        namespace: The only namespace that it gives access to; None: the default one, and for an admin any other.
        lifetime: How long it is valid; None: it does not expire.
        token: The token, as :func:`new_token` returns it; None: a new one. A token that exists stays as it is.

    Returns:
        The token, and whether it is new.

    Raises:
        InvalidInput: The name, a scope, the namespace or the token is invalid.
    """
    _check(name, scopes, namespace)
    text = new_token() if token is None else token
    token_id, secret = _parts(text)
    now = service.now()
    record = TokenRecord(
        token_id=token_id,
        name=name,
        scopes=",".join(scope for scope in SCOPES if scope in scopes),
        namespace=namespace,
        secret_sha256=_digest(secret),
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
        revoked_at=None,
        last_used_at=None,
    )

    known = service.tokens.add(record, _entry(service, "create_token", record))
    if not compare_digest(known.secret_sha256, record.secret_sha256):
        raise InvalidInput("Another token has the same id.", hint="Generate a new one: rheostat token generate.")
    return text, known is record


def list_tokens(service: Service) -> list[TokenView]:
    """Return all tokens, oldest first, including revoked and expired ones."""
    now = service.now()
    return [
        TokenView(
            record.token_id,
            record.name,
            _scopes(record),
            record.namespace,
            _state(record, now),
            record.expires_at,
            record.last_used_at,
        )
        for record in service.tokens.all()
    ]


def revoke_token(service: Service, token_id: str) -> None:
    """Revoke a token.

    Raises:
        TokenNotFound: There is no such token.
    """
    record = service.tokens.find(token_id)
    if record is None:
        raise TokenNotFound(f"There is no token {token_id!r}.", hint="List them: rheostat token list.")
    service.tokens.revoke(token_id, _entry(service, "revoke_token", record))


def has_tokens(service: Service) -> bool:
    """Return whether any token was ever created: from then on every request needs one."""
    return service.tokens.any()


def has_valid_tokens(service: Service) -> bool:
    """Return whether any token is valid now."""
    return service.tokens.any_valid(service.now())


def authenticate(service: Service, text: str) -> Identity:
    """Return the identity of a token's holder.

    Raises:
        TokenInvalid: The token is unknown, revoked or expired.
    """
    match = _TOKEN.fullmatch(text)
    record = None
    if match is not None:
        token_id, secret = match.groups()
        record = service.tokens.find(token_id)
        if record is not None and not compare_digest(record.secret_sha256, _digest(secret)):
            record = None
    now = service.now()
    if record is None or _state(record, now) != "valid":
        raise TokenInvalid(
            "The token is not valid: unknown, revoked or expired.",
            hint="Ask an operator for a new one: rheostat token create NAME.",
        )
    _note_use(service, record, now)
    return Identity(
        f"{record.name} ({record.token_id})", _scopes(record), record.namespace, record.token_id, record.expires_at
    )


def _note_use(service: Service, record: TokenRecord, now: datetime) -> None:
    if record.last_used_at is not None and abs(now - record.last_used_at) < _LAST_USE_EVERY:
        return
    try:
        service.tokens.note_use(record.token_id, now)
    except RheostatError as error:
        # A database that cannot be written can still answer reads.
        _log.warning("cannot record the last use of token %s: %s", record.token_id, error.message)


def _entry(service: Service, action: str, record: TokenRecord) -> AuditRecord:
    return service.audit_entry(
        action, record.token_id, namespace=record.namespace, name=record.name, scopes=record.scopes
    )


def _check(name: str, scopes: Collection[str], namespace: str | None) -> None:
    if not 1 <= len(name) <= 128 or not name.isprintable():  # noqa: PLR2004
        raise InvalidInput("A token's name must have 1 to 128 printable characters.")
    unknown = set(scopes) - set(SCOPES)
    if not scopes or unknown:
        raise InvalidInput(f"A token needs at least one of the scopes {', '.join(SCOPES)}, and no others.")
    if namespace is not None and NAMESPACE.fullmatch(namespace) is None:
        raise InvalidInput(
            f"{namespace!r} is not a valid namespace.", hint="Use up to 64 lower-case letters, digits and hyphens."
        )


def _parts(text: str) -> tuple[str, str]:
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise InvalidInput(
            "The token is malformed. (It is not shown here, since it may be a secret.)",
            hint="Generate one: rheostat token generate.",
        )
    return match[1], match[2]


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _scopes(record: TokenRecord) -> tuple[Scope, ...]:
    return tuple(cast("Scope", scope) for scope in record.scopes.split(","))


def _state(record: TokenRecord, now: datetime) -> TokenState:
    if record.revoked_at is not None:
        return "revoked"
    return "valid" if record.expires_at is None or record.expires_at > now else "expired"
