"""Reads across jobs: pages and counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, func, select

from rheostat.domain.job import Job
from rheostat.domain.records import PlacementKey, PlacementRecord
from rheostat.storage.engine import Database
from rheostat.storage.stored_job import JobKey, Key, find_jobs, job_of, placement_of
from rheostat.storage.tables import DELETED, jobs, placements, policy_states, trials


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is, in all namespaces."""

    jobs: int
    running_trials: int


def page_of_jobs(database: Database, namespace: str, *, after: str, limit: int) -> list[Job]:
    """Return up to ``limit`` jobs of a namespace whose id comes after the given one, in the order of their ids.

    They come without their policy's state and without their running trials.

    Raises:
        Unavailable: The database cannot be read.
    """
    query = select(jobs).where(jobs.c.namespace == namespace, jobs.c.job_id > after)

    def read(connection: Connection) -> list[Job]:
        rows = connection.execute(query.order_by(jobs.c.job_id).limit(limit)).mappings().all()
        found = _placements(connection, [row["job_pk"] for row in rows])
        return [job_of(row, placements=found[row["job_pk"]]) for row in rows]

    return database.read(read)


def running_trials(
    database: Database, namespace: str, now: datetime, names: Iterable[str], *, limit: int
) -> list[Mapping[str, Any]]:
    """Return up to ``limit`` trials of a namespace that run, those that began last first.

    Args:
        database: Where they are.
        namespace: The namespace.
        now: The time, at which their leases must not have expired.
        names: The columns to return, of the trials, their jobs or their placements.
        limit: How many to return at most.

    Raises:
        Unavailable: The database cannot be read.
    """
    tables = (jobs, placements, trials)
    columns = [next(table.c[name] for table in tables if name in table.c) for name in names]
    query = (
        select(*columns)
        .join_from(trials, jobs, trials.c.job_pk == jobs.c.job_pk)
        .join(placements, trials.c.placement_pk == placements.c.placement_pk)
        .where(jobs.c.namespace == namespace, trials.c.state == "running", trials.c.lease_expires_at >= now)
        .order_by(trials.c.created_at.desc())
        .limit(limit)
    )
    return database.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


def latest_of_nodes(database: Database, namespace: str, *, limit: int) -> list[Mapping[str, Any]]:
    """Return the latest trial of each node of a namespace, those that began last first.

    Raises:
        Unavailable: The database cannot be read.
    """
    named = trials.alias()
    one_after = select(func.min(named.c.node)).where(named.c.node.is_not(None))
    # From node to node in the index: to group all trials by node would read them all.
    nodes = one_after.cte("nodes", recursive=True)
    names = nodes.c[0]
    nodes = nodes.union_all(select(one_after.where(named.c.node > names).scalar_subquery()).where(names.is_not(None)))
    latest = (
        select(trials.c.trial_id)
        .join(jobs, trials.c.job_pk == jobs.c.job_pk)
        .where(jobs.c.namespace == namespace, trials.c.node == nodes.c[0])
        .order_by(trials.c.created_at.desc())
        .limit(1)
    )
    began_at = latest.with_only_columns(trials.c.created_at).scalar_subquery()
    found = select(latest.scalar_subquery().label("trial_id"), began_at.label("began_at")).select_from(nodes).subquery()
    wanted = (
        select(found.c.trial_id).where(found.c.trial_id.is_not(None)).order_by(found.c.began_at.desc()).limit(limit)
    )
    query = (
        select(trials, jobs.c.job_id)
        .join(jobs, trials.c.job_pk == jobs.c.job_pk)
        .order_by(trials.c.created_at.desc(), trials.c.node)
    )

    def read(connection: Connection) -> list[Mapping[str, Any]]:
        # In two queries: PostgreSQL cannot tell how few trials the first one finds.
        trial_ids = connection.execute(wanted).scalars().all()
        return [dict(row) for row in connection.execute(query.where(trials.c.trial_id.in_(trial_ids))).mappings()]

    return database.read(read)


def nodes_of_running(database: Database, namespace: str, now: datetime) -> list[Mapping[str, Any]]:
    """Return the node that each running trial of a namespace names, and those that it reported.

    Raises:
        Unavailable: The database cannot be read.
    """
    query = (
        select(trials.c.node, trials.c.nodes)
        .join(jobs, trials.c.job_pk == jobs.c.job_pk)
        .where(jobs.c.namespace == namespace, trials.c.state == "running", trials.c.lease_expires_at >= now)
    )
    return database.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


def namespaces(database: Database) -> list[str]:
    """Return the namespaces that have jobs, in alphabetical order.

    Raises:
        Unavailable: The database cannot be read.
    """
    query = select(jobs.c.namespace).where(jobs.c.namespace != DELETED).distinct().order_by(jobs.c.namespace)
    return database.read(lambda connection: list(connection.execute(query).scalars()))


def job_versions(database: Database, namespace: str) -> dict[str, int]:
    """Return the version of every job of a namespace: it changes with the job and with anything below it.

    Raises:
        Unavailable: The database cannot be read.
    """
    query = select(jobs.c.job_id, jobs.c.version).where(jobs.c.namespace == namespace).order_by(jobs.c.job_id)
    return database.read(lambda connection: {row.job_id: row.version for row in connection.execute(query)})


def job_version(database: Database, key: Key) -> int | None:
    """Return the version of one job; None where there is no such job.

    Raises:
        Unavailable: The database cannot be read.
    """
    (row,) = database.read(lambda connection: find_jobs(connection, [key]))
    return None if row is None else row.version


def counts(database: Database, now: datetime) -> Counts:
    """Count the jobs, and the running trials whose lease has not expired.

    Raises:
        Unavailable: The database cannot be read.
    """
    all_jobs = select(func.count()).select_from(jobs).where(jobs.c.namespace != DELETED)
    deleted = select(jobs.c.job_pk).where(jobs.c.namespace == DELETED)
    running = select(func.count()).where(
        trials.c.state == "running", trials.c.lease_expires_at >= now, trials.c.job_pk.not_in(deleted)
    )

    def read(connection: Connection) -> Counts:
        return Counts(
            connection.execute(all_jobs).scalar_one(),
            connection.execute(running).scalar_one(),
        )

    return database.read(read)


def jobs_without_totals(database: Database) -> list[JobKey]:
    """Return the jobs with a placement whose runs are not summed: an older version made it.

    Raises:
        Unavailable: The database cannot be read.
    """
    is_summed = exists().where(
        policy_states.c.placement_pk == placements.c.placement_pk, policy_states.c.part == "totals"
    )
    query = (
        select(jobs.c.namespace, jobs.c.job_id)
        .join(placements, placements.c.job_pk == jobs.c.job_pk)
        .where(~is_summed, jobs.c.namespace != DELETED)
        .distinct()
    )
    return database.read(lambda connection: [JobKey(*row) for row in connection.execute(query)])


def _placements(connection: Connection, job_pks: Sequence[int]) -> dict[int, dict[PlacementKey, PlacementRecord]]:
    found: dict[int, dict[PlacementKey, PlacementRecord]] = {job_pk: {} for job_pk in job_pks}
    query = select(placements).where(placements.c.job_pk.in_(job_pks)).order_by(placements.c.placement_pk)
    for row in connection.execute(query).mappings():
        record = placement_of(row)
        found[row["job_pk"]][record.key] = record
    return found
