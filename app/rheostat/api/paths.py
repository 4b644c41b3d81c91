"""What the layers before the routes must know of a request: its path, and single headers of it."""

from starlette.types import Scope

PROBES = ("/healthz", "/readyz", "/metrics")
"""What machines look at every few seconds, by address and without a token."""


def path_of(scope: Scope) -> str:
    """Return the path of a request below the one that the application is mounted at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def header(scope: Scope, name: bytes) -> str | None:
    """Return a header, the first of several; starlette's mapping would be made anew by each layer.

    Args:
        scope: The request.
        name: In small letters.
    """
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
