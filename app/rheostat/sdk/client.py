"""The client of the server: one method for each operation, by the operation's name."""

import os
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from random import SystemRandom
from time import monotonic, sleep
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import ValidationError

from rheostat.errors import ConfigurationError, FieldError, RheostatError, ServerRefused, ServerUnreachable
from rheostat.schemas import (
    Body,
    Estimates,
    Gpu,
    HeartbeatAnswer,
    JobDetail,
    JobPage,
    JobSettings,
    JobUpdate,
    ObserveAnswer,
    ObservePowerLimitRequest,
    ObserveRequest,
    ObserveRunAnswer,
    ObserveRunRequest,
    PowerLimitAnswer,
    PredictPowerLimitRequest,
    PredictRequest,
    Problem,
    Savings,
    Trial,
    TrialDetail,
    TrialPage,
    TrialState,
)
from rheostat.sdk.trial import RunningTrial

DEFAULT_URL = "http://127.0.0.1:8420"

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_LARGEST_ANSWER_BYTES = 64 * 2**20
_SUCCESS = range(200, 300)
# What a gateway says while the server behind it restarts.
_GATEWAY_STATUSES = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)

_WHO_IS_THERE = "Is a Rheostat server of this version there, or a proxy or another program?"
_ADDRESS_HINT = "Write it as http://host:8420."

_random = SystemRandom()

Answer = TypeVar("Answer", bound=Body)


class Client:
    """Talks to a Rheostat server; safe to share between threads.

    A request that fails for a reason that may pass is tried again for ``retry_for_seconds``. Retries are safe: the
    server takes a repeated request for the same one.

    Args:
        base_url: Address of the server; by default ``RHEOSTAT_URL``, else ``http://127.0.0.1:8420``.
        timeout_seconds: How long one try may take.
        retry_for_seconds: How long to go on trying; 0 is one try.
        token: Sent as bearer token; by default ``RHEOSTAT_TOKEN``, else what is in the file that
            ``RHEOSTAT_TOKEN_FILE`` names, else none.

    Raises:
        ConfigurationError: The address is not one, the token cannot be read or sent, or a proxy variable is malformed.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout_seconds: float = 10.0,
        retry_for_seconds: float = 10.0,
        token: str | None = None,
    ) -> None:
        self.base_url = (base_url or os.environ.get("RHEOSTAT_URL") or DEFAULT_URL).rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._retry_for_seconds = retry_for_seconds
        token = (_token_of_environment() if token is None else token).strip()
        if not token.isascii() or not token.isprintable():
            raise ConfigurationError("The token has characters that a header cannot carry.")
        url = _checked(self.base_url)
        try:
            self._http = httpx.Client(
                base_url=url,
                timeout=timeout_seconds,
                headers={"Authorization": f"Bearer {token}"} if token else None,
                # No proxy of the site can reach this machine's own loopback.
                trust_env=not _is_loopback(url.host),
            )
        except (ValueError, ImportError, OSError) as error:
            raise ConfigurationError(
                f"The proxy or certificate settings of the environment cannot be used: {error}."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def trial(
        self,
        job_id: str,
        settings: JobSettings,
        gpu: Gpu,
        *,
        node: str | None = None,
        max_batch_size: int | None = None,
        idempotency_key: str | None = None,
    ) -> RunningTrial:
        """Return the context of one run of a job; see :class:`rheostat.sdk.trial.RunningTrial`.

        Args:
            job_id: The job, registered on entry.
            settings: What it asks of Rheostat.
            gpu: The GPUs of this run.
            node: Where it runs, for people who read the list of trials.
            max_batch_size: Largest batch size that this node can train with.
            idempotency_key: Names this run, so that a restarted trainer gets the same trial again.
        """
        request = PredictRequest(gpu=gpu, node=node, max_batch_size=max_batch_size)
        return RunningTrial(self, job_id, settings, request, idempotency_key)

    def register_job(self, job_id: str, settings: JobSettings) -> JobDetail:
        """Register a job; the same settings again change nothing."""
        return self._read(JobDetail, self._request("PUT", f"/v1/jobs/{_quoted(job_id)}", settings))

    def update_job(self, job_id: str, update: JobUpdate) -> JobDetail:
        """Change those settings of a job that the update names."""
        return self._read(JobDetail, self._request("PATCH", f"/v1/jobs/{_quoted(job_id)}", update))

    def list_jobs(self, *, limit: int = 50, cursor: str | None = None) -> JobPage:
        """Return a page of jobs, in alphabetical order."""
        return self._read(JobPage, self._request("GET", "/v1/jobs", parameters={"limit": limit, "cursor": cursor}))

    def get_job(self, job_id: str) -> JobDetail:
        """Return a job."""
        return self._read(JobDetail, self._request("GET", f"/v1/jobs/{_quoted(job_id)}"))

    def delete_job(self, job_id: str, *, force: bool = False) -> None:
        """Delete a job with all that was learnt of it; `force` also while trials run."""
        parameters = {"force": "true"} if force else {}
        self._request("DELETE", f"/v1/jobs/{_quoted(job_id)}", parameters=parameters)

    def predict(self, job_id: str, request: PredictRequest, *, idempotency_key: str | None = None) -> Trial:
        """Start a trial; the same key gives the same trial."""
        path = f"/v1/jobs/{_quoted(job_id)}/predict"
        return self._read(Trial, self._request("POST", path, request, headers=_key_header(idempotency_key)))

    def observe(self, trial_id: str, request: ObserveRequest) -> ObserveAnswer:
        """Report an evaluation, or the end of a trial."""
        return self._read(ObserveAnswer, self._request("POST", f"/v1/trials/{_quoted(trial_id)}/observe", request))

    def observe_run(
        self, job_id: str, request: ObserveRunRequest, *, idempotency_key: str | None = None
    ) -> ObserveRunAnswer:
        """Report a whole run that no `predict` started; the same key records it once."""
        path = f"/v1/jobs/{_quoted(job_id)}/observe"
        return self._read(ObserveRunAnswer, self._request("POST", path, request, headers=_key_header(idempotency_key)))

    def predict_power_limit(self, job_id: str, request: PredictPowerLimitRequest) -> PowerLimitAnswer:
        """Return the best power limit for a batch size, or what to measure first."""
        return self._read(PowerLimitAnswer, self._request("POST", f"/v1/jobs/{_quoted(job_id)}/power/predict", request))

    def observe_power_limit(self, job_id: str, request: ObservePowerLimitRequest) -> PowerLimitAnswer:
        """Report measured power limits; the answer is that of :meth:`predict_power_limit`."""
        return self._read(PowerLimitAnswer, self._request("POST", f"/v1/jobs/{_quoted(job_id)}/power/observe", request))

    def heartbeat(self, trial_id: str) -> HeartbeatAnswer:
        """Keep a trial's lease. Tried once: the next one comes soon."""
        path = f"/v1/trials/{_quoted(trial_id)}/heartbeat"
        return self._read(HeartbeatAnswer, self._request("POST", path, retry=False))

    def get_trial(self, trial_id: str) -> TrialDetail:
        """Return a trial."""
        return self._read(TrialDetail, self._request("GET", f"/v1/trials/{_quoted(trial_id)}"))

    def list_trials(
        self, job_id: str, *, state: TrialState | None = None, limit: int = 50, cursor: str | None = None
    ) -> TrialPage:
        """Return a page of a job's trials, newest first."""
        parameters = {"state": state, "limit": limit, "cursor": cursor}
        return self._read(TrialPage, self._request("GET", f"/v1/jobs/{_quoted(job_id)}/trials", parameters=parameters))

    def estimates(self, job_id: str) -> Estimates:
        """Return what the job's policy believes of each batch size."""
        return self._read(Estimates, self._request("GET", f"/v1/jobs/{_quoted(job_id)}/estimates"))

    def savings(self, job_id: str) -> Savings:
        """Return what the job saved against always running its default."""
        return self._read(Savings, self._request("GET", f"/v1/jobs/{_quoted(job_id)}/savings"))

    def _request(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        parameters: Mapping[str, str | int | None] | None = None,
        headers: Mapping[str, str] | None = None,
        retry: bool = True,
    ) -> bytes:
        """Return the body of the answer.

        Raises:
            ServerUnreachable: There was no usable answer within the time for retries.
            ServerRefused: The answer is an error.
        """
        request = self._http.build_request(
            method,
            path,
            params={name: value for name, value in (parameters or {}).items() if value is not None},
            # What is left to its default is the server's to decide.
            content=None if body is None else body.model_dump_json(exclude_unset=True),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        give_up_at = monotonic() + (self._retry_for_seconds if retry else 0.0)
        for attempt in count():
            try:
                status, content = self._try(request)
            except httpx.RequestError as error:
                failure: RheostatError = _no_answer(request, error)
                may_pass = True
            else:
                if status in _SUCCESS:
                    return content
                failure, may_pass = _error_answer(request, status, content)
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt) * _random.uniform(0.5, 1.0)
            if not may_pass or monotonic() + pause > give_up_at:
                break
            sleep(pause)
        raise failure

    def _try(self, request: httpx.Request) -> tuple[int, bytes]:
        """Return status and body, bounded as a whole: httpx's own timeout starts anew with every byte."""
        late_at = monotonic() + self._timeout_seconds
        response = self._http.send(request, stream=True)
        try:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if monotonic() > late_at or len(content) > _LARGEST_ANSWER_BYTES:
                    raise httpx.ReadTimeout("the answer goes on and on")
            return response.status_code, bytes(content)
        finally:
            response.close()

    def _read(self, answer: type[Answer], content: bytes) -> Answer:
        try:
            return answer.model_validate_json(content, extra="ignore")  # a newer server may say more
        except ValidationError as error:
            raise ServerUnreachable(
                f"{self.base_url} answered with something that is not a {answer.__name__}.", hint=_WHO_IS_THERE
            ) from error


def _token_of_environment() -> str:
    path = os.environ.get("RHEOSTAT_TOKEN_FILE")
    if os.environ.get("RHEOSTAT_TOKEN") or not path:
        return os.environ.get("RHEOSTAT_TOKEN", "")
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The token in RHEOSTAT_TOKEN_FILE cannot be read: {error}.") from error


def _no_answer(request: httpx.Request, error: httpx.RequestError) -> ServerUnreachable:
    return ServerUnreachable(
        f"No answer to {request.method} {request.url}: {str(error) or type(error).__name__}.",
        hint="Is the server running, and is RHEOSTAT_URL its address?",
    )


def _error_answer(request: httpx.Request, status: int, content: bytes) -> tuple[RheostatError, bool]:
    """Return the error that an answer stands for, and whether it may pass."""
    try:
        problem = Problem.model_validate_json(content, extra="ignore")
    except ValidationError:
        message = f"{request.method} {request.url} was answered with status {status} and no reason."
        return ServerUnreachable(message, hint=_WHO_IS_THERE), status in _GATEWAY_STATUSES
    fields = [FieldError(problem.field, problem.message) for problem in problem.fields]
    if problem.retryable and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerUnreachable(problem.detail, hint=problem.hint, fields=fields), True
    refused = ServerRefused(
        problem.detail,
        status=status,
        server_code=problem.code,
        server_retryable=problem.retryable,
        hint=problem.hint,
        fields=fields,
    )
    return refused, problem.retryable


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{url!r} is not an address: {error}.", hint=_ADDRESS_HINT) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError(f"{url!r} is not an address.", hint=_ADDRESS_HINT)
    return parsed


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _key_header(idempotency_key: str | None) -> dict[str, str]:
    """Return the header that makes a retry the same request: a trainer that gives no key gets one."""
    return {"Idempotency-Key": uuid4().hex if idempotency_key is None else idempotency_key}
