"""The GPUs of a node, and what leases do to them. Any thread may call; each GPU is touched on its own thread alone."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic, sleep
from typing import TypeVar
from uuid import uuid4

from rheostat.agent.devices import Device, Driver
from rheostat.agent.energy import Usage
from rheostat.agent.guard import Guard
from rheostat.agent.lease import Lease, Leases, holder
from rheostat.agent.ledger import Entry, Ledger, Owner, Terms
from rheostat.agent.peer import Deaths, reopen_owner
from rheostat.agent.site import Site
from rheostat.agent.states import State
from rheostat.agent.views import Applied, View
from rheostat.agent.worker import Worker
from rheostat.errors import AgentError, DriverReloaded, GpuNotFound, GpuUnavailable, LeaseNotFound

T = TypeVar("T")

logger = logging.getLogger(__name__)

# What a driver call may take before the caller is told that the GPU does not answer.
DEADLINE_SECONDS = 5.0
# A thread that has been at one thing for so long hangs.
HUNG_SECONDS = 2.0
_FIRST_MISSING_SECONDS, _LAST_MISSING_SECONDS = 2.0, 60.0


class _Gpu:
    """A guard and its thread."""

    def __init__(self, guard: Guard, uuid: str) -> None:
        self.guard = guard
        self.worker = Worker(uuid, guard.look)


class Node:
    """The GPUs of this node.

    Args:
        driver: Gives them.
        ledger: Where what was found on them is noted; the caller holds its lock.
        site: What the site allows.
        on_reload: Is told when the driver was replaced underneath, so that the agent must start anew.
        deadline_seconds: For what is done to one GPU.
    """

    def __init__(
        self,
        driver: Driver,
        ledger: Ledger,
        site: Site,
        on_reload: Callable[[DriverReloaded], None],
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._driver = driver
        self._ledger = ledger
        self._site = site
        self._on_reload = on_reload
        self._deadline_seconds = deadline_seconds
        self._leases = Leases()
        self._deaths = Deaths()
        self._gpus: dict[str, _Gpu] = {}
        self._entries: dict[str, Entry] = {}
        self._quiesced = False
        self._switching = threading.Lock()

    def start(self) -> None:
        """Take the GPUs over, with what an agent before left on them.

        Raises:
            AgentError: When the driver cannot be used.
        """
        devices = self._driver.open()
        self._entries = self._ledger.read()
        self._take(devices, self._readopt({device.description.uuid for device in devices}))
        for uuid in self.missing():
            logger.error("GPU %s, whose limit is to be restored, is not there", uuid)
        threading.Thread(target=self._look_for_missing, name="missing GPUs", daemon=True).start()

    def _take(self, devices: Iterable[Device], living: Mapping[str, Terms]) -> None:
        """Take over GPUs that were not there before, with the leases that go on."""
        new = {device.description.uuid: device for device in devices}
        taken = {}
        for uuid, device in new.items():
            entry = self._entries.get(uuid)
            guard = Guard(device, self._ledger, self._site, self._on_reload, entry=entry, terms=living.get(uuid))
            taken[uuid] = _Gpu(guard, uuid)
        self._gpus = {**self._gpus, **taken}
        self._settle([(gpu, gpu.worker.submit(gpu.guard.begin)) for gpu in taken.values()])

    def missing(self) -> set[str]:
        """Give the GPUs whose limit is to be restored but that have not been there since the start."""
        return set(self._entries) - set(self._gpus)

    def _look_for_missing(self) -> None:
        """A GPU that did not answer at the start may do so later; on a thread of its own, since it may hang."""
        pause_seconds = _FIRST_MISSING_SECONDS
        while self.missing() or self._driver.silent():
            sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LAST_MISSING_SECONDS)
            try:
                with self._switch():
                    if not self._quiesced:
                        self._take_missing()
            except AgentError as error:
                logger.warning("the missing GPUs cannot be looked for: %s", error)

    def _take_missing(self) -> None:
        found = [device for device in self._driver.open() if device.description.uuid not in self._gpus]
        self._take(found, self._rejoin({device.description.uuid for device in found} & set(self._entries)))

    def _readopt(self, uuids: set[str]) -> dict[str, Terms]:
        """Go on with the leases whose owners live."""
        living: dict[str, Terms] = {}
        by_terms: dict[Terms, list[str]] = {}
        for uuid in uuids & set(self._entries):
            by_terms.setdefault(self._entries[uuid].terms, []).append(uuid)
        for terms, held in by_terms.items():
            if (descriptor := reopen_owner(terms.owner)) is None:
                logger.info("%s has ended while no agent ran", holder(terms))
                continue
            self._leases.add(Lease(terms, tuple(sorted(held)), descriptor))
            self._deaths.watch(descriptor, terms.lease_id)
            living.update(dict.fromkeys(held, terms))
        return living

    def _rejoin(self, uuids: set[str]) -> dict[str, Terms]:
        """Give GPUs that come late back to the leases that have gone on without them."""
        joined = {}
        for uuid in uuids:
            with suppress(LeaseNotFound):
                terms = self._entries[uuid].terms
                self._leases.join(terms.lease_id, uuid)
                joined[uuid] = terms
        return joined

    def views(self) -> list[View]:
        """Give how every GPU stands, without asking the driver."""
        return [gpu.guard.view for gpu in self._gpus.values()]

    def lease_of(self, uuid: str) -> Lease | None:
        """Give the lease that has a GPU."""
        return self._leases.of(uuid)

    def lease(self, lease_id: str) -> Lease:
        """Give a lease.

        Raises:
            LeaseNotFound: When there is none of that id.
        """
        return self._leases.get(lease_id)

    def problems(self) -> list[str]:
        """Give all that keeps the node from its duty, in words."""
        told = [f"GPU {uuid} is not there, and its limit is still to be restored." for uuid in self.missing()]
        told.extend(f"GPU {index} did not answer when it was looked for." for index in self._driver.silent())
        told.extend(
            f"The ledger's {name} cannot be read: what was found there is not known. See to the limit, and remove it."
            for name in self._ledger.unreadable()
        )
        if not self._driver.may_set_limits():
            told.append("The agent may not change power limits: it needs root or CAP_SYS_ADMIN.")
        if self._quiesced:
            told.append("The agent has let go of the GPUs; `resume` takes them up again.")
        for uuid, gpu in self._gpus.items():
            view = gpu.guard.view
            if self.hangs(uuid):
                told.append(f"GPU {uuid} has not answered for {gpu.worker.busy_seconds:.0f} s.")
            elif view.read_only:
                told.append(f"The driver lets the agent change no power limit of GPU {uuid}.")
            elif view.state in {State.RESTORE_FAILED, State.SUSPENDED} and not self._quiesced:
                told.append(f"GPU {uuid} is {view.state}: {view.problem}")
        return told

    def hangs(self, uuid: str) -> bool:
        """Whether a GPU does not answer."""
        return self._gpus[uuid].worker.busy_seconds > HUNG_SECONDS

    def grant(
        self,
        uuids: Iterable[str],
        owner: Owner,
        descriptor: int,
        *,
        ttl_seconds: float,
        job_id: str | None,
        trial_id: str | None,
    ) -> Lease:
        """Give GPUs to a process, all or none; the descriptor of the process is ours then.

        Raises:
            AgentError: When it cannot have them all.
        """
        terms = Terms(uuid4().hex, owner, ttl_seconds, job_id, trial_id)
        lease = Lease(terms, tuple(dict.fromkeys(uuids)), descriptor)
        try:
            gpus = [self._gpu(uuid) for uuid in lease.uuids]
            self._leases.add(lease)
        except AgentError:
            os.close(descriptor)
            raise
        self._deaths.watch(descriptor, terms.lease_id)
        try:
            self._together([(gpu, partial(gpu.guard.hold, terms)) for gpu in gpus])
        except AgentError:
            self.end(terms.lease_id, "was not granted")
            raise
        return lease

    def set_power_limit(self, lease_id: str, milliwatts: int) -> list[Applied]:
        """Set the limit of all GPUs of a lease, or of none.

        Raises:
            AgentError: Of the first GPU that could not have it; all have the limits that they had before then, or get
                them as soon as they answer.
        """
        lease = self._leases.get(lease_id)
        if not lease.changing.acquire(timeout=self._deadline_seconds):
            raise GpuUnavailable(f"The limits of lease {lease_id} are being changed already.")
        try:
            gpus = [self._gpu(uuid) for uuid in lease.uuids]
            previous = [gpu.guard.view.target_milliwatts for gpu in gpus]
            try:
                applied = self._together([(gpu, partial(gpu.guard.apply, lease_id, milliwatts)) for gpu in gpus])
            except AgentError:
                back = [
                    (gpu, gpu.worker.submit(partial(gpu.guard.go_back, lease_id, limit)))
                    for gpu, limit in zip(gpus, previous, strict=True)
                ]
                self._settle([pair for pair in back if not self.hangs(pair[0].guard.view.description.uuid)])
                raise
        finally:
            lease.changing.release()
        lease.renew()
        return applied

    def end(self, lease_id: str, why: str) -> list[str]:
        """End a lease and put back what was found.

        Returns:
            Its GPUs; what they are like is in `views`. Those that hang are restored when they answer.
        """
        lease = self._leases.remove(lease_id)
        if lease is None:
            return []
        logger.info("the lease of %s on %s %s", holder(lease.terms), ", ".join(lease.uuids), why)
        self._deaths.forget(lease.descriptor)
        gpus = [self._gpus[uuid] for uuid in lease.uuids]
        self._settle([(gpu, gpu.worker.submit(partial(gpu.guard.release, lease_id))) for gpu in gpus])
        return list(lease.uuids)

    def usage(self, uuid: str, since_ns: int | None, until_ns: int, wait_seconds: float) -> Usage:
        """Tell what a GPU used; see `EnergyMeter.usage`.

        Raises:
            GpuNotFound: When there is no such GPU.
        """
        return self._gpu(uuid).guard.meter.usage(since_ns, until_ns, wait_seconds)

    def quiesce(self) -> None:
        """Put back what was found and let go of the driver, so that GPUs can be reset. Leases stay."""
        with self._switch():
            if self._quiesced:
                return
            self._quiesced = True
            futures = [(gpu, gpu.worker.submit(gpu.guard.suspend)) for gpu in self._gpus.values()]
            self._settle(futures)
            for gpu in self._gpus.values():
                gpu.guard.abandon()
            # It waits for calls that hang, which may be why the GPU is to be reset.
            closing = threading.Thread(target=self._driver.close, daemon=True)
            closing.start()
            closing.join(self._deadline_seconds)

    def resume(self) -> None:
        """Take the GPUs up again.

        Raises:
            AgentError: When the driver cannot be used; the GPUs stay let go of.
        """
        with self._switch():
            if not self._quiesced:
                return
            devices: dict[str, Device] = {device.description.uuid: device for device in self._driver.open()}
            self._quiesced = False
            back = [(self._gpus[uuid], device) for uuid, device in devices.items() if uuid in self._gpus]
            self._settle([(gpu, gpu.worker.submit(partial(gpu.guard.resume, device))) for gpu, device in back])

    @contextmanager
    def _switch(self) -> Iterator[None]:
        """Be the only one who opens or closes the driver."""
        if not self._switching.acquire(timeout=2 * self._deadline_seconds):
            raise GpuUnavailable("The driver is being opened or closed, and hangs.")
        try:
            yield
        finally:
            self._switching.release()

    def attend(self, seconds: float) -> None:
        """End the leases whose owners die, in the moment when they do, and those that lapse; returns after a while."""
        dead = [(lease_id, "ends: its process has ended") for lease_id in self._deaths.wait(seconds)]
        silent = [(lease_id, "ends: it was silent for too long") for lease_id in self._leases.lapsed()]
        # A GPU of one lease that hangs must not hold up the others'.
        self._end_all(dead + silent, wait_seconds=0.1)

    def close(self) -> bool:
        """End all leases and let go of the driver; tells whether every limit is back."""
        give_up_at = monotonic() + self._deadline_seconds
        self.end_all()
        while self._left() and monotonic() < give_up_at:
            sleep(0.02)
        left = self._left()
        for gpu in self._gpus.values():
            gpu.worker.stop()
        if not left:
            self._driver.close()
        return not left

    def end_all(self) -> None:
        """End all leases."""
        self._end_all(
            [(lease.terms.lease_id, "ends: the agent ends all") for lease in self._leases.all()], wait_seconds=1
        )

    def _end_all(self, ended: list[tuple[str, str]], wait_seconds: float) -> None:
        threads = [threading.Thread(target=self.end, args=pair, daemon=True) for pair in ended]
        for thread in threads:
            thread.start()
        give_up_at = monotonic() + wait_seconds
        for thread in threads:
            thread.join(max(0.0, give_up_at - monotonic()))

    def _left(self) -> bool:
        return any(view.found_milliwatts is not None for view in self.views())

    def _gpu(self, uuid: str) -> _Gpu:
        if uuid not in self._gpus:
            raise GpuNotFound(f"There is no GPU {uuid!r} on this node.", hint="GET /v1/gpus lists them.")
        return self._gpus[uuid]

    def _together(self, tasks: list[tuple[_Gpu, Callable[[], T]]]) -> list[T]:
        """Do something on several GPUs at once; raises the first failure when all have been waited for."""
        deadline = monotonic() + self._deadline_seconds
        futures = [(gpu, gpu.worker.submit(task)) for gpu, task in tasks]
        results, failures = [], []
        for gpu, future in futures:
            try:
                results.append(gpu.worker.wait(future, deadline))
            except AgentError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return results

    def _settle(self, futures: list[tuple[_Gpu, "Future[None]"]]) -> None:
        """Wait for what must be done in any case: what does not answer in time does it later."""
        deadline = monotonic() + self._deadline_seconds
        for gpu, future in futures:
            try:
                gpu.worker.wait(future, deadline, drop=False)
            except AgentError as error:
                logger.warning("%s", error)
