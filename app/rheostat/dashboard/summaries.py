"""What the list of jobs shows of each: read again only when a job has changed, a little with every page."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from rheostat.dashboard.views.days import saved_joules_by_day
from rheostat.errors import Unavailable
from rheostat.schemas.summary import JobSummary, UnreadableJob
from rheostat.service import Service, review

AT_ONCE = 20
"""So many jobs are read in one transaction: some tens of milliseconds."""

A = TypeVar("A")


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity, which is quick
class Line:
    """What is kept of a job.

    Attributes:
        version: The job's version when it was read.
        read_at: When that was, by the monotonic clock.
        summary: What it showed, without what it used on each day; or why it cannot be shown.
        saved_joules: What it saved on each day.
    """

    version: int
    read_at: float
    summary: JobSummary | UnreadableJob
    saved_joules: Mapping[date, float] = field(default_factory=dict)

    @property
    def depends_on_time(self) -> bool:
        """Whether it may show something else without a change of the job: leases and orders run out."""
        if isinstance(self.summary, UnreadableJob):
            return True
        latest = self.summary.latest
        return self.summary.job.control is not None or (latest is not None and latest.state == "running")


@dataclass(frozen=True)
class Overview:
    """The jobs of a namespace, in the order of their ids; those that are not read yet have no line.

    Attributes:
        job_ids: All jobs.
        lines: Those that are read.
        read_at: When the line that is most out of date was read, if its job has changed since; None: none has.
        number: Another one for each that differs, in all processes.
    """

    job_ids: Sequence[str]
    lines: Mapping[str, Line]
    read_at: float | None = None
    number: int = field(default_factory=lambda: secrets.randbits(62), compare=False)

    @cached_property
    def summaries(self) -> dict[str, JobSummary]:
        """The jobs that can be shown."""
        return {job_id: one.summary for job_id, one in self.lines.items() if isinstance(one.summary, JobSummary)}

    @cached_property
    def unreadable(self) -> dict[str, UnreadableJob]:
        """The jobs that cannot be shown."""
        return {job_id: one.summary for job_id, one in self.lines.items() if isinstance(one.summary, UnreadableJob)}

    @property
    def shown(self) -> int:
        """How many can be shown: the sums are over these."""
        return len(self.summaries)

    @property
    def missing(self) -> int:
        """How many are not read yet."""
        return len(self.job_ids) - len(self.lines)

    @cached_property
    def saved_joules(self) -> dict[date, float]:
        """What all that are read saved on each day."""
        saved: dict[date, float] = {}
        for line in self.lines.values():
            for day, joules in line.saved_joules.items():
                saved[day] = saved.get(day, 0.0) + joules
        return saved


class Summaries:
    """Lines of jobs, kept in this process for as long as their jobs do not change.

    Args:
        budget_seconds: How long a page may read what changed; the next page goes on.
        lifetime_seconds: How old the line of a job may get before it is read again, if the job has changed.
        recheck_seconds: Likewise, if time alone may have changed what it shows.
        clock: The monotonic clock.
    """

    def __init__(
        self,
        budget_seconds: float = 0.6,
        lifetime_seconds: float = 5.0,
        recheck_seconds: float = 30.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._budget_seconds = budget_seconds
        self._lifetime_seconds = lifetime_seconds
        self._recheck_seconds = recheck_seconds
        self._clock = clock
        self._lines: dict[tuple[str, str], Line] = {}
        self._reading = Lock()
        self._overviews: dict[str, Overview] = {}
        self._derived: dict[str, tuple[Overview, Any]] = {}

    def overview(self, service: Service, wanted: Callable[[list[str]], list[str]]) -> Overview:
        """Return the lines of all jobs of a namespace, as far as the time allows.

        Where nothing has changed, it is the same object as before.

        Args:
            service: The service.
            wanted: Returns which of all jobs to read first.
        """
        versions = review.job_versions(service)
        first = [job_id for job_id in wanted(list(versions)) if job_id in versions]
        # One page reads; the others wait for no longer than they would read themselves, and show what there is.
        if self._stale(service.namespace, versions) and self._reading.acquire(timeout=self._budget_seconds):
            try:
                self._read(service, {job_id: versions[job_id] for job_id in [*first, *versions]})
            finally:
                self._reading.release()
        return self._overview(service.namespace, versions)

    def derived(self, namespace: str, overview: Overview, derive: Callable[[], A]) -> A:
        """Return what a function makes of an overview; it is called again only when that has changed."""
        kept = self._derived.get(namespace)
        if kept is None or kept[0] is not overview:
            kept = self._derived[namespace] = (overview, derive())
        found: A = kept[1]
        return found

    def age_seconds(self, overview: Overview) -> float:
        """Return how far back the line lies that is most out of date: 0 where all are as their jobs are now."""
        return 0.0 if overview.read_at is None else self._clock() - overview.read_at

    def _overview(self, namespace: str, versions: Mapping[str, int]) -> Overview:
        lines = {job_id: one for job_id in versions if (one := self._lines.get((namespace, job_id))) is not None}
        changed = [one.read_at for job_id, one in lines.items() if one.version != versions[job_id]]
        now = Overview(tuple(versions), lines, min(changed, default=None))
        before = self._overviews.get(namespace)
        if before != now:
            before = self._overviews[namespace] = now
        return before

    def _stale(self, namespace: str, versions: Mapping[str, int]) -> list[str]:
        now = self._clock()

        def is_stale(job_id: str, version: int) -> bool:
            line = self._lines.get((namespace, job_id))
            if line is None:
                return True
            age_seconds = now - line.read_at
            if line.version != version:
                return age_seconds >= self._lifetime_seconds
            return line.depends_on_time and age_seconds >= self._recheck_seconds

        return [job_id for job_id, version in versions.items() if is_stale(job_id, version)]

    def _read(self, service: Service, versions: Mapping[str, int]) -> None:
        namespace, began = service.namespace, self._clock()
        for key in [key for key in list(self._lines) if key[0] == namespace and key[1] not in versions]:
            del self._lines[key]  # deleted
        stale = self._stale(namespace, versions)
        for start in range(0, len(stale), AT_ONCE):
            if start and self._clock() >= began + self._budget_seconds:
                return
            job_ids = stale[start : start + AT_ONCE]
            try:
                found = review.job_summaries(service, job_ids)
            except Unavailable as error:  # what is known stays; the next page tries again
                for job_id in job_ids:
                    unreadable = UnreadableJob(job_id=job_id, reason=error.message)
                    self._lines.setdefault((namespace, job_id), _line(versions[job_id], self._clock(), unreadable))
                return
            for job_id, summary in found.items():
                self._lines[namespace, job_id] = _line(versions[job_id], self._clock(), summary)


def _line(version: int, read_at: float, found: JobSummary | UnreadableJob) -> Line:
    if isinstance(found, UnreadableJob):
        return Line(version, read_at, found)
    return Line(version, read_at, found.model_copy(update={"use": []}), saved_joules_by_day(found))
