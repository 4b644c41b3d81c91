"""What other threads see of a GPU."""

from dataclasses import dataclass

from rheostat.agent.devices import GpuDescription
from rheostat.agent.ledger import Terms
from rheostat.agent.states import LimitedBy, State


@dataclass(frozen=True, slots=True)
class View:
    """How a GPU stands.

    Attributes:
        description: What does not change about it.
        state: Where it stands.
        terms: The lease that holds it.
        power_limit_milliwatts: The limit that was last seen on it.
        enforced_milliwatts: The one in force then.
        found_milliwatts: What is to be put back; None: nothing of ours is on it.
        target_milliwatts: What we have set.
        settable_milliwatts: The lowest and the highest limit that a lease may set.
        problem: What is wrong with it.
        foreign_changes: How often somebody else changed a limit of ours.
        restores: How often a limit was put back.
        failures: How often that failed.
        read_only: Whether the driver has refused to change a limit.
    """

    description: GpuDescription
    state: State
    terms: Terms | None
    power_limit_milliwatts: int | None
    enforced_milliwatts: int | None
    found_milliwatts: int | None
    target_milliwatts: int | None
    settable_milliwatts: tuple[int, int]
    problem: str | None
    foreign_changes: int
    restores: int
    failures: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a limit that was asked for, in milliwatts; `limited_by` says what it was cut by."""

    uuid: str
    requested_milliwatts: int
    applied_milliwatts: int
    enforced_milliwatts: int | None
    found_milliwatts: int
    limited_by: LimitedBy | None
