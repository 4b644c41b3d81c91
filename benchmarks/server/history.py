"""A job's past made long at once: rows of trials that are over, as if it had recurred so often.

What the policies know is left as it is: its size does not depend on the number of trials in either server.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, MetaData, Table, create_engine, func, insert, select, update

from benchmarks.server.dialects import BATCH_SIZES

_CHUNK = 5000


def lengthen_ours(url: str, job: str, trials: int) -> None:
    """Give a job of ours that many trials, each with its report."""
    with _tables(url, "jobs", "trials", "observations") as (connection, (jobs, trial, report)):
        pk = connection.execute(select(jobs.c.job_pk).where(jobs.c.job_id == job)).scalar_one()
        newest = connection.execute(select(func.max(trial.c.number)).where(trial.c.job_pk == pk)).scalar_one()
        ended = trial.c.job_pk == pk, trial.c.ended_at.is_not(None)
        one = dict(connection.execute(select(trial).where(*ended).limit(1)).mappings().one())
        seen = report.c.trial_id == one["trial_id"]
        its = dict(connection.execute(select(report).where(seen).limit(1)).mappings().one())
        del its["observation_pk"]
        numbers = range(newest + 1, trials + 1)
        ids = [f"{pk:08x}{number:024x}" for number in numbers]
        _insert(connection, trial, [one | {"trial_id": i, "number": n, "sequence": n, "idempotency_key": None}
                                    for i, n in zip(ids, numbers, strict=True)])  # fmt: skip
        _insert(connection, report, [its | {"trial_id": i} for i in ids])
        counters = {"next_trial_number": trials + 1, "next_sequence": trials + 1}
        connection.execute(update(jobs).where(jobs.c.job_pk == pk).values(version=jobs.c.version + 1, **counters))


def lengthen_peers(url: str, job: str, trials: int) -> None:
    """Give a job of the peer's that many trials."""
    with _tables(url, "Trial") as (connection, (trial,)):
        newest = connection.execute(select(func.max(trial.c.trial_number)).where(trial.c.job_id == job)).scalar_one()
        ended = trial.c.job_id == job, trial.c.end_timestamp.is_not(None)
        one = dict(connection.execute(select(trial).where(*ended).limit(1)).mappings().one())
        numbers = range(newest + 1, trials + 1)
        _insert(connection, trial, [
            one | {"trial_number": n, "batch_size": one["batch_size"] if n % 2 else BATCH_SIZES[2]} for n in numbers
        ])  # fmt: skip


def _insert(connection: Connection, table: Table, rows: list[dict[str, object]]) -> None:
    for at in range(0, len(rows), _CHUNK):
        connection.execute(insert(table), rows[at : at + _CHUNK])


@contextmanager
def _tables(url: str, *names: str) -> Iterator[tuple[Connection, list[Table]]]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection, [Table(name, MetaData(), autoload_with=connection, resolve_fks=False) for name in names]
    finally:
        engine.dispose()
