"""Jobs and their placements in SQL."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from rheostat.storage.records import JobRecord, PlacementRecord
from rheostat.storage.tables import jobs, placements, trials


def new_version() -> int:
    """Return a version for a job that changes.

    It is drawn, not counted: two processes that change a job at once must not come to the same version, nor may a
    job that got the row of a deleted one pass for that.
    """
    return secrets.randbits(62)


class Jobs:
    """The jobs and placements, within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, namespace: str, job_id: str, *, lock: bool = False) -> JobRecord | None:
        """Return a job; with ``lock`` nobody else changes it, or anything below it, until the transaction ends."""
        return self._one(and_(jobs.c.namespace == namespace, jobs.c.job_id == job_id), lock=lock)

    def find_by_trial(self, namespace: str, trial_id: str, *, lock: bool = False) -> JobRecord | None:
        """Return the job of a trial, unless it is another namespace's.

        The job is locked before the trial is read: every transaction takes the job's row first, so no two of
        them can wait for each other.
        """
        owner = select(trials.c.job_pk).where(trials.c.trial_id == trial_id).scalar_subquery()
        return self._one(and_(jobs.c.namespace == namespace, jobs.c.job_pk == owner), lock=lock)

    def page(self, namespace: str, *, after: str, limit: int) -> list[JobRecord]:
        """Return up to ``limit`` jobs of a namespace whose id comes after the given one, in order of their ids."""
        query = select(jobs).where(jobs.c.namespace == namespace, jobs.c.job_id > after)
        query = query.order_by(jobs.c.job_id).limit(limit)
        return [JobRecord(**row) for row in self._connection.execute(query).mappings()]

    def count(self) -> int:
        """Return how many jobs there are in all namespaces."""
        return self._connection.execute(select(func.count()).select_from(jobs)).scalar_one()

    def add(self, namespace: str, job_id: str, settings: dict[str, Any], seed: int, now: datetime) -> JobRecord:
        """Insert a job."""
        values: dict[str, Any] = {
            "namespace": namespace,
            "job_id": job_id,
            "settings": settings,
            "registered_settings": settings,
            "seed": seed,
            "next_trial_number": 1,
            "next_sequence": 1,
            "created_at": now,
            "updated_at": now,
            "version": new_version(),
        }
        key = self._connection.execute(insert(jobs).values(values)).inserted_primary_key
        assert key is not None
        return JobRecord(job_pk=key[0], **values)

    def save_settings(self, job_pk: int, settings: dict[str, Any], now: datetime) -> None:
        """Replace a job's settings; what it was registered with stays."""
        self._update(job_pk, settings=settings, updated_at=now)

    def save_counters(self, job: JobRecord) -> None:
        """Store the next trial number and the next sequence of a locked job."""
        self._update(job.job_pk, next_trial_number=job.next_trial_number, next_sequence=job.next_sequence)

    def delete(self, job_pk: int) -> None:
        """Delete a job and everything below it."""
        self._connection.execute(delete(jobs).where(jobs.c.job_pk == job_pk))

    def _one(self, condition: ColumnElement[bool], *, lock: bool) -> JobRecord | None:
        """Return a job; whoever locks it may change it, so that gives it a new version."""
        if lock:
            found = self._connection.execute(
                update(jobs).where(condition).values(version=new_version()).returning(*jobs.c)
            )
        else:
            found = self._connection.execute(select(jobs).where(condition))
        row = found.mappings().one_or_none()
        return None if row is None else JobRecord(**row)

    def _update(self, job_pk: int, **values: Any) -> None:
        self._connection.execute(update(jobs).where(jobs.c.job_pk == job_pk).values(values))


class Placements:
    """The placements of jobs, within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of_jobs(self, job_pks: Sequence[int]) -> list[PlacementRecord]:
        """Return all placements of some jobs, in the order in which they came."""
        query = select(placements).where(placements.c.job_pk.in_(job_pks)).order_by(placements.c.placement_pk)
        return [PlacementRecord(**row) for row in self._connection.execute(query).mappings()]

    def add(
        self,
        job_pk: int,
        gpu_model: str,
        gpu_count: int,
        min_power_limit_watts: int,
        max_power_limit_watts: int,
    ) -> PlacementRecord:
        """Insert a placement."""
        values: dict[str, Any] = {
            "job_pk": job_pk,
            "gpu_model": gpu_model,
            "gpu_count": gpu_count,
            "min_power_limit_watts": min_power_limit_watts,
            "max_power_limit_watts": max_power_limit_watts,
            "smallest_oom_batch_size": None,
        }
        key = self._connection.execute(insert(placements).values(values)).inserted_primary_key
        assert key is not None
        return PlacementRecord(placement_pk=key[0], **values)

    def save_oom(self, placement_pk: int, batch_size: int) -> None:
        """Close a batch size and all larger ones."""
        query = update(placements).where(placements.c.placement_pk == placement_pk)
        self._connection.execute(query.values(smallest_oom_batch_size=batch_size))
