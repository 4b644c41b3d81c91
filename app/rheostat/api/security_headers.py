"""Headers that every answer has, for browsers: it is not shown in frames of other sites, guessed at, or kept.

An answer that sets one of them itself keeps its own: a page names where its scripts and styles may come from
(:func:`page_policy`), and a file that never changes may be cached.
"""

from base64 import b64encode
from hashlib import sha256

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY_HEADER = "Content-Security-Policy"

_NO_FRAMES = {"frame-ancestors": "'none'", "base-uri": "'none'", "object-src": "'none'", "form-action": "'self'"}


def page_policy(**sources: str) -> str:
    """Return a content security policy for a page: only what is named may be loaded.

    Args:
        sources: Where things may come from, by directive with underscores: ``script_src="'self'"``.
    """
    named = {name.replace("_", "-"): value for name, value in sources.items()}
    return _policy({"default-src": "'none'"} | _NO_FRAMES | named)


def hash_source(script: str) -> str:
    """Return the source that permits an inline script or style with exactly this text."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def _policy(directives: dict[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in directives.items())


SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-frame-options", b"DENY"),  # what browsers from before frame-ancestors know
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (POLICY_HEADER.lower().encode(), _policy(_NO_FRAMES).encode()),
)


class AddSecurityHeaders:
    """Adds the headers to each answer that lacks them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                present = {name for name, _ in headers}
                if b"etag" in present:
                    present.add(b"cache-control")  # a file, which is the same for all
                message["headers"] = headers + [header for header in SECURITY_HEADERS if header[0] not in present]
            await send(message)

        await self._app(scope, receive, send_with_headers)
