"""The wire models of an operator's control of a job: a pinned batch size, a pause of exploring, and a forced trial."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from rheostat.schemas.fields import BatchSize, Body, Printable, Watts

Reason = Annotated[str, Field(min_length=1, max_length=500), Printable]


class OrderRequest(Body):
    """The body of `pin_job` and `force_job`."""

    batch_size: BatchSize = Field(description="One of the job's batch sizes.")
    power_limit_watts: Watts | None = Field(None, description="Limit of one GPU; null: as the policy says.")
    reason: Reason | None = Field(None, description="Why, for those who read the reasons of trials.")


class PauseRequest(Body):
    """The body of `pause_job`."""

    reason: Reason | None = Field(None, description="Why, for those who read the reasons of trials.")


class Order(OrderRequest):
    """A batch size that an operator ordered."""

    since: datetime
    by: str | None = Field(None, description="Who ordered it, as in the audit trail; null: not recorded.")


class Pause(PauseRequest):
    """Since when exploring is paused."""

    since: datetime
    by: str | None = Field(None, description="Who paused it, as in the audit trail; null: not recorded.")


class JobControl(Body):
    """What an operator ordered of a job; null: nothing of the kind."""

    pin: Order | None = Field(None, description="Every trial trains with it until it is unpinned.")
    pause: Pause | None = Field(None, description="No trial explores, and nothing is measured beyond what is known.")
    force: Order | None = Field(None, description="The next trial trains with it, once.")
