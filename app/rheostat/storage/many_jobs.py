"""Many jobs as of one moment, in as many statements as one job takes: what a list of jobs shows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Select, select

from rheostat.domain.health import RecentTrial
from rheostat.domain.history import LatestMeasurements
from rheostat.domain.records import PlacementKey, TrialRecord
from rheostat.storage.engine import Database
from rheostat.storage.history import StoredHistory, latest_measurements
from rheostat.storage.review import recent_trials, use_by_day
from rheostat.storage.stored_job import StoredJob, load_jobs, trial_of
from rheostat.storage.tables import jobs, trials

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class JobPast:
    """A job with what its line in a list shows of its past.

    Attributes:
        stored: The job.
        history: Its past, of which the latest measurements are in memory.
        latest: Its latest trial; None: it never ran.
        recent: Its latest trials, newest first, as far as its health depends on them.
        use: By placement what was used on each day.
    """

    stored: StoredJob
    history: StoredHistory
    latest: TrialRecord | None
    recent: Sequence[RecentTrial]
    use: Mapping[PlacementKey, list[dict[str, Any]]]


def read_jobs(
    database: Database, namespace: str, job_ids: Collection[str], work: Callable[[JobPast], A]
) -> dict[str, A]:
    """Return what a function makes of each of some jobs, by their ids; those that do not exist are left out.

    Raises:
        Unavailable: The database cannot be read.
    """

    def read(connection: Connection) -> dict[str, A]:
        def rows(query: Select[*tuple[Any, ...]]) -> Sequence[RowMapping]:
            return connection.execute(query).mappings().all()

        wanted = select(jobs.c.job_pk).where(jobs.c.namespace == namespace, jobs.c.job_id.in_(job_ids))
        found = load_jobs(connection, connection.execute(wanted).scalars().all())
        pks = [pk for stored in found for pk in stored.placement_pks.values()]
        use, latest = use_by_day(rows, pks), {row["job_pk"]: row for row in rows(_latest_trials(found))}
        recent = recent_trials(
            rows,
            {stored.row.job_pk: stored.job.next_trial_number for stored in found},
            {pk: key for stored in found for key, pk in stored.placement_pks.items()},
        )
        measured: dict[int, list[RowMapping]] = {}
        for row in rows(latest_measurements(pks)):
            measured.setdefault(row["placement_pk"], []).append(row)
        return {
            stored.job.job_id: work(
                _past(stored, _Measured(connection, stored, measured), latest.get(stored.row.job_pk), recent, use)
            )
            for stored in found
        }

    return database.read(read)


class _Measured(StoredHistory):
    """A history whose latest measurements are read already."""

    def __init__(self, connection: Connection, stored: StoredJob, measured: Mapping[int, Sequence[RowMapping]]) -> None:
        super().__init__(connection, stored)
        self._measured = measured

    def latest_measurements(self, placement: PlacementKey) -> LatestMeasurements:
        """Return the latest measurement of each batch size under each power limit."""
        return self.by_size_and_limit(self._measured.get(self.placement_pks[placement], ()))


def _past(
    stored: StoredJob,
    history: StoredHistory,
    latest: RowMapping | None,
    recent: Mapping[int, Sequence[RecentTrial]],
    use: Mapping[int, list[dict[str, Any]]],
) -> JobPast:
    keys = {pk: key for key, pk in stored.placement_pks.items()}
    return JobPast(
        stored=stored,
        history=history,
        latest=None if latest is None else trial_of(latest, keys),
        recent=recent[stored.row.job_pk],
        use={key: use.get(pk, []) for pk, key in keys.items()},
    )


def _latest_trials(found: Sequence[StoredJob]) -> Select[*tuple[Any, ...]]:
    of_job = trials.alias()
    latest = select(of_job.c.trial_id).where(of_job.c.job_pk == jobs.c.job_pk).order_by(of_job.c.number.desc()).limit(1)
    its = select(latest.scalar_subquery()).where(jobs.c.job_pk.in_([stored.row.job_pk for stored in found]))
    return select(trials).where(trials.c.trial_id.in_(its))
