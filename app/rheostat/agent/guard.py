"""Guards one GPU: changes its limit, and restores the limit found unless another process has changed it since.

Everything here runs on the GPU's own thread (see `worker.py`), except reading `status`, which any thread may do.
Whatever fails, a method leaves the GPU in a state from which `check` or the next agent can continue.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic_ns

from rheostat.agent.devices import Device
from rheostat.agent.energy import EnergyMeter
from rheostat.agent.ledger import Ledger
from rheostat.agent.limits import PowerLimit
from rheostat.agent.records import Entry, Terms
from rheostat.agent.site import Site
from rheostat.agent.states import GuardState, LimitOrigin, close, is_ours, transition
from rheostat.agent.status import GpuStatus, to_watts
from rheostat.errors import (
    AgentError,
    DriverReloaded,
    ForeignPowerLimit,
    GpuCallFailed,
    GpuHeld,
    GpuUnavailable,
    GpuUnsupported,
    LeaseNotFound,
)
from rheostat.schemas.agent import AppliedLimit

logger = logging.getLogger(__name__)

_METER_RETRY_SECONDS = 0.02
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.05, 5.0
_FOREIGN_HINT = "The agent does not change it again during this lease."


class Guard:
    """Guards one GPU.

    Args:
        device: The GPU.
        ledger: The ledger for the limit found.
        site: What the site allows.
        on_reload: Called when the driver was replaced while in use.
        entry: The ledger entry that a previous agent left.
        terms: The lease of that entry, if its owner is still alive.
        check_seconds: How often to read the limit.
        clock_ns: A monotonic clock in nanoseconds.
    """

    def __init__(
        self,
        device: Device,
        ledger: Ledger,
        site: Site,
        on_reload: Callable[[DriverReloaded], None],
        *,
        entry: Entry | None,
        terms: Terms | None,
        check_seconds: float,
        clock_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._power = PowerLimit(device, site)
        self._ledger = ledger
        self._on_reload = on_reload
        self._check_seconds = check_seconds
        self._clock_ns = clock_ns
        self.meter = EnergyMeter(device, clock_ns)
        self._description = device.description
        self._uuid = device.description.uuid
        self._state = GuardState.SUSPENDED
        self._terms = terms
        self._entry = entry
        self._quiesced = False
        self._problem: str | None = None
        self._foreign_changes = self._restores = self._restore_failures = 0
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._due_ns = 0
        self.status = self._new_status()

    def start(self) -> None:
        """Determine the GPU's state, unless `check` already has."""
        if self._state is GuardState.SUSPENDED:
            self._reconcile()

    def hold(self, terms: Terms) -> None:
        """Assign the GPU to a lease.

        Raises:
            AgentError: When the GPU is not available.
        """
        if self._description.partitioned:
            raise GpuUnsupported(
                f"GPU {self._uuid} is partitioned (MIG).",
                hint="Power can be measured and limited for a whole GPU only.",
            )
        if self._terms is not None:
            raise GpuHeld(f"GPU {self._uuid} is held by lease {self._terms.lease_id}.")
        try:
            self._power.look()
            self._power.read_setting()
        except AgentError as error:
            self._record(error)
        if self._state is not GuardState.FREE or self._entry is not None:
            raise GpuUnavailable(f"GPU {self._uuid} is {self._state}: {self._problem or 'try again later'}")
        self._terms = terms
        self._transition(GuardState.HELD)
        with suppress(AgentError):  # the next check deals with it
            self.meter.poll()  # so that the energy is known from now on

    def apply(self, lease_id: str, requested_milliwatts: int) -> AppliedLimit:
        """Set the allowed limit closest to the requested one, for the lease that holds the GPU.

        Raises:
            AgentError: When it is not set; the GPU then keeps its previous limit.
        """
        if self._terms is None or self._terms.lease_id != lease_id:
            raise LeaseNotFound(f"Lease {lease_id} no longer holds GPU {self._uuid}.")
        self._power.require_settable()
        if self._state is GuardState.FOREIGN:
            raise ForeignPowerLimit(self._problem or "", hint=_FOREIGN_HINT)
        if self._state not in {GuardState.HELD, GuardState.VERIFIED}:
            raise GpuUnavailable(f"GPU {self._uuid} is {self._state}: {self._problem}")
        previous = self._entry.ours_milliwatts[-1] if self._entry else None
        try:
            return self._apply(self._terms, requested_milliwatts, previous)
        except AgentError as error:
            self._record(error)
            self._roll_back(previous)
            raise

    def roll_back(self, lease_id: str, previous_milliwatts: int | None) -> None:
        """Set the previous limit again; None: restore the limit found."""
        if self._terms is not None and self._terms.lease_id == lease_id:
            self._roll_back(previous_milliwatts)

    def release(self, lease_id: str) -> None:
        """End a lease: restore the limit found, unless another process has changed it since."""
        if self._terms is None or self._terms.lease_id != lease_id:
            return
        self._terms = None
        if self._state in {GuardState.HELD, GuardState.FOREIGN}:
            self._transition(GuardState.FREE)
        elif self._state in {GuardState.INTENT, GuardState.SET, GuardState.VERIFIED}:
            self._restore()

    def suspend(self) -> None:
        """Restore the limit found, and do not use the GPU until `resume`."""
        if self._entry is not None and self._state is not GuardState.SUSPENDED:
            self._restore()
        self._quiesced = True
        self.meter.pause()
        self._problem = "The agent is quiesced; POST /v1/resume ends that."
        self._transition(GuardState.SUSPENDED)

    def abandon(self) -> None:
        """Mark the GPU as quiesced, from another thread, while `suspend` hangs: the driver is about to be closed."""
        self._quiesced = True

    def resume(self, device: Device) -> None:
        """Use the GPU again, after it was reopened."""
        self._power.device, self._description = device, device.description
        self.meter, self._quiesced = EnergyMeter(device, self._clock_ns), False
        self._reconcile()

    def check(self) -> float:
        """Check the limit and read the energy, if due; return the number of seconds until the next call."""
        try:
            return self._check()
        except AgentError as error:
            self._record(error)
            return self._check_seconds

    def _check(self) -> float:
        if self._quiesced:
            return self._check_seconds
        if self._clock_ns() >= self._due_ns:
            self._due_ns = self._clock_ns() + round(self._check_seconds * 1e9)
            if self._state is GuardState.SUSPENDED:
                self._reconcile()
            elif self._state is GuardState.RESTORE_FAILED:
                self._restore()
            else:
                self._detect_foreign()
        pause = max(0, self._due_ns - self._clock_ns()) / 1e9
        if self._terms is None or self._state is GuardState.SUSPENDED:
            self.meter.pause()
            return pause
        try:
            return min(pause, self.meter.poll())
        except (GpuUnavailable, DriverReloaded):
            raise
        except AgentError as error:
            self._problem = str(error)
            return _METER_RETRY_SECONDS

    def _detect_foreign(self) -> None:
        """Check whether another process has changed the limit."""
        current = self._power.look()
        self.status = self._new_status()
        if self._state is GuardState.VERIFIED and self._entry is not None:
            if current is not None and not is_ours(current, self._entry.ours_milliwatts):
                self._mark_foreign(current)
        elif self._entry is not None:
            self._remove_entry()  # this failed when the limit was found to be foreign

    def _apply(self, terms: Terms, requested: int, previous: int | None) -> AppliedLimit:
        now = current = self._read()
        if previous is not None and not close(current, previous):
            raise self._mark_foreign(current)
        found = self._entry.found_milliwatts if self._entry else current
        target, limited_by = self._power.effective(requested, found)
        if target != current:
            ours = (target,) if previous is None else (previous, target)
            self._write_entry(Entry(self._uuid, found, ours, terms, pending_milliwatts=target))
            self._transition(GuardState.INTENT)
            if (now := self._read()) != current:
                raise self._mark_foreign(now)
            self._power.set(target)
            self._transition(GuardState.SET)
            if (made := self._power.read_back(target, current)) is None:
                raise self._mark_foreign(self._read())
            now = made
            self._write_entry(Entry(self._uuid, found, (now,), terms))
            self._transition(GuardState.VERIFIED)
        enforced = self._power.read_enforced()
        self._problem = None
        self.status = self._new_status()
        return AppliedLimit(
            gpu=self._uuid,
            requested_watts=requested / 1000,
            applied_watts=now / 1000,
            enforced_watts=to_watts(enforced),
            found_watts=found / 1000,
            limited_by=limited_by,
        )

    def _roll_back(self, previous: int | None) -> None:
        entry = self._entry
        if entry is None or self._state not in {GuardState.INTENT, GuardState.SET, GuardState.VERIFIED}:
            return
        if previous is None:
            self._restore()
            return
        try:
            current = self._read()
            if not is_ours(current, entry.ours_milliwatts) and entry.origin_of(current) is not LimitOrigin.OURS:
                self._mark_foreign(current)
                return
            if self._state is GuardState.VERIFIED:
                if close(current, previous):
                    return
                self._write_entry(replace(entry, ours_milliwatts=(*entry.ours_milliwatts, previous)))
                self._transition(GuardState.INTENT)
            if not close(current, previous):
                self._power.set(previous)
                if not close(self._read(), previous):
                    raise GpuCallFailed(f"The previous limit of GPU {self._uuid} could not be set.")
            self._write_entry(replace(entry, ours_milliwatts=(previous,), pending_milliwatts=None))
            self._transition(GuardState.VERIFIED)
        except AgentError as error:
            self._record(error)
            self._restore()

    def _restore(self) -> None:
        """Restore the limit found; never raises."""
        entry = self._entry
        if entry is None or self._state in {GuardState.SUSPENDED, GuardState.FOREIGN}:
            return
        is_pending = self._state is GuardState.SET
        self._transition(GuardState.RESTORING)
        try:
            current = self._read()
            origin = entry.origin_of(current)
            # A driver may show a limit that it has accepted only later: the one found must follow it.
            if origin is LimitOrigin.OURS or (is_pending and current == entry.found_milliwatts):
                self._power.set(entry.found_milliwatts)
                self._restores += 1
                current = self._read()
                origin = entry.origin_of(current)
                if origin is LimitOrigin.OURS and not self._power.is_made_of(current, entry.found_milliwatts):
                    raise GpuCallFailed(f"The driver accepted the limit found on GPU {self._uuid} but did not set it.")
            if origin is LimitOrigin.FOREIGN:
                self._mark_foreign(current)
                return
            self._remove_entry()
        except AgentError as error:
            self._record(error)
            if self._state is GuardState.RESTORING:
                self._restore_failures += 1
                self._transition(GuardState.RESTORE_FAILED)
                self._due_ns = self._clock_ns() + round(self._retry_seconds * 1e9)
                self._retry_seconds = min(2 * self._retry_seconds, _LAST_RETRY_SECONDS)
        else:
            self._retry_seconds = _FIRST_RETRY_SECONDS
            self._problem = None
            logger.info("GPU %s: restored the limit found, %g W", self._uuid, entry.found_milliwatts / 1000)
            self._transition(GuardState.FREE if self._terms is None else GuardState.HELD)

    def _reconcile(self) -> None:
        """Determine the GPU's state after a start, a reset or a resume."""
        try:
            self._power.read_setting()
            entry = self._entry
            if entry is None:
                self._power.look()
            else:
                origin = entry.origin_of(current := self._read())
                if origin is LimitOrigin.FOREIGN:
                    self._mark_foreign(current)
                    return
                if origin is LimitOrigin.OURS:
                    if self._terms is None or not self._power.is_allowed:
                        self._transition(GuardState.RESTORING)
                        self._restore()
                        return
                    self._write_entry(Entry(self._uuid, entry.found_milliwatts, (current,), self._terms))
                    self._problem = None
                    self._transition(GuardState.VERIFIED)
                    return
                self._remove_entry()
        except AgentError as error:
            self._record(error)
        else:
            self._problem = None
            self._transition(GuardState.FREE if self._terms is None else GuardState.HELD)

    def _mark_foreign(self, current: int) -> ForeignPowerLimit:
        """Report a limit that another process has set, and leave it."""
        self._foreign_changes += 1
        self._problem = f"Another process set the power limit of GPU {self._uuid} to {current / 1000:g} W."
        logger.warning("%s The agent leaves it.", self._problem)
        try:
            self._remove_entry()
        except AgentError as error:
            logger.error("GPU %s: %s", self._uuid, error)
        self._transition(GuardState.FOREIGN)
        if self._terms is None:
            self._transition(GuardState.FREE)
        return ForeignPowerLimit(self._problem, hint=_FOREIGN_HINT)

    def _record(self, error: AgentError) -> None:
        """Record an error of the GPU, and suspend it if it is lost."""
        if isinstance(error, ForeignPowerLimit):
            return
        self._problem = str(error)
        logger.warning("GPU %s: %s", self._uuid, error)
        if isinstance(error, DriverReloaded) and not self._quiesced:
            self._on_reload(error)
        if isinstance(error, GpuUnavailable | DriverReloaded):
            self._transition(GuardState.SUSPENDED)
        self.status = self._new_status()

    def _read(self) -> int:
        current = self._power.read()
        self.status = self._new_status()
        return current

    def _write_entry(self, entry: Entry) -> None:
        try:
            self._ledger.write(entry)
        except AgentError:
            if self._entry is None:  # it may be partly written, and must not be read later
                with suppress(AgentError):
                    self._remove_entry()
            raise
        self._entry = entry

    def _remove_entry(self) -> None:
        self._ledger.remove(self._uuid)
        self._entry = None

    def _transition(self, state: GuardState) -> None:
        self._state = transition(self._state, state)
        self.status = self._new_status()

    def _new_status(self) -> GpuStatus:
        entry = self._entry
        return GpuStatus(
            description=self._description,
            state=self._state,
            terms=self._terms,
            power_limit_milliwatts=self._power.milliwatts,
            enforced_milliwatts=self._power.enforced_milliwatts,
            found_milliwatts=entry.found_milliwatts if entry else None,
            target_milliwatts=entry.ours_milliwatts[-1] if entry else None,
            settable_milliwatts=self._power.settable(entry.found_milliwatts if entry else self._power.milliwatts),
            limits=self._power.support,
            power_scope=self._power.scope,
            power_profile=self._power.profile,
            problem=self._problem,
            foreign_changes=self._foreign_changes,
            restores=self._restores,
            restore_failures=self._restore_failures,
            read_only=self._power.is_read_only,
        )
