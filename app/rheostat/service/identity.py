"""Who asks, and what they may do."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args

from rheostat.errors import NamespaceForbidden, ScopeMissing
from rheostat.schemas.server import DEFAULT_NAMESPACE, Scope
from rheostat.service.context import Service

SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        actor: Their name in the audit trail and in the log.
        scopes: What they may do; ``admin`` may do everything.
        namespace: The only one that they may work in; None: the default one, and any other for an admin.
        token_id: The token that tells; None: somebody on this machine, of a server without tokens.
        expires_at: Until when it tells; None: for ever.
    """

    actor: str
    scopes: Collection[str]
    namespace: str | None = None
    token_id: str | None = None
    expires_at: datetime | None = None

    def authorise(self, service: Service, scope: Scope, namespace: str | None = None) -> Service:
        """Return the service as they may use it.

        Args:
            service: The service of nobody in particular.
            scope: What the operation needs.
            namespace: The one that they ask for; None: their own.

        Raises:
            ScopeMissing: They lack the scope.
            NamespaceForbidden: They may not work in that namespace.
        """
        if scope not in self.scopes and "admin" not in self.scopes:
            raise ScopeMissing(
                f"The token is not for that: it has {_words(self.scopes)}, and this needs {scope}.",
                scope=scope,
                hint=f"Ask an operator: rheostat token create NAME --scope {scope}.",
            )
        return replace(service, namespace=self.namespace_for(namespace), actor=self.actor)

    def namespace_for(self, wanted: str | None) -> str:
        """Return the namespace that a request is about.

        Raises:
            NamespaceForbidden: They may not work in the one that they ask for.
        """
        own = self.namespace or DEFAULT_NAMESPACE
        if wanted is None or wanted == own:
            return own
        if self.namespace is not None or "admin" not in self.scopes:
            raise NamespaceForbidden(
                f"The token is for the namespace {own} alone, not for {wanted}.",
                hint="Leave the header Rheostat-Namespace out; only an admin's token that is bound to none may use it.",
            )
        return wanted


LOCAL = Identity("local", SCOPES)
"""Whoever is on this machine, while there are no tokens."""


def _words(scopes: Collection[str]) -> str:
    return " and ".join(scope for scope in SCOPES if scope in scopes)
