"""All errors that Rheostat raises.

::

    RheostatError                 code                      retry?
    ├── InvalidInput              invalid_input             no     a field is missing, malformed or out of bounds
    ├── NotFound
    │   ├── JobNotFound           job_not_found             no
    │   ├── TrialNotFound         trial_not_found           no
    │   └── TokenNotFound         token_not_found           no
    ├── Conflict
    │   ├── JobDiffers            job_differs               no     already registered with other settings
    │   ├── JobBusy               job_busy                  yes    trials are still running
    │   ├── ReportContradicts     report_contradicts        no     differs from an earlier report of the epoch
    │   ├── KeyReused             idempotency_key_reused    no     the key belongs to a different request
    │   ├── UnknownBatchSize      unknown_batch_size        no     not among the job's batch sizes
    │   ├── NoBatchSizeLeft       no_batch_size_left        no     none fits the GPU's memory
    │   ├── NoPowerLimitFits      no_power_limit_fits       no     none is in the GPU's range
    │   └── TooManyPlacements     too_many_placements       no     the job has run on as many kinds of GPUs as it may
    ├── Unauthenticated
    │   ├── TokenRequired         token_required            no     the request carries no token
    │   └── TokenInvalid          token_invalid             no     unknown, revoked or expired
    ├── TooManyWrongTokens        too_many_wrong_tokens     yes    this address has sent too many invalid tokens
    ├── Forbidden
    │   ├── ScopeMissing          scope_missing             no     the token lacks the scope
    │   └── NamespaceForbidden    namespace_forbidden       no     the token is for another namespace
    ├── PolicyFailed              policy_failed             no     a policy raised, or returned an invalid answer
    ├── Unavailable
    │   ├── DatabaseUnavailable   database_unavailable      yes    unreachable, read-only or out of space
    │   ├── DatabaseBusy          database_busy             yes    timed out waiting for a lock or a connection
    │   └── SchemaOutdated        schema_outdated           no     run `rheostat db upgrade`
    ├── AgentError                                              the node agent refuses or fails
    │   ├── GpuNotFound           gpu_not_found             no
    │   ├── LeaseNotFound         lease_not_found           no     ended, expired or unknown
    │   ├── GpuHeld               gpu_held                  yes    another lease holds it; the message says which
    │   ├── NotAllowed            not_allowed               no     the caller lacks permission
    │   ├── GpuReadOnly           gpu_read_only             no     the agent may not change its power limit
    │   ├── ForeignPowerLimit     foreign_power_limit       no     another program has set a different limit
    │   ├── GpuUnsupported        gpu_unsupported           no     its power cannot be measured or limited as a whole
    │   ├── GpuUnavailable        gpu_unavailable           yes    lost, hung, quiesced, or not yet restored
    │   ├── GpuCallFailed         gpu_call_failed           yes    a call to the driver failed
    │   ├── DriverReloaded        driver_reloaded           yes    the agent must restart
    │   └── LedgerFailed          ledger_failed             yes    a change that cannot be recorded is not made
    ├── ConfigurationError        configuration             no     a setting of this process is invalid
    ├── ServerUnreachable         server_unreachable        yes    (client) the server does not answer
    └── ServerRefused             the server's              the server's  (client) the server answered with an error

Errors are independent of HTTP: ``rheostat.api.problems`` maps each to a status.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

_MAX_CAUSE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error in one field of a request.

    Attributes:
        field: Path of the field, as ``gpu.count`` or ``batch_sizes.2``.
        message: What is wrong with it, and what is valid.
    """

    field: str
    message: str


class RheostatError(Exception):
    """Base of all errors; see the tree at the top of this module.

    Attributes:
        code: The error's stable, machine-readable name.
        retryable: Whether the same request may succeed if it is sent again.
        hint: What the caller can do about it.
        fields: The invalid fields, if any.
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

    def cause_text(self) -> str:
        """Return in brackets the message of a library that is the cause, without the statement that SQLAlchemy adds.

        For the operator's eyes: it may name hosts and tables.
        """
        cause = getattr(self.__cause__, "orig", None) or self.__cause__
        text = str(cause).strip().partition("\n")[0] if cause is not None else ""
        return f" ({text[:_MAX_CAUSE_LENGTH]})" if text else ""


class InvalidInput(RheostatError):
    """A field is missing, malformed, out of bounds, or inconsistent with another."""

    code = "invalid_input"


class NotFound(RheostatError):
    """What the request names does not exist."""

    code = "not_found"


class JobNotFound(NotFound):
    """No job with that id is registered."""

    code = "job_not_found"


class TrialNotFound(NotFound):
    """No trial with that id exists."""

    code = "trial_not_found"


class TokenNotFound(NotFound):
    """No token with that id exists."""

    code = "token_not_found"


class Conflict(RheostatError):
    """The request conflicts with what is recorded."""

    code = "conflict"


class JobDiffers(Conflict):
    """The job is already registered with other settings."""

    code = "job_differs"


class JobBusy(Conflict):
    """Trials of the job are still running."""

    code = "job_busy"
    retryable = True


class ReportContradicts(Conflict):
    """The report differs from an earlier report of the same epoch."""

    code = "report_contradicts"


class KeyReused(Conflict):
    """The ``Idempotency-Key`` belongs to a different request."""

    code = "idempotency_key_reused"


class UnknownBatchSize(Conflict):
    """The batch size is not one of the job's."""

    code = "unknown_batch_size"


class NoBatchSizeLeft(Conflict):
    """None of the job's batch sizes fits the GPU's memory."""

    code = "no_batch_size_left"


class NoPowerLimitFits(Conflict):
    """None of the job's power limits is in the GPU's range."""

    code = "no_power_limit_fits"


class TooManyPlacements(Conflict):
    """The job has run on as many kinds of GPUs as one job may."""

    code = "too_many_placements"


class Unauthenticated(RheostatError):
    """The request is not authenticated."""

    code = "unauthenticated"


class TokenRequired(Unauthenticated):
    """The request carries no token, and the server requires one."""

    code = "token_required"


class TokenInvalid(Unauthenticated):
    """The token is unknown, revoked or expired; the answer does not say which."""

    code = "token_invalid"


class TooManyWrongTokens(RheostatError):
    """The token is not valid, and its address has sent too many that are not.

    Attributes:
        wait_seconds: How long the address should wait.
    """

    code = "too_many_wrong_tokens"
    retryable = True

    def __init__(self, message: str, *, wait_seconds: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.wait_seconds = wait_seconds


class Forbidden(RheostatError):
    """The caller is not permitted to do that."""

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
    """The token does not give access to the namespace that the request names."""

    code = "namespace_forbidden"


class PolicyFailed(RheostatError):
    """A policy raised, or returned what the job does not permit."""

    code = "policy_failed"


class Unavailable(RheostatError):
    """The server is temporarily unable to answer."""

    code = "unavailable"
    retryable = True


class DatabaseUnavailable(Unavailable):
    """The database is unreachable, read-only or out of space."""

    code = "database_unavailable"


class DatabaseBusy(Unavailable):
    """Timed out waiting for a lock on the database, or for a connection to it."""

    code = "database_busy"


class SchemaOutdated(Unavailable):
    """The database's schema is not the one that this version needs."""

    code = "schema_outdated"
    retryable = False


class AgentError(RheostatError):
    """The node agent refused the request, or failed to carry it out."""

    code = "agent"


class GpuNotFound(AgentError):
    """The node has no GPU with that UUID."""

    code = "gpu_not_found"


class LeaseNotFound(AgentError):
    """The lease has ended or expired, or never existed."""

    code = "lease_not_found"


class GpuHeld(AgentError):
    """Another lease holds the GPU; the message says which."""

    code = "gpu_held"
    retryable = True


class NotAllowed(AgentError):
    """The caller lacks permission for that."""

    code = "not_allowed"


class GpuReadOnly(AgentError):
    """The driver or the configuration does not allow the agent to change the GPU's power limit."""

    code = "gpu_read_only"


class ForeignPowerLimit(AgentError):
    """Another program has set a different limit since; the agent leaves it in place."""

    code = "foreign_power_limit"


class GpuUnsupported(AgentError):
    """The GPU does not support that: it is partitioned, or too old."""

    code = "gpu_unsupported"


class GpuUnavailable(AgentError):
    """The GPU is lost, hung or quiesced, or its earlier limit is not restored yet."""

    code = "gpu_unavailable"
    retryable = True


class GpuCallFailed(AgentError):
    """A call to the driver failed."""

    code = "gpu_call_failed"
    retryable = True


class DriverReloaded(AgentError):
    """The driver was reloaded while the agent ran; the agent must restart."""

    code = "driver_reloaded"
    retryable = True


class LedgerFailed(AgentError):
    """The ledger cannot be written, so no limit is changed."""

    code = "ledger_failed"
    retryable = True


class ConfigurationError(RheostatError):
    """A setting of this process is invalid; the message names it."""

    code = "configuration"


class ServerUnreachable(RheostatError):
    """The server did not answer within the allowed time and number of attempts."""

    code = "server_unreachable"
    retryable = True


class ServerRefused(RheostatError):
    """The server answered with an error.

    Attributes:
        status: The answer's HTTP status.
        server_code: The answer's error code.
        server_retryable: Whether the answer says that another attempt may succeed.
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
