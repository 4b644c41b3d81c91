"""What a change of a job amounts to, for logs and metrics."""

from dataclasses import dataclass
from typing import TypeAlias

from rheostat.errors import PolicyFailed
from rheostat.policy.interface import TrialState


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """`predict` made a trial."""

    trial_id: str
    batch_size: int


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial is no longer running; energy and time are those that it reported, None when unknown."""

    trial_id: str
    state: TrialState
    energy_joules: float | None = None
    time_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PolicyFailureTolerated:
    """A policy raised where the request could be answered without it.

    Attributes:
        consequence: What was done instead.
        error: What the policy raised.
    """

    consequence: str
    error: PolicyFailed


Event: TypeAlias = TrialStarted | TrialEnded | PolicyFailureTolerated
