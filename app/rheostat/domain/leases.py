"""Leases that a clock granted which ran ahead, and was set back since.

Such a lease ends hours from now, and until then its trial counts as running whatever became of it. A lease is never
longer than the server's, so it is taken back to the end of one that begins now.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from rheostat.domain.job import Decision
from rheostat.domain.trials import Clock

A = TypeVar("A")

CLOCK_DIFFERENCE = timedelta(minutes=1)
"""Clocks of two servers of one database may differ by so much, without a lease of one being taken back by the other."""


def take_back(decision: Decision[A], clock: Clock) -> Decision[A]:
    """Return a decision that also takes back the leases of the job that end too late."""
    job, changes = decision.job, decision.changes
    if job is None or not any(ends_too_late(trial.lease_expires_at, clock) for trial in job.running.values()):
        return decision
    began = {trial.trial_id for trial in changes.started}
    late = {
        trial.trial_id: replace(trial, lease_expires_at=clock.lease_expires_at)
        for trial in job.running.values()
        if ends_too_late(trial.lease_expires_at, clock) and trial.trial_id not in began
    }
    changed = [late.get(trial.trial_id, trial) for trial in changes.trials]
    known = {trial.trial_id for trial in changed}
    changed += [trial for trial in late.values() if trial.trial_id not in known]
    return replace(
        decision,
        job=replace(job, running={**job.running, **late}),
        changes=replace(changes, trials=tuple(changed)),
    )


def ends_too_late(lease_expires_at: datetime, clock: Clock) -> bool:
    """Return whether a lease ends later than one that begins now."""
    return lease_expires_at > clock.lease_expires_at + CLOCK_DIFFERENCE
