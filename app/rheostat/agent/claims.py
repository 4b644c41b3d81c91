"""One agent per GPU, whatever its runtime directory: a lock for each GPU in a place that all agents of a node know.

The ledger's own lock keeps a second agent from the same directory only. Two agents with different ones would each take
the other's limit for what they found.
"""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rheostat.agent.devices import Device, Driver
from rheostat.agent.simulated import SimulatedDriver
from rheostat.errors import ConfigurationError
from rheostat.schemas.agent import DEFAULT_DIRECTORY

logger = logging.getLogger(__name__)

LOCKS_VARIABLE = "RHEOSTAT_LOCKS_DIR"
_MAX_OWNER_BYTES = 4096


def locks_directory() -> Path:
    """Return where the locks are; without root another place, which only this user's agents know."""
    if directory := os.environ.get(LOCKS_VARIABLE):
        return Path(directory)
    if os.geteuid() == 0:
        return DEFAULT_DIRECTORY / "locks"
    return Path(tempfile.gettempdir()) / f"rheostat-locks-{os.geteuid()}"


class ClaimedDriver:
    """A driver whose GPUs no other agent has; they are locked from the first `open` on.

    Args:
        driver: The driver.
        place: The agent's directory, for the message to another agent.
    """

    def __init__(self, driver: Driver, place: Path) -> None:
        self._driver = driver
        self._place = place
        self._locks: dict[str, int | None] = {}
        self._is_started = False

    def open(self) -> list[Device]:
        """See `Driver`.

        Raises:
            ConfigurationError: Another agent has one of the GPUs. One that responds only later is then left out.
        """
        devices = []
        for device in self._driver.open():
            try:
                self._claim(device.description.uuid)
            except ConfigurationError as error:
                if not self._is_started:
                    self._driver.close()
                    raise
                logger.error("%s", error)
            else:
                devices.append(device)
        self._is_started = True
        return devices

    def unresponsive(self) -> tuple[int, ...]:
        """See `Driver`."""
        return self._driver.unresponsive()

    def close(self) -> None:
        """See `Driver`; the locks stay, since GPUs that are reset are still this agent's."""
        self._driver.close()

    def may_set_limits(self) -> bool:
        """See `Driver`."""
        return self._driver.may_set_limits()

    def release(self) -> None:
        """Unlock all; another agent may have the GPUs now."""
        for lock in self._locks.values():
            if lock is not None:
                os.close(lock)
        self._locks.clear()

    def _claim(self, uuid: str) -> None:
        if uuid in self._locks:
            return
        path = locks_directory() / f"{uuid}.lock"
        try:
            self._locks[uuid] = _locked(path, uuid, self._place)
        except OSError as error:
            self._locks[uuid] = None
            logger.warning("It is unknown whether another agent has GPU %s: %s.", uuid, error)


@contextmanager
def claimed(driver: Driver, runtime_directory: Path) -> Iterator[Driver]:
    """Claim the GPUs of a driver for the length of a block; simulated ones are each agent's own."""
    if isinstance(driver, SimulatedDriver):
        yield driver
        return
    ours = ClaimedDriver(driver, runtime_directory.absolute())
    try:
        yield ours
    finally:
        ours.release()


def _locked(path: Path, uuid: str, place: Path) -> int | None:
    """Return the lock of a GPU; None: another agent with the same directory has it, which its ledger's lock decides."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()}, {place}".encode(), 0)
    except BlockingIOError:
        other = os.pread(lock, _MAX_OWNER_BYTES, 0).decode(errors="replace")
        os.close(lock)
        if other.endswith(f", {place}"):
            return None
        raise ConfigurationError(
            f"Another agent has GPU {uuid}: {other or 'it is just starting'}.",
            hint="One agent serves all runs of a node; stop one of the two.",
        ) from None
    except OSError:
        os.close(lock)
        raise
    return lock
