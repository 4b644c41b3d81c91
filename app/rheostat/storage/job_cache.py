"""The jobs that were used last, in memory."""

from collections import OrderedDict
from threading import Lock

from rheostat.storage.stored_job import JobRow, StoredJob

MOST_JOBS = 256
"""So many jobs are cached, some ten kilobytes each; the one that was used the longest ago is dropped."""

MOST_RUNNING = 512
"""A job with more running trials is not cached."""


class JobCache:
    """The jobs that were used last, each at a version; what is cached may be outdated at any time."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[int, StoredJob] = OrderedDict()
        self._lock = Lock()

    def get(self, row: JobRow) -> StoredJob | None:
        """Return the job of a row at its version."""
        with self._lock:
            stored = self._jobs.get(row.job_pk)
            if stored is None or stored.row != row:
                return None
            self._jobs.move_to_end(row.job_pk)
            return stored

    def put(self, stored: StoredJob) -> None:
        """Keep a job in place of its earlier version."""
        with self._lock:
            self._jobs.pop(stored.row.job_pk, None)
            if len(stored.job.running) > MOST_RUNNING:
                return
            self._jobs[stored.row.job_pk] = stored
            if len(self._jobs) > MOST_JOBS:
                self._jobs.popitem(last=False)
