"""An innocent client during an attack: trials of its own job one after the other, and a probe of `/readyz`.

It runs in a process of its own, so that the attacker's work does not slow it.
"""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from time import perf_counter
from typing import TypeVar

from benchmarks.server.dialects import Rheostat
from benchmarks.server.load import Answer, connect, register, request

JOB = "bystander"

PATIENCE_SECONDS = 10.0
"""How long a request is waited for; one that takes longer has failed."""

_PAUSE_SECONDS = 0.02

T = TypeVar("T")


@dataclass(slots=True)
class Latencies:
    """Latencies of answered requests in seconds, and what happened to the others."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return the latency that a share of the requests stayed under, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


@dataclass(slots=True)
class Seen:
    """What the innocent client saw: of its requests, and of the probes."""

    requests: Latencies = field(default_factory=Latencies)
    probes: Latencies = field(default_factory=Latencies)


class Bystander:
    """The innocent client, running."""

    def __init__(self, pipe: "Pipe[str, Seen]") -> None:
        self._pipe = pipe

    def forget(self) -> None:
        """Count from now on."""
        self.seen()

    def seen(self) -> Seen:
        """Return what was seen since this was asked before, and count from now on.

        A request that still waits counts with the time that it has waited.
        """
        self._pipe.send("")
        return self._pipe.recv()


@contextmanager
def watching(port: int) -> Iterator[Bystander]:
    """Let an innocent client use a server for the length of a block."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_main, args=(port, theirs), daemon=True)
    process.start()
    try:
        ours.recv()
        yield Bystander(ours)
    finally:
        process.kill()
        process.join()


def _main(port: int, pipe: "Pipe[Seen, str]") -> None:
    register(port, Rheostat("zeus"), [JOB])
    asyncio.run(_Watch(port).run(pipe))


class _Watch:
    def __init__(self, port: int) -> None:
        self._port = port
        self._seen = Seen()
        self._waiting: dict[str, float] = {}

    async def run(self, pipe: "Pipe[Seen, str]") -> None:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(self._again(client)) for client in (self._trials, self._probe)]
        pipe.send(self._seen)
        try:
            while True:
                await loop.run_in_executor(None, pipe.recv)
                for kind, since in self._waiting.items():
                    self._latencies(kind).seconds.append(perf_counter() - since)
                pipe.send(self._seen)
                self._seen = Seen()
        except EOFError:
            for task in tasks:
                task.cancel()

    async def _again(self, client: Callable[[], Awaitable[None]]) -> None:
        while True:
            with suppress(OSError, TimeoutError):
                await client()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _trials(self) -> None:
        dialect = Rheostat("zeus")
        connection = await self._timed("requests", connect(self._port))
        try:
            while True:
                trial = await self._timed("requests", connection.ask(dialect.predict(JOB)))
                if trial.ok:
                    await self._timed("requests", connection.ask(dialect.observe(JOB, trial.json())))
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            connection.close()

    async def _probe(self) -> None:
        """Ask for `/readyz` on a new connection, as an orchestrator does."""

        async def ask() -> Answer:
            connection = await connect(self._port)
            try:
                return await connection.ask(request("GET", "/readyz"))
            finally:
                connection.close()

        await self._timed("probes", ask())

    async def _timed(self, kind: str, work: Awaitable[T]) -> T:
        began = self._waiting[kind] = perf_counter()
        try:
            done = await asyncio.wait_for(work, PATIENCE_SECONDS)
        except (OSError, TimeoutError) as error:
            self._latencies(kind).failures.append(type(error).__name__)
            raise
        finally:
            del self._waiting[kind]
        self._latencies(kind).seconds.append(perf_counter() - began)
        if isinstance(done, Answer) and not done.ok:
            self._latencies(kind).failures.append(str(done.status))
        return done

    def _latencies(self, kind: str) -> Latencies:
        return self._seen.requests if kind == "requests" else self._seen.probes
