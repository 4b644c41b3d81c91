"""Tokens: make, list, revoke, and tell whose one is.

A token is ``rht_``, a public id that finds its row, and a secret of 256 random bits. The row keeps the SHA-256 of
the secret. A slow, salted hash, as passwords need it, would be of no use: it makes guessing dear, and nobody guesses
256 bits; but it would make every check dear. The digests are compared in constant time, so that the time of an
answer tells nothing of how much of a secret is right.
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
from rheostat.schemas.server import NAMESPACE, Scope
from rheostat.service.context import Service
from rheostat.service.identity import SCOPES, Identity
from rheostat.storage.audit import Audit
from rheostat.storage.engine import Transaction
from rheostat.storage.records import TokenRecord
from rheostat.storage.tokens import Tokens

_TOKEN = re.compile(r"rht_([0-9a-f]{12})_([0-9a-f]{64})")

_LAST_USE_EVERY = timedelta(minutes=5)
"""A token's last use is noted no more often: one that is used a thousand times a second costs no write each."""

_log = logging.getLogger(__name__)

TokenState = Literal["valid", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token as operators see it: without its secret, which nobody has but its holder."""

    token_id: str
    name: str
    scopes: tuple[Scope, ...]
    namespace: str | None
    state: TokenState
    expires_at: datetime | None
    last_used_at: datetime | None


def new_token() -> str:
    """Return a token that nobody knows yet."""
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
    """Make a token known, and return it; this is the only time that it can be seen.

    Args:
        service: Where.
        name: Whose it is, for people.
        scopes: What it is for.
        namespace: The only one that it may be used in; None: the default one, and any other for an admin's.
        lifetime: After which it expires; None: never.
        token: The token itself, as :func:`new_token` makes it; None: a new one. One that is known already stays
            as it is.

    Returns:
        The token, and whether it is new.

    Raises:
        InvalidInput: There is no scope, a name cannot be one, or the token has not the form of one.
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

    def work(connection: Transaction) -> bool:
        known = Tokens(connection).find(token_id)
        if known is not None:
            if not compare_digest(known.secret_sha256, record.secret_sha256):
                raise InvalidInput("Another token has the same id.", hint="Make a new one: rheostat token generate.")
            return False
        Tokens(connection).add(record)
        _audit(service, connection, "create_token", record)
        return True

    return text, service.database.write(work)


def list_tokens(service: Service) -> list[TokenView]:
    """Return all tokens, oldest first; the revoked and the expired ones, too."""
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
        for record in service.database.read(lambda connection: Tokens(connection).all())
    ]


def revoke_token(service: Service, token_id: str) -> None:
    """End a token's life, whatever time it still had.

    Raises:
        TokenNotFound: There is no such token.
    """

    def work(connection: Transaction) -> None:
        record = Tokens(connection).find(token_id)
        if record is None:
            raise TokenNotFound(f"There is no token {token_id!r}.", hint="List them: rheostat token list.")
        if record.revoked_at is None:
            Tokens(connection).revoke(token_id, service.now())
            _audit(service, connection, "revoke_token", record)

    service.database.write(work)


def has_tokens(service: Service) -> bool:
    """Return whether a token was ever made: from then on nobody is served without one."""
    return service.database.read(lambda connection: Tokens(connection).any())


def has_valid_tokens(service: Service) -> bool:
    """Return whether anybody has a token that is valid now."""
    return service.database.read(lambda connection: Tokens(connection).any_valid(service.now()))


def authenticate(service: Service, text: str) -> Identity:
    """Return whose token it is.

    Raises:
        TokenInvalid: It is nobody's, was revoked, or has expired.
    """
    match = _TOKEN.fullmatch(text)
    record = None
    if match is not None:
        token_id, secret = match.groups()
        record = service.database.read(lambda connection: Tokens(connection).find(token_id))
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
    if record.last_used_at is not None and now - record.last_used_at < _LAST_USE_EVERY:
        return
    try:
        service.database.write(lambda connection: Tokens(connection).used(record.token_id, now))
    except RheostatError as error:
        # A request that only reads is worth more than the note: it is answered by a database that takes no writes.
        _log.warning("the last use of token %s was not noted: %s", record.token_id, error.message)


def _audit(service: Service, connection: Transaction, action: str, record: TokenRecord) -> None:
    Audit(connection).add(
        service.now(),
        namespace=record.namespace,
        actor=service.actor,
        action=action,
        subject=record.token_id,
        details={"name": record.name, "scopes": record.scopes},
    )


def _check(name: str, scopes: Collection[str], namespace: str | None) -> None:
    if not 1 <= len(name) <= 128 or not name.isprintable():  # noqa: PLR2004
        raise InvalidInput("A token's name has 1 to 128 printable characters.")
    unknown = set(scopes) - set(SCOPES)
    if not scopes or unknown:
        raise InvalidInput(f"A token is for some of: {', '.join(SCOPES)}.")
    if namespace is not None and NAMESPACE.fullmatch(namespace) is None:
        raise InvalidInput(
            f"{namespace!r} cannot name a namespace.", hint="Use up to 64 small letters, digits and hyphens."
        )


def _parts(text: str) -> tuple[str, str]:
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise InvalidInput(
            "That has not the form of a token, and is not shown, for it may be a secret all the same.",
            hint="Make one: rheostat token generate.",
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
