"""Reports a run to the server, from rank 0: each evaluation, measured power limits, and how the run ended."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from threading import Event
from time import monotonic
from typing import Any, SupportsFloat

from pydantic import ValidationError

from rheostat.errors import RheostatError, ServerRefused
from rheostat.schemas.fields import Body, on_one_line
from rheostat.schemas.nodes import HeartbeatRequest, NodeReport
from rheostat.schemas.power import ObservePowerLimitRequest, PowerLimitAnswer, PowerLimitMeasurement
from rheostat.schemas.server import Gpu, JobSettings
from rheostat.schemas.trials import (
    HeartbeatAnswer,
    ObserveAnswer,
    ObserveRequest,
    ObserveRunRequest,
    PredictRequest,
    Trial,
)
from rheostat.sdk.agreement import OnConflict, agreed_settings, check_key, is_mistake
from rheostat.sdk.exchange import HttpRequest
from rheostat.sdk.gpu_energy import Energy
from rheostat.sdk.outbox import Outbox, WarnOnce
from rheostat.sdk.outcome import came_to_its_end, detail_of, outcome_of, was_interrupted
from rheostat.sdk.progress import Before
from rheostat.sdk.run_status import RunStatus
from rheostat.sdk.seen_metrics import UNREAD, SeenMetrics
from rheostat.sdk.server import (
    ServerClient,
    observe_power_limit_request,
    observe_request,
    observe_run_request,
    predict_request,
    register_job_request,
)
from rheostat.sdk.threads import in_background

_log = logging.getLogger("rheostat")

_AGAIN = "Do not use its model; start another run, which may get another batch size."

# The server's clock may differ from ours, so the time that a lease seems to have left is bounded.
_SHORTEST_HEARTBEAT_SECONDS = 1.0
_LONGEST_HEARTBEAT_SECONDS = 60.0


class Reporter:
    """Reports one run to the server in the background, and fails open.

    Figures are totals, and each report is kept until the server has it.

    Attributes:
        settings: By which the run trains: once it has started, those that the server has.
        warn_once: Logs what does not work.
        problem: Why there is no trial, once :meth:`start` has returned none.

    Args:
        client: Client of the server.
        job_id: The job.
        settings: What it asks of Rheostat.
        batch_size: What the run trains with unless the server answers otherwise.
        answer_seconds: How long a report waits for an answer, and the end of the run for the server.
    """

    def __init__(
        self, client: ServerClient, job_id: str, settings: JobSettings, batch_size: int, answer_seconds: float = 2.0
    ) -> None:
        self.warn_once = WarnOnce()
        self.problem: RheostatError | None = None
        self._client = client
        self._job_id = job_id
        self.settings = settings
        self._batch_size = batch_size
        self._answer_seconds = answer_seconds
        self._outbox = Outbox(client, self.warn_once, answer_seconds, self._take)
        self._gpu: Gpu | None = None
        self._trial: Trial | None = None
        self._before = Before()
        self._latest: ObserveRequest | None = None
        self._completed: ObserveRequest | None = None
        self._answer: ObserveAnswer | None = None
        self._most_joules = 0.0
        self._reached = self._has_warned_of_end = False
        self._seen = SeenMetrics(settings)
        self._warned: set[str] = set()
        self._own_clock = False
        self._began_at = monotonic()
        self._setup_seconds: float | None = None
        self._setup_joules: float | None = None
        self._nodes: HeartbeatRequest | None = None
        self._unsent_nodes: HeartbeatRequest | None = None
        self._over = Event()

    def start(
        self,
        request: PredictRequest,
        idempotency_key: str | None,
        within_seconds: float = 10.0,
        on_conflict: OnConflict = "keep",
        *,
        survey: Callable[[], None] = lambda: None,
    ) -> Trial | None:
        """Register, survey and start a trial; None when the server does not answer in time, or refuses for now.

        Raises:
            ServerRefused: A setting is wrong.
            KeyReused: The trial of the key has ended.
        """
        self._gpu = request.gpu
        self._before = Before.of(None, request.started_at_epoch)
        give_up_at = monotonic() + within_seconds
        try:
            self.settings = agreed_settings(self._client, self._job_id, self.settings, on_conflict, within_seconds)
            self._seen = SeenMetrics(self.settings)
            left_seconds = give_up_at - monotonic()
            survey()
            trial = self._client.send(
                predict_request(self._job_id, request, idempotency_key), within_seconds=left_seconds
            )
        except RheostatError as error:
            if is_mistake(error):
                raise
            self.problem = error
            self.warn_once("Training starts without the server, with the default batch size", error)
            self._outbox.expect_no_answer()
            return None
        check_key(trial, idempotency_key)
        self._trial = trial
        self._before = Before.of(trial.progress, request.started_at_epoch)
        self._batch_size = trial.batch_size
        self._warn(trial.warnings)
        self._outbox.deliver_spool()
        in_background(partial(self._keep_trial, trial), f"heartbeat-{trial.trial_id[:8]}")
        return trial

    def resumed_at(self, epoch: float) -> None:
        """Record how many epochs the model has done before this process, which a trainer finds out late."""
        self._before = Before.of(None if self._trial is None else self._trial.progress, epoch)

    def begin(self) -> None:
        """Record that training begins now."""
        self._began_at = monotonic()

    def nodes(self, nodes: Sequence[NodeReport]) -> None:
        """Report what the run trains on, in the background, where it has changed."""
        request = HeartbeatRequest(nodes=list(nodes))
        if self._trial is None or request == self._nodes:
            return
        self._nodes = self._unsent_nodes = request
        in_background(partial(self._heartbeat, self._trial.trial_id), "nodes")

    def first_step(self, began_ns: int, energy: Callable[[], Energy | None]) -> None:
        """Take when the first training step began: what went by before it is set-up, and no epoch's cost.

        Args:
            began_ns: On `time.monotonic_ns`.
            energy: Returns the energy until then; it is called in the background.
        """
        # A server of before does not know these fields; and of a trial that goes on an earlier part was reported.
        if self._trial is None or "warnings" not in self._trial.model_fields_set or self._trial.progress is not None:
            return
        self._setup_seconds = max(began_ns / 1e9 - self._began_at, 0.0)
        in_background(partial(self._measure_setup, energy), "setup-energy")

    def _measure_setup(self, energy: Callable[[], Energy | None]) -> None:
        used = energy()
        self._setup_joules = None if used is None or used.unknown_seconds else used.joules

    def report(
        self,
        metric: float,
        epoch: float | None,
        energy: SupportsFloat | Callable[[], Energy | None] | None,
        time_seconds: SupportsFloat | None,
    ) -> RunStatus:
        """Report an evaluation; return whether to go on.

        Without an answer in time the target and the number of epochs decide, and what earlier reports were answered.

        Args:
            metric: Value of the target metric.
            epoch: Epochs done; None: one more than last time.
            energy: In joules; a function is called in the background.
            time_seconds: Training time; None: since :meth:`begin`.
        """
        last_epoch = self._before.epoch if self._latest is None else self._latest.epoch
        epoch = last_epoch + 1 if epoch is None else float(epoch)
        figure = self._seen.add(metric)
        status = self._own_status(figure, epoch)
        self._reached = status.action == "stop"
        self._own_clock = time_seconds is not None
        report = self._observation(epoch, figure, None if callable(energy) else energy, time_seconds)
        if report is not None:
            self._latest = report
            status = self._send(report, energy if callable(energy) else None, status)
        if status.is_short_of_target and not (self._has_warned_of_end or self._seen.has_diverged):
            self._has_warned_of_end = True
            reason = status.reason.rstrip(".")
            _log.warning("The run ends before its target: %s. %s", reason, _AGAIN)
        return status

    def _send(self, report: ObserveRequest, measure: Callable[[], Energy | None] | None, own: RunStatus) -> RunStatus:
        """Send a report; return what was answered, or, without an answer in time, what follows from earlier ones."""
        if self._trial is None:
            self._outbox.put(lambda: self._complete(report, measure))
            return own
        answer = self._outbox.answer(lambda: self._complete(report, measure))
        latest = answer or self._answer
        status = own
        if answer is not None:
            status = RunStatus.of(answer)
        elif latest is not None:
            earlier = RunStatus.of(latest)
            status = earlier if earlier.action == "stop" else own._replace(power_limit_watts=earlier.power_limit_watts)
        if status.action == "stop":
            self._over.set()
        return status

    def _own_status(self, figure: float | None, epoch: float) -> RunStatus:
        """Return whether the run ends here, as far as can be said without the server."""
        if self._seen.has_diverged:
            if not self._over.is_set():
                _log.warning("The run has diverged: %s.", self._seen.divergence)
            return RunStatus("stop", reason=f"it diverged: {self._seen.divergence}")
        if self.settings.has_converged(figure, epoch):
            return RunStatus("stop", has_converged=True, reason="it reached its target")
        if epoch >= self.settings.max_epochs:
            return RunStatus("stop", reason=f"it used its {self.settings.max_epochs} epochs up")
        return RunStatus()

    def _observation(
        self, epoch: float, figure: float | None, energy: SupportsFloat | None, time_seconds: SupportsFloat | None
    ) -> ObserveRequest | None:
        """Return the report of an evaluation; None: the server takes no such figures."""
        try:
            report = ObserveRequest(
                epoch=epoch,
                metric=figure,
                energy_joules=_known(energy),
                time_seconds=self._elapsed_seconds() if time_seconds is None else _known(time_seconds),
            )
        except ValidationError as error:
            self.warn_once("A report cannot be sent", error)
            return None
        # Only what is so is said, for a server of before does not know these fields.
        said: dict[str, Any] = {"diverged": True} if self._seen.is_diverging else {}
        if time_seconds is None and self._setup_seconds is not None:
            said["setup_seconds"] = self._setup_seconds
        return report.model_copy(update=said)

    def measured(self, measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitAnswer | None:
        """Report measured power limits; None when there is no answer in time."""
        if self._trial is None or self._gpu is None:
            return None
        try:
            report = ObservePowerLimitRequest(
                batch_size=self._batch_size, gpu=self._gpu, measurements=list(measurements)
            )
        except ValidationError as error:
            self.warn_once("Measured power limits cannot be reported", error)
            return None
        request = observe_power_limit_request(self._job_id, report)
        return self._outbox.answer(lambda: request)

    def close(self, error: BaseException | None, energy: Energy | None) -> None:
        """Report how the run ended, and leave to a later run what cannot be sent in time.

        Args:
            error: The exception that ended it; None: its block came to an end.
            energy: Energy since the run began; None: unknown.
        """
        has_trained = self._setup_seconds is not None
        if has_trained and self._latest is None and self.settings.target is None and came_to_its_end(error):
            # Nothing was to be reached and nothing was reported: it has run its epochs.
            self.report(UNREAD, self.settings.max_epochs, lambda: energy, None)
        self._over.set()
        if came_to_its_end(error) and (silence := self._seen.silence) and not self._seen.has_diverged:
            _log.warning("The run ends without a usable metric: %s.", silence)
        if outcome_of(error, has_reported=self._latest is not None) == "oom":
            _log.warning(
                "The run ran out of memory: batch size %d counts as too large for these GPUs, and later runs get a "
                "smaller one if the job has one.",
                self._batch_size,
            )
        give_up_at = monotonic() + self._answer_seconds
        self._outbox.drain(self._answer_seconds)
        if self._trial is None:
            self._put_run(error)
        # A report that waits ends the run by itself if it is at its target or has used up its epochs.
        elif self._is_running and not (self._outbox.waits and self._reached and came_to_its_end(error)):
            trial_id, closing = self._trial.trial_id, self._closing(error)
            last = self._before.added_to(self._with_energy(closing, energy))
            self._outbox.put(lambda: observe_request(trial_id, last))
        self._outbox.close(max(give_up_at - monotonic(), 0.0))

    @property
    def _is_running(self) -> bool:
        return self._answer is None or self._answer.state == "running"

    def _complete(
        self, report: ObserveRequest, measure: Callable[[], Energy | None] | None
    ) -> HttpRequest[ObserveAnswer] | None:
        """Add the energy to a report, in the sending thread; return its request, if there is a trial."""
        if measure is not None:
            report = self._with_energy(report, measure())
            if report.setup_seconds is not None and self._setup_joules is not None:
                report = report.model_copy(update={"setup_joules": self._setup_joules})
        self._completed = report
        return None if self._trial is None else observe_request(self._trial.trial_id, self._before.added_to(report))

    def _put_run(self, error: BaseException | None) -> None:
        """Put the report of a run that began without the server, unless nothing can be learnt from it."""
        latest, gpu = self._completed, self._gpu
        if latest is None or gpu is None or not (latest.energy_joules or latest.time_seconds):
            return
        # A whole run has no evaluations: that it diverged, which says little of its batch size, cannot be told of it.
        if not came_to_its_end(error) or self._seen.is_diverging or self._before.started_at_epoch:
            return
        run = ObserveRunRequest(
            batch_size=self._batch_size,
            gpu=gpu,
            energy_joules=latest.energy_joules or None,
            time_seconds=latest.time_seconds or None,
            converged=self.settings.has_converged(latest.metric, latest.epoch),
            epochs=latest.epoch or None,
        )
        registration = register_job_request(self._job_id, self.settings)
        request = observe_run_request(self._job_id, run)
        self._outbox.put(lambda: registration)
        self._outbox.put(lambda: request)

    def _with_energy(self, report: ObserveRequest, energy: Energy | None) -> ObserveRequest:
        """Add the energy to a report, in the order in which they are sent.

        A count is estimated anew with each reading, so that it may be less than at an earlier report by a joule or two:
        the server would refuse that.
        """
        if energy is None:
            return report
        self._most_joules = max(self._most_joules, energy.joules)
        gap = {"energy_known_from_seconds": energy.unknown_seconds} if energy.unknown_seconds else {}
        return report.model_copy(update={"energy_joules": self._most_joules, **gap})

    def _closing(self, error: BaseException | None) -> ObserveRequest:
        latest = self._latest
        # The trainer's own figures are those of its last report. Time that goes on under an energy that does not
        # would look as if nothing had been used since.
        own = latest if self._own_clock else None
        closing = ObserveRequest(
            epoch=self._before.epoch if latest is None else latest.epoch,
            metric=None,
            energy_joules=None if own is None else own.energy_joules,
            time_seconds=self._elapsed_seconds() if own is None else own.time_seconds,
            outcome=outcome_of(error, has_reported=latest is not None),
        )
        detail = self._seen.silence if came_to_its_end(error) else detail_of(error)
        said = {"detail": on_one_line(detail)} if detail else {}
        return closing.model_copy(update=said | ({"interrupted": True} if was_interrupted(error) else {}))

    def _take(self, answer: Body) -> None:
        """Take an answer, in the sending thread."""
        if isinstance(answer, ObserveAnswer):
            self._answer = answer
            self._warn(answer.warnings)
            if answer.action == "stop":
                self._over.set()

    def _warn(self, warnings: Sequence[str]) -> None:
        """Log what the server warns of, each once."""
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                _log.warning("%s", warning)

    def _elapsed_seconds(self) -> float:
        return monotonic() - self._began_at

    def _keep_trial(self, trial: Trial) -> None:
        """Send heartbeats until the trial is over; when one is answered, what waits is sent."""
        expires_at = trial.lease_expires_at
        while not self._over.wait(heartbeat_pause(expires_at, datetime.now(UTC))):
            if (answer := self._heartbeat(trial.trial_id)) is not None:
                expires_at = answer.lease_expires_at
                self._outbox.retry_now()

    def _heartbeat(self, trial_id: str) -> HeartbeatAnswer | None:
        """Renew the lease, with what was not reported of the nodes yet; None: there was no answer."""
        sent = self._unsent_nodes
        try:
            answer = self._client.heartbeat(trial_id, sent)
        except Exception as error:  # no failure here may disturb training
            _log.debug("The heartbeat failed: %s", error)
            if isinstance(error, ServerRefused):
                self._unsent_nodes = None  # what a server does not take must not keep the lease from being renewed
            return None
        if self._unsent_nodes is sent:
            self._unsent_nodes = None
        return answer


def _known(figure: SupportsFloat | None) -> float | None:
    """Return a figure for the server: one that is not finite is unknown."""
    return float(figure) if figure is not None and isfinite(figure) else None


def heartbeat_pause(lease_expires_at: datetime, now: datetime) -> float:
    """Return the seconds to wait before the next heartbeat."""
    left = (lease_expires_at - now).total_seconds()
    return min(max(left / 3, _SHORTEST_HEARTBEAT_SECONDS), _LONGEST_HEARTBEAT_SECONDS)
