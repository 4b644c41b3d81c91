"""The wire models of the node agent: every body that passes over its Unix socket, shared by agent and client.

Limits are in watts and may have a fraction, as an administrator's may. Times at which energy is read are nanoseconds on
CLOCK_MONOTONIC, which all processes of a node share (`time.monotonic_ns()`).
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rheostat.schemas.fields import BatchSize, Body, JobId, Joules, Seconds, TrialId, Whole

DEFAULT_DIRECTORY = Path("/run/rheostat")
"""Where socket and ledger are. On tmpfs: they are lost in a reboot, like power limits."""
DIRECTORY_VARIABLE = "RHEOSTAT_AGENT_DIR"
SOCKET_NAME = "agent.sock"

MAX_GPUS = 64
HEARTBEAT_SECONDS = 15.0

Uuid = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,95}$", examples=["GPU-6b8cf0c4-0a53-4f0c-9d55-9c1d7b1f4f1a"])
]
LimitWatts = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
TtlSeconds = Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)]
Pid = Annotated[int, Field(ge=1, le=2**22), Whole]
MomentNs = Annotated[int, Field(ge=0, le=2**63 - 1)]
LimitSupport = Literal["allowed", "forbidden", "unsupported"]
PowerScope = Literal["gpu", "module"]
GpuState = Literal["free", "held", "intent", "set", "verified", "restoring", "suspended", "foreign", "restore_failed"]


def _distinct(uuids: list[str]) -> list[str]:
    if len(set(uuids)) != len(uuids):
        raise ValueError("must not name a GPU twice")
    return uuids


class LeaseRequest(Body):
    """The body of `POST /v1/leases`."""

    gpus: Annotated[list[Uuid], Field(min_length=1, max_length=MAX_GPUS), AfterValidator(_distinct)]
    ttl_seconds: TtlSeconds = Field(60.0, description="The lease expires when no request renews it for longer.")
    job_id: JobId | None = None
    trial_id: TrialId | None = None
    pid: Pid | None = Field(
        None, description="The process whose end ends the lease; null: the caller. Another one must be yours."
    )


class LeaseGrant(Body):
    """The answer: a lease, until the process ends or no longer renews it."""

    lease_id: str
    gpus: list[str]
    ttl_seconds: float
    heartbeat_seconds: float = Field(description="How often to renew it.")
    expires_at: datetime


class PowerLimitRequest(Body):
    """The body of `PUT /v1/leases/{lease_id}/power-limit`."""

    power_limit_watts: LimitWatts = Field(description="Of each GPU of the lease.")


class AppliedLimit(Body):
    """The limit of a GPU after a request."""

    gpu: str
    requested_watts: float
    applied_watts: float = Field(description="As read back from the driver.")
    enforced_watts: float | None = Field(
        description="The limit in force; may be lower because of a limit from elsewhere."
    )
    found_watts: float = Field(description="The limit that will be restored.")
    limited_by: Literal["driver", "site", "found"] | None = Field(description="What lowered or raised the request.")


class AppliedLimits(Body):
    """The answer: the limits of all GPUs of the lease."""

    gpus: list[AppliedLimit]


class Holder(Body):
    """The lease that holds a GPU, and its process."""

    lease_id: str
    pid: int
    user: str
    job_id: str | None
    trial_id: str | None
    expires_at: datetime | None


class NodeGpu(Body):
    """The state of a GPU; null is unknown."""

    gpu: str
    index: int
    model: str
    state: GpuState
    min_power_limit_watts: float | None
    max_power_limit_watts: float | None
    default_power_limit_watts: float | None
    power_limit_watts: float | None
    enforced_watts: float | None = Field(
        description="The limit in force; lower than the one set when something outside the driver caps the GPU."
    )
    found_watts: float | None = Field(
        description="The limit that will be restored; null: the agent has not changed it."
    )
    target_watts: float | None
    lowest_settable_watts: float | None = Field(
        description="Lowest limit that a lease may set, by driver, site and the limit found; null: it may set none."
    )
    highest_settable_watts: float | None = Field(description="Highest; also bounded by a cap from outside the driver.")
    limits: LimitSupport = Field(
        "allowed", description="Whether limits may be set: forbidden by the site, or not supported by the driver."
    )
    partitioned: bool = Field(False, description="Split by MIG, and so not leased: power is per whole GPU.")
    simulated: bool = Field(False, description="Draws no power: its energy is worked out from its steps.")
    power_scope: PowerScope | None = Field(
        None, description="module: power is also limited for GPU and processor together, as on Grace Hopper."
    )
    power_profile: str | None = Field(None, description="Workload power profiles in force.")
    holder: Holder | None
    answers: bool = Field(description="Whether the driver responds for it.")
    problem: str | None
    foreign_changes: int


class NodeGpus(Body):
    """The answer of `GET /v1/gpus`."""

    gpus: list[NodeGpu]
    visible: list[str] | None = Field(
        None,
        description="The GPUs that your process may use, in the order in which CUDA numbers them for it before "
        "CUDA_VISIBLE_DEVICES; null: unknown.",
    )
    visible_by: str = Field("", description="How that was found.")
    version: str | None = Field(None, description="The agent's version.")
    problems: list[str] = Field(default_factory=list, description="What keeps the agent from being ready.")


class LeaseAnswer(Body):
    """The answer to a heartbeat, to the end of a limit and to the end of a lease."""

    lease_id: str
    expires_at: datetime | None = Field(description="null: it has ended.")
    gpus: list[NodeGpu]


EnergySource = Literal["counter", "power_samples", "power_readings"]
"""`counter`: the GPU's energy counter, between its ticks carried on by power. `power_samples`: the driver's samples of
power, added up. `power_readings`: power, read often, which the driver may average over a second."""


class GpuUsage(Body):
    """What a GPU used in a window; null is unknown, never zero."""

    gpu: str
    energy_joules: Joules | None
    cumulative_joules: Joules | None = Field(
        description="Running total up to the window's end; take differences within one series."
    )
    series: str
    known_from_ns: MomentNs | None = Field(
        None, description="Since when the running total of this series is unbroken; null: unknown."
    )
    source: EnergySource
    resolution_seconds: float | None = Field(description="How far apart the readings around the window's edges are.")
    unknown_because: str | None
    throttle_reasons: list[Literal["power_cap", "thermal", "hardware"]] | None


class EnergyAnswer(Body):
    """The answer of `GET /v1/energy`."""

    since_ns: int | None
    until_ns: int
    gpus: list[GpuUsage]


class SimulatedSteps(Body):
    """The body of `POST /v1/simulated-steps`: training steps that run at once in simulated time."""

    gpu: Uuid
    batch_size: BatchSize
    steps: Annotated[int, Field(ge=1, le=1_000_000_000), Whole]


class SimulatedUsage(Body):
    """The answer: time and energy of the steps under the limit in force."""

    gpu: str
    power_limit_watts: float
    time_seconds: Seconds
    energy_joules: Joules


class AgentHealth(Body):
    """The answer of `GET /healthz` and `GET /readyz`."""

    status: Literal["ok", "not_ready"]
    problems: list[str]


class EnergyQuery(Body):
    """The query of `GET /v1/energy`."""

    gpu: Annotated[list[Uuid], Field(max_length=MAX_GPUS)] | None = Field(None, description="None: all. Repeatable.")
    since_ns: MomentNs | None = Field(None, description="None: only the running total at the end.")
    until_ns: MomentNs | None = Field(None, description="None: now.")

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.since_ns is not None and self.until_ns is not None and self.since_ns > self.until_ns:
            raise ValueError("until_ns must not be before since_ns")
        return self
