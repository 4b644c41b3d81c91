"""Runs attacks one after the other, each on a server that is quiet before, and prints a table."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.attack.bystander import Bystander, Latencies, Seen, watching
from benchmarks.attack.target import Attack, Row, Target, Verdict, serving

AFTERMATH_SECONDS = 1.0

MOST_RECOVERY_SECONDS = 900.0
"""How long the last attack's work is waited for, which must not blur the figures of the next."""

_ENOUGH = 5
_SLOW_MILLISECONDS = 1000


def attacked(
    attacks: Sequence[Attack], database_url: str, folder: Path, *, workers: int = 1, quiet_seconds: float
) -> list[Row]:
    """Attack a server of its own over a database, and print what it cost.

    Args:
        attacks: In this order.
        database_url: The database; its schema is brought to head.
        folder: For logs.
        workers: Processes of the server.
        quiet_seconds: How long the innocent client alone is watched before each attack, for the machine's noise.

    Raises:
        RuntimeError: The server does not recover from an attack.
    """
    print(_HEADING, flush=True)
    with serving(database_url, folder, workers) as target, watching(target.port) as bystander:
        return [_row(attack, target, bystander, quiet_seconds) for attack in attacks]


def _row(attack: Attack, target: Target, bystander: Bystander, quiet_seconds: float) -> Row:
    quiet = _recovered(bystander, quiet_seconds)
    target.reset_peak()
    before = target.peak_megabytes()
    bystander.forget()
    began = perf_counter()
    try:
        verdict = attack.run(target)
    except Exception as error:
        verdict = Verdict(f"{type(error).__name__}: {error}", held=False)
    seconds = perf_counter() - began
    sleep(AFTERMATH_SECONDS)
    row = Row(attack, verdict, bystander.seen(), quiet, target.peak_megabytes() - before, seconds)
    print(
        f"{word(held=row.kept)} {attack.name:32} {row.quiet_milliseconds:6.0f} {_figures(row.seen.requests)} "
        f"{_figures(row.seen.probes)} {row.megabytes:+6.0f} {seconds:7.1f}  {verdict.words}",
        flush=True,
    )
    return row


def _recovered(bystander: Bystander, quiet_seconds: float) -> Seen:
    """Return what the innocent client sees on a quiet server, once the last attack's work is done."""
    give_up_at = perf_counter() + MOST_RECOVERY_SECONDS
    while perf_counter() < give_up_at:
        bystander.forget()
        sleep(quiet_seconds)
        seen = bystander.seen()
        figures = (seen.requests, seen.probes)
        if all(
            len(one.seconds) >= _ENOUGH and not one.failures and one.percentile(1) < _SLOW_MILLISECONDS
            for one in figures
        ):
            return seen
    raise RuntimeError(f"The server did not recover from the last attack within {MOST_RECOVERY_SECONDS:.0f} s.")


def word(*, held: bool) -> str:
    """Return how a line of the table begins."""
    return f"{'kept' if held else 'BROKEN':6}"


_COLUMNS = f"{'n':>5} {'p50':>6} {'p99':>7} {'max ms':>7} {'failed':>6}"
_HEADING = (
    f"{'':46} {'predict and observe':^35} {'/readyz':^35}\n"
    f"{'':39} {'quiet':>6} {_COLUMNS} {_COLUMNS} {'MB':>6} {'seconds':>7}"
)


def _figures(latencies: Latencies) -> str:
    return (
        f"{len(latencies.seconds):5} {latencies.percentile(0.5):6.1f} {latencies.percentile(0.99):7.1f} "
        f"{latencies.percentile(1):7.1f} {len(latencies.failures):6}"
    )
