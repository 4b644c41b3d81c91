"""A closed loop of lean clients: each asks, reports, and asks again, on a connection of its own.

HTTP is written and read by hand over asyncio's transports: a client library would take longer than the servers.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

_HEAD_END = b"\r\n\r\n"
_OK = range(200, 300)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's status and body."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request was taken."""
        return self.status in _OK

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


class Dialect(Protocol):
    """How one server is spoken to; each method returns a whole request."""

    def register(self, job: str) -> bytes:
        """Return the request that registers a job."""

    def predict(self, job: str) -> bytes:
        """Return the request that begins a trial."""

    def observe(self, job: str, trial: Any) -> bytes:
        """Return the request that ends the trial of an answered ``predict``: it reached its target."""


@dataclass(slots=True)
class Figures:
    """What a run of the load came to; latencies are of whole cycles, in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: list[Answer] = field(default_factory=list)

    @property
    def cycles_per_second(self) -> float:
        """Predict and report, both answered well."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Return the latency that a share of the cycles stayed under, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def request(method: str, path: str, body: Any = None) -> bytes:
    """Return a request as it goes over the wire."""
    payload = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
    return head.encode() + b"\r\n" + payload


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._waiting: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Give the answer to who waits for it once all of it is here."""
        self._buffer += data
        head, separator, rest = self._buffer.partition(_HEAD_END)
        if not separator:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = 0 if at < 0 else int(lower[at + 15 :].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(int(head[9:12]), rest[:length]))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what was being waited for."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error or ConnectionResetError("the server hung up"))

    async def ask(self, message: bytes) -> Answer:
        """Send a request and wait for its answer."""
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._waiting

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def connect(port: int) -> Connection:
    """Open a connection over loopback."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def _cycle(connection: Connection, dialect: Dialect, job: str) -> Answer | None:
    """Run one recurrence; return the answer that was no success, if any."""
    predicted = await connection.ask(dialect.predict(job))
    if not predicted.ok:
        return predicted
    reported = await connection.ask(dialect.observe(job, predicted.json()))
    return None if reported.ok else reported


async def _client(port: int, dialect: Dialect, job: str, *, until: float, most: int, figures: Figures) -> None:
    connection = await connect(port)
    try:
        while (began := perf_counter()) < until and (most := most - 1) >= 0:
            failure = await _cycle(connection, dialect, job)
            if failure is None:
                figures.latencies.append(perf_counter() - began)
            else:
                figures.failures.append(failure)
    finally:
        connection.close()


async def _drive(port: int, dialect: Dialect, jobs: Sequence[str], seconds: float, most: int) -> Figures:
    figures = Figures()
    began = perf_counter()
    await asyncio.gather(
        *(_client(port, dialect, job, until=began + seconds, most=most, figures=figures) for job in jobs)
    )
    figures.seconds = perf_counter() - began
    return figures


async def _register(port: int, dialect: Dialect, jobs: Sequence[str]) -> None:
    connection = await connect(port)
    for job in dict.fromkeys(jobs):
        answer = await connection.ask(dialect.register(job))
        if not answer.ok:
            raise RuntimeError(f"The job cannot be registered: {answer.status} {answer.body[:500]!r}")
    connection.close()


def register(port: int, dialect: Dialect, jobs: Sequence[str]) -> None:
    """Register jobs, each once."""
    asyncio.run(_register(port, dialect, jobs))


def drive(port: int, dialect: Dialect, jobs: Sequence[str], seconds: float, most: int = sys.maxsize) -> Figures:
    """Let one client a job (the same job may be named again) run cycles, and return the figures.

    Each stops after some seconds, or some cycles.
    """
    return asyncio.run(_drive(port, dialect, jobs, seconds, most))
