"""What rank 0 of a run tells the server: each evaluation, measured power limits, and how the run ended."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, SupportsFloat
from uuid import uuid4

from pydantic import ValidationError

from rheostat.errors import RheostatError, ServerRefused
from rheostat.schemas.server import (
    Action,
    Body,
    Gpu,
    JobDetail,
    JobSettings,
    ObserveAnswer,
    ObservePowerLimitRequest,
    ObserveRequest,
    ObserveRunAnswer,
    ObserveRunRequest,
    Outcome,
    PowerLimitAnswer,
    PowerLimitMeasurement,
    PredictRequest,
    Trial,
    TrialState,
)
from rheostat.sdk.courier import Courier, letter, quoted
from rheostat.sdk.fallback import has_reached
from rheostat.sdk.spool import Letter

if TYPE_CHECKING:
    from rheostat.sdk.client import Client

_log = logging.getLogger("rheostat")

# The server's clock may differ from ours, so a lease that looks long or over is not taken at its word.
_SHORTEST_HEARTBEAT_SECONDS = 1.0
_LONGEST_HEARTBEAT_SECONDS = 60.0


class Reporter:
    """Speaks to the server for one run, and fails open.

    Figures are totals, and each report is kept until it has arrived.

    Args:
        client: Talks to the server.
        job_id: The job.
        settings: What it asks of Rheostat.
        batch_size: What it trains with as long as the server says nothing else.
    """

    def __init__(self, client: "Client", job_id: str, settings: JobSettings, batch_size: int) -> None:
        self._client = client
        self._job_id = job_id
        self._settings = settings
        self._batch_size = batch_size
        self._courier = Courier(client.transport, client.base_url)
        self._gpu: Gpu | None = None
        self._trial: Trial | None = None
        self._latest: ObserveRequest | None = None
        self._reached = False
        self._state: TrialState = "running"
        self._own_clock = False
        self._began_at = monotonic()
        self._over = Event()

    def start(self, request: PredictRequest, idempotency_key: str | None) -> Trial | None:
        """Register the job and make a trial; None when there is no server.

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
        self._courier.send_what_others_left()
        Thread(target=self._keep_trial, name=f"rheostat-heartbeat-{trial.trial_id[:8]}", daemon=True).start()
        return trial

    def begin(self) -> None:
        """Note that training begins now."""
        self._began_at = monotonic()

    def warn_once(self, what: str, error: Exception) -> None:
        """Say what is wrong: the first time as a warning, later for those who look closely."""
        self._courier.warn_once(what, error)

    def report(
        self,
        metric: SupportsFloat,
        epoch: float | None,
        energy_joules: SupportsFloat | None,
        time_seconds: SupportsFloat | None,
    ) -> tuple[Action, int | None]:
        """Report an evaluation; returns whether to go on, and the best power limit that is known.

        Without an answer the target and the number of epochs decide.
        """
        last_epoch = 0.0 if self._latest is None else self._latest.epoch
        epoch = last_epoch + 1 if epoch is None else float(epoch)
        self._reached = has_reached(self._settings, float(metric)) or epoch >= self._settings.max_epochs
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
        answer = self._observe(self._latest)
        action, limit_watts = (decision, None) if answer is None else (answer.action, answer.power_limit_watts)
        if action == "stop":
            self._over.set()
        return action, limit_watts

    def measured(self, measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitAnswer | None:
        """Report measured power limits; None when that did not get through."""
        if self._trial is None or self._gpu is None:
            return None
        try:
            request = ObservePowerLimitRequest(
                batch_size=self._batch_size, gpu=self._gpu, measurements=list(measurements)
            )
        except ValidationError as error:
            self.warn_once("Measured power limits cannot be reported", error)
            return None
        path = f"/v1/jobs/{quoted(self._job_id)}/power/observe"
        answer = self._courier.send(letter("POST", path, request, PowerLimitAnswer))
        return answer if isinstance(answer, PowerLimitAnswer) else None

    def close(self, error: BaseException | None, energy_joules: float | None) -> None:
        """Say how the run ended, and leave to later runs what does not get through.

        Args:
            error: What ended it; None: its block came to an end.
            energy_joules: Energy since the run began, where that is known better than at the last report.
        """
        self._over.set()
        if self._trial is None:
            self._keep_run(error)
        else:
            if self._courier.lost:
                self._take(self._courier.catch_up(retry=True))
            lost = self._courier.lost
            # What waits ends the run by itself where it is at its target or has used up its epochs.
            if self._state == "running" and not (lost and self._reached and error is None):
                self._observe(self._closing(_outcome(error, self._latest), energy_joules))
        self._courier.close()

    def _keep_run(self, error: BaseException | None) -> None:
        """Let the server hear later of a run that began without it, unless nothing can be learnt from it."""
        latest, gpu = self._latest, self._gpu
        if error is not None or latest is None or gpu is None:
            return
        run = ObserveRunRequest(
            batch_size=self._batch_size,
            gpu=gpu,
            energy_joules=latest.energy_joules or None,
            time_seconds=latest.time_seconds or None,
            converged=self._settings.target is None or has_reached(self._settings, latest.metric),
        )
        path = f"/v1/jobs/{quoted(self._job_id)}"
        self._courier.keep(letter("PUT", path, self._settings, JobDetail))
        self._courier.keep(letter("POST", f"{path}/observe", run, ObserveRunAnswer, uuid4().hex))
        self._courier.catch_up()

    def _closing(self, outcome: Outcome, energy_joules: float | None) -> ObserveRequest:
        latest = self._latest
        return ObserveRequest(
            epoch=0.0 if latest is None else latest.epoch,
            metric=None,
            energy_joules=latest.energy_joules if latest is not None and energy_joules is None else energy_joules,
            time_seconds=latest.time_seconds if latest is not None and self._own_clock else self._elapsed_seconds(),
            outcome=outcome,
        )

    def _observe(self, report: ObserveRequest) -> ObserveAnswer | None:
        """Send a report; None when it did not get through."""
        if self._trial is None:
            return None
        return self._take(self._courier.send(self._post(self._trial, report)))

    @staticmethod
    def _post(trial: Trial, report: ObserveRequest) -> Letter:
        return letter("POST", f"/v1/trials/{trial.trial_id}/observe", report, ObserveAnswer)

    def _take(self, answer: Body | None) -> ObserveAnswer | None:
        if not isinstance(answer, ObserveAnswer):
            return None
        self._state = answer.state
        return answer

    def _elapsed_seconds(self) -> float:
        return monotonic() - self._began_at

    def _keep_trial(self) -> None:
        """Send signs of life until the trial is over; one that comes through ends a loss."""
        assert self._trial is not None
        expires_at = self._trial.lease_expires_at
        while not self._over.wait(_heartbeat_pause(expires_at)):
            try:
                expires_at = self._client.heartbeat(self._trial.trial_id).lease_expires_at
                if self._courier.lost:
                    self._take(self._courier.catch_up())
            except Exception as error:  # whatever it is, training must not feel it
                _log.debug("No heartbeat: %s", error)


def _known(figure: SupportsFloat | None) -> float | None:
    """Return a figure as the wire has it: one that is not finite is not known."""
    return float(figure) if figure is not None and isfinite(figure) else None


def _heartbeat_pause(lease_expires_at: datetime) -> float:
    left = (lease_expires_at - datetime.now(UTC)).total_seconds()
    return min(max(left / 3, _SHORTEST_HEARTBEAT_SECONDS), _LONGEST_HEARTBEAT_SECONDS)


def _outcome(error: BaseException | None, latest: ObserveRequest | None) -> Outcome:
    if error is None:
        return "cancelled" if latest is None else "failed"
    return "oom" if _is_out_of_memory(error) else "cancelled"


def _is_out_of_memory(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or "out of memory" in str(error).lower()
