"""Tokens in SQL. A row is never deleted: one that was revoked still tells that this server asks for tokens."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, exists, insert, or_, select, update

from rheostat.storage.records import TokenRecord
from rheostat.storage.tables import tokens


class Tokens:
    """The tokens, within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, token_id: str) -> TokenRecord | None:
        """Return a token by the public part of it."""
        row = self._connection.execute(select(tokens).where(tokens.c.token_id == token_id)).mappings().one_or_none()
        return None if row is None else TokenRecord(**row)

    def all(self) -> list[TokenRecord]:
        """Return all tokens, oldest first."""
        query = select(tokens).order_by(tokens.c.created_at, tokens.c.token_id)
        return [TokenRecord(**row) for row in self._connection.execute(query).mappings()]

    def any(self) -> bool:
        """Return whether a token was ever made."""
        return bool(self._connection.execute(select(exists().where(tokens.c.token_id.is_not(None)))).scalar())

    def any_valid(self, now: datetime) -> bool:
        """Return whether somebody can get in with a token."""
        valid = exists().where(
            tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
        )
        return bool(self._connection.execute(select(valid)).scalar())

    def add(self, token: TokenRecord) -> None:
        """Insert a token."""
        self._connection.execute(insert(tokens).values(asdict(token)))

    def revoke(self, token_id: str, now: datetime) -> None:
        """Mark a token as revoked."""
        self._connection.execute(update(tokens).where(tokens.c.token_id == token_id).values(revoked_at=now))

    def used(self, token_id: str, now: datetime) -> None:
        """Note that a token was used."""
        self._connection.execute(update(tokens).where(tokens.c.token_id == token_id).values(last_used_at=now))
