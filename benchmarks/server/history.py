"""A job of the peer's made to have a long past at once: rows of trials that are over, as if it had recurred so often.

What its policy knows is left as it is: its size does not depend on the number of trials. Ours are made in
:mod:`benchmarks.server.big`.
"""

from sqlalchemy import MetaData, Table, create_engine, func, insert, select

from benchmarks.server.dialects import BATCH_SIZES

_CHUNK = 5000


def lengthen_peers(url: str, job: str, trials: int) -> None:
    """Give a job of the peer's that many trials."""
    engine = create_engine(url)
    with engine.begin() as connection:
        trial = Table("Trial", MetaData(), autoload_with=connection, resolve_fks=False)
        newest = connection.execute(select(func.max(trial.c.trial_number)).where(trial.c.job_id == job)).scalar_one()
        ended = trial.c.job_id == job, trial.c.end_timestamp.is_not(None)
        one = dict(connection.execute(select(trial).where(*ended).limit(1)).mappings().one())
        rows = [
            one | {"trial_number": number, "batch_size": one["batch_size"] if number % 2 else BATCH_SIZES[2]}
            for number in range(newest + 1, trials + 1)
        ]
        for at in range(0, len(rows), _CHUNK):
            connection.execute(insert(trial), rows[at : at + _CHUNK])
    engine.dispose()
