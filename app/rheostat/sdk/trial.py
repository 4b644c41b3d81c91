"""One run of a job, as its trainer sees it: what to train with, and whether to go on."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite, sqrt
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self, SupportsFloat

from pydantic import ValidationError

from rheostat.errors import RheostatError, ServerRefused
from rheostat.schemas import (
    Action,
    JobSettings,
    ObserveAnswer,
    ObservePowerLimitRequest,
    ObserveRequest,
    Outcome,
    PowerLimitMeasurement,
    PredictRequest,
    Trial,
    TrialState,
)

if TYPE_CHECKING:
    from rheostat.sdk.client import Client

_log = logging.getLogger("rheostat")

# The server's clock may differ from ours, so a lease that looks long or over is not taken at its word.
_SHORTEST_HEARTBEAT_SECONDS = 1.0
_LONGEST_HEARTBEAT_SECONDS = 60.0


class RunningTrial:
    """The context of one run: asks on entry, reports inside, and says at the end how the run ended.

    It fails open. Without a server the run trains with the default batch size and no power limit; a server that
    is lost on the way neither stops nor delays it. Figures are totals, so the next report that gets through
    makes up for those that did not.

    Attributes:
        batch_size: Global batch size to train with.
        learning_rate: Learning rate to train with; None when the job names none.
        power_limit_watts: Limit of each GPU; None when none is known, or there is no server.
        profile_power_limits_watts: Limits to measure, in order, and to pass to :meth:`measured`.
        reason: Why this batch size.
        trial_id: The server's name of the trial; None without a server.

    Raises:
        ServerRefused: On entry, when the job was registered with other settings, or a setting is wrong.
    """

    def __init__(
        self,
        client: "Client",
        job_id: str,
        settings: JobSettings,
        request: PredictRequest,
        idempotency_key: str | None,
    ) -> None:
        self._client = client
        self._job_id = job_id
        self._settings = settings
        self._request = request
        self._idempotency_key = idempotency_key
        self.batch_size = _default_batch_size(settings, request.max_batch_size)
        self.learning_rate = _learning_rate(settings, self.batch_size)
        self.power_limit_watts: int | None = None
        self.profile_power_limits_watts: tuple[int, ...] = ()
        self.reason = "the default: there was no answer from the server"
        self.trial_id: str | None = None
        self._latest: ObserveRequest | None = None
        self._unsent: ObserveRequest | None = None
        self._state: TrialState = "running"
        self._own_clock = False
        self._lost = False
        self._warned = False
        self._began_at = monotonic()
        self._over = Event()

    def __enter__(self) -> Self:
        try:
            self._client.register_job(self._job_id, self._settings)
            trial = self._client.predict(self._job_id, self._request, idempotency_key=self._idempotency_key)
        except RheostatError as error:
            if isinstance(error, ServerRefused) and _is_users_mistake(error):
                raise
            self._warn_once(f"Training starts without the server, with batch size {self.batch_size}", error)
        else:
            self._take(trial)
        self._began_at = monotonic()
        return self

    def _take(self, trial: Trial) -> None:
        self.trial_id = trial.trial_id
        self.batch_size = trial.batch_size
        self.learning_rate = trial.learning_rate
        self.power_limit_watts = trial.power_limit_watts
        self.profile_power_limits_watts = tuple(trial.profile_power_limits_watts)
        self.reason = trial.reason
        Thread(
            target=self._keep_lease,
            args=(trial.trial_id, trial.lease_expires_at),
            name=f"rheostat-heartbeat-{trial.trial_id[:8]}",
            daemon=True,
        ).start()

    def report(
        self,
        metric: SupportsFloat,
        *,
        epoch: float | None = None,
        energy_joules: SupportsFloat | None = None,
        time_seconds: SupportsFloat | None = None,
    ) -> Action:
        """Report an evaluation and return whether to go on.

        Args:
            metric: Value of the target metric. What is not finite is reported as unknown, here and below.
            epoch: Epochs done, fractional inside an epoch; by default one more than last time.
            energy_joules: Energy of all GPUs since the run began; None when unknown.
            time_seconds: Training time since the run began; by default the time since the block was entered.
        """
        last_epoch = 0.0 if self._latest is None else self._latest.epoch
        epoch = last_epoch + 1 if epoch is None else float(epoch)
        decision = self._decide(float(metric), epoch)
        self._own_clock = time_seconds is not None
        try:
            report = ObserveRequest(
                epoch=epoch,
                metric=_known(metric),
                energy_joules=_known(energy_joules),
                time_seconds=self._elapsed_seconds() if time_seconds is None else _known(time_seconds),
            )
        except ValidationError as error:
            self._warn_once("A report cannot be sent", error)
            return decision
        self._latest = report
        # While the server is lost only the end of the run is worth waiting for.
        if self.trial_id is None or (self._lost and decision == "continue"):
            self._unsent = report
            return decision
        answer = self._observe(self.trial_id, report)
        return decision if answer is None else answer.action

    def measured(self, measurements: Sequence[PowerLimitMeasurement]) -> int | None:
        """Report measured power limits and return the limit to train under, or None when none is known yet.

        What is left to measure, if anything, is then in ``profile_power_limits_watts``.
        """
        self.profile_power_limits_watts = ()
        if self.trial_id is None:
            return None
        try:
            request = ObservePowerLimitRequest(
                batch_size=self.batch_size, gpu=self._request.gpu, measurements=list(measurements)
            )
            answer = self._client.observe_power_limit(self._job_id, request)
        except (RheostatError, ValidationError) as error:
            self._lose(error)
            return None
        self.power_limit_watts = answer.power_limit_watts
        self.profile_power_limits_watts = tuple(answer.profile_power_limits_watts)
        return self.power_limit_watts

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self.trial_id is None:
            return
        if error is None and self._unsent is not None:
            self._observe(self.trial_id, self._unsent)
        if self._state == "running" and not self._lost:
            self._observe(self.trial_id, self._closing(self._outcome(error)))

    def _outcome(self, error: BaseException | None) -> Outcome:
        if error is None:
            return "cancelled" if self._latest is None else "failed"
        return "oom" if _is_out_of_memory(error) else "cancelled"

    def _closing(self, outcome: Outcome) -> ObserveRequest:
        if self._latest is None:
            return ObserveRequest(epoch=0.0, time_seconds=self._elapsed_seconds(), outcome=outcome)
        time_seconds = self._latest.time_seconds if self._own_clock else self._elapsed_seconds()
        return self._latest.model_copy(update={"metric": None, "time_seconds": time_seconds, "outcome": outcome})

    def _observe(self, trial_id: str, report: ObserveRequest) -> ObserveAnswer | None:
        """Send a report; None when it did not get through."""
        try:
            answer = self._client.observe(trial_id, report)
        except RheostatError as error:
            self._unsent = report
            self._lose(error)
            return None
        self._unsent = None
        self._lost = False
        self._state = answer.state
        if answer.power_limit_watts is not None:
            self.power_limit_watts = answer.power_limit_watts
        if answer.action == "stop":
            self._over.set()
        return answer

    def _decide(self, metric: float, epoch: float) -> Action:
        """Return what the target and the number of epochs say, which is all that is known without a server."""
        target = self._settings.target
        if target is None:
            reached = False
        elif target.direction == "maximize":
            reached = metric >= target.value
        else:
            reached = metric <= target.value
        return "stop" if reached or epoch >= self._settings.max_epochs else "continue"

    def _elapsed_seconds(self) -> float:
        return monotonic() - self._began_at

    def _lose(self, error: Exception) -> None:
        self._lost = True
        self._warn_once("Training goes on without the server", error)

    def _warn_once(self, what: str, error: Exception) -> None:
        _log.log(logging.INFO if self._warned else logging.WARNING, "%s: %s", what, error)
        self._warned = True

    def _keep_lease(self, trial_id: str, lease_expires_at: datetime) -> None:
        """Send signs of life until the trial is over; one that comes through ends a loss."""
        while not self._over.wait(_heartbeat_pause(lease_expires_at)):
            try:
                lease_expires_at = self._client.heartbeat(trial_id).lease_expires_at
            except Exception as error:  # whatever it is, training must not feel it
                _log.debug("No heartbeat: %s", error)
            else:
                self._lost = False


def _known(figure: SupportsFloat | None) -> float | None:
    """Return a figure as the wire has it: one that is not finite is not known."""
    return float(figure) if figure is not None and isfinite(figure) else None


def _heartbeat_pause(lease_expires_at: datetime) -> float:
    left = (lease_expires_at - datetime.now(UTC)).total_seconds()
    return min(max(left / 3, _SHORTEST_HEARTBEAT_SECONDS), _LONGEST_HEARTBEAT_SECONDS)


def _is_users_mistake(error: ServerRefused) -> bool:
    return error.server_code in ("job_differs", "invalid_input")


def _is_out_of_memory(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or "out of memory" in str(error).lower()


def _default_batch_size(settings: JobSettings, max_batch_size: int | None) -> int:
    """Return the default, or the largest batch size that still fits when the default does not."""
    if max_batch_size is None or settings.default_batch_size <= max_batch_size:
        return settings.default_batch_size
    return max((size for size in settings.batch_sizes if size <= max_batch_size), default=max_batch_size)


def _learning_rate(settings: JobSettings, batch_size: int) -> float | None:
    if settings.learning_rate is None:
        return None
    ratio = batch_size / settings.default_batch_size
    scale = {"linear": ratio, "sqrt": sqrt(ratio), "none": 1.0}[settings.learning_rate.scaling]
    return settings.learning_rate.default * scale
