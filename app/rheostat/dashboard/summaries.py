"""What the list of jobs shows of each: read again only when a job has changed, a little with every page."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from rheostat.errors import NotFound
from rheostat.schemas.summary import JobSummary
from rheostat.service import Service, review


@dataclass(frozen=True, slots=True)
class Overview:
    """The jobs of a namespace, in the order of their ids; those that are not read yet have no summary."""

    job_ids: list[str]
    summaries: dict[str, JobSummary]

    @property
    def missing(self) -> int:
        """How many are not read yet."""
        return len(self.job_ids) - len(self.summaries)


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    read_at: float
    summary: JobSummary


class Summaries:
    """Summaries of jobs, kept in this process for as long as their jobs do not change.

    Args:
        budget_seconds: How long a page may read what changed; the next page goes on.
        lifetime_seconds: How old a summary of a changed job may get before it is read again.
    """

    def __init__(self, budget_seconds: float = 0.3, lifetime_seconds: float = 5.0) -> None:
        self._budget_seconds = budget_seconds
        self._lifetime_seconds = lifetime_seconds
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._lock = Lock()

    def overview(self, service: Service, wanted: Callable[[list[str]], list[str]]) -> Overview:
        """Return the summaries of all jobs of a namespace, as far as the time allows.

        Args:
            service: The service.
            wanted: Returns which of all jobs to read first.
        """
        versions = review.job_versions(service)
        first = [job_id for job_id in wanted(list(versions)) if job_id in versions]
        with self._lock:
            self._drop_deleted(service.namespace, versions)
            self._read_changed(service, {job_id: versions[job_id] for job_id in [*first, *versions]})
            found = {job_id: self._kept.get((service.namespace, job_id)) for job_id in versions}
        return Overview(list(versions), {job_id: kept.summary for job_id, kept in found.items() if kept is not None})

    def _drop_deleted(self, namespace: str, versions: dict[str, int]) -> None:
        for key in [key for key in self._kept if key[0] == namespace and key[1] not in versions]:
            del self._kept[key]

    def _read_changed(self, service: Service, versions: dict[str, int]) -> None:
        began = monotonic()
        stale = [
            job_id
            for job_id, version in versions.items()
            if (kept := self._kept.get((service.namespace, job_id))) is None
            or (kept.version != version and kept.read_at + self._lifetime_seconds < began)
        ]
        for job_id in stale:
            if monotonic() > began + self._budget_seconds:
                return
            try:
                summary = review.job_summary(service, job_id, with_use=True)
            except NotFound:  # deleted meanwhile
                continue
            self._kept[service.namespace, job_id] = _Kept(versions[job_id], monotonic(), summary)
