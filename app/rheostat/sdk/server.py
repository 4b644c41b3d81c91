"""The operations of the server: one method for each, by its name. The only module that knows the server's routes."""

import os
import re
from datetime import date
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from rheostat import __version__
from rheostat.errors import ConfigurationError, RheostatError
from rheostat.schemas.calibration import Calibration
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.fields import JOB_ID_PATTERN, JOB_ID_RULE, Body, TrialState
from rheostat.schemas.insight import Estimates, Savings
from rheostat.schemas.nodes import HeartbeatRequest
from rheostat.schemas.power import (
    ObservePowerLimitRequest,
    PowerLimitAnswer,
    PredictPowerLimitRequest,
    SurveyAnswer,
    SurveyRequest,
)
from rheostat.schemas.report import JobReport, ReportPage
from rheostat.schemas.review import ObservationPage, PowerCurves
from rheostat.schemas.server import JobDetail, JobPage, JobSettings, JobUpdate
from rheostat.schemas.trials import (
    HeartbeatAnswer,
    ObserveAnswer,
    ObserveRequest,
    ObserveRunAnswer,
    ObserveRunRequest,
    PredictRequest,
    Trial,
    TrialDetail,
    TrialPage,
)
from rheostat.sdk.address import checked_url, full_url, is_loopback, unreachable_hint
from rheostat.sdk.environment import warn_of_misspelt_variables
from rheostat.sdk.exchange import AnswerT, HttpExchange, HttpRequest, Reply
from rheostat.sdk.transport import Transport, as_json

DEFAULT_URL = "http://127.0.0.1:8420"

_GARBAGE_HINT = (
    "Does a Rheostat server of this version listen there, or a proxy or another program? "
    "Where a proxy serves it under a path, RHEOSTAT_URL has that path."
)


class ServerClient:
    """Client of a Rheostat server: one method for each operation; safe to share between threads.

    A request that fails for a temporary reason is retried for ``retry_for_seconds``. Retries are safe: the server
    recognises a repeated request.

    Args:
        base_url: Address of the server, with ``http://`` where it has no scheme; by default ``RHEOSTAT_URL``, else
            ``http://127.0.0.1:8420``.
        timeout_seconds: How long one try may take.
        retry_for_seconds: How long to retry; 0 is one try. Where nothing listens, three tenths of it.
        token: Sent as bearer token; by default ``RHEOSTAT_TOKEN``, else the content of the file that
            ``RHEOSTAT_TOKEN_FILE`` names, else none.

    Raises:
        ConfigurationError: The address is invalid, the token cannot be read or sent, or a proxy variable is malformed.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout_seconds: float = 10.0,
        retry_for_seconds: float = 10.0,
        token: str | None = None,
    ) -> None:
        self._arguments: dict[str, Any] = {
            "base_url": base_url,
            "timeout_seconds": timeout_seconds,
            "retry_for_seconds": retry_for_seconds,
            "token": token,
        }
        warn_of_misspelt_variables()
        self.base_url = full_url(base_url or os.environ.get("RHEOSTAT_URL") or DEFAULT_URL)
        token = (_token_of_environment() if token is None else token).strip()
        if not token.isascii() or not token.isprintable():
            raise ConfigurationError("The token has characters that an HTTP header cannot carry.")
        url = checked_url(self.base_url)
        try:
            http = httpx.Client(
                base_url=url,
                timeout=timeout_seconds,
                headers={
                    "User-Agent": f"rheostat/{__version__} python-httpx/{httpx.__version__}",
                    **({"Authorization": f"Bearer {token}"} if token else {}),
                },
                # No proxy can reach this machine's own loopback.
                trust_env=not is_loopback(url.host),
                # SSL_CERT_FILE counts there, too.
                verify=httpx.create_ssl_context() if url.scheme == "https" else True,
            )
        except (httpx.InvalidURL, ValueError, ImportError, OSError) as error:
            raise ConfigurationError(
                f"The proxy or certificate settings of the environment cannot be used: {error}.",
                hint="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE.",
            ) from error
        self._transport = Transport(
            HttpExchange(http),
            timeout_seconds=timeout_seconds,
            retry_for_seconds=retry_for_seconds,
            unreachable_hint=unreachable_hint(url),
            garbage_hint=_GARBAGE_HINT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments: connections stay in the process that opened them."""
        return partial(type(self), **self._arguments), ()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def send(
        self, request: HttpRequest[AnswerT], *, retry: bool = True, within_seconds: float | None = None
    ) -> AnswerT:
        """Send a request that one of the functions below has built.

        Args:
            request: The request.
            retry: Whether to try again what fails for a temporary reason.
            within_seconds: How long all tries together may take; None: as the client's settings say.
        """
        return self._transport.send(request, retry=retry, within_seconds=within_seconds)

    def look(self, path: str) -> tuple[Reply, RheostatError | None]:
        """Return what is answered to a GET, with its headers, and the error that it stands for; for a diagnosis.

        Raises:
            ServerUnreachable: There is no answer; it is tried once.
        """
        reply = self._transport.look(path)
        is_error = reply.status >= HTTPStatus.BAD_REQUEST
        return reply, self._transport.error_of(path, reply) if is_error else None

    def register_job(self, job_id: str, settings: JobSettings) -> JobDetail:
        """Register a job; the same settings again change nothing."""
        return self.send(register_job_request(job_id, settings))

    def update_job(self, job_id: str, update: JobUpdate) -> JobDetail:
        """Change the settings of a job that the update names."""
        return self.send(update_job_request(job_id, update))

    def list_jobs(self, *, limit: int = 50, cursor: str | None = None) -> JobPage:
        """Return a page of jobs, in alphabetical order."""
        parameters = {"limit": limit, "cursor": cursor}
        return self.send(HttpRequest("GET", "/v1/jobs", JobPage, parameters=parameters))

    def get_job(self, job_id: str) -> JobDetail:
        """Return a job."""
        return self.send(get_job_request(job_id))

    def delete_job(self, job_id: str, *, force: bool = False) -> None:
        """Delete a job with all that was learnt of it; `force` also while trials run."""
        parameters = {"force": "true" if force else None}
        self._transport.fetch(HttpRequest("DELETE", _job(job_id), Body, parameters=parameters))

    def pin_job(self, job_id: str, order: OrderRequest) -> JobDetail:
        """Let every trial of a job train with a batch size until it is unpinned."""
        return self.send(HttpRequest("POST", f"{_job(job_id)}/pin", JobDetail, as_json(order)))

    def unpin_job(self, job_id: str) -> JobDetail:
        """Leave the choice to the policy again."""
        return self.send(HttpRequest("DELETE", f"{_job(job_id)}/pin", JobDetail))

    def pause_job(self, job_id: str, pause: PauseRequest | None = None) -> JobDetail:
        """Pause exploring: trials run the best known batch size."""
        return self.send(HttpRequest("POST", f"{_job(job_id)}/pause", JobDetail, as_json(pause or PauseRequest())))

    def resume_job(self, job_id: str) -> JobDetail:
        """Let the policy explore again."""
        return self.send(HttpRequest("DELETE", f"{_job(job_id)}/pause", JobDetail))

    def force_job(self, job_id: str, order: OrderRequest) -> JobDetail:
        """Let the next trial of a job train with a batch size, once."""
        # Tried once: between two tries a trial may have taken the first order.
        return self.send(HttpRequest("POST", f"{_job(job_id)}/force", JobDetail, as_json(order)), retry=False)

    def unforce_job(self, job_id: str) -> JobDetail:
        """Withdraw a forced trial that has not started yet."""
        return self.send(HttpRequest("DELETE", f"{_job(job_id)}/force", JobDetail))

    def predict(self, job_id: str, request: PredictRequest, *, idempotency_key: str | None = None) -> Trial:
        """Start a trial; the same key gives the same trial."""
        return self.send(predict_request(job_id, request, idempotency_key))

    def observe(self, trial_id: str, request: ObserveRequest) -> ObserveAnswer:
        """Report an evaluation, or the end of a trial."""
        return self.send(observe_request(trial_id, request))

    def observe_run(
        self, job_id: str, request: ObserveRunRequest, *, idempotency_key: str | None = None
    ) -> ObserveRunAnswer:
        """Report a whole run that no `predict` started; the same key records it once."""
        return self.send(observe_run_request(job_id, request, idempotency_key))

    def predict_power_limit(self, job_id: str, request: PredictPowerLimitRequest) -> PowerLimitAnswer:
        """Return the best power limit for a batch size, or what to measure first."""
        return self.send(HttpRequest("POST", f"{_job(job_id)}/power/predict", PowerLimitAnswer, as_json(request)))

    def observe_power_limit(
        self, job_id: str, request: ObservePowerLimitRequest, *, idempotency_key: str | None = None
    ) -> PowerLimitAnswer:
        """Report measured power limits, once for each key; the answer is that of :meth:`predict_power_limit`."""
        return self.send(observe_power_limit_request(job_id, request, idempotency_key))

    def survey(self, job_id: str, request: SurveyRequest, idempotency_key: str | None = None) -> SurveyAnswer:
        """Return what is worth measuring before a run of a key; its results go by :meth:`observe_power_limit`."""
        path = f"{_job(job_id)}/survey"
        return self.send(HttpRequest("POST", path, SurveyAnswer, as_json(request), idempotency_key))

    def heartbeat(self, trial_id: str, request: HeartbeatRequest | None = None) -> HeartbeatAnswer:
        """Renew a trial's lease, and say what has changed on its nodes. Tried once: the next heartbeat comes soon."""
        body = None if request is None else as_json(request)
        return self.send(HttpRequest("POST", f"{_trial(trial_id)}/heartbeat", HeartbeatAnswer, body), retry=False)

    def get_trial(self, trial_id: str) -> TrialDetail:
        """Return a trial."""
        return self.send(HttpRequest("GET", _trial(trial_id), TrialDetail))

    def list_trials(
        self,
        job_id: str,
        *,
        state: TrialState | None = None,
        tag: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> TrialPage:
        """Return a page of a job's trials, newest first, with a tag as ``key=value`` if one is given."""
        parameters = {"state": state, "tag": tag, "limit": limit, "cursor": cursor}
        return self.send(HttpRequest("GET", f"{_job(job_id)}/trials", TrialPage, parameters=parameters))

    def estimates(self, job_id: str, *, eta_knob: float | None = None) -> Estimates:
        """Return the policy's estimates for each batch size of a job; `eta_knob`: as if the job's were this."""
        parameters = {"eta_knob": eta_knob}
        return self.send(HttpRequest("GET", f"{_job(job_id)}/estimates", Estimates, parameters=parameters))

    def savings(self, job_id: str) -> Savings:
        """Return what a job saved against always running its default."""
        return self.send(HttpRequest("GET", f"{_job(job_id)}/savings", Savings))

    def job_report(self, job_id: str, *, since: date | None = None) -> JobReport:
        """Return what a job saved, how sure that is, and where the figures come from; by the runs since a day."""
        parameters = {"since": None if since is None else since.isoformat()}
        return self.send(HttpRequest("GET", f"{_job(job_id)}/report", JobReport, parameters=parameters))

    def list_reports(self, *, since: date | None = None, limit: int = 50, cursor: str | None = None) -> ReportPage:
        """Return a page of what each job saved, by the runs since a day."""
        parameters = {"since": None if since is None else since.isoformat(), "limit": limit, "cursor": cursor}
        return self.send(HttpRequest("GET", "/v1/reports", ReportPage, parameters=parameters))

    def power_curves(self, job_id: str) -> PowerCurves:
        """Return what each measured power limit of a job costs per epoch."""
        return self.send(HttpRequest("GET", f"{_job(job_id)}/power", PowerCurves))

    def calibration(self, job_id: str) -> Calibration:
        """Return how well the costs of a job's latest trials were predicted when they began."""
        return self.send(HttpRequest("GET", f"{_job(job_id)}/calibration", Calibration))

    def list_observations(self, trial_id: str, *, limit: int = 50, cursor: str | None = None) -> ObservationPage:
        """Return a page of a trial's reports, in the order of their epochs."""
        parameters = {"limit": limit, "cursor": cursor}
        return self.send(HttpRequest("GET", f"{_trial(trial_id)}/observations", ObservationPage, parameters=parameters))


# The requests of a trial; reports are queued while the server is away.


def register_job_request(job_id: str, settings: JobSettings) -> HttpRequest[JobDetail]:
    """Return the request of `register_job`."""
    return HttpRequest("PUT", _job(job_id), JobDetail, as_json(settings))


def get_job_request(job_id: str) -> HttpRequest[JobDetail]:
    """Return the request of `get_job`."""
    return HttpRequest("GET", _job(job_id), JobDetail)


def update_job_request(job_id: str, update: JobUpdate) -> HttpRequest[JobDetail]:
    """Return the request of `update_job`."""
    return HttpRequest("PATCH", _job(job_id), JobDetail, as_json(update))


def predict_request(job_id: str, request: PredictRequest, idempotency_key: str | None = None) -> HttpRequest[Trial]:
    """Return the request of `predict`."""
    key = _given_or_new(idempotency_key)
    return HttpRequest("POST", f"{_job(job_id)}/predict", Trial, as_json(request), key)


def observe_request(trial_id: str, request: ObserveRequest) -> HttpRequest[ObserveAnswer]:
    """Return the request of `observe`."""
    return HttpRequest("POST", f"{_trial(trial_id)}/observe", ObserveAnswer, as_json(request))


def observe_run_request(
    job_id: str, request: ObserveRunRequest, idempotency_key: str | None = None
) -> HttpRequest[ObserveRunAnswer]:
    """Return the request of `observe_run`."""
    key = _given_or_new(idempotency_key)
    return HttpRequest("POST", f"{_job(job_id)}/observe", ObserveRunAnswer, as_json(request), key)


def observe_power_limit_request(
    job_id: str, request: ObservePowerLimitRequest, idempotency_key: str | None = None
) -> HttpRequest[PowerLimitAnswer]:
    """Return the request of `observe_power_limit`."""
    key = _given_or_new(idempotency_key)
    return HttpRequest("POST", f"{_job(job_id)}/power/observe", PowerLimitAnswer, as_json(request), key)


def checked_job_id(job_id: str) -> str:
    """Return a job's name as it is.

    Raises:
        ConfigurationError: No server accepts it.
    """
    if re.fullmatch(JOB_ID_PATTERN, job_id) is None:
        raise ConfigurationError(f"{job_id!r} is not the name of a job.", hint=f"A name has {JOB_ID_RULE}.")
    return job_id


def _job(job_id: str) -> str:
    job_id = checked_job_id(job_id)
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _trial(trial_id: str) -> str:
    return f"/v1/trials/{quote(trial_id, safe='')}"


def _token_of_environment() -> str:
    path = os.environ.get("RHEOSTAT_TOKEN_FILE")
    if os.environ.get("RHEOSTAT_TOKEN") or not path:
        return os.environ.get("RHEOSTAT_TOKEN", "")
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The token in RHEOSTAT_TOKEN_FILE cannot be read: {error}.") from error


def _given_or_new(idempotency_key: str | None) -> str:
    """Return the caller's key, or one under which the retries of this call are one request."""
    return uuid4().hex if idempotency_key is None else idempotency_key
