"""The connections of a server process: how many there may be, and what each may send before it is authenticated.

uvicorn bounds none of this with the parser that it prefers, and much of it with no parser: the length of a request's
head, the time until it is complete, what surrounds the chunks of a body, requests sent ahead of an answer, answers that
are not read. The application bounds bodies (:mod:`rheostat.api.body_limit`).

Deadlines are checked twice a second for all connections together: a timer for each request would cost more.
"""

import asyncio
import logging
from collections import OrderedDict
from functools import cache
from http import HTTPStatus
from math import inf
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from rheostat.api.problems import MEDIA_TYPE, ProblemBody
from rheostat.api.security_headers import SECURITY_HEADERS

MAX_HEAD_BYTES = 64 * 2**10
"""Longest head of a request; and of a chunked body, most bytes that are not content: sizes, extensions, trailers."""

MAX_HEADERS = 100
"""As Apache's LimitRequestFields."""

MAX_TARGET_BYTES = 8 * 2**10
"""Longest path with query, as nginx' large_client_header_buffers."""

MAX_PIPELINED = 8
"""Most requests that wait for the answer to another one on their connection; hardly any client sends one."""

HEAD_SECONDS = 10.0
"""Longest time from a connection's begin, or from a later request's first byte, to the end of the request's head."""

LINGER_SECONDS = 2.0
"""How long a refused client may go on sending: closed at once, the connection would be reset before it is answered."""

_MAX_LINGER_BYTES = 64 * 2**20
_SWEEP_SECONDS = 0.5
_CLOSED_AT_ONCE = 50
"""Thousands that are late at the same time are closed little by little, between requests."""
_NEXT_SWEEP_SECONDS = 0.01

_BAD_REQUEST = ProblemBody(HTTPStatus.BAD_REQUEST, "bad_request", "The request is not valid HTTP.")
_TOO_SLOW = ProblemBody(
    HTTPStatus.REQUEST_TIMEOUT, "request_too_slow", f"The head of the request took longer than {HEAD_SECONDS:g} s."
)
_HEAD_TOO_LARGE = ProblemBody(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head_too_large",
    f"The head of the request is longer than {MAX_HEAD_BYTES} bytes, or has more than {MAX_HEADERS} headers.",
)
_TARGET_TOO_LONG = ProblemBody(
    HTTPStatus.REQUEST_URI_TOO_LONG, "target_too_long", f"Path and query are longer than {MAX_TARGET_BYTES} bytes."
)
_CHUNKS_TOO_SMALL = ProblemBody(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "body_too_large",
    f"What surrounds the chunks of the body is longer than {MAX_HEAD_BYTES} bytes.",
    "Send larger chunks.",
)
_TOO_MANY = ProblemBody(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too_many_connections",
    "The server has as many connections as it may.",
    "Try again.",
    retryable=True,
)

_log = logging.getLogger(__name__)


class Connections:
    """All connections of a process: makes the protocol of each, and closes some when there are too many.

    Then the first to go is the oldest that has never sent a complete head, then the one that has been idle for longest,
    then the one that has not read its answer for longest. If all are busy, the new connection is refused. So a client
    that opens thousands and sends nothing shuts out no other. Addresses do not count: behind a proxy or a NAT there is
    only one.

    Args:
        maximum: Most connections.
        timeout_seconds: Longest time to receive a body, and for a client to read its answer.
    """

    def __init__(self, maximum: int, timeout_seconds: float) -> None:
        self._maximum = maximum
        self.timeout_seconds = timeout_seconds
        self._open: set[BoundedHttp] = set()
        self._unproven: OrderedDict[BoundedHttp, None] = OrderedDict()
        self._idle: OrderedDict[BoundedHttp, None] = OrderedDict()
        self._unread: OrderedDict[BoundedHttp, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, **arguments: Any) -> "BoundedHttp":
        """Return the protocol of a connection; uvicorn calls this as it would a protocol's class."""
        return BoundedHttp(self, **arguments)

    def add(self, connection: "BoundedHttp") -> bool:
        """Add a new connection; return whether there is room for it."""
        if len(self._open) >= self._maximum:
            self._close_one()
        has_room = len(self._open) < self._maximum
        self._open.add(connection)
        self._unproven[connection] = None
        if self._timer is None:
            self._timer = connection.loop.call_later(_SWEEP_SECONDS, self._sweep, connection.loop)
        return has_room

    def discard(self, connection: "BoundedHttp") -> None:
        """Remove a connection that is closed."""
        self._open.discard(connection)
        for group in (self._unproven, self._idle, self._unread):
            group.pop(connection, None)

    def note_busy(self, connection: "BoundedHttp") -> None:
        """Note that a connection has sent the head of a request."""
        self._unproven.pop(connection, None)
        self._idle.pop(connection, None)

    def note_idle(self, connection: "BoundedHttp") -> None:
        """Note that a connection has got its answers."""
        self._idle[connection] = None

    def note_unread(self, connection: "BoundedHttp", *, is_unread: bool) -> None:
        """Note that the client does not read what it has asked for, or that it does."""
        if is_unread:
            self._unread[connection] = None
        else:
            self._unread.pop(connection, None)

    def _close_one(self) -> None:
        for group in (self._unproven, self._idle, self._unread):
            if group:
                connection, _ = group.popitem(last=False)
                self.discard(connection)  # now: its place and its file are free only after this turn of the loop
                connection.transport.abort()
                return

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late = [connection for connection in self._open if connection.is_late(now)]
        for connection in late[:_CLOSED_AT_ONCE]:
            connection.give_up()
        delay = _SWEEP_SECONDS if len(late) <= _CLOSED_AT_ONCE else _NEXT_SWEEP_SECONDS
        self._timer = loop.call_later(delay, self._sweep, loop) if self._open else None


class _RefusedError(Exception):
    """Ends the parsing of a request; the connection knows why."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with limits.

    Args:
        connections: All connections.
        config: uvicorn's configuration.
        server_state: What uvicorn's connections share.
        app_state: What the application's lifespan leaves for requests.
        _loop: The event loop.
    """

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._all = connections
        self._refusal = _BAD_REQUEST
        self._in_head = True  # or between two requests
        self._framing_bytes = 0  # of this head, or of what is not content in this body
        self._body_bytes = 0
        self._part = 0  # number of this head or body, from 0
        self._deadline = inf  # of this head or this body
        self._is_deaf = False
        self._unread_since = inf
        self._closing_since = inf

    # What the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many connections."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + HEAD_SECONDS
        if not self._all.add(self):
            self._refuse(_TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._all.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what a client sends, up to the limits."""
        if self._is_deaf:
            self._framing_bytes += len(data)
            if self._framing_bytes > _MAX_LINGER_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        if self._deadline == inf and self._in_head:
            self._deadline = self.loop.time() + HEAD_SECONDS
        while data and not self._is_deaf:
            room = MAX_HEAD_BYTES - self._framing_bytes
            self._parse(data[:room])
            data = data[room:]

    def pause_writing(self) -> None:
        """Note that the client does not read its answer as fast as it is written."""
        super().pause_writing()
        self._unread_since = self.loop.time()
        self._all.note_unread(self, is_unread=True)

    def resume_writing(self) -> None:
        """Note that the client has read nearly all of its answer."""
        super().resume_writing()
        self._unread_since = inf
        self._all.note_unread(self, is_unread=False)

    # What the parser calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _RefusedError
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the path and query."""
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._refusal = _TARGET_TOO_LONG
            raise _RefusedError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is left out: the application would take it for a header, which proxies check."""
        if not self._in_head:
            return
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = _HEAD_TOO_LARGE
            raise _RefusedError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer the request."""
        if [name for name, _ in self.headers].count(b"host") > 1:
            raise _RefusedError  # a proxy may have looked at another one (RFC 9112, 3.2)
        super().on_headers_complete()
        self._begin_part(in_head=False, deadline=self.loop.time() + self._all.timeout_seconds)
        self._all.note_busy(self)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; the application is woken for large ones and the last, not for every byte."""
        self._body_bytes += len(body)
        if self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request; it may have been answered already."""
        super().on_message_complete()
        self._begin_part(in_head=True, deadline=inf)

    # What the answer and uvicorn call

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and not self.transport.is_closing():
            self._all.note_idle(self)

    def _unsupported_upgrade_warning(self) -> None:
        """Answer, as if no other protocol had been asked for, and close: what follows is not parsed reliably."""
        self.cycle.keep_alive = False
        self._is_deaf = True

    # Limits

    def is_late(self, now: float) -> bool:
        """Return whether one of the connection's deadlines has passed.

        Args:
            now: The event loop's time.
        """
        if self.transport.is_closing():
            self._closing_since = min(self._closing_since, now)
        return now > self._deadline or self._does_not_read(now)

    def give_up(self) -> None:
        """Close the connection, which is late."""
        if self._is_deaf or self._does_not_read(self.loop.time()):
            self.transport.abort()
        elif self._in_head and self._framing_bytes:
            self._refuse(_TOO_SLOW)
        elif self._in_head or self.cycle.response_complete:
            self.transport.close()
        else:
            # An answer is being made: the application sees to the body's time.
            self._deadline = self.loop.time() + self._all.timeout_seconds

    def _does_not_read(self, now: float) -> bool:
        return now - min(self._closing_since, self._unread_since) > self._all.timeout_seconds

    def _begin_part(self, *, in_head: bool, deadline: float) -> None:
        self._in_head, self._deadline = in_head, deadline
        self._framing_bytes = self._body_bytes = 0
        self._part += 1

    def _parse(self, data: bytes) -> None:
        part, body_bytes = self._part, self._body_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        if part != self._part:
            return  # this piece ends one part and begins another; what it holds of that is not counted
        self._framing_bytes += len(data) - (self._body_bytes - body_bytes)
        if self._framing_bytes >= MAX_HEAD_BYTES and not self._is_deaf:
            self._refuse(_HEAD_TOO_LARGE if self._in_head else _CHUNKS_TOO_SMALL)

    def _refuse(self, refusal: ProblemBody) -> None:
        """Answer with a problem, and close the connection; an answer that is under way is not disturbed."""
        self._is_deaf = True
        # Thousands may be too slow, or too many, at the same time: to log each would hold up all other requests.
        level = logging.DEBUG if refusal in (_TOO_SLOW, _TOO_MANY) else logging.INFO
        _log.log(level, "refused a request of %s: %s", self.client[0] if self.client else "unknown", refusal.code)
        if self._in_head and self._part and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # the answer to an earlier request
            self._deadline = inf
            return
        if not self._in_head:
            if self.cycle.response_started or self.pipeline:
                self.transport.close()
                return
            self.cycle.disconnected = True  # the application is not to answer as well
            self.cycle.message_event.set()
        self._framing_bytes = 0
        self._deadline = self.loop.time() + LINGER_SECONDS
        self.transport.write(_answer(refusal, self.server_state.default_headers))
        self.transport.write_eof()


_content = cache(ProblemBody.json)


def _answer(refusal: ProblemBody, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    content = _content(refusal).encode()
    headers = [
        *default_headers,
        *SECURITY_HEADERS,
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    if refusal.retryable:
        headers.append((b"retry-after", b"1"))
    status = b"HTTP/1.1 %d %s\r\n" % (refusal.status.value, refusal.status.phrase.encode())
    return b"".join([status, *[b"%s: %s\r\n" % header for header in headers], b"\r\n", content])
