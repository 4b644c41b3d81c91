"""The GPUs of this node that a run has leased from the agent: their power limit and their energy."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock
from time import monotonic, monotonic_ns
from typing import TypeVar

from rheostat.errors import RheostatError, ServerRefused
from rheostat.schemas.agent import HEARTBEAT_SECONDS, EnergySource, LeaseRequest
from rheostat.sdk.gpu_energy import Energy, EnergyCount
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.node_report import Limits
from rheostat.sdk.threads import in_background

T = TypeVar("T")

_log = logging.getLogger("rheostat")

# A driver may round a limit, as to whole watts.
_ROUNDING_WATTS = 1.0
# How often to ask an agent that did not answer in time.
_PROBE_SECONDS = 1.0
# How long to wait until the limits are restored, and where the agent does not answer: what it was sent, it does when it
# goes on, and it restores the limits of a process that has ended.
_END_SECONDS, _SILENT_END_SECONDS = 2.0, 0.5
_LEASE_NOT_FOUND = "lease_not_found"
_RETRY_SECONDS = 0.5

READ_ONLY_CODES = frozenset({"gpu_read_only", "not_allowed"})
"""Refusals of a limit that are no surprise: the site or the driver lets nobody change it."""
INVALIDATING_REASONS = frozenset({"thermal", "hardware"})
"""What slows a GPU down so that a measurement of its limit says nothing of the limit."""


@dataclass(frozen=True, slots=True)
class TotalUsage:
    """What several GPUs used together, or one GPU in several windows.

    Attributes:
        energy_joules: The sum; None when one is unknown.
        throttle_reasons: What slowed any of them down; None when unknown for one.
    """

    energy_joules: float | None = 0.0
    throttle_reasons: frozenset[str] | None = frozenset()


def add_up(usages: Iterable[TotalUsage]) -> TotalUsage:
    """Return the sum."""
    total = TotalUsage()
    for usage in usages:
        energies = total.energy_joules, usage.energy_joules
        reasons = total.throttle_reasons, usage.throttle_reasons
        total = TotalUsage(
            None if energies[0] is None or energies[1] is None else energies[0] + energies[1],
            None if reasons[0] is None or reasons[1] is None else reasons[0] | reasons[1],
        )
    return total


def may_pass(error: RheostatError) -> bool:
    """Return whether the same request to the agent may succeed later."""
    return error.server_retryable if isinstance(error, ServerRefused) else error.retryable


class GpuLease:
    """A lease of GPUs, renewed by a thread until it is closed.

    When it is closed, or this process ends, the agent restores the limits that it found.

    Attributes:
        gpus: Their UUIDs.
        lease_id: The agent's id of the lease; another one after it had to be renewed.
        limits: The limit that was set last, and what came of it; empty once those found were restored.

    Args:
        agent: The node's agent.
        gpus: UUIDs.
        job_id: The job, shown to others who request the GPUs.
        trial_id: The trial; None without a server.

    Raises:
        RheostatError: The agent does not answer, or refuses the lease.
    """

    def __init__(self, agent: NodeAgent, gpus: Sequence[str], job_id: str, trial_id: str | None) -> None:
        self.gpus = list(gpus)
        self._agent = agent
        self._request = LeaseRequest(gpus=self.gpus, job_id=job_id, trial_id=trial_id)
        self._changing = Lock()
        self._limit_watts: float | None = None
        self.limits = Limits()
        self._changes = 0
        grant = agent.lease(self._request)
        self.lease_id = grant.lease_id
        self._energy = EnergyCount(agent, self.gpus)
        self._over = Event()
        in_background(partial(self._keep, grant.heartbeat_seconds), "gpu-lease")

    def limit(self, power_limit_watts: float) -> bool:
        """Set the limit of all GPUs, or of none; setting it again checks whether it is still in force.

        Returns:
            Whether it is in force: the site, the limit found or the board may cut it.

        Raises:
            RheostatError: It is refused, or another process has set another limit since.
        """
        self._limit_watts = power_limit_watts
        try:
            return self.try_limit(power_limit_watts)
        except ServerRefused as error:
            self._limit_watts = None
            self.limits = Limits(power_limit_watts, refusal=error.message)
            raise

    def try_limit(self, power_limit_watts: float) -> bool:
        """Set a limit as :meth:`limit` does, but for now only: a lease that had to be renewed begins without it."""
        answer = self._change(lambda lease_id: self._agent.set_power_limit(lease_id, power_limit_watts))
        self.limits = Limits(power_limit_watts, answer.gpus)
        for gpu in answer.gpus:
            # Where nothing limits the request, the driver has rounded it.
            missed = 0.0 if gpu.limited_by is None else abs(gpu.applied_watts - power_limit_watts)
            in_force = gpu.applied_watts if gpu.enforced_watts is None else min(gpu.applied_watts, gpu.enforced_watts)
            if max(missed, gpu.applied_watts - in_force) > _ROUNDING_WATTS:
                why = f", cut by {gpu.limited_by}" if gpu.limited_by else ""
                _log.info("GPU %s has %g W instead of %g W%s", gpu.gpu, in_force, power_limit_watts, why)
                return False
        return True

    def settle(self, best_watts: float | None) -> None:
        """Set the best limit; where it is unknown, those that were found before the lease, as its end does.

        A limit that is set meanwhile comes after it, and stays.

        Raises:
            RheostatError: The agent does not answer, or refuses it.
        """
        if best_watts is not None:
            self.limit(best_watts)
            return
        self._limit_watts = None
        self._change(self._agent.restore_power_limits)
        self.limits = Limits()

    def settle_until(self, best_watts: float | None, over: Event) -> None:
        """Settle as soon as it succeeds; give up when it is over, is refused for good, or another limit was set."""
        while not over.is_set():
            try:
                self.settle(best_watts)
            except RheostatError as error:
                if not may_pass(error):
                    _log.info("The power limit stays as it is: %s", error)
                    return
            else:
                return
            changes = self._changes
            over.wait(_RETRY_SECONDS)
            if self._changes != changes:
                return

    def settle_soon(self, best_watts: float | None) -> None:
        """Settle now, or in the background as soon as the agent lets us."""
        try:
            self.settle(best_watts)
        except RheostatError as error:
            _log.info("The power limit stays as it is for now: %s", error)
            in_background(partial(self.settle_until, best_watts, self._over), "power-limit")

    def _change(self, request: Callable[[str], T]) -> T:
        """Make a request that changes the limits of a lease; of a new one when there is none any more."""
        with self._changing:
            self._changes += 1
            try:
                return request(self.lease_id)
            except ServerRefused as error:
                if error.server_code != _LEASE_NOT_FOUND or self._over.is_set():
                    raise
            self._lease_again()
            return request(self.lease_id)

    def _lease_again(self) -> None:
        """Lease the GPUs again: the lease has expired because this process was stopped, or the agent has lost it."""
        self.lease_id = self._agent.lease(self._request).lease_id

    def usage(self, since_ns: int, until_ns: int) -> TotalUsage:
        """Return what the GPUs used between two moments of :func:`time.monotonic_ns`."""
        return add_up(
            TotalUsage(gpu.energy_joules, None if gpu.throttle_reasons is None else frozenset(gpu.throttle_reasons))
            for gpu in self._agent.energy(self.gpus, since_ns, until_ns).gpus
        )

    @property
    def energy_source(self) -> EnergySource:
        """How their energy is measured: the least precise source of any of them, as far as the agent has answered."""
        return self._energy.source

    @property
    def is_silent(self) -> bool:
        """Whether the agent kept a caller waiting, and has not answered since."""
        return self._energy.is_silent

    def energy(self, moment_ns: int | None = None) -> Energy | None:
        """Return the energy of all GPUs from the lease's begin to a moment, or to its end; None when it is unknown."""
        return self._energy.at(monotonic_ns() if moment_ns is None else moment_ns)

    def close(self) -> None:
        """Read the energy for the last time and end the lease. If the agent does not answer, it expires by itself."""
        if self._over.is_set():
            return
        self._over.set()
        self._energy.end(monotonic_ns())
        within_seconds = _SILENT_END_SECONDS if self.is_silent else _END_SECONDS
        if self._changing.acquire(timeout=within_seconds):
            try:
                with suppress(RheostatError):
                    self._agent.end_lease(self.lease_id, within_seconds)
            finally:
                self._changing.release()

    def _keep(self, pause_seconds: float) -> None:
        pause_seconds = min(pause_seconds, HEARTBEAT_SECONDS)
        due_at = monotonic() + pause_seconds
        while not self._over.wait(min(pause_seconds, _PROBE_SECONDS)):
            is_due = monotonic() >= due_at
            if is_due or self.is_silent:
                self._energy.note()
            if is_due:
                self._heartbeat()
                due_at = monotonic() + pause_seconds

    def _heartbeat(self) -> None:
        try:
            self._agent.heartbeat(self.lease_id)
        except ServerRefused as error:
            if error.server_code == _LEASE_NOT_FOUND:
                self._renew()
        except Exception as error:  # no failure here may disturb training
            _log.debug("The heartbeat to the agent failed: %s", error)

    def _renew(self) -> None:
        """Lease the GPUs again, under the limit that they should have."""
        with self._changing, suppress(RheostatError):
            if self._over.is_set():
                return
            self._lease_again()
            if self._limit_watts is not None:
                self._agent.set_power_limit(self.lease_id, self._limit_watts)
