"""A GPU's status, as other threads and the API see it."""

from dataclasses import dataclass

from rheostat.agent.devices import GpuDescription
from rheostat.agent.lease import Lease
from rheostat.agent.peer import user_name
from rheostat.agent.records import Terms
from rheostat.agent.states import GuardState
from rheostat.schemas.agent import Holder, LimitSupport, NodeGpu, PowerScope


@dataclass(frozen=True, slots=True)
class GpuStatus:
    """The status of a GPU.

    Attributes:
        description: Its fixed properties.
        state: Its state.
        terms: The terms of the lease that holds it.
        power_limit_milliwatts: The limit as last read.
        enforced_milliwatts: The limit in force, as last read.
        found_milliwatts: The limit to restore; None: the agent has set none.
        target_milliwatts: The limit that the agent has set.
        settable_milliwatts: The lowest and the highest limit that a lease may set; None: it may set none.
        limits: Whether limits may be set.
        power_scope: Whether a limit of the whole module bounds the GPU, too.
        power_profile: The workload power profiles in force.
        problem: The last error.
        foreign_changes: How often another process has changed a limit of the agent's.
        restores: How often a limit was restored.
        restore_failures: How often restoring a limit failed.
        read_only: Whether the driver refused to change the limit.
    """

    description: GpuDescription
    state: GuardState
    terms: Terms | None
    power_limit_milliwatts: int | None
    enforced_milliwatts: int | None
    found_milliwatts: int | None
    target_milliwatts: int | None
    settable_milliwatts: tuple[int, int] | None
    limits: LimitSupport
    power_scope: PowerScope | None
    power_profile: str | None
    problem: str | None
    foreign_changes: int
    restores: int
    restore_failures: int
    read_only: bool

    @property
    def uuid(self) -> str:
        """The GPU's UUID."""
        return self.description.uuid

    def to_wire(self, lease: Lease | None, *, responds: bool) -> NodeGpu:
        """Return the status in watts.

        Args:
            lease: The lease that holds the GPU.
            responds: Whether the driver responds for it.
        """
        lowest, highest = self.settable_milliwatts or (None, None)
        driver = self.description.power_range
        return NodeGpu(
            gpu=self.uuid,
            index=self.description.index,
            model=self.description.name,
            state=self.state.value,
            min_power_limit_watts=None if driver is None else driver.min_milliwatts / 1000,
            max_power_limit_watts=None if driver is None else driver.max_milliwatts / 1000,
            default_power_limit_watts=None if driver is None else to_watts(driver.default_milliwatts),
            power_limit_watts=to_watts(self.power_limit_milliwatts),
            enforced_watts=to_watts(self.enforced_milliwatts),
            found_watts=to_watts(self.found_milliwatts),
            target_watts=to_watts(self.target_milliwatts),
            lowest_settable_watts=to_watts(lowest),
            highest_settable_watts=to_watts(highest),
            limits=self.limits,
            partitioned=self.description.partitioned,
            simulated=self.description.simulated,
            power_scope=self.power_scope,
            power_profile=self.power_profile,
            holder=None if self.terms is None else _holder(self.terms, lease),
            answers=responds,
            problem=self.problem,
            foreign_changes=self.foreign_changes,
        )


def to_watts(milliwatts: int | None) -> float | None:
    """Return milliwatts as watts."""
    return None if milliwatts is None else milliwatts / 1000


def _holder(terms: Terms, lease: Lease | None) -> Holder:
    return Holder(
        lease_id=terms.lease_id,
        pid=terms.owner.pid,
        user=user_name(terms.owner.uid),
        job_id=terms.job_id,
        trial_id=terms.trial_id,
        expires_at=None if lease is None else lease.expiry,
    )
