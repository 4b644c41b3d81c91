"""Jobs that this process remembers, so that a decision need not read them again.

What is remembered may be wrong at any time: another process may have changed the job. So it only proposes: what is
written holds only if the job's version in the database is still the remembered one, see
:mod:`rheostat.storage.commits`. Nothing is ever answered from memory alone.
"""

from collections import OrderedDict
from dataclasses import replace

from rheostat.schemas.server import JobSettings
from rheostat.service.open_job import KnownJob
from rheostat.storage.commits import Commit
from rheostat.storage.jobs import new_version
from rheostat.storage.policy_states import States
from rheostat.storage.records import JobRecord, ObservationRecord, TrialRecord
from rheostat.storage.snapshots import JobSnapshot

MOST_JOBS = 256
"""So many jobs are remembered, some ten kilobytes each; the one that was not asked for the longest is forgotten."""

MOST_RUNNING = 512
"""A job with more running trials is not remembered."""


JobKey = tuple[str, str]


class RememberedJob(KnownJob):
    """A job as it was when it was read, and as our own commits have left it since.

    Attributes:
        running: The trials that are recorded as running, by their ids.
    """

    def __init__(self, snapshot: JobSnapshot) -> None:
        settings = JobSettings.model_validate(snapshot.job.settings)
        super().__init__(snapshot.job, settings, snapshot.placements)
        self.states = States(self._keys, snapshot.states)
        self.running: dict[str, TrialRecord] = {trial.trial_id: trial for trial in snapshot.running}

    def commit(self, trial: TrialRecord, observation: ObservationRecord | None = None) -> Commit:
        """Return what a decision writes, and remember it as done.

        Raises:
            PolicyFailed: The policy keeps what cannot be stored.
        """
        version = self.record.version
        self.record = replace(self.record, version=new_version())
        commit = Commit(self.record, version, trial, observation, self.states.take_changes())
        if trial.state == "running":
            self.running[trial.trial_id] = trial
        else:
            self.running.pop(trial.trial_id, None)
        self.__dict__.pop("advisor", None)  # what a policy keeps elsewhere than in its state is not to last
        return commit


def key_of(record: JobRecord) -> JobKey:
    """Return what a job is remembered by: two namespaces may use one id."""
    return record.namespace, record.job_id


class Memory:
    """The jobs that are remembered, by namespace and id, and by those of their running trials."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[JobKey, RememberedJob] = OrderedDict()
        self._of_trial: dict[str, JobKey] = {}

    def job(self, key: JobKey) -> RememberedJob | None:
        """Return a job."""
        job = self._jobs.get(key)
        if job is not None:
            self._jobs.move_to_end(key)
        return job

    def job_of(self, trial_id: str) -> RememberedJob | None:
        """Return the job of a running trial."""
        key = self._of_trial.get(trial_id)
        return None if key is None else self.job(key)

    def remember(self, job: RememberedJob) -> None:
        """Keep a job that was read, in place of what was remembered of it."""
        self.forget(key_of(job.record))
        if len(self._jobs) >= MOST_JOBS:
            self.forget(next(iter(self._jobs)))
        self._jobs[key_of(job.record)] = job
        for trial_id in job.running:
            self._of_trial[trial_id] = key_of(job.record)

    def note(self, job: RememberedJob, trial: TrialRecord) -> None:
        """Note that a trial of a remembered job began, or ended."""
        if trial.trial_id not in job.running:
            self._of_trial.pop(trial.trial_id, None)
        elif len(job.running) > MOST_RUNNING:
            self.forget(key_of(job.record))
        else:
            self._of_trial[trial.trial_id] = key_of(job.record)

    def forget(self, key: JobKey) -> None:
        """Forget a job."""
        job = self._jobs.pop(key, None)
        if job is not None:
            for trial_id in job.running:
                self._of_trial.pop(trial_id, None)
