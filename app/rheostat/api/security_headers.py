"""Headers that every answer has, for browsers: it is not shown in frames of other sites, guessed at, or kept.

An answer that sets one of them itself keeps its own: a page names where its scripts and styles may come from
(:func:`page_policy`), and a file that never changes may be cached.
"""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256

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


Header = tuple[bytes, bytes]

SECURITY_HEADERS: tuple[Header, ...] = (
    (b"x-frame-options", b"DENY"),  # what browsers from before frame-ancestors know
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (POLICY_HEADER.lower().encode(), _policy(_NO_FRAMES).encode()),
)


_NAMES = frozenset(name for name, _ in SECURITY_HEADERS)


def completed(headers: Iterable[Header]) -> list[Header]:
    """Return an answer's headers with those of these that it lacks."""
    given = list(headers)
    own = {name for name, _ in given}
    if b"etag" in own:
        own.add(b"cache-control")  # a file, which is the same for all
    elif own.isdisjoint(_NAMES):
        return [*given, *SECURITY_HEADERS]
    return given + [header for header in SECURITY_HEADERS if header[0] not in own]
