"""Processes: who connected, and who is still alive."""

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rheostat.agent.peer import ExitWatcher, Peer, group_id, has_exited, open_owner, peer_of, reopen_owner, user_name
from rheostat.agent.records import Owner
from rheostat.errors import NotAllowed
from tests.waiting import PATIENCE_SECONDS, Stopwatch, eventually

OTHER_UID = 65534


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def me(**changes: object) -> Peer:
    return replace(Peer(os.getpid(), os.getuid(), frozenset()), **changes)  # type: ignore[arg-type]


def test_the_peer_of_a_connection_is_known_with_all_its_groups() -> None:
    here, there = socket.socketpair()
    with here, there:
        peer = peer_of(here)
        assert (peer.pid, peer.uid) == (os.getpid(), os.getuid())
        assert peer.groups >= {os.getgid(), *os.getgroups()}
        owner, descriptor = open_owner(here, peer, None)
    os.close(descriptor)
    assert (owner.pid, owner.uid) == (os.getpid(), os.getuid())


def test_root_and_the_agents_own_user_are_administrators() -> None:
    assert me(uid=0).is_admin
    assert me(uid=os.geteuid()).is_admin
    assert not me(uid=OTHER_UID).is_admin


def test_a_process_of_another_user_cannot_own_a_lease(process: subprocess.Popen[bytes]) -> None:
    owner, descriptor = open_owner(None, me(), process.pid)
    os.close(descriptor)
    assert owner.pid == process.pid
    with pytest.raises(NotAllowed, match=f"Process {process.pid} belongs to another user"):
        open_owner(None, me(uid=OTHER_UID), process.pid)


def test_neither_a_missing_process_nor_a_zombie_can_own_a_lease(process: subprocess.Popen[bytes]) -> None:
    with pytest.raises(NotAllowed, match="There is no process 4194304"):
        open_owner(None, me(), 2**22)
    process.kill()
    eventually(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    with pytest.raises(NotAllowed, match="There is no process"):
        open_owner(None, me(), process.pid)


def test_a_peer_in_another_pid_namespace_is_explained() -> None:
    with pytest.raises(NotAllowed, match="PID namespace") as caught:
        open_owner(None, me(pid=0), None)
    assert "hostPID" in (caught.value.hint or "")


def test_an_owner_is_reopened_only_while_the_same_process_is_alive(process: subprocess.Popen[bytes]) -> None:
    owner, descriptor = open_owner(None, me(), process.pid)
    again = reopen_owner(owner)
    assert again is not None
    assert reopen_owner(replace(owner, start_ticks=owner.start_ticks + 1)) is None
    assert not has_exited(again)
    process.kill()
    process.wait()
    assert has_exited(again)
    assert reopen_owner(owner) is None
    os.close(again)
    os.close(descriptor)


def test_an_exit_is_reported_at_once_until_it_is_forgotten(process: subprocess.Popen[bytes]) -> None:
    exits = ExitWatcher()
    _, descriptor = open_owner(None, me(), process.pid)
    exits.watch(descriptor, "f00d")
    assert exits.wait(0) == []
    process.kill()
    watch = Stopwatch()
    assert exits.wait(PATIENCE_SECONDS) == ["f00d"]
    assert watch.seconds() < 5
    exits.forget(descriptor)
    exits.forget(descriptor)
    assert exits.wait(0) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_users_and_groups_without_a_name_have_a_number_or_none() -> None:
    assert (user_name(0), user_name(3_999_999_999)) == ("root", "3999999999")
    assert (group_id("root"), group_id("no-such-group")) == (0, None)
    assert reopen_owner(Owner(2**22, 1, 0)) is None
