"""Reports a run to the server, from rank 0: each evaluation, measured power limits, and how the run ended."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from threading import Event, Thread
from time import monotonic
from typing import SupportsFloat
from uuid import uuid4

from pydantic import ValidationError

from rheostat.errors import RheostatError, ServerRefused
from rheostat.schemas.fields import Action, Body, Outcome, TrialState
from rheostat.schemas.server import (
    Gpu,
    JobSettings,
    ObserveAnswer,
    ObservePowerLimitRequest,
    ObserveRequest,
    ObserveRunRequest,
    PowerLimitAnswer,
    PowerLimitMeasurement,
    PredictRequest,
    Trial,
)
from rheostat.sdk.outbox import Outbox, WarnOnce
from rheostat.sdk.server import (
    ServerClient,
    observe_power_limit_request,
    observe_request,
    observe_run_request,
    register_job_request,
)

_log = logging.getLogger("rheostat")

# The server's clock may differ from ours, so the time that a lease seems to have left is bounded.
_SHORTEST_HEARTBEAT_SECONDS = 1.0
_LONGEST_HEARTBEAT_SECONDS = 60.0


class Reporter:
    """Reports one run to the server, and fails open.

    Figures are totals, and each report is kept until the server has it.

    Attributes:
        warn_once: Logs what does not work.

    Args:
        client: Client of the server.
        job_id: The job.
        settings: What it asks of Rheostat.
        batch_size: What the run trains with unless the server answers otherwise.
    """

    def __init__(self, client: ServerClient, job_id: str, settings: JobSettings, batch_size: int) -> None:
        self.warn_once = WarnOnce()
        self._client = client
        self._job_id = job_id
        self._settings = settings
        self._batch_size = batch_size
        self._outbox = Outbox(client, self.warn_once)
        self._gpu: Gpu | None = None
        self._trial: Trial | None = None
        self._latest: ObserveRequest | None = None
        self._reached = False
        self._state: TrialState = "running"
        self._own_clock = False
        self._began_at = monotonic()
        self._over = Event()

    def start(self, request: PredictRequest, idempotency_key: str | None) -> Trial | None:
        """Register the job and start a trial; None when the server does not answer.

        Raises:
            ServerRefused: The job was registered with other settings, or a setting is wrong.
        """
        self._gpu = request.gpu
        try:
            self._client.register_job(self._job_id, self._settings)
            trial = self._client.predict(self._job_id, request, idempotency_key=idempotency_key)
        except RheostatError as error:
            if isinstance(error, ServerRefused) and error.server_code in ("job_differs", "invalid_input"):
                raise
            self.warn_once("Training starts without the server, with the default batch size", error)
            return None
        self._trial = trial
        self._batch_size = trial.batch_size
        self._outbox.deliver_spool()
        name = f"rheostat-heartbeat-{trial.trial_id[:8]}"
        Thread(target=self._keep_trial, args=(trial,), name=name, daemon=True).start()
        return trial

    def begin(self) -> None:
        """Record that training begins now."""
        self._began_at = monotonic()

    def report(
        self,
        metric: SupportsFloat,
        epoch: float | None,
        energy_joules: SupportsFloat | None,
        time_seconds: SupportsFloat | None,
    ) -> tuple[Action, int | None]:
        """Report an evaluation; return whether to go on, and the best power limit that is known.

        Without an answer the target and the number of epochs decide.
        """
        last_epoch = 0.0 if self._latest is None else self._latest.epoch
        epoch = last_epoch + 1 if epoch is None else float(epoch)
        self._reached = self._settings.has_converged(float(metric), epoch) or epoch >= self._settings.max_epochs
        decision: Action = "stop" if self._reached else "continue"
        self._own_clock = time_seconds is not None
        try:
            self._latest = ObserveRequest(
                epoch=epoch,
                metric=_known(metric),
                energy_joules=_known(energy_joules),
                time_seconds=self._elapsed_seconds() if time_seconds is None else _known(time_seconds),
            )
        except ValidationError as error:
            self.warn_once("A report cannot be sent", error)
            return decision, None
        answer = None if self._trial is None else self._observe(self._trial, self._latest)
        action, limit_watts = (decision, None) if answer is None else (answer.action, answer.power_limit_watts)
        if action == "stop":
            self._over.set()
        return action, limit_watts

    def measured(self, measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitAnswer | None:
        """Report measured power limits; None when there is no answer yet."""
        if self._trial is None or self._gpu is None:
            return None
        try:
            request = ObservePowerLimitRequest(
                batch_size=self._batch_size, gpu=self._gpu, measurements=list(measurements)
            )
        except ValidationError as error:
            self.warn_once("Measured power limits cannot be reported", error)
            return None
        return self._outbox.send(observe_power_limit_request(self._job_id, request))

    def close(self, error: BaseException | None, energy_joules: float | None) -> None:
        """Report how the run ended, and leave to a later run what cannot be sent.

        Args:
            error: The exception that ended it; None: its block came to an end.
            energy_joules: Energy since the run began; None: as at the last report.
        """
        self._over.set()
        if self._trial is None:
            self._queue_run(error)
        else:
            if self._outbox.waits:
                self._note_state(self._outbox.deliver(retry=True))
            # A queued report ends the run by itself if it is at its target or has used up its epochs.
            if self._state == "running" and not (self._outbox.waits and self._reached and error is None):
                self._observe(self._trial, self._closing(_outcome(error, self._latest), energy_joules))
        self._outbox.close()

    def _queue_run(self, error: BaseException | None) -> None:
        """Queue the report of a run that began without the server, unless nothing can be learnt from it."""
        latest, gpu = self._latest, self._gpu
        if error is not None or latest is None or gpu is None or not (latest.energy_joules or latest.time_seconds):
            return
        run = ObserveRunRequest(
            batch_size=self._batch_size,
            gpu=gpu,
            energy_joules=latest.energy_joules or None,
            time_seconds=latest.time_seconds or None,
            converged=self._settings.has_converged(latest.metric, latest.epoch),
        )
        self._outbox.queue(register_job_request(self._job_id, self._settings))
        self._outbox.queue(observe_run_request(self._job_id, run, uuid4().hex))
        self._outbox.deliver()

    def _closing(self, outcome: Outcome, energy_joules: float | None) -> ObserveRequest:
        latest = self._latest
        return ObserveRequest(
            epoch=0.0 if latest is None else latest.epoch,
            metric=None,
            energy_joules=latest.energy_joules if latest is not None and energy_joules is None else energy_joules,
            time_seconds=latest.time_seconds if latest is not None and self._own_clock else self._elapsed_seconds(),
            outcome=outcome,
        )

    def _observe(self, trial: Trial, report: ObserveRequest) -> ObserveAnswer | None:
        """Send a report; None when there is no answer yet."""
        answer = self._outbox.send(observe_request(trial.trial_id, report))
        self._note_state(answer)
        return answer

    def _note_state(self, answer: Body | None) -> None:
        if isinstance(answer, ObserveAnswer):
            self._state = answer.state

    def _elapsed_seconds(self) -> float:
        return monotonic() - self._began_at

    def _keep_trial(self, trial: Trial) -> None:
        """Send heartbeats until the trial is over; when one is answered, what is queued is sent."""
        expires_at = trial.lease_expires_at
        while not self._over.wait(heartbeat_pause(expires_at, datetime.now(UTC))):
            try:
                expires_at = self._client.heartbeat(trial.trial_id).lease_expires_at
                if self._outbox.waits:
                    self._note_state(self._outbox.deliver())
            except Exception as error:  # no failure here may disturb training
                _log.debug("The heartbeat failed: %s", error)


def _known(figure: SupportsFloat | None) -> float | None:
    """Return a figure for the server: one that is not finite is unknown."""
    return float(figure) if figure is not None and isfinite(figure) else None


def heartbeat_pause(lease_expires_at: datetime, now: datetime) -> float:
    """Return the seconds to wait before the next heartbeat."""
    left = (lease_expires_at - now).total_seconds()
    return min(max(left / 3, _SHORTEST_HEARTBEAT_SECONDS), _LONGEST_HEARTBEAT_SECONDS)


def _outcome(error: BaseException | None, latest: ObserveRequest | None) -> Outcome:
    if error is None:
        return "cancelled" if latest is None else "failed"
    return "oom" if _is_out_of_memory(error) else "cancelled"


def _is_out_of_memory(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or "out of memory" in str(error).lower()
