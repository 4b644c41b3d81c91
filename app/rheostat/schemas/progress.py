"""The wire model of what a trial that goes on has reported before."""

from pydantic import Field

from rheostat.schemas.fields import Body


class TrialProgress(Body):
    """What was reported of a trial that goes on in another process, for it to add its own figures to."""

    epoch: float = Field(description="Epochs done at the latest report.")
    metric: float | None = Field(description="Latest value of the target metric; null: not evaluated.")
    energy_joules: float | None = Field(description="Total so far; null: unknown, and so are the totals from now on.")
    time_seconds: float | None = Field(description="Total so far; null: unknown, and so are the totals from now on.")
