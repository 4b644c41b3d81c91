"""Surveys: measures what the server wants to know of each batch size, in a few steps before a run.

The server says what is worth measuring: first the power limits at the default batch size, then the other batch sizes
at the best of them. It is asked again after each slice, so that a survey that was interrupted goes on with what is
left. Whatever fails ends the survey and not the run, which begins without it.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Literal, Protocol

from rheostat.errors import RheostatError, ServerRefused
from rheostat.schemas.power import (
    ObservePowerLimitRequest,
    PowerLimitMeasurement,
    SurveyAnswer,
    SurveyRequest,
    SurveyStep,
)
from rheostat.schemas.server import Gpu, JobSettings
from rheostat.sdk.gpu_lease import INVALIDATING_REASONS, READ_ONLY_CODES, GpuLease, TotalUsage, add_up
from rheostat.sdk.outcome import outcome_of
from rheostat.sdk.random_state import random_state_kept
from rheostat.sdk.server import ServerClient
from rheostat.sdk.slice_meter import Slice, SliceMeter, StepSource, survey_rules
from rheostat.sdk.sweep import MeasuredLimit

_log = logging.getLogger("rheostat")

_SHARE_OF_FIRST_RUN = 0.05
"""A survey takes at most this share of a run of all its epochs, once the time of an epoch is known."""
_NO_LIMITS = {"min_power_limit_watts": None, "max_power_limit_watts": None, "enforced_limit_watts": None}
_TRIES = 2
_MOST_FAILED_SIZES = 2

_Problem = Literal["oom", "failed"]


class BatchSizeSteps(StepSource, Protocol):
    """Makes training steps at one batch size, until it is closed."""

    def close(self) -> None:
        """Free what the steps used."""


OpenSteps = Callable[[int], BatchSizeSteps]


@dataclass(frozen=True, slots=True)
class SurveyedJob:
    """The job whose placement is surveyed.

    Attributes:
        job_id: The job, which is registered.
        settings: Its settings.
        gpu: The GPUs of the run.
        max_batch_size: Largest batch size that this node can train with; None: unknown.
        examples_per_epoch: Size of the data set; None: unknown.
        ranks: How many processes train together.
        idempotency_key: That of the run; None: it has none.
    """

    job_id: str
    settings: JobSettings
    gpu: Gpu
    max_batch_size: int | None = None
    examples_per_epoch: float | None = None
    ranks: int = 1
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    """A slice to measure, and the lower limits that come after it."""

    batch_size: int
    watts: int | None
    lower_watts: tuple[int, ...]


class _TimeOver(Exception):
    """The survey has taken as long as it may."""


class Survey:
    """Measures what the server asks for, until that is nothing more.

    Args:
        client: Client of the server.
        job: What is surveyed.
        lease: The GPUs; None: no limit is set, and the energy is unknown.
        steps_at: Makes steps at a batch size. What it raises for want of memory closes that size and larger ones.
    """

    def __init__(
        self,
        client: ServerClient,
        job: SurveyedJob,
        lease: GpuLease | None,
        steps_at: OpenSteps,
    ) -> None:
        self._client = client
        self._job = job
        self._lease = lease
        self._steps_at = steps_at
        self._sets_limits = lease is not None
        self._steps: BatchSizeSteps | None = None
        self._batch_size = 0
        self._begun_at = monotonic()
        self._give_up_at = inf
        self._epoch_seconds: float | None = None
        self._answer: SurveyAnswer | None = None
        self._tries: dict[tuple[int, int | None], int] = {}
        self._smallest_oom = inf
        self._failed: set[int] = set()
        self._measured: set[int] = set()

    def run(self) -> None:
        """Go on until nothing is left to measure, the time is over, or the server does not answer. It does not raise.

        What a trainer raises for another reason than its memory leaves out that batch size, with a warning.
        """
        try:
            self._measure_all()
        except _TimeOver:
            _log.info("The survey ends: it has taken as long as it may.")
        except RheostatError as error:
            _log.info("The survey ends: %s", error)
        finally:
            self._close()
        if self._measured:
            sizes = ", ".join(map(str, sorted(self._measured)))
            _log.info("Surveyed the batch sizes %s in %.1f s.", sizes, monotonic() - self._begun_at)

    def _measure_all(self) -> None:
        while (task := self._next_task()) is not None:
            problem: _Problem | None = None
            try:
                self._measure(self._steps_for(task.batch_size), task)
            except (RheostatError, _TimeOver):
                raise
            except Exception as error:
                problem = self._problem(task.batch_size, error)
            # Only now: the exception holds what its frames do, such as tensors.
            if problem is not None:
                self._close()
                self._leave_out(task.batch_size, problem)

    def _steps_for(self, batch_size: int) -> BatchSizeSteps:
        if self._steps is None or self._batch_size != batch_size:
            self._close()
            self._steps, self._batch_size = self._steps_at(batch_size), batch_size
        return self._steps

    def _close(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()

    def _next_task(self) -> _Task | None:
        request = SurveyRequest(gpu=self._gpu(), max_batch_size=self._job.max_batch_size)
        self._answer = answer = self._client.survey(self._job.job_id, request, self._job.idempotency_key)
        if self._give_up_at == inf:
            self._give_up_at = self._begun_at + answer.budget_seconds
        if monotonic() >= self._give_up_at or len(self._failed) >= _MOST_FAILED_SIZES:
            return None
        return next((task for step in answer.survey if (task := self._task(step)) is not None), None)

    def _gpu(self) -> Gpu:
        """Return the GPUs for the server; without their limits where none can be set."""
        return self._job.gpu if self._sets_limits else self._job.gpu.model_copy(update=_NO_LIMITS)

    def _task(self, step: SurveyStep) -> _Task | None:
        """Return what is left of a step; a slice that could not be measured is not tried for ever."""
        size = step.batch_size
        if size >= self._smallest_oom or size in self._failed:
            return None
        limits: Sequence[int | None] = (step.power_limits_watts if self._sets_limits else []) or [None]
        left = [watts for watts in limits if self._tries.get((size, watts), 0) < _TRIES]
        if not left:
            return None
        return _Task(size, left[0], tuple(watts for watts in left[1:] if watts is not None))

    def _measure(self, steps: BatchSizeSteps, task: _Task) -> None:
        """Measure a slice and report it.

        Raises:
            RheostatError: Agent or server does not answer.
            _TimeOver: There was no time for it.
        """
        size, watts = task.batch_size, task.watts
        self._tries[size, watts] = self._tries.get((size, watts), 0) + 1
        if watts is not None and not self._set_limit(watts):
            self._tries[size, watts] = _TRIES
            return
        source = None if self._lease is None else self._lease.energy_source
        meter = SliceMeter(steps, survey_rules(source, self._slice_seconds()))
        if (measured := meter.measure(self._give_up_at)) is None:
            raise _TimeOver
        usage = self._usage(measured)
        if INVALIDATING_REASONS & (usage.throttle_reasons or frozenset()):
            return
        if watts is not None:
            if not usage.energy_joules:
                self._set_no_limits("the energy is unknown")
                return
            if not self._set_limit(watts):  # it did not stay in force
                return
        self._learn_epoch(size, measured)
        self._report(task, measured, usage)
        self._measured.add(size)

    def _set_limit(self, watts: int) -> bool:
        """Set a limit, and return whether it is in force."""
        assert self._lease is not None
        try:
            return self._lease.try_limit(watts)
        except ServerRefused as error:
            if error.server_code not in READ_ONLY_CODES:
                raise
            self._set_no_limits(str(error))
            return False

    def _set_no_limits(self, why: str) -> None:
        """Survey under the limit found from now on."""
        _log.info("The survey leaves power limits as they are: %s", why)
        self._sets_limits = False
        if self._lease is not None:
            self._lease.settle_soon(None)

    def _slice_seconds(self) -> float:
        assert self._answer is not None
        of_epoch = inf if self._epoch_seconds is None else self._answer.slice_epochs * self._epoch_seconds
        return min(self._answer.slice_seconds, of_epoch)

    def _usage(self, measured: Slice) -> TotalUsage:
        if self._lease is None:
            return TotalUsage(None, None)
        return add_up(self._lease.usage(since, until) for since, until in measured.windows_ns)

    def _steps_per_epoch(self, batch_size: int) -> float | None:
        examples = self._job.examples_per_epoch
        return None if examples is None else examples / batch_size

    def _learn_epoch(self, batch_size: int, measured: Slice) -> None:
        """Bound the survey by what a run takes, as soon as that is known."""
        steps = self._steps_per_epoch(batch_size)
        if steps is None or self._epoch_seconds is not None:
            return
        self._epoch_seconds = steps * measured.time_seconds / measured.steps
        longest = _SHARE_OF_FIRST_RUN * self._job.settings.max_epochs * self._epoch_seconds
        self._give_up_at = min(self._give_up_at, self._begun_at + longest)

    def _report(self, task: _Task, measured: Slice, usage: TotalUsage) -> None:
        """Report a slice; limits that do not bind share it, so that what they are told to have used adds up."""
        whole = PowerLimitMeasurement(
            power_limit_watts=task.watts,
            time_seconds=measured.time_seconds,
            energy_joules=usage.energy_joules or None,
            steps=measured.steps,
            steps_per_epoch=self._steps_per_epoch(task.batch_size),
        )
        limits = [task.watts, *self._alike(task, whole, usage)]
        parts = {
            name: value / len(limits)
            for name in ("time_seconds", "energy_joules", "steps")
            if (value := getattr(whole, name)) is not None
        }
        measurements = [whole.model_copy(update={"power_limit_watts": watts, **parts}) for watts in limits]
        self._observe(ObservePowerLimitRequest(batch_size=task.batch_size, gpu=self._gpu(), measurements=measurements))

    def _alike(self, task: _Task, whole: PowerLimitMeasurement, usage: TotalUsage) -> list[int]:
        """Return the lower limits under which the GPUs would do the same."""
        if self._lease is None or not usage.energy_joules or not whole.time_seconds:
            return []
        reasons = usage.throttle_reasons
        limit = MeasuredLimit(
            whole,
            watts_per_gpu=usage.energy_joules / whole.time_seconds / len(self._lease.gpus),
            is_capped=None if reasons is None else "power_cap" in reasons,
        )
        return [watts for watts in task.lower_watts if limit.does_not_bind(watts)]

    def _problem(self, batch_size: int, error: Exception) -> _Problem:
        if outcome_of(error, has_reported=False) == "oom":
            _log.info("Batch size %d does not fit in memory: %s", batch_size, type(error).__name__)
            return "oom"
        if not self._failed:
            _log.warning(
                "The survey leaves out batch size %d: %s: %s", batch_size, type(error).__name__, error, exc_info=error
            )
        return "failed"

    def _leave_out(self, batch_size: int, problem: _Problem) -> None:
        if problem == "failed":
            self._failed.add(batch_size)
            return
        self._smallest_oom = min(self._smallest_oom, batch_size)
        self._observe(ObservePowerLimitRequest(batch_size=batch_size, gpu=self._gpu(), outcome="oom"))

    def _observe(self, request: ObservePowerLimitRequest) -> None:
        self._client.observe_power_limit(self._job.job_id, request)


def survey_gpus(
    client: ServerClient, job: SurveyedJob, lease_gpus: Callable[[], GpuLease | None], steps_at: OpenSteps
) -> None:
    """Survey the GPUs of a run, which are leased meanwhile if there is an agent; see :class:`Survey`.

    Of several processes one that ran out of memory would leave the others waiting for ever: there is no survey then.
    """
    if job.settings.survey_seconds == 0:
        return
    if job.ranks > 1:
        _log.info("There is no survey: several processes train together.")
        return
    lease: GpuLease | None = None
    with suppress(RheostatError):  # the trial says why, when it tries the same
        lease = lease_gpus()
    try:
        with random_state_kept():  # the run is to draw what it would without a survey
            Survey(client, job, lease, steps_at).run()
    except Exception as error:  # no failure here may keep the run from starting
        _log.warning("The survey ends: %s: %s", type(error).__name__, error, exc_info=error)
    finally:
        if lease is not None:
            lease.close()
