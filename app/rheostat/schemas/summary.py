"""What the list of jobs shows of each."""

from pydantic import Field

from rheostat.schemas.fields import Body
from rheostat.schemas.health import JobHealth
from rheostat.schemas.insight import Estimates
from rheostat.schemas.report import JobReport
from rheostat.schemas.review import PlacementUse
from rheostat.schemas.server import JobDetail
from rheostat.schemas.trials import TrialDetail


class JobSummary(Body):
    """A job with what it saved, what is believed of it, and its latest trial, as of one moment."""

    job: JobDetail
    report: JobReport
    estimates: Estimates | None = Field(description="Null: the policy fails.")
    failure: str | None = Field(description="Why the policy fails; null: it does not.")
    use: list[PlacementUse] = Field(description="What it used on each day, if that was asked for.")
    latest: TrialDetail | None = Field(description="Null: it never ran.")
    health: JobHealth = Field(description="What its latest runs show to be wrong.")

    @property
    def was_imported(self) -> bool:
        """Whether all that is known of its runs was imported."""
        placements = [] if self.estimates is None else self.estimates.placements
        return self.latest is None and any(arm.runs for placement in placements for arm in placement.arms)


class UnreadableJob(Body):
    """A job of which the list can show no more than its name, and why."""

    job_id: str
    reason: str
