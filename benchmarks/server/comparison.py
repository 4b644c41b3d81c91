"""What is measured, on which database, and how the two servers compare."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.server import history, servers
from benchmarks.server.big import lengthen
from benchmarks.server.dialects import Peer, Rheostat
from benchmarks.server.load import Dialect, Figures, drive, register
from benchmarks.server.servers import START_SECONDS, Server
from rheostat.storage.engine import Database
from tests.postgres import PostgresServer

DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "128MB"}
"""PostgreSQL as it comes, but for memory; both servers are given the same one."""

WARM_UP_SECONDS = 0.5

FIRST_CYCLES = 8
"""Real recurrences that a made-up past begins with."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        ours: The figures of this project's server.
        theirs: Those of the peer's; None: it was not measured.
        megabytes: Resident memory of our largest process afterwards.
        cpu_milliseconds: Processor time of ours for a cycle.
    """

    name: str
    ours: Figures
    theirs: Figures | None
    megabytes: float
    cpu_milliseconds: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The two servers on one kind of database, and how their jobs get a past."""

    ours: Server
    theirs: Server | None
    lengthen_ours: Callable[[str, int], None]
    lengthen_theirs: Callable[[str, int], None]


@contextmanager
def running(kind: str, peer_python: Path | None, workers: int = 1) -> Iterator[Pair]:
    """Start both servers on databases of a kind, each its own, and stop them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="rheostat-bench-")))
        if kind == "sqlite":
            ours_url, theirs_url = f"sqlite:///{folder / 'ours.db'}", f"sqlite:///{folder / 'theirs.db'}"
            theirs_async = theirs_url.replace("sqlite:", f"{servers.PEER_DRIVERS[kind]}:")
        else:
            postgres = stack.enter_context(PostgresServer(**DURABLE))
            ours_url, theirs_url = postgres.create_database(), postgres.create_database()
            theirs_async = theirs_url.replace("postgresql+psycopg:", f"{servers.PEER_DRIVERS[kind]}:")
        ours = stack.enter_context(servers.rheostat(ours_url, folder / "ours.log", workers))
        theirs = None
        if peer_python is not None:
            theirs = stack.enter_context(servers.peer(peer_python, theirs_async, folder / "theirs.log", workers))
        database = Database(ours_url)
        stack.callback(database.close)
        yield Pair(
            ours,
            theirs,
            lambda job, trials: lengthen(database, job, trials),
            lambda job, trials: history.lengthen_peers(theirs_url, job, trials),
        )


def load(pair: Pair, policy: str, clients: Sequence[int], seconds: float, label: str) -> Iterator[Row]:
    """Measure clients on jobs of their own, and on one job."""
    for mode in ("distinct", "hot"):
        for count in clients:
            jobs = [f"{mode}-{policy}-{count}-{client if mode == 'distinct' else 0}" for client in range(count)]
            yield _row(f"{label} {mode:8} {count:2} clients", pair, policy, jobs, seconds)


def histories(pair: Pair, policy: str, lengths: Sequence[int], seconds: float, label: str) -> Iterator[Row]:
    """Measure one client on jobs with longer and longer pasts."""
    for length in lengths:
        job = f"past-{policy}-{length}"
        _some_cycles(pair.ours, Rheostat(policy), job)
        pair.lengthen_ours(job, length)
        if pair.theirs is not None:
            _some_cycles(pair.theirs, Peer(), job)
            pair.lengthen_theirs(job, length)
        yield _row(f"{label} {length:7} trials", pair, policy, [job], seconds)


def _some_cycles(server: Server, dialect: Dialect, job: str) -> None:
    register(server.port, dialect, [job])
    drive(server.port, dialect, [job], START_SECONDS, most=FIRST_CYCLES)


def _row(name: str, pair: Pair, policy: str, jobs: Sequence[str], seconds: float) -> Row:
    theirs = None if pair.theirs is None else _measured(pair.theirs, Peer(), jobs, seconds)
    before = pair.ours.cpu_seconds()
    ours = _measured(pair.ours, Rheostat(policy), jobs, seconds)
    cpu = 1000 * (pair.ours.cpu_seconds() - before) / max(len(ours.latencies), 1)
    return Row(name, ours, theirs, pair.ours.resident_megabytes(), cpu)


def _measured(server: Server, dialect: Dialect, jobs: Sequence[str], seconds: float) -> Figures:
    register(server.port, dialect, jobs)
    drive(server.port, dialect, jobs, WARM_UP_SECONDS)
    return drive(server.port, dialect, jobs, seconds)


HEADING = (
    f"{'':38} {'cycles/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'failed':>6} | "
    f"{'peer':>7} {'p50 ms':>8} {'p99 ms':>8} {'failed':>6} | {'rate':>6} {'p99':>6} | {'MB':>5} {'cpu ms':>6}"
)


def line(row: Row) -> str:
    """Return a row of the table as text; the ratios are ours by the peer's."""
    text = f"{row.name:38} {_figures(row.ours)} | "
    if row.theirs is None:
        text += f"{'not measured':>32} | {'':13}"
    else:
        rate = row.ours.cycles_per_second / row.theirs.cycles_per_second if row.theirs.latencies else float("nan")
        p99 = row.ours.percentile(0.99) / row.theirs.percentile(0.99)
        text += f"{_figures(row.theirs, 7)} | {rate:5.1f}x {p99:6.2f}"
    return f"{text} | {row.megabytes:5.0f} {row.cpu_milliseconds:6.2f}"


def _figures(figures: Figures, width: int = 9) -> str:
    return (
        f"{figures.cycles_per_second:{width}.0f} {figures.percentile(0.5):8.1f} {figures.percentile(0.99):8.1f} "
        f"{len(figures.failures):6}"
    )
