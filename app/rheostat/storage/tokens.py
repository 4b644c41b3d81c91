"""Tokens in SQL. A row is never deleted: one that was revoked still says that this server asks for tokens."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, exists, insert, or_, select, update

from rheostat.storage.audit import add_audit_entry
from rheostat.storage.engine import Database
from rheostat.storage.records import AuditRecord, TokenRecord
from rheostat.storage.tables import tokens


class TokenStore:
    """The tokens of a database.

    Every method is one transaction, and raises :class:`~rheostat.errors.Unavailable` when the database cannot be read
    or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, token_id: str) -> TokenRecord | None:
        """Return a token by the public part of it."""
        return self._database.read(lambda connection: _find(connection, token_id))

    def all(self) -> list[TokenRecord]:
        """Return all tokens, oldest first."""
        query = select(tokens).order_by(tokens.c.created_at, tokens.c.token_id)
        return self._database.read(
            lambda connection: [TokenRecord(**row) for row in connection.execute(query).mappings()]
        )

    def any(self) -> bool:
        """Return whether a token was ever made."""
        query = select(exists().where(tokens.c.token_id.is_not(None)))
        return self._database.read(lambda connection: bool(connection.execute(query).scalar()))

    def any_valid(self, now: datetime) -> bool:
        """Return whether there is a token that is valid now."""
        valid = exists().where(
            tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
        )
        return self._database.read(lambda connection: bool(connection.execute(select(valid)).scalar()))

    def add(self, token: TokenRecord, entry: AuditRecord) -> TokenRecord:
        """Insert a token with its audit entry, and return it; one that is there already stays and is returned."""

        def work(connection: Connection) -> TokenRecord:
            known = _find(connection, token.token_id)
            if known is not None:
                return known
            connection.execute(insert(tokens).values(asdict(token)))
            add_audit_entry(connection, entry)
            return token

        return self._database.write(work)

    def revoke(self, token_id: str, entry: AuditRecord) -> None:
        """Mark a token as revoked, with its audit entry, unless it was before."""

        def work(connection: Connection) -> None:
            valid = update(tokens).where(tokens.c.token_id == token_id, tokens.c.revoked_at.is_(None))
            if connection.execute(valid.values(revoked_at=entry.at)).rowcount:
                add_audit_entry(connection, entry)

        self._database.write(work)

    def note_use(self, token_id: str, now: datetime) -> None:
        """Record that a token was used."""
        query = update(tokens).where(tokens.c.token_id == token_id).values(last_used_at=now)
        self._database.write(lambda connection: connection.execute(query))


def _find(connection: Connection, token_id: str) -> TokenRecord | None:
    row = connection.execute(select(tokens).where(tokens.c.token_id == token_id)).mappings().one_or_none()
    return None if row is None else TokenRecord(**row)
