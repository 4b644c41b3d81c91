"""Who is at the other end of the socket, and whether a process still lives."""

import grp
import os
import pwd
import select
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rheostat.agent.ledger import Owner
from rheostat.errors import NotAllowed

# asm-generic/socket.h; Python does not name them. The second is known to Linux 6.5 and later.
_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77
_CREDENTIALS = struct.Struct("iII")
_ROOT_UID = 0
_MOST_GROUP_BYTES = 1024  # what Python takes; who is in more groups is looked up by name


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as the kernel tells it.

    Attributes:
        pid: Its id.
        uid: Its user.
        groups: All its groups.
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
        """Whether it is root or the user that the agent runs as."""
        return self.uid in {_ROOT_UID, os.geteuid()}


def user_name(uid: int) -> str:
    """Give the name of a user, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def peer_of(connection: socket.socket) -> Peer:
    """Ask the kernel who connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUP_BYTES)
        groups = struct.unpack(f"{len(raw) // 4}I", raw)
    except OSError:
        groups = tuple(os.getgrouplist(user_name(uid), gid))
    return Peer(pid, uid, frozenset({gid, *groups}))


def group_id(name: str) -> int | None:
    """Give the number of a group; None: there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def open_owner(connection: socket.socket | None, peer: Peer, pid: int | None) -> tuple[Owner, int]:
    """Find the process that a lease is to be tied to.

    Args:
        connection: Of the peer.
        peer: Who asks.
        pid: The process, when it is not the one that asks; it must be the same user's.

    Returns:
        The owner, and a descriptor that becomes readable when it dies.

    Raises:
        NotAllowed: When the process is gone, or somebody else's.
    """
    try:
        descriptor = _peer_pidfd(connection, peer) if pid is None else os.pidfd_open(pid)
    except OSError:
        raise _not_there(peer, pid) from None
    owner = _owner(peer.pid if pid is None else pid)
    # Read while the descriptor shows that the process lives, its number cannot have become another's.
    if owner is None or has_died(descriptor):
        os.close(descriptor)
        raise _not_there(peer, pid)
    if pid is not None and peer.uid not in {_ROOT_UID, owner.uid}:
        os.close(descriptor)
        raise NotAllowed(f"The process {pid} is not yours.")
    return owner, descriptor


def _not_there(peer: Peer, pid: int | None) -> NotAllowed:
    if pid is None and peer.pid == 0:
        return NotAllowed(
            "The agent cannot see the process that asks: it runs in a PID namespace of its own.",
            hint="Run the agent in the node's, as with hostPID in Kubernetes.",
        )
    return NotAllowed(f"There is no process {pid or peer.pid}.", hint="Inside a container: name none.")


def _peer_pidfd(connection: socket.socket | None, peer: Peer) -> int:
    if connection is not None:
        with suppress(OSError):
            raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4)
            return int(struct.unpack("i", raw)[0])
    return os.pidfd_open(peer.pid)


def _owner(pid: int) -> Owner | None:
    """Tell when a process started and whose it is; None when there is none, or only what a dead one left."""
    path = Path(f"/proc/{pid}")
    try:
        state, *fields = (path / "stat").read_text().rpartition(")")[2].split()
        # proc(5): the state is the third field of the line, the start the 22nd.
        return None if state in "ZX" else Owner(pid, int(fields[18]), path.stat().st_uid)
    except OSError:
        return None


def reopen_owner(owner: Owner) -> int | None:
    """Give a descriptor of a process that was noted before; None when it is dead."""
    try:
        descriptor = os.pidfd_open(owner.pid)
    except OSError:
        return None
    if _owner(owner.pid) == owner and not has_died(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def has_died(descriptor: int) -> bool:
    """Whether the process behind a descriptor has ended."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class Deaths:
    """Tells of the end of processes, in the moment when it happens."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lease_ids: dict[int, str] = {}

    def watch(self, descriptor: int, lease_id: str) -> None:
        """Watch the owner of a lease; the descriptor is ours from now on."""
        self._lease_ids[descriptor] = lease_id
        self._epoll.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """Stop watching."""
        if self._lease_ids.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)
            os.close(descriptor)

    def wait(self, seconds: float) -> list[str]:
        """Give the leases whose owners have died, at once when there are any, else after so many seconds."""
        events = self._epoll.poll(seconds)
        found = [(descriptor, self._lease_ids.get(descriptor)) for descriptor, _ in events]
        # Its number may have become another's since the event.
        return [lease_id for descriptor, lease_id in found if lease_id is not None and has_died(descriptor)]
