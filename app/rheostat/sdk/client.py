"""The client of the server: one method for each operation, by the operation's name."""

import os
from ipaddress import ip_address
from pathlib import Path
from socket import gethostname
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx

from rheostat.errors import ConfigurationError
from rheostat.schemas.server import (
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
    Savings,
    Trial,
    TrialDetail,
    TrialPage,
    TrialState,
)
from rheostat.sdk.courier import quoted
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.survey import NamedGpus
from rheostat.sdk.transport import Transport
from rheostat.sdk.trial import Run, RunningTrial

DEFAULT_URL = "http://127.0.0.1:8420"

_WHO_IS_THERE = "Is a Rheostat server of this version there, or a proxy or another program?"
_ADDRESS_HINT = "Write it as http://host:8420."


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
        token = (_token_of_environment() if token is None else token).strip()
        if not token.isascii() or not token.isprintable():
            raise ConfigurationError("The token has characters that a header cannot carry.")
        url = _checked(self.base_url)
        try:
            http = httpx.Client(
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
        self.transport = Transport(
            http,
            timeout_seconds=timeout_seconds,
            retry_for_seconds=retry_for_seconds,
            unreachable_hint="Is the server running, and is RHEOSTAT_URL its address?",
            garbage_hint=_WHO_IS_THERE,
        )

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
        self.transport.close()

    def trial(
        self,
        job_id: str,
        settings: JobSettings,
        gpu: Gpu | None = None,
        *,
        gpus: NamedGpus = None,
        node: str | None = None,
        max_batch_size: int | None = None,
        idempotency_key: str | None = None,
        node_agent: NodeAgent | None = None,
    ) -> RunningTrial:
        """Return the context of one run of a job; see :class:`rheostat.sdk.trial.RunningTrial`.

        Args:
            job_id: The job, registered on entry.
            settings: What it asks of Rheostat.
            gpu: What the GPUs of this run are; by default what the node's agent says.
            gpus: UUIDs or numbers of this process's GPUs; by default ``RHEOSTAT_GPUS``, else what PyTorch and CUDA say:
                one of them, or with ``"visible"`` all that ``CUDA_VISIBLE_DEVICES`` names.
            node: Where it runs, for people who read the list of trials; by default the host's name.
            max_batch_size: Largest batch size that this node can train with.
            idempotency_key: Names this run, so that a restarted trainer gets the same trial again.
            node_agent: The node's agent; by default the one in ``RHEOSTAT_AGENT_DIR``, if one is there.
        """
        run = Run(gpu, gpus, node or gethostname()[:128] or None, max_batch_size, idempotency_key, node_agent)
        return RunningTrial(self, job_id, settings, run)

    def register_job(self, job_id: str, settings: JobSettings) -> JobDetail:
        """Register a job; the same settings again change nothing."""
        return self.transport.ask(JobDetail, "PUT", f"/v1/jobs/{quoted(job_id)}", settings)

    def update_job(self, job_id: str, update: JobUpdate) -> JobDetail:
        """Change those settings of a job that the update names."""
        return self.transport.ask(JobDetail, "PATCH", f"/v1/jobs/{quoted(job_id)}", update)

    def list_jobs(self, *, limit: int = 50, cursor: str | None = None) -> JobPage:
        """Return a page of jobs, in alphabetical order."""
        return self.transport.ask(JobPage, "GET", "/v1/jobs", parameters={"limit": limit, "cursor": cursor})

    def get_job(self, job_id: str) -> JobDetail:
        """Return a job."""
        return self.transport.ask(JobDetail, "GET", f"/v1/jobs/{quoted(job_id)}")

    def delete_job(self, job_id: str, *, force: bool = False) -> None:
        """Delete a job with all that was learnt of it; `force` also while trials run."""
        parameters = {"force": "true"} if force else {}
        self.transport.request("DELETE", f"/v1/jobs/{quoted(job_id)}", parameters=parameters)

    def predict(self, job_id: str, request: PredictRequest, *, idempotency_key: str | None = None) -> Trial:
        """Start a trial; the same key gives the same trial."""
        path = f"/v1/jobs/{quoted(job_id)}/predict"
        return self.transport.ask(Trial, "POST", path, request, headers=_key_header(idempotency_key))

    def observe(self, trial_id: str, request: ObserveRequest) -> ObserveAnswer:
        """Report an evaluation, or the end of a trial."""
        return self.transport.ask(ObserveAnswer, "POST", f"/v1/trials/{quoted(trial_id)}/observe", request)

    def observe_run(
        self, job_id: str, request: ObserveRunRequest, *, idempotency_key: str | None = None
    ) -> ObserveRunAnswer:
        """Report a whole run that no `predict` started; the same key records it once."""
        path = f"/v1/jobs/{quoted(job_id)}/observe"
        return self.transport.ask(ObserveRunAnswer, "POST", path, request, headers=_key_header(idempotency_key))

    def predict_power_limit(self, job_id: str, request: PredictPowerLimitRequest) -> PowerLimitAnswer:
        """Return the best power limit for a batch size, or what to measure first."""
        return self.transport.ask(PowerLimitAnswer, "POST", f"/v1/jobs/{quoted(job_id)}/power/predict", request)

    def observe_power_limit(self, job_id: str, request: ObservePowerLimitRequest) -> PowerLimitAnswer:
        """Report measured power limits; the answer is that of :meth:`predict_power_limit`."""
        return self.transport.ask(PowerLimitAnswer, "POST", f"/v1/jobs/{quoted(job_id)}/power/observe", request)

    def heartbeat(self, trial_id: str) -> HeartbeatAnswer:
        """Keep a trial's lease. Tried once: the next one comes soon."""
        path = f"/v1/trials/{quoted(trial_id)}/heartbeat"
        return self.transport.ask(HeartbeatAnswer, "POST", path, retry=False)

    def get_trial(self, trial_id: str) -> TrialDetail:
        """Return a trial."""
        return self.transport.ask(TrialDetail, "GET", f"/v1/trials/{quoted(trial_id)}")

    def list_trials(
        self, job_id: str, *, state: TrialState | None = None, limit: int = 50, cursor: str | None = None
    ) -> TrialPage:
        """Return a page of a job's trials, newest first."""
        parameters = {"state": state, "limit": limit, "cursor": cursor}
        return self.transport.ask(TrialPage, "GET", f"/v1/jobs/{quoted(job_id)}/trials", parameters=parameters)

    def estimates(self, job_id: str) -> Estimates:
        """Return what the job's policy believes of each batch size."""
        return self.transport.ask(Estimates, "GET", f"/v1/jobs/{quoted(job_id)}/estimates")

    def savings(self, job_id: str) -> Savings:
        """Return what the job saved against always running its default."""
        return self.transport.ask(Savings, "GET", f"/v1/jobs/{quoted(job_id)}/savings")


def _token_of_environment() -> str:
    path = os.environ.get("RHEOSTAT_TOKEN_FILE")
    if os.environ.get("RHEOSTAT_TOKEN") or not path:
        return os.environ.get("RHEOSTAT_TOKEN", "")
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The token in RHEOSTAT_TOKEN_FILE cannot be read: {error}.") from error


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


def _key_header(idempotency_key: str | None) -> dict[str, str]:
    """Return the header that makes a retry the same request: a trainer that gives no key gets one."""
    return {"Idempotency-Key": uuid4().hex if idempotency_key is None else idempotency_key}
