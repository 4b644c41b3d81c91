"""The GPUs of a run: which placement they are, what they may draw at most, and which power limits they may be given."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import ceil

from rheostat.domain.records import PlacementKey, PlacementRecord
from rheostat.errors import FieldError, NoPowerLimitFits, TooManyPlacements
from rheostat.policy.cost import NOMINAL_POWER_WATTS
from rheostat.schemas.fields import MAX_POWER_LIMITS
from rheostat.schemas.server import Gpu, JobSettings

MAX_PLACEMENTS = 64
"""Placements of one job: each learns from all others, so that what a decision reads grows with them."""


def placement_key(gpu: Gpu) -> PlacementKey:
    """Return which placement some GPUs are: power that is of the GPU itself is the same as of unknown scope."""
    return PlacementKey(gpu.model, gpu.count, "module" if gpu.power_scope == "module" else "", gpu.power_profile or "")


def new_placement(gpu: Gpu) -> PlacementRecord:
    """Return the placement on some GPUs that the job has not run on yet."""
    key = placement_key(gpu)
    unknown = gpu.max_power_limit_watts is None
    return PlacementRecord(
        key.gpu_model,
        key.gpu_count,
        gpu.min_power_limit_watts,
        gpu.max_power_limit_watts,
        power_scope=key.power_scope,
        power_profile=key.power_profile,
        nominal_power_watts=(gpu.enforced_limit_watts or NOMINAL_POWER_WATTS) if unknown else None,
        is_simulated=gpu.simulated,
    )


def check_room(job_id: str, placements: Mapping[PlacementKey, PlacementRecord], gpu: Gpu) -> None:
    """Check that a job may run on GPUs that it has not run on yet; what it has run on goes on.

    Raises:
        TooManyPlacements: It has as many placements as it may.
    """
    if len(placements) >= MAX_PLACEMENTS:
        raise TooManyPlacements(
            f"{job_id} has run on {len(placements)} kinds of GPUs; {gpu.count} x {gpu.model} would be one more than a "
            "job may have.",
            hint="Register the job under another id for further GPUs. Model, count, power scope and power profile "
            "each make another kind.",
            fields=[FieldError("gpu", f"must be one of the {len(placements)} that the job has run on")],
        )


def with_limits_of(placement: PlacementRecord, gpu: Gpu) -> PlacementRecord:
    """Return a placement with the range of some of its GPUs, if it had none yet: the first that is known stays.

    Once one of its GPUs is simulated, so is the placement: its figures are no measurements any more.
    """
    if gpu.simulated and not placement.is_simulated:
        placement = replace(placement, is_simulated=True)
    if placement.max_power_limit_watts is not None or gpu.max_power_limit_watts is None:
        return placement
    return replace(
        placement,
        min_power_limit_watts=gpu.min_power_limit_watts,
        max_power_limit_watts=gpu.max_power_limit_watts,
        nominal_power_watts=None,
    )


def has_range_of(gpu: Gpu, placement: PlacementRecord) -> bool:
    """Return whether the same power limits can be set on a node's GPU as on the placement at large."""
    lowest, highest, cap = gpu.min_power_limit_watts, gpu.max_power_limit_watts, gpu.enforced_limit_watts
    is_free = cap is None or highest is None or cap >= highest
    return is_free and (lowest, highest) == (placement.min_power_limit_watts, placement.max_power_limit_watts)


def where_fits(placement: PlacementRecord, batch_size: int) -> PlacementRecord:
    """Return a placement on which a batch size has trained, whatever a survey said of it."""
    oom = placement.surveyed_oom_batch_size
    return replace(placement, surveyed_oom_batch_size=None) if oom is not None and oom <= batch_size else placement


def reference_power_watts(placement: PlacementRecord) -> int:
    """Return what one GPU draws at most, by which its time is priced."""
    return placement.max_power_limit_watts or placement.nominal_power_watts or NOMINAL_POWER_WATTS


def max_power_watts(settings: JobSettings, placement: PlacementRecord) -> float:
    """Return what all GPUs of a run draw at most: as the job says, or as the maximum of one of them does."""
    zeus = settings.zeus
    if zeus is not None and (zeus.gpu_model, zeus.number_of_gpus) == (placement.gpu_model, placement.gpu_count):
        return zeus.max_power
    return float(reference_power_watts(placement) * placement.gpu_count)


@lru_cache(maxsize=1024)  # every decision asks for those of all placements of its job
def wire_gpu(placement: PlacementRecord) -> Gpu:
    """Return a placement's GPUs as the wire names them."""
    return Gpu.model_construct(
        model=placement.gpu_model,
        count=placement.gpu_count,
        min_power_limit_watts=placement.min_power_limit_watts,
        max_power_limit_watts=placement.max_power_limit_watts,
        power_scope=placement.power_scope or None,
        power_profile=placement.power_profile or None,
        simulated=placement.is_simulated,
    )


def power_limits(settings: JobSettings, gpu: Gpu) -> tuple[int, ...]:
    """Return the power limits to choose from on a GPU, highest first; empty where none can be set.

    Through a range so wide that there would be more than can be measured, the step grows. What is enforced from outside
    takes away the higher ones: they would not come into force.

    Raises:
        NoPowerLimitFits: None of the job's own lies in the GPU's range.
    """
    lowest, highest = gpu.min_power_limit_watts, gpu.max_power_limit_watts
    if lowest is None or highest is None:
        return ()
    if settings.power_limits_watts is None:
        step = max(settings.power_limit_step_watts, ceil((highest - lowest + 1) / MAX_POWER_LIMITS))
        limits = tuple(range(highest, lowest - 1, -step))
    else:
        limits = tuple(limit for limit in reversed(settings.power_limits_watts) if lowest <= limit <= highest)
        if not limits:
            raise _none_fits(settings, gpu.model, lowest, highest)
    cap = gpu.enforced_limit_watts
    if cap is None:
        return limits
    under_cap = tuple(limit for limit in limits if limit <= cap)
    if not under_cap and settings.power_limits_watts is None and cap >= lowest:
        return (cap,)  # a step so wide that it leaves none
    return under_cap


def _none_fits(settings: JobSettings, model: str, lowest: int, highest: int) -> NoPowerLimitFits:
    return NoPowerLimitFits(
        f"None of the job's power limits {settings.power_limits_watts} lies in the range of "
        f"{model}, {lowest} to {highest} W.",
        hint="Register the job with limits in that range, or with power_limits_watts null.",
        fields=[
            FieldError("gpu.min_power_limit_watts", "see power_limits_watts of the job"),
            FieldError("gpu.max_power_limit_watts", "see power_limits_watts of the job"),
        ],
    )
