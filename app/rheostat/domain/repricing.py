"""A job as if one of its knobs were another, to look at: nothing is stored, and its runs are not judged again."""

from dataclasses import replace

from rheostat.domain.evidence import depends_on
from rheostat.domain.job import Job
from rheostat.errors import Conflict


def repriced(job: Job, eta_knob: float) -> Job:
    """Return a job as if its energy weighed otherwise against time; its past runs are priced again.

    Raises:
        Conflict: Its policy keeps costs, not energy and time, so what it knows cannot be priced again without its past.
    """
    other = replace(job, settings=job.settings.model_copy(update={"eta_knob": eta_knob}))
    if depends_on(job, other):
        raise Conflict(
            f"The policy {job.settings.policy} keeps costs at eta_knob {job.settings.eta_knob:g}, which cannot be "
            "priced again.",
            hint="Change the job's eta_knob (PATCH): its state is then derived from its runs again.",
        )
    return other
