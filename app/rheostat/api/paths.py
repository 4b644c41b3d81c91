"""Paths that the layers before the routes must know."""

from starlette.types import Scope

PROBES = ("/healthz", "/readyz", "/metrics")
"""What machines look at every few seconds, by address and without a token."""


def path_of(scope: Scope) -> str:
    """Return the path of a request below the one that the application is mounted at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
