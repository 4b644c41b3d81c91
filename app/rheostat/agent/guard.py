"""Guards one GPU: changes its limit, and puts back what was found unless somebody else has changed it since.

Everything here runs on the GPU's own thread (see `worker.py`), but for `view`, which any thread may read. Whatever
fails, a method leaves the GPU in a state from which `look` or the next agent can go on.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from rheostat.agent.devices import Device
from rheostat.agent.energy import EnergyMeter
from rheostat.agent.ledger import Entry, Ledger, Terms
from rheostat.agent.site import Site
from rheostat.agent.states import State, Verdict, close, effective_limit, is_ours, judge, move
from rheostat.agent.views import Applied, View
from rheostat.errors import (
    AgentError,
    DriverReloaded,
    ForeignPowerLimit,
    GpuCallFailed,
    GpuHeld,
    GpuReadOnly,
    GpuUnavailable,
    GpuUnsupported,
    LeaseNotFound,
)

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_METER_RETRY_SECONDS = 0.02
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.05, 5.0


class Guard:
    """Guards one GPU.

    Args:
        device: The GPU.
        ledger: Where what was found is noted.
        site: What the site allows.
        on_reload: Is told when the driver was replaced underneath.
        entry: What an agent before us left there.
        terms: Its lease, where the owner still lives.
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
    ) -> None:
        self._device = device
        self._ledger = ledger
        self._site = site
        self._on_reload = on_reload
        self.meter = EnergyMeter(device)
        self._uuid = device.description.uuid
        self._state = State.SUSPENDED
        self._terms = terms
        self._entry = entry
        self._quiesced = False
        self._limit: int | None = None
        self._enforced: int | None = None
        self._problem: str | None = None
        self._foreign_changes = self._restores = self._failures = 0
        self._read_only = False
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._due = 0.0
        self.view = self._publish()

    def begin(self) -> None:
        """Find out where the GPU stands, unless `look` has already."""
        if self._state is State.SUSPENDED:
            self._reconcile()

    def hold(self, terms: Terms) -> None:
        """Let a lease have the GPU.

        Raises:
            AgentError: When it cannot have it now.
        """
        if self._device.description.partitioned:
            raise GpuUnsupported(
                f"GPU {self._uuid} is partitioned (MIG).", hint="Power is measured and limited for a whole GPU only."
            )
        if self._terms is not None:
            raise GpuHeld(f"GPU {self._uuid} is held by lease {self._terms.lease_id}.")
        if self._state is not State.FREE or self._entry is not None:
            raise GpuUnavailable(f"GPU {self._uuid} is {self._state}: {self._problem or 'it will be back'}")
        self._terms = terms
        self._go(State.HELD)

    def apply(self, lease_id: str, requested_milliwatts: int) -> Applied:
        """Set a limit, as far as it is allowed, for the lease that holds the GPU.

        Raises:
            AgentError: When it is not set; the GPU has the limit that it had before then.
        """
        if self._terms is None or self._terms.lease_id != lease_id:
            raise LeaseNotFound(f"The lease {lease_id} does not hold GPU {self._uuid} any more.")
        if not self._site.allows_power_limits(self._uuid):
            raise GpuReadOnly(f"The site lets nobody change the power limit of GPU {self._uuid}.")
        if self._state is State.FOREIGN:
            raise ForeignPowerLimit(self._problem or "", hint="It is left alone for as long as this lease lasts.")
        if self._state not in {State.HELD, State.VERIFIED}:
            raise GpuUnavailable(f"GPU {self._uuid} is {self._state}: {self._problem}")
        previous = self._entry.ours_milliwatts[-1] if self._entry else None
        try:
            return self._apply(self._terms, requested_milliwatts, previous)
        except AgentError as error:
            self._failed(error)
            self._go_back(previous)
            raise

    def go_back(self, lease_id: str, previous_milliwatts: int | None) -> None:
        """Undo what was set: back to the limit before it, or to the one found where there was none of ours."""
        if self._terms is not None and self._terms.lease_id == lease_id:
            self._go_back(previous_milliwatts)

    def release(self, lease_id: str) -> None:
        """End a lease: put back what was found, unless somebody else has changed it since."""
        if self._terms is None or self._terms.lease_id != lease_id:
            return
        self._terms = None
        if self._state in {State.HELD, State.FOREIGN}:
            self._go(State.FREE)
        elif self._state in {State.INTENT, State.SET, State.VERIFIED}:
            self._restore()

    def suspend(self) -> None:
        """Put back what was found and do not touch the GPU any more, until `resume`."""
        if self._entry is not None and self._state is not State.SUSPENDED:
            self._restore()
        self._quiesced = True
        self.meter.pause()
        self._problem = "The agent has let go of it: see `rheostat agent status`."
        self._go(State.SUSPENDED)

    def abandon(self) -> None:
        """Give up on `suspend`, from another thread, when it hangs: what comes back then finds no driver."""
        self._quiesced = True

    def resume(self, device: Device) -> None:
        """Go on with the GPU, opened anew."""
        self._device, self.meter, self._quiesced = device, EnergyMeter(device), False
        self._reconcile()

    def look(self) -> float:
        """Look after the GPU; returns in how many seconds to look again."""
        try:
            return self._look()
        except AgentError as error:
            self._failed(error)
            return _LOOK_SECONDS

    def _look(self) -> float:
        if self._quiesced:
            return _LOOK_SECONDS
        now = monotonic()
        if now >= self._due:
            self._due = now + _LOOK_SECONDS
            if self._state is State.SUSPENDED:
                self._reconcile()
            elif self._state is State.RESTORE_FAILED:
                self._restore()
            else:
                self._compare()
        pause = max(0.0, self._due - monotonic())
        if self._terms is None or self._state is State.SUSPENDED:
            self.meter.pause()
            return pause
        try:
            return min(pause, self.meter.poll())
        except (GpuUnavailable, DriverReloaded):
            raise
        except AgentError as error:
            self._problem = str(error)
            return _METER_RETRY_SECONDS

    def _compare(self) -> None:
        """See whether somebody else has changed the limit."""
        current = self._read()
        self._enforced = self._read_enforced()
        if self._state is State.VERIFIED and self._entry is not None:
            if not is_ours(current, self._entry.ours_milliwatts):
                self._foreign(current)
        elif self._entry is not None:
            self._forget()  # the ledger could not be written when the limit was found to be foreign

    def _apply(self, terms: Terms, requested: int, previous: int | None) -> Applied:
        current = self._read()
        if previous is not None and not close(current, previous):
            raise self._foreign(current)
        found = self._entry.found_milliwatts if self._entry else current
        target, limited_by = effective_limit(requested, found, self._site.bounds(self._device.description))
        if target != current:
            ours = (target,) if previous is None else (previous, target)
            self._note(Entry(self._uuid, found, ours, terms))
            self._go(State.INTENT)
            if (now := self._read()) != current:
                raise self._foreign(now)
            self._set(target)
            self._go(State.SET)
            if not close(now := self._read(), target):
                if now == current:
                    raise GpuCallFailed(f"The driver took a limit for GPU {self._uuid} but did not set it.")
                raise self._foreign(now)
            self._note(Entry(self._uuid, found, (target,), terms))
            self._go(State.VERIFIED)
        self._enforced = self._read_enforced()
        self._problem = None
        self.view = self._publish()
        assert self._limit is not None
        return Applied(self._uuid, requested, self._limit, self._enforced, found, limited_by)

    def _go_back(self, previous: int | None) -> None:
        entry = self._entry
        if entry is None or self._state not in {State.INTENT, State.SET, State.VERIFIED}:
            return
        if previous is None:
            self._restore()
            return
        try:
            current = self._read()
            if not is_ours(current, entry.ours_milliwatts):
                self._foreign(current)
                return
            if self._state is State.VERIFIED:
                if close(current, previous):
                    return
                self._note(Entry(self._uuid, entry.found_milliwatts, (*entry.ours_milliwatts, previous), entry.terms))
                self._go(State.INTENT)
            if not close(current, previous):
                self._set(previous)
                if not close(self._read(), previous):
                    raise GpuCallFailed(f"The limit of GPU {self._uuid} could not be set back.")
            self._note(Entry(self._uuid, entry.found_milliwatts, (previous,), entry.terms))
            self._go(State.VERIFIED)
        except AgentError as error:
            self._failed(error)
            self._restore()

    def _restore(self) -> None:
        """Put back what was found; never raises."""
        entry = self._entry
        if entry is None or self._state in {State.SUSPENDED, State.FOREIGN}:
            return
        self._go(State.RESTORING)
        try:
            current = self._read()
            verdict = judge(current, entry.found_milliwatts, entry.ours_milliwatts)
            if verdict is Verdict.OURS:
                self._set(entry.found_milliwatts)
                self._restores += 1
                current = self._read()
                verdict = judge(current, entry.found_milliwatts, entry.ours_milliwatts)
                if verdict is Verdict.OURS and not close(current, entry.found_milliwatts):
                    raise GpuCallFailed(f"The driver took the limit found on GPU {self._uuid} but did not set it.")
            if verdict is Verdict.FOREIGN:
                self._foreign(current)
                return
            self._forget()
        except AgentError as error:
            self._failed(error)
            if self._state is State.RESTORING:
                self._failures += 1
                self._go(State.RESTORE_FAILED)
                self._due = monotonic() + self._retry_seconds
                self._retry_seconds = min(2 * self._retry_seconds, _LAST_RETRY_SECONDS)
            return
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._problem = None
        logger.info("GPU %s: back at the limit found, %g W", self._uuid, entry.found_milliwatts / 1000)
        self._go(State.FREE if self._terms is None else State.HELD)

    def _reconcile(self) -> None:
        """Find out where the GPU stands, after a start, a reset or a resume."""
        try:
            current = self._read()
            entry = self._entry
            if entry is not None:
                verdict = judge(current, entry.found_milliwatts, entry.ours_milliwatts)
                if verdict is Verdict.FOREIGN:
                    self._foreign(current)
                    return
                if verdict is Verdict.OURS:
                    if self._terms is None:
                        self._go(State.RESTORING)
                        self._restore()
                        return
                    self._note(Entry(self._uuid, entry.found_milliwatts, (current,), self._terms))
                    self._problem = None
                    self._go(State.VERIFIED)
                    return
                self._forget()
        except AgentError as error:
            self._failed(error)
            return
        self._problem = None
        self._go(State.FREE if self._terms is None else State.HELD)

    def _foreign(self, current: int) -> ForeignPowerLimit:
        """Leave the limit to whoever set it, and report it."""
        self._foreign_changes += 1
        self._problem = f"Somebody else has set the power limit of GPU {self._uuid} to {current / 1000:g} W."
        logger.warning("%s It is left as it is.", self._problem)
        try:
            self._forget()
        except AgentError as error:
            logger.error("GPU %s: %s", self._uuid, error)
        self._go(State.FOREIGN)
        if self._terms is None:
            self._go(State.FREE)
        return ForeignPowerLimit(self._problem, hint="It is left alone for as long as this lease lasts.")

    def _failed(self, error: AgentError) -> None:
        """Note an error of the GPU; one that is lost is not touched until it is back."""
        if isinstance(error, ForeignPowerLimit):
            return
        self._problem = str(error)
        logger.warning("GPU %s: %s", self._uuid, error)
        if isinstance(error, GpuReadOnly):
            self._read_only = True
        if isinstance(error, DriverReloaded) and not self._quiesced:
            self._on_reload(error)
        if isinstance(error, GpuUnavailable | DriverReloaded):
            self._go(State.SUSPENDED)
        self.view = self._publish()

    def _read(self) -> int:
        self._limit = self._device.power_limit_milliwatts()
        self.view = self._publish()
        return self._limit

    def _read_enforced(self) -> int | None:
        with suppress(GpuUnsupported):
            return self._device.enforced_power_limit_milliwatts()
        return None

    def _set(self, milliwatts: int) -> None:
        self._device.set_power_limit_milliwatts(milliwatts)
        self._read_only = False

    def _note(self, entry: Entry) -> None:
        try:
            self._ledger.write(entry)
        except AgentError:
            if self._entry is None:  # half of it may be there: it must not be believed later
                with suppress(AgentError):
                    self._forget()
            raise
        self._entry = entry

    def _forget(self) -> None:
        self._ledger.remove(self._uuid)
        self._entry = None

    def _go(self, state: State) -> None:
        self._state = move(self._state, state)
        self.view = self._publish()

    def _publish(self) -> View:
        entry = self._entry
        found = entry.found_milliwatts if entry else self._limit
        return View(
            description=self._device.description,
            state=self._state,
            terms=self._terms,
            power_limit_milliwatts=self._limit,
            enforced_milliwatts=self._enforced,
            found_milliwatts=entry.found_milliwatts if entry else None,
            target_milliwatts=entry.ours_milliwatts[-1] if entry else None,
            settable_milliwatts=self._settable(found),
            problem=self._problem,
            foreign_changes=self._foreign_changes,
            restores=self._restores,
            failures=self._failures,
            read_only=self._read_only,
        )

    def _settable(self, found: int | None) -> tuple[int, int]:
        gpu = self._device.description
        found = gpu.max_power_limit_milliwatts if found is None else found
        if not self._site.allows_power_limits(self._uuid):
            return found, found
        bounds = self._site.bounds(gpu)
        lowest, _ = effective_limit(gpu.min_power_limit_milliwatts, found, bounds)
        highest, _ = effective_limit(gpu.max_power_limit_milliwatts, found, bounds)
        return lowest, highest
