"""Deletes the rows of deleted jobs, in steps of bounded time.

A deleted job leaves its namespace for one that no request can name (:data:`~rheostat.storage.tables.DELETED`). From
then on nothing finds it, and its id is free. Its rows go afterwards: in the background of a server, at the next start
of one, or by ``rheostat db prune``.
"""

import logging
from threading import Event, Thread

from sqlalchemy import Connection, delete, exists, select

from rheostat.errors import Unavailable
from rheostat.storage.engine import Database
from rheostat.storage.steps import Steps
from rheostat.storage.tables import DELETED, jobs, observations, placements, power_measurements, runs, trials

_TRY_AGAIN_SECONDS = 60.0
_STATES_OF_PLACEMENT = 10
"""A placement takes its policy's state along: some ten rows."""

_log = logging.getLogger(__name__)


def delete_rows(steps: Steps) -> None:
    """Delete the rows of all deleted jobs but those that another process deletes.

    Raises:
        Unavailable: The database cannot be read or written.
    """
    deleted = jobs.c.namespace == DELETED
    if not steps.database.read(lambda connection: connection.scalar(select(exists().where(deleted)))):
        return
    deletion = _Deletion(steps)
    while not steps.is_stopped and steps.take(deletion.step):
        steps.show()


class _Deletion:
    """Deletes the first deleted job, and then the next.

    Args:
        steps: Say how many rows a step deletes.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._at = (0, 0)  # the job, and the last of its trials that is gone: PostgreSQL would pass all of them again

    def step(self, connection: Connection) -> int:
        """Delete some rows and return how many; 0: there is nothing left."""
        first = select(jobs.c.job_pk).where(jobs.c.namespace == DELETED).order_by(jobs.c.job_pk).limit(1)
        job_pk = connection.scalar(first.with_for_update(key_share=True, skip_locked=True))
        if job_pk is None:
            return 0
        return (
            self._delete_trials(connection, job_pk)
            or self._delete_placements(connection, job_pk)
            or connection.execute(delete(jobs).where(jobs.c.job_pk == job_pk)).rowcount
        )

    def _delete_trials(self, connection: Connection, job_pk: int) -> int:
        """Delete trials, after their reports, which may be many more."""
        after = self._at[1] if self._at[0] == job_pk else 0
        of_job = select(trials.c.trial_id, trials.c.number).where(trials.c.job_pk == job_pk, trials.c.number > after)
        some = connection.execute(of_job.order_by(trials.c.number).limit(self._steps.rows)).all()
        if not some:
            return 0
        ids = [trial_id for trial_id, _ in some]
        reports = select(observations.c.observation_pk).where(observations.c.trial_id.in_(ids)).limit(self._steps.rows)
        deleted = connection.execute(delete(observations).where(observations.c.observation_pk.in_(reports))).rowcount
        if deleted == 0:
            deleted = connection.execute(delete(trials).where(trials.c.trial_id.in_(ids))).rowcount
            self._at = job_pk, some[-1].number
        return deleted

    def _delete_placements(self, connection: Connection, job_pk: int) -> int:
        """Delete placements with their states, after the runs and measurements on them."""
        on_placements = select(placements.c.placement_pk).where(placements.c.job_pk == job_pk)
        for key, condition in (
            (runs.c.run_id, runs.c.job_pk == job_pk),
            (power_measurements.c.power_measurement_pk, power_measurements.c.placement_pk.in_(on_placements)),
        ):
            some = select(key).where(condition).limit(self._steps.rows)
            if deleted := connection.execute(delete(key.table).where(key.in_(some))).rowcount:
                return deleted
        some = on_placements.limit(max(self._steps.rows // _STATES_OF_PLACEMENT, 1))
        return connection.execute(delete(placements).where(placements.c.placement_pk.in_(some))).rowcount


class Purger:
    """Deletes the rows of deleted jobs in the background of a server.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stop = Event()
        self._wanted = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin with what an ended server left; without this call nothing is deleted here."""
        self._wanted.set()
        self._thread = Thread(target=self._work, name="purger", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for deleted jobs again."""
        self._wanted.set()

    def close(self) -> None:
        """Stop after the step at hand."""
        self._stop.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while self._wanted.wait() and not self._stop.is_set():
            self._wanted.clear()
            try:
                delete_rows(Steps(self._database, self._stop))
            except Unavailable as error:
                _log.warning("the rows of deleted jobs are deleted later: %s%s", error, error.cause_text())
                self._stop.wait(_TRY_AGAIN_SECONDS)
                self._wanted.set()
