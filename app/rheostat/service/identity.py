"""The caller of a request, and what they are permitted to do."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from rheostat.errors import NamespaceForbidden, ScopeMissing
from rheostat.schemas.fields import DEFAULT_NAMESPACE, Scope
from rheostat.service.context import Service

SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller.

    Attributes:
        actor: Their name in the audit trail and in the log.
        scopes: What they are permitted to do; ``admin`` includes all others.
        namespace: The only namespace that they may use; None: the default one, and for an admin any other.
        token_id: The id of their token; None: a server without tokens needs none.
        expires_at: When the token expires; None: never.
    """

    actor: str
    scopes: Collection[str]
    namespace: str | None = None
    token_id: str | None = None
    expires_at: datetime | None = None

    def authorise(self, service: Service, scope: Scope, namespace: str | None = None) -> Service:
        """Return the service with the caller's name and namespace.

        Args:
            service: The service.
            scope: The scope that the operation needs.
            namespace: The requested namespace; None: the caller's own.

        Raises:
            ScopeMissing: The caller lacks the scope.
            NamespaceForbidden: The caller may not use that namespace.
        """
        if scope not in self.scopes and "admin" not in self.scopes:
            raise ScopeMissing(
                f"The token lacks the scope {scope}; it has {_words(self.scopes)}.",
                scope=scope,
                hint=f"Ask an operator for another token: rheostat token create NAME --scope {scope}.",
            )
        return service.on_behalf_of(self.actor, self.namespace_for(namespace))

    def namespace_for(self, wanted: str | None) -> str:
        """Return the namespace of a request.

        Args:
            wanted: The requested one; None: the caller's own.

        Raises:
            NamespaceForbidden: The caller may not use the requested one.
        """
        own = self.namespace or DEFAULT_NAMESPACE
        if wanted is None or wanted == own:
            return own
        if self.namespace is not None or "admin" not in self.scopes:
            raise NamespaceForbidden(
                f"The token gives access to the namespace {own}, not to {wanted}.",
                hint="Omit the header Rheostat-Namespace; it needs an admin token that is not bound to a namespace.",
            )
        return wanted


LOCAL = Identity("local", SCOPES)
"""The caller of a server that has no tokens."""


def _words(scopes: Collection[str]) -> str:
    return " and ".join(scope for scope in SCOPES if scope in scopes)
