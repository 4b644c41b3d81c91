"""The GPUs of a node and their leases. Thread-safe: each GPU is used on its own thread only."""

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic, sleep
from typing import TypeVar
from uuid import uuid4

from rheostat.agent.devices import Device, Driver
from rheostat.agent.guard import Guard
from rheostat.agent.lease import Lease, Leases, holder
from rheostat.agent.ledger import Ledger
from rheostat.agent.peer import ExitWatcher
from rheostat.agent.records import Entry, Owner, Terms
from rheostat.agent.site import Site
from rheostat.agent.states import GuardState
from rheostat.agent.status import GpuStatus
from rheostat.agent.worker import Timing, Worker
from rheostat.errors import AgentError, DriverReloaded, GpuNotFound, GpuUnavailable, LeaseNotFound
from rheostat.schemas.agent import AppliedLimit, GpuUsage, NodeGpu

T = TypeVar("T")

logger = logging.getLogger(__name__)

_HUNG_SECONDS = 2.0
_LAST_MISSING_SECONDS = 60.0
# How long an answer about energy waits for the latest power, where the GPU's thread is free to read it and where it is
# not; then power is carried on from the last one read.
_FREE_SECONDS, _BUSY_SECONDS = 0.02, 0.003


class _Gpu:
    """A guard and its thread."""

    def __init__(self, guard: Guard, uuid: str) -> None:
        self.guard = guard
        self.uuid = uuid
        self.worker = Worker(uuid, guard.check)


class Node:
    """The GPUs of this node.

    Args:
        driver: The driver of the GPUs.
        ledger: The ledger for the limits found; the caller holds its lock.
        site: What the site allows.
        on_reload: Called when the driver was replaced while in use, so that the agent must restart.
        timing: How long to wait for GPUs.
        clock: A monotonic clock in seconds, for leases.
    """

    def __init__(
        self,
        driver: Driver,
        ledger: Ledger,
        site: Site,
        on_reload: Callable[[DriverReloaded], None],
        *,
        timing: Timing,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._driver = driver
        self._ledger = ledger
        self._site = site
        self._on_reload = on_reload
        self._timing = timing
        self._clock = clock
        self._leases = Leases(ledger)
        self._exits = ExitWatcher()
        self._gpus: dict[str, _Gpu] = {}
        self._entries: dict[str, Entry] = {}
        self._terms: dict[str, Terms] = {}
        self._quiesced = False
        self._opening = threading.Lock()
        self._finder = threading.Thread(target=self._find_missing, name="missing GPUs", daemon=True)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Open the GPUs, with what a previous agent left on them.

        Raises:
            AgentError: When the driver cannot be used.
        """
        devices = self._driver.open()
        self._entries = self._ledger.read()
        self._terms = self._leases.readopt(self._entries, {device.description.uuid for device in devices}, self._clock)
        for lease in self._leases.all():
            self._exits.watch(lease.descriptor, lease.terms.lease_id)
        self._add(devices)
        for uuid in self.missing():
            logger.error("GPU %s, whose limit must be restored, is missing", uuid)
        self._finder.start()

    def _add(self, devices: Iterable[Device]) -> None:
        """Add GPUs, with the leases that continue."""
        added = {}
        for device in devices:
            uuid = device.description.uuid
            guard = Guard(
                device,
                self._ledger,
                self._site,
                self._on_reload,
                entry=self._entries.get(uuid),
                terms=self._terms.get(uuid),
                check_seconds=self._timing.check_seconds,
            )
            added[uuid] = _Gpu(guard, uuid)
        self._gpus = {**self._gpus, **added}
        self._wait_all([(gpu, gpu.worker.submit(gpu.guard.start)) for gpu in added.values()])

    def missing(self) -> set[str]:
        """Return the GPUs whose limit must be restored but that have been missing since the start."""
        return set(self._entries) - set(self._gpus)

    def _find_missing(self) -> None:
        """Add GPUs that respond later; on a thread of its own, because opening them may hang."""
        pause_seconds = self._timing.missing_seconds
        while (self.missing() or self._driver.unresponsive()) and not self._stopped.wait(pause_seconds):
            pause_seconds = min(2 * pause_seconds, _LAST_MISSING_SECONDS)
            try:
                with self._driver_lock():
                    if not self._quiesced:
                        self._add_missing()
            except AgentError as error:
                logger.warning("cannot look for missing GPUs: %s", error)

    def _add_missing(self) -> None:
        found = [device for device in self._driver.open() if device.description.uuid not in self._gpus]
        # Before they join their leases: whoever sees a GPU in a lease must find it here, too.
        self._add(found)
        for uuid in {device.description.uuid for device in found} & set(self._terms):
            lease_id = self._terms[uuid].lease_id
            try:
                self._leases.join(lease_id, uuid)
            except LeaseNotFound:  # it has ended since
                gpu = self._gpus[uuid]
                self._wait_all([(gpu, gpu.worker.submit(partial(gpu.guard.release, lease_id)))])

    def statuses(self) -> list[GpuStatus]:
        """Return each GPU's status, without a call to the driver."""
        return [gpu.guard.status for gpu in self._gpus.values()]

    def to_wire(self, uuids: Collection[str] | None = None) -> list[NodeGpu]:
        """Return the status of some GPUs, or of all, with their leases."""
        found = [status for status in self.statuses() if uuids is None or status.uuid in uuids]
        return [
            status.to_wire(self._leases.of(status.uuid), responds=not self.is_hung(status.uuid)) for status in found
        ]

    def has_unresponsive(self) -> bool:
        """Return whether the node has GPUs that did not respond when they were opened."""
        return bool(self._driver.unresponsive())

    def lease(self, lease_id: str) -> Lease:
        """Return a lease by id.

        Raises:
            LeaseNotFound: When there is no such lease.
        """
        return self._leases.get(lease_id)

    def problems(self) -> list[str]:
        """Return everything that keeps the node from being ready, as sentences."""
        found = [f"GPU {uuid} is missing, and its limit must still be restored." for uuid in self.missing()]
        found.extend(f"GPU {index} did not respond when it was opened." for index in self._driver.unresponsive())
        found.extend(self._ledger.problems())
        limited = any(self._site.allows_power_limits(uuid) for uuid in self._gpus)
        if limited and not self._driver.may_set_limits():
            found.append("The agent may not change power limits: it needs root or CAP_SYS_ADMIN.")
        if self._quiesced:
            found.append("The agent is quiesced; POST /v1/resume ends that.")
        for uuid, gpu in self._gpus.items():
            status = gpu.guard.status
            if self.is_hung(uuid):
                found.append(f"GPU {uuid} has not responded for {gpu.worker.busy_seconds:.0f} s.")
            elif status.read_only:
                found.append(f"The driver does not permit changing the power limit of GPU {uuid}.")
            elif status.state in {GuardState.RESTORE_FAILED, GuardState.SUSPENDED} and not self._quiesced:
                found.append(f"GPU {uuid} is {status.state}: {status.problem}")
        return found

    def is_hung(self, uuid: str) -> bool:
        """Return whether a GPU does not respond."""
        return self._gpus[uuid].worker.busy_seconds > _HUNG_SECONDS

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
        """Lease GPUs to a process, all or none; the node then owns the descriptor of the process.

        Raises:
            AgentError: When one of them is not available.
        """
        terms = Terms(uuid4().hex, owner, ttl_seconds, job_id, trial_id)
        lease = Lease(terms, tuple(dict.fromkeys(uuids)), descriptor, self._clock)
        try:
            gpus = [self._gpu(uuid) for uuid in lease.uuids]
            self._leases.add(lease)
        except AgentError:
            os.close(descriptor)
            raise
        self._exits.watch(descriptor, terms.lease_id)
        try:
            self._run_all([(gpu, partial(gpu.guard.hold, terms)) for gpu in gpus])
        except AgentError:
            self.end(terms.lease_id, "is withdrawn")
            raise
        self._leases.record(lease)
        return lease

    def set_power_limit(self, lease_id: str, milliwatts: int) -> list[AppliedLimit]:
        """Set the limit of all GPUs of a lease, or of none.

        Raises:
            AgentError: The error of the first GPU that failed; all keep their previous limits, or get them back as soon
                as they respond.
        """
        with self._changing(lease_id) as gpus:
            previous = [gpu.guard.status.target_milliwatts for gpu in gpus]
            try:
                return self._run_all([(gpu, partial(gpu.guard.apply, lease_id, milliwatts)) for gpu in gpus])
            except AgentError:
                back = [
                    (gpu, gpu.worker.submit(partial(gpu.guard.roll_back, lease_id, limit)))
                    for gpu, limit in zip(gpus, previous, strict=True)
                ]
                self._wait_all([pair for pair in back if not self.is_hung(pair[0].uuid)])
                raise

    def restore_power_limits(self, lease_id: str) -> None:
        """Restore the limits found on all GPUs of a lease, which goes on; raises when one cannot be restored yet."""
        with self._changing(lease_id) as gpus:
            self._run_all([(gpu, partial(gpu.guard.roll_back, lease_id, None)) for gpu in gpus])
            for status in (gpu.guard.status for gpu in gpus):
                if status.found_milliwatts is not None:
                    raise GpuUnavailable(f"GPU {status.uuid} is {status.state}: {status.problem or 'try again later'}")

    @contextmanager
    def _changing(self, lease_id: str) -> Iterator[list[_Gpu]]:
        """Give the GPUs of a lease, whose limits nobody else changes meanwhile, and renew it."""
        lease = self._leases.get(lease_id)
        if not lease.changing.acquire(timeout=self._timing.deadline_seconds):
            raise GpuUnavailable(f"Another request is changing the limits of lease {lease_id}.")
        try:
            yield [self._gpu(uuid) for uuid in lease.uuids]
        finally:
            lease.changing.release()
        lease.renew()

    def end(self, lease_id: str, why: str) -> list[str]:
        """End a lease, restore the limits found, and return its GPUs; hung ones are restored when they respond."""
        lease = self._leases.remove(lease_id)
        if lease is None:
            return []
        logger.info("lease of %s on %s %s", holder(lease.terms), ", ".join(lease.uuids), why)
        self._exits.forget(lease.descriptor)
        gpus = [self._gpus[uuid] for uuid in lease.uuids]
        self._wait_all([(gpu, gpu.worker.submit(partial(gpu.guard.release, lease_id))) for gpu in gpus])
        return list(lease.uuids)

    def usages(self, uuids: Sequence[str], since_ns: int | None, until_ns: int) -> list[GpuUsage]:
        """Return the energy that GPUs used in a window, by what is known within some milliseconds.

        Raises:
            GpuNotFound: When there is no such GPU.
        """
        gpus = [self._gpu(uuid) for uuid in uuids]
        behind = [gpu for gpu in gpus if gpu.guard.meter.is_behind(until_ns)]
        now = monotonic()
        waits = [_BUSY_SECONDS if gpu.worker.busy_seconds else _FREE_SECONDS for gpu in behind]
        refreshing = [gpu.worker.submit(gpu.guard.meter.refresh) for gpu in behind]
        for gpu, future, seconds in zip(behind, refreshing, waits, strict=True):
            with suppress(AgentError):  # the next check deals with it
                gpu.worker.wait(future, now + seconds)
        return [gpu.guard.meter.usage(since_ns, until_ns) for gpu in gpus]

    def quiesce(self) -> None:
        """Restore the limits found and close the driver, so that GPUs can be reset. Leases continue."""
        with self._driver_lock():
            if self._quiesced:
                return
            self._quiesced = True
            self._wait_all([(gpu, gpu.worker.submit(gpu.guard.suspend)) for gpu in self._gpus.values()])
            for gpu in self._gpus.values():
                gpu.guard.abandon()
            # It waits for hung calls, which may be the reason for the reset.
            closing = threading.Thread(target=self._driver.close, daemon=True)
            closing.start()
            closing.join(self._timing.deadline_seconds)

    def resume(self) -> None:
        """Open the GPUs again.

        Raises:
            AgentError: When the driver cannot be used; the agent then stays quiesced.
        """
        with self._driver_lock():
            if not self._quiesced:
                return
            devices: dict[str, Device] = {device.description.uuid: device for device in self._driver.open()}
            self._quiesced = False
            back = [(self._gpus[uuid], device) for uuid, device in devices.items() if uuid in self._gpus]
            self._wait_all([(gpu, gpu.worker.submit(partial(gpu.guard.resume, device))) for gpu, device in back])

    @contextmanager
    def _driver_lock(self) -> Iterator[None]:
        """Hold the lock for opening and closing the driver."""
        if not self._opening.acquire(timeout=2 * self._timing.deadline_seconds):
            raise GpuUnavailable("The driver hangs while it is being opened or closed.")
        try:
            yield
        finally:
            self._opening.release()

    def reap(self, seconds: float) -> None:
        """End the leases whose owners exit within `seconds`, as soon as one does, and those that have expired."""
        exited = [(lease_id, "ends: its process has exited") for lease_id in self._exits.wait(seconds)]
        expired = [(lease_id, "ends: it was not renewed in time") for lease_id in self._leases.expired()]
        # One lease's hung GPU must not delay the others.
        self._end_all(exited + expired, wait_seconds=0.1)

    def close(self) -> bool:
        """End all leases and close the driver; return whether every limit was restored."""
        give_up_at = monotonic() + self._timing.deadline_seconds
        self.end_all()
        while self.unrestored() and monotonic() < give_up_at:
            sleep(0.02)
        restored = not self.unrestored()
        self.stop()
        if restored:
            self._driver.close()
        return restored

    def stop(self) -> None:
        """End the threads, after the queued tasks; hung ones are not waited for."""
        self._stopped.set()
        for gpu in self._gpus.values():
            gpu.worker.stop()
        threads = [self._finder, *(gpu.worker.thread for uuid, gpu in self._gpus.items() if not self.is_hung(uuid))]
        deadline = monotonic() + self._timing.deadline_seconds
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - monotonic()))

    def end_all(self) -> None:
        """End all leases."""
        ended = [(lease.terms.lease_id, "ends: the agent ends all leases") for lease in self._leases.all()]
        self._end_all(ended, wait_seconds=1)

    def _end_all(self, ended: list[tuple[str, str]], wait_seconds: float) -> None:
        threads = [threading.Thread(target=self.end, args=pair, daemon=True) for pair in ended]
        for thread in threads:
            thread.start()
        give_up_at = monotonic() + wait_seconds
        for thread in threads:
            thread.join(max(0.0, give_up_at - monotonic()))

    def unrestored(self) -> list[GpuStatus]:
        """Return the GPUs that still have a limit of the agent's."""
        return [status for status in self.statuses() if status.found_milliwatts is not None]

    def _gpu(self, uuid: str) -> _Gpu:
        if uuid not in self._gpus:
            raise GpuNotFound(f"There is no GPU {uuid!r} on this node.", hint="GET /v1/gpus lists the GPUs.")
        return self._gpus[uuid]

    def _run_all(self, tasks: list[tuple[_Gpu, Callable[[], T]]]) -> list[T]:
        """Run tasks on several GPUs in parallel and wait for all; raise the first error."""
        deadline = monotonic() + self._timing.deadline_seconds
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

    def _wait_all(self, futures: list[tuple[_Gpu, "Future[None]"]]) -> None:
        """Wait for tasks that must be done; those not done by the deadline run later."""
        deadline = monotonic() + self._timing.deadline_seconds
        for gpu, future in futures:
            try:
                gpu.worker.wait(future, deadline, drop=False)
            except AgentError as error:
                logger.warning("%s", error)
