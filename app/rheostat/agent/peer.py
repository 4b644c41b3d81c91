"""The process at the other end of the socket, and whether a process is still alive."""

import grp
import os
import pwd
import select
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rheostat.agent.records import Owner
from rheostat.errors import NotAllowed

# asm-generic/socket.h; Python does not name them. The second exists since Linux 6.5.
_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77
_CREDENTIALS = struct.Struct("iII")
_ROOT_UID = 0
_MAX_GROUP_BYTES = 1024  # Python's maximum; the groups of a user with more are looked up by name


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as the kernel reports it.

    Attributes:
        pid: Its process id.
        uid: Its user id.
        groups: The ids of all its groups.
    """

    pid: int
    uid: int
    groups: frozenset[int]

    @property
    def user(self) -> str:
        """The name of its user."""
        return user_name(self.uid)

    @property
    def is_admin(self) -> bool:
        """Whether its user is root or the one that the agent runs as."""
        return self.uid in {_ROOT_UID, os.geteuid()}


def user_name(uid: int) -> str:
    """Return the name of a user, or the id of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def peer_of(connection: socket.socket) -> Peer:
    """Return the process that connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUP_BYTES)
        groups = struct.unpack(f"{len(raw) // 4}I", raw)
    except OSError:
        groups = tuple(os.getgrouplist(user_name(uid), gid))
    return Peer(pid, uid, frozenset({gid, *groups}))


def group_id(name: str) -> int | None:
    """Return the id of a group; None: there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def open_owner(connection: socket.socket | None, peer: Peer, pid: int | None) -> tuple[Owner, int]:
    """Open the process that is to own a lease.

    Args:
        connection: The peer's connection.
        peer: The process that asks.
        pid: The owner, when it is not the peer; it must be the same user's.

    Returns:
        The owner, and a descriptor that becomes readable when it exits.

    Raises:
        NotAllowed: When the process has exited, or is another user's.
    """
    try:
        descriptor = _peer_pidfd(connection, peer) if pid is None else os.pidfd_open(pid)
    except OSError:
        raise _no_process(peer, pid) from None
    owner = _owner(peer.pid if pid is None else pid)
    # While the descriptor shows that the process is alive, its id cannot have been reused.
    if owner is None or has_exited(descriptor):
        os.close(descriptor)
        raise _no_process(peer, pid)
    if pid is not None and peer.uid not in {_ROOT_UID, owner.uid}:
        os.close(descriptor)
        raise NotAllowed(f"Process {pid} belongs to another user.")
    return owner, descriptor


def _no_process(peer: Peer, pid: int | None) -> NotAllowed:
    if pid is None and peer.pid == 0:
        return NotAllowed(
            "The agent cannot see your process: the agent runs in another PID namespace.",
            hint="Run the agent in the node's PID namespace (in Kubernetes: hostPID: true).",
        )
    return NotAllowed(f"There is no process {pid or peer.pid}.", hint="Inside a container, leave out pid.")


def _peer_pidfd(connection: socket.socket | None, peer: Peer) -> int:
    if connection is not None:
        with suppress(OSError):
            raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4)
            return int(struct.unpack("i", raw)[0])
    return os.pidfd_open(peer.pid)


def _owner(pid: int) -> Owner | None:
    """Return a process with its start time and user; None when it does not exist or is a zombie."""
    path = Path(f"/proc/{pid}")
    try:
        state, *fields = (path / "stat").read_text().rpartition(")")[2].split()
        # proc(5): the state is the third field of the line, the start the 22nd.
        return None if state in "ZX" else Owner(pid, int(fields[18]), path.stat().st_uid)
    except OSError:
        return None


def reopen_owner(owner: Owner) -> int | None:
    """Return a descriptor of a process recorded earlier; None when it has exited."""
    try:
        descriptor = os.pidfd_open(owner.pid)
    except OSError:
        return None
    if _owner(owner.pid) == owner and not has_exited(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def has_exited(descriptor: int) -> bool:
    """Return whether the process of a descriptor has exited."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class ExitWatcher:
    """Waits for the owners of leases to exit."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lease_ids: dict[int, str] = {}

    def watch(self, descriptor: int, lease_id: str) -> None:
        """Watch the owner of a lease; the watcher now owns the descriptor."""
        self._lease_ids[descriptor] = lease_id
        self._epoll.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """Stop watching, and close the descriptor."""
        if self._lease_ids.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)
            os.close(descriptor)

    def wait(self, seconds: float) -> list[str]:
        """Return the leases whose owners have exited, waiting up to `seconds` for the first."""
        events = self._epoll.poll(seconds)
        found = [(descriptor, self._lease_ids.get(descriptor)) for descriptor, _ in events]
        # The descriptor's number may have been reused since the event.
        return [lease_id for descriptor, lease_id in found if lease_id is not None and has_exited(descriptor)]
