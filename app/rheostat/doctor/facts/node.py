"""The agent of this node: its socket, its answer, and its ledger when it does not answer."""

import grp
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from rheostat.agent.daemon import ledger_in, socket_path
from rheostat.agent.peer import user_name
from rheostat.agent.records import Entry
from rheostat.errors import RheostatError
from rheostat.schemas.agent import NodeGpu, NodeGpus
from rheostat.sdk.node_agent import NodeAgent


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the agent's socket.

    Attributes:
        user: This process's user.
        group: The group whose members may use it.
        is_open: Whether this process may.
        is_listed: Whether the user is a member, who must only log in again.
    """

    user: str
    group: str
    is_open: bool
    is_listed: bool


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The agent of this node.

    Attributes:
        socket: Its socket.
        is_named: Whether its directory was named, by a variable or an option.
        access: Who may use the socket; None: there is none.
        answer: The agent's answer; None: there is none.
        error: Why not.
        to_restore: What its ledger says must be restored, where it does not answer.
        ledger_problems: What is wrong with the ledger.
    """

    socket: Path = Path("/run/rheostat/agent.sock")
    is_named: bool = False
    access: Access | None = None
    answer: NodeGpus | None = None
    error: RheostatError | None = None
    to_restore: tuple[Entry, ...] = ()
    ledger_problems: tuple[str, ...] = ()

    def gpu(self, uuid: str) -> NodeGpu | None:
        """Return what the agent says of a GPU."""
        gpus = () if self.answer is None else self.answer.gpus
        return next((gpu for gpu in gpus if gpu.gpu == uuid), None)


def look_at_node(directory: Path | None) -> NodeFacts:
    """Return the agent in a directory; None: in the usual one."""
    with NodeAgent(None if directory is None else socket_path(directory)) as agent:
        socket, is_named = agent.socket, agent.is_named
        access = _access(socket)
        try:
            return NodeFacts(socket, is_named, access, answer=agent.node_gpus())
        except RheostatError as error:
            failure = error
    if not socket.parent.exists():
        return NodeFacts(socket, is_named, access, error=failure)
    ledger = ledger_in(socket.parent)
    try:
        to_restore, problems = tuple(ledger.peek()), tuple(ledger.problems())
    except OSError as unreadable:
        to_restore, problems = (), (f"The ledger {ledger.directory} cannot be read: {unreadable.strerror}.",)
    return NodeFacts(socket, is_named, access, error=failure, to_restore=to_restore, ledger_problems=problems)


def _access(socket: Path) -> Access | None:
    user = user_name(os.geteuid())
    try:
        found = socket.stat()
    except PermissionError:  # its directory is closed
        return Access(user, "", is_open=False, is_listed=False)
    except OSError:
        return None
    if not stat.S_ISSOCK(found.st_mode):
        return None
    is_open = os.access(socket, os.R_OK | os.W_OK, effective_ids=True)
    try:
        group = grp.getgrgid(found.st_gid)
    except KeyError:
        return Access(user, str(found.st_gid), is_open=is_open, is_listed=False)
    return Access(user, group.gr_name, is_open=is_open, is_listed=user in group.gr_mem)
