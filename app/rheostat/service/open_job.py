"""A job as the use cases work on it: what is known of it, and the same opened in a transaction."""

from dataclasses import replace
from functools import cached_property
from math import ceil

from rheostat.errors import FieldError, NoBatchSizeLeft, NoPowerLimitFits, UnknownBatchSize
from rheostat.policy.advisor import Advisor, Stores
from rheostat.policy.interface import Job
from rheostat.policy.learning_curve import Target
from rheostat.policy.registry import load_policy
from rheostat.schemas.server import MAX_POWER_LIMITS, Gpu, JobSettings
from rheostat.storage.engine import Transaction
from rheostat.storage.jobs import Jobs, Placements
from rheostat.storage.policy_states import PolicyStates, States
from rheostat.storage.records import JobRecord, PlacementRecord


class KnownJob:
    """A job with its settings and placements, and the policy over their state.

    Args:
        record: The job's row.
        settings: What the row says, parsed.
        placements: Its placements, in the order in which they came.
    """

    def __init__(self, record: JobRecord, settings: JobSettings, placements: list[PlacementRecord]) -> None:
        self.record = record
        self.settings = settings
        self.placements = placements
        self._views: dict[tuple[int, int, int], Job] = {}
        self._keys = {self.view(placement): placement.placement_pk for placement in placements}
        self.states = States(self._keys, {})

    @cached_property
    def advisor(self) -> Advisor:
        """The job's policy over the state of its placements.

        Raises:
            InvalidInput: The policy is no longer installed.
        """
        policy = load_policy(self.settings.policy)
        stores = Stores(
            batch_size=self.states.part("batch_size", replaced=policy.batch_size.replaces_state),
            power_limit=self.states.part("power_limit", replaced=policy.power_limit.replaces_state),
            cost_bound=self.states.part("cost_bound", replaced=True),
        )
        return Advisor(policy, stores)

    def placement(self, placement_pk: int) -> PlacementRecord:
        """Return one of the placements by its row."""
        return next(p for p in self.placements if p.placement_pk == placement_pk)

    def find(self, gpu: Gpu) -> PlacementRecord | None:
        """Return the placement on some GPUs, if the job ever ran there."""
        return next((p for p in self.placements if (p.gpu_model, p.gpu_count) == (gpu.model, gpu.count)), None)

    def view(self, placement: PlacementRecord, gpu: Gpu | None = None) -> Job:
        """Return a placement as the policy sees it, from a node whose GPU may allow fewer limits.

        Costs are priced with the maximum power limit that the placement was first seen with, so that all runs of
        it compare; the limits to choose from are those of the node that asks.
        """
        lowest, highest = (
            (placement.min_power_limit_watts, placement.max_power_limit_watts)
            if gpu is None
            else (gpu.min_power_limit_watts, gpu.max_power_limit_watts)
        )
        key = (placement.placement_pk, lowest, highest)
        view = self._views.get(key) or self._view(placement, gpu or wire_gpu(placement))
        if view.trial_number != self.record.next_trial_number:
            view = replace(view, trial_number=self.record.next_trial_number)
        self._views[key] = view
        return view

    def _view(self, placement: PlacementRecord, gpu: Gpu) -> Job:
        settings = self.settings
        return Job(
            job_id=self.record.job_id,
            gpu_model=placement.gpu_model,
            gpu_count=placement.gpu_count,
            default_batch_size=settings.default_batch_size,
            max_power_watts=float(placement.max_power_limit_watts * placement.gpu_count),
            power_limits_watts=power_limits(settings, gpu),
            target=self.target(),
            max_epochs=settings.max_epochs,
            eta_knob=settings.eta_knob,
            beta_knob=settings.beta_knob,
            max_slowdown=settings.max_slowdown,
            window_size=settings.window_size,
            seed=self.record.seed,
            trial_number=self.record.next_trial_number,
        )

    def target(self) -> Target | None:
        """Return the job's target."""
        target = self.settings.target
        return None if target is None else Target(target.metric, target.value, target.direction == "maximize")

    def permitted(self, placement: PlacementRecord, max_batch_size: int | None) -> tuple[int, ...]:
        """Return the batch sizes that the GPU's memory is not known to refuse.

        Raises:
            NoBatchSizeLeft: There is none.
        """
        oom = placement.smallest_oom_batch_size
        fitting = tuple(
            size
            for size in self.settings.batch_sizes
            if (oom is None or size < oom) and (max_batch_size is None or size <= max_batch_size)
        )
        if not fitting:
            why = [f"{oom} ran out of memory" if oom is not None else ""]
            why += [f"max_batch_size is {max_batch_size}" if max_batch_size is not None else ""]
            raise NoBatchSizeLeft(
                f"No batch size of {self.record.job_id} is left on {placement.gpu_count} x "
                f"{placement.gpu_model}: {' and '.join(filter(None, why))}.",
                hint="Add smaller batch sizes to the job (PATCH batch_sizes), or use a GPU with more memory.",
            )
        return fitting

    def check_batch_size(self, batch_size: int) -> None:
        """Check that a batch size is one of the job's.

        Raises:
            UnknownBatchSize: It is not.
        """
        if batch_size not in self.settings.batch_sizes:
            raise UnknownBatchSize(
                f"Batch size {batch_size} is not among those of {self.record.job_id}: {self.settings.batch_sizes}.",
                hint="Add it to the job first (PATCH batch_sizes).",
                fields=[FieldError("batch_size", f"must be one of {self.settings.batch_sizes}")],
            )

    def take_sequence(self) -> int:
        """Return the next place in the order of the job's evidence."""
        sequence = self.record.next_sequence
        self._count(replace(self.record, next_sequence=sequence + 1))
        return sequence

    def take_trial_number(self) -> int:
        """Return the number of the next trial."""
        number = self.record.next_trial_number
        self._count(replace(self.record, next_trial_number=number + 1))
        return number

    def _count(self, record: JobRecord) -> None:
        self.record = record


class OpenJob(KnownJob):
    """A job opened in a transaction: what is changed is written there.

    Args:
        connection: The transaction; it holds the lock of the job's row where anything is to be changed.
        record: The job's row.
    """

    states: PolicyStates

    def __init__(self, connection: Transaction, record: JobRecord) -> None:
        settings = JobSettings.model_validate(record.settings)
        super().__init__(record, settings, Placements(connection).of_jobs([record.job_pk]))
        self.connection = connection
        self.states = PolicyStates(connection, self._keys)

    @cached_property
    def advisor(self) -> Advisor:
        """The job's policy over the state of its placements, all read by now."""
        self.states.load()
        return super().advisor

    def enter(self, gpu: Gpu) -> PlacementRecord:
        """Return the placement on some GPUs, made and registered with the policy if it is new.

        Raises:
            NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        """
        power_limits(self.settings, gpu)
        known = self.find(gpu)
        if known is not None:
            return known
        placement = Placements(self.connection).add(
            self.record.job_pk, gpu.model, gpu.count, gpu.min_power_limit_watts, gpu.max_power_limit_watts
        )
        self.placements.append(placement)
        self._keys[self.view(placement)] = placement.placement_pk
        self.states.load()
        self.advisor.register(self.view(placement), self.settings.batch_sizes)
        self.states.save()
        return placement

    def _count(self, record: JobRecord) -> None:
        super()._count(record)
        Jobs(self.connection).save_counters(record)


def wire_gpu(placement: PlacementRecord) -> Gpu:
    """Return a placement's GPUs as the wire names them."""
    return Gpu(
        model=placement.gpu_model,
        count=placement.gpu_count,
        min_power_limit_watts=placement.min_power_limit_watts,
        max_power_limit_watts=placement.max_power_limit_watts,
    )


def power_limits(settings: JobSettings, gpu: Gpu) -> tuple[int, ...]:
    """Return the power limits to choose from on a GPU, highest first.

    Through a range so wide that there would be more than can be measured, the step grows.

    Raises:
        NoPowerLimitFits: None of the job's own lies in the GPU's range.
    """
    lowest, highest = gpu.min_power_limit_watts, gpu.max_power_limit_watts
    if settings.power_limits_watts is None:
        step = max(settings.power_limit_step_watts, ceil((highest - lowest + 1) / MAX_POWER_LIMITS))
        return tuple(range(highest, lowest - 1, -step))
    fitting = tuple(limit for limit in reversed(settings.power_limits_watts) if lowest <= limit <= highest)
    if not fitting:
        raise NoPowerLimitFits(
            f"None of the job's power limits {settings.power_limits_watts} lies in the range of "
            f"{gpu.model}, {lowest} to {highest} W.",
            hint="Register the job with limits in that range, or with power_limits_watts null.",
            fields=[
                FieldError("gpu.min_power_limit_watts", "see power_limits_watts of the job"),
                FieldError("gpu.max_power_limit_watts", "see power_limits_watts of the job"),
            ],
        )
    return fitting
