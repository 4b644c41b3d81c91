"""Every error that Rheostat raises on purpose.

::

    RheostatError                 code                      retry?
    ├── InvalidInput              invalid_input             no     a field is missing, malformed or out of bounds
    ├── NotFound
    │   ├── JobNotFound           job_not_found             no
    │   ├── TrialNotFound         trial_not_found           no
    │   └── TokenNotFound         token_not_found           no
    ├── Conflict
    │   ├── JobDiffers            job_differs               no     registered before, with other settings
    │   ├── JobBusy               job_busy                  yes    trials are still running
    │   ├── ReportContradicts     report_contradicts        no     another report of that epoch said otherwise
    │   ├── KeyReused             idempotency_key_reused    no     one key, two different requests
    │   ├── UnknownBatchSize      unknown_batch_size        no     not among the job's batch sizes
    │   ├── NoBatchSizeLeft       no_batch_size_left        no     none fits that GPU
    │   └── NoPowerLimitFits      no_power_limit_fits       no     none lies in that GPU's range
    ├── Unauthenticated
    │   ├── TokenRequired         token_required            no     the request carries no token
    │   └── TokenInvalid          token_invalid             no     unknown, revoked or expired
    ├── Forbidden
    │   ├── ScopeMissing          scope_missing             no     the token is not for that
    │   └── NamespaceForbidden    namespace_forbidden       no     the token is for another namespace
    ├── RateLimited               rate_limited              yes    too many requests with one token
    ├── PolicyFailed              policy_failed             no     a policy raised or answered nonsense
    ├── Unavailable
    │   ├── DatabaseUnavailable   database_unavailable      yes    not reachable, or out of space
    │   ├── DatabaseBusy          database_busy             yes    a lock was not had in time
    │   └── SchemaOutdated        schema_outdated           no     `rheostat db upgrade` is due
    ├── AgentError                                              the node agent refuses or fails
    │   ├── GpuNotFound           gpu_not_found             no
    │   ├── LeaseNotFound         lease_not_found           no     ended, expired, or never made
    │   ├── GpuHeld               gpu_held                  yes    another lease holds it; the message says whose
    │   ├── NotAllowed            not_allowed               no     the caller is not among those who may
    │   ├── GpuReadOnly           gpu_read_only             no     the agent may not change limits there
    │   ├── ForeignPowerLimit     foreign_power_limit       no     somebody else has set another limit
    │   ├── GpuUnsupported        gpu_unsupported           no     its power cannot be told or limited as a whole
    │   ├── GpuUnavailable        gpu_unavailable           yes    lost, hung, quiesced, or its limit not yet restored
    │   ├── GpuCallFailed         gpu_call_failed           yes    a call to the driver failed
    │   ├── DriverReloaded        driver_reloaded           yes    the agent must start anew
    │   └── LedgerFailed          ledger_failed             yes    nothing is changed that could not be noted first
    ├── ConfigurationError        configuration             no     a setting of this process is wrong
    ├── ServerUnreachable         server_unreachable        yes    (client) no answer from the server
    └── ServerRefused             as the server says        as it says (client) an answer that is an error

An error knows nothing of HTTP: ``rheostat.api.problems`` gives each its status.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a request.

    Attributes:
        field: Path of the field, as ``gpu.count`` or ``batch_sizes.2``.
        message: What is wrong with it and what would be right.
    """

    field: str
    message: str


class RheostatError(Exception):
    """Base of all errors; see the tree at the top of this module.

    Attributes:
        code: Stable, machine-readable name of the error.
        retryable: Whether the same request may succeed later, unchanged.
        hint: What the caller can do about it.
        fields: The fields at fault, where there are any.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", fields: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = tuple(fields)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidInput(RheostatError):
    """A field is missing, malformed, out of bounds, or at odds with another."""

    code = "invalid_input"


class NotFound(RheostatError):
    """The thing that the request names does not exist."""

    code = "not_found"


class JobNotFound(NotFound):
    """No job of that id is registered."""

    code = "job_not_found"


class TrialNotFound(NotFound):
    """No trial of that id exists."""

    code = "trial_not_found"


class TokenNotFound(NotFound):
    """No token of that id was ever made."""

    code = "token_not_found"


class Conflict(RheostatError):
    """The request is at odds with what is recorded."""

    code = "conflict"


class JobDiffers(Conflict):
    """The job was registered before, with other settings."""

    code = "job_differs"


class JobBusy(Conflict):
    """Trials of the job are still running."""

    code = "job_busy"
    retryable = True


class ReportContradicts(Conflict):
    """The report says something else than an earlier one did."""

    code = "report_contradicts"


class KeyReused(Conflict):
    """An ``Idempotency-Key`` came back with a different request."""

    code = "idempotency_key_reused"


class UnknownBatchSize(Conflict):
    """The batch size is not among those of the job."""

    code = "unknown_batch_size"


class NoBatchSizeLeft(Conflict):
    """No batch size of the job fits the GPU."""

    code = "no_batch_size_left"


class NoPowerLimitFits(Conflict):
    """No power limit of the job lies in the GPU's range."""

    code = "no_power_limit_fits"


class Unauthenticated(RheostatError):
    """Nobody knows who asks."""

    code = "unauthenticated"


class TokenRequired(Unauthenticated):
    """The request carries no token, and the server serves nobody without one."""

    code = "token_required"


class TokenInvalid(Unauthenticated):
    """The token is unknown, was revoked, or has expired; which of them is told to nobody."""

    code = "token_invalid"


class Forbidden(RheostatError):
    """Who asks may not do that."""

    code = "forbidden"


class ScopeMissing(Forbidden):
    """The token lacks the scope that the operation needs.

    Attributes:
        scope: The scope.
    """

    code = "scope_missing"

    def __init__(self, message: str, *, scope: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.scope = scope


class NamespaceForbidden(Forbidden):
    """The token is for another namespace than the one that the request names."""

    code = "namespace_forbidden"


class RateLimited(RheostatError):
    """One token makes more requests than the server lets it.

    Attributes:
        retry_after_seconds: When the next one will be taken.
    """

    code = "rate_limited"
    retryable = True

    def __init__(self, message: str, *, retry_after_seconds: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class PolicyFailed(RheostatError):
    """A policy raised, or answered with something that is not one of the job's settings."""

    code = "policy_failed"


class Unavailable(RheostatError):
    """The server cannot answer now."""

    code = "unavailable"
    retryable = True


class DatabaseUnavailable(Unavailable):
    """The database is not reachable, read-only or out of space."""

    code = "database_unavailable"


class DatabaseBusy(Unavailable):
    """A lock in the database was not had in time."""

    code = "database_busy"


class SchemaOutdated(Unavailable):
    """The database's schema is not the one that this version works with."""

    code = "schema_outdated"
    retryable = False


class AgentError(RheostatError):
    """The node agent refuses, or cannot do what it was asked."""

    code = "agent"


class GpuNotFound(AgentError):
    """The node has no GPU of that UUID."""

    code = "gpu_not_found"


class LeaseNotFound(AgentError):
    """The lease has ended, was let lapse, or never was."""

    code = "lease_not_found"


class GpuHeld(AgentError):
    """Another lease holds the GPU; the message says whose."""

    code = "gpu_held"
    retryable = True


class NotAllowed(AgentError):
    """The caller is not among those who may do that."""

    code = "not_allowed"


class GpuReadOnly(AgentError):
    """The driver or the site does not let the agent change limits of the GPU."""

    code = "gpu_read_only"


class ForeignPowerLimit(AgentError):
    """Somebody else has set another limit since; it is left as it is."""

    code = "foreign_power_limit"


class GpuUnsupported(AgentError):
    """The GPU cannot do that: it is partitioned, or too old."""

    code = "gpu_unsupported"


class GpuUnavailable(AgentError):
    """The GPU is lost, hung or quiesced, or an earlier limit is still to be restored."""

    code = "gpu_unavailable"
    retryable = True


class GpuCallFailed(AgentError):
    """A call to the driver failed."""

    code = "gpu_call_failed"
    retryable = True


class DriverReloaded(AgentError):
    """The driver was replaced underneath the agent, which must start anew."""

    code = "driver_reloaded"
    retryable = True


class LedgerFailed(AgentError):
    """The ledger could not be written, so that no limit may be changed."""

    code = "ledger_failed"
    retryable = True


class ConfigurationError(RheostatError):
    """A setting of this process is wrong; the message names it."""

    code = "configuration"


class ServerUnreachable(RheostatError):
    """The server gave no answer within the time and the tries allowed."""

    code = "server_unreachable"
    retryable = True


class ServerRefused(RheostatError):
    """The server answered with an error.

    Attributes:
        status: HTTP status of the answer.
        server_code: The stable code that the server gave.
        server_retryable: Whether the server says that a later try may succeed.
    """

    code = "server_refused"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        server_code: str,
        server_retryable: bool = False,
        hint: str = "",
        fields: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(message, hint=hint, fields=fields)
        self.status = status
        self.server_code = server_code
        self.server_retryable = server_retryable
