"""From what the node knows to what goes over the wire: milliwatts become watts."""

from rheostat.agent.energy import Usage
from rheostat.agent.lease import Lease
from rheostat.agent.node import Node
from rheostat.agent.peer import user_name
from rheostat.agent.views import Applied, View
from rheostat.schemas.agent import HEARTBEAT_SECONDS, AppliedLimit, GpuUsage, Holder, LeaseGrant, NodeGpu


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def gpu_answer(view: View, node: Node) -> NodeGpu:
    """Tell how a GPU stands."""
    this = view.description
    terms = view.terms
    holder = None
    if terms is not None:
        lease = node.lease_of(this.uuid)
        holder = Holder(
            lease_id=terms.lease_id,
            pid=terms.owner.pid,
            user=user_name(terms.owner.uid),
            job_id=terms.job_id,
            trial_id=terms.trial_id,
            expires_at=None if lease is None else lease.expiry,
        )
    return NodeGpu(
        gpu=this.uuid,
        index=this.index,
        model=this.name,
        state=view.state.value,
        min_power_limit_watts=this.min_power_limit_milliwatts / 1000,
        max_power_limit_watts=this.max_power_limit_milliwatts / 1000,
        default_power_limit_watts=this.default_power_limit_milliwatts / 1000,
        power_limit_watts=_watts(view.power_limit_milliwatts),
        enforced_watts=_watts(view.enforced_milliwatts),
        found_watts=_watts(view.found_milliwatts),
        target_watts=_watts(view.target_milliwatts),
        lowest_settable_watts=view.settable_milliwatts[0] / 1000,
        highest_settable_watts=view.settable_milliwatts[1] / 1000,
        holder=holder,
        answers=not node.hangs(this.uuid),
        problem=view.problem,
        foreign_changes=view.foreign_changes,
    )


def grant_answer(lease: Lease) -> LeaseGrant:
    """Tell of a lease that was granted; it is to be renewed four times before it lapses, or every 15 s."""
    ttl_seconds = lease.terms.ttl_seconds
    return LeaseGrant(
        lease_id=lease.terms.lease_id,
        gpus=list(lease.uuids),
        ttl_seconds=ttl_seconds,
        heartbeat_seconds=min(HEARTBEAT_SECONDS, ttl_seconds / 4),
        expires_at=lease.expiry,
    )


def limit_answer(applied: Applied) -> AppliedLimit:
    """Tell what came of a limit that was asked for."""
    return AppliedLimit(
        gpu=applied.uuid,
        requested_watts=applied.requested_milliwatts / 1000,
        applied_watts=applied.applied_milliwatts / 1000,
        enforced_watts=_watts(applied.enforced_milliwatts),
        found_watts=applied.found_milliwatts / 1000,
        limited_by=applied.limited_by,
    )


def usage_answer(uuid: str, usage: Usage) -> GpuUsage:
    """Tell what a GPU used."""
    return GpuUsage(
        gpu=uuid,
        energy_joules=usage.energy_joules,
        cumulative_joules=usage.cumulative_joules,
        series=usage.series,
        source=usage.source,
        resolution_seconds=usage.resolution_seconds,
        unknown_because=usage.unknown_because,
        throttle_reasons=None if usage.throttle_reasons is None else sorted(usage.throttle_reasons),
    )
