"""What middlewares read from an ASGI scope: the path, the route's template, and single headers."""

from starlette.types import Scope

PROBES = ("/healthz", "/readyz", "/metrics")
"""Paths that monitoring requests every few seconds, by IP address and without a token."""


ZEUS_PREFIX = "/zeus"
"""Where the protocol of Zeus's batch size optimizer server is spoken, with its errors and its ways to authenticate."""


def root_path_of(scope: Scope) -> str:
    """Return the path that the application is mounted at, also from inside of what is mounted in it; often empty."""
    root_path: str = scope.get("app_root_path", scope.get("root_path", ""))
    return root_path.rstrip("/")


def path_of(scope: Scope) -> str:
    """Return the path of a request, relative to the path that the application is mounted at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def is_zeus(scope: Scope) -> bool:
    """Return whether a request is for the protocol of Zeus's batch size optimizer server."""
    return f"{path_of(scope)}/".startswith(f"{ZEUS_PREFIX}/")


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request was dispatched to; ``none`` when there is no such route."""
    route = scope.get("route")
    return getattr(route, "path", None) or ("/docs/assets" if "endpoint" in scope else "none")


def client_of(scope: Scope) -> str | None:
    """Return the address of a request's client, as trusted proxies give it."""
    client = scope.get("client")
    return None if client is None else client[0]


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of a name; cheaper than Starlette's mapping, which each middleware would build again.

    Args:
        scope: The request.
        name: In lower case.
    """
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
