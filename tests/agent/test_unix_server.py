"""The server on the socket: nobody keeps the others out."""

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from time import sleep

import pytest

from rheostat.agent import unix_server
from rheostat.agent.peer import Peer
from rheostat.agent.unix_server import _Turns
from tests.agent.agents import answers
from tests.agent.bench import Served
from tests.waiting import PATIENCE_SECONDS, Stopwatch, eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: agent\r\n\r\n"


@pytest.fixture
def connections(served: Served) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(served: Served, connections: ExitStack) -> socket.socket:
    connection = connections.enter_context(socket.socket(socket.AF_UNIX))
    connection.settimeout(PATIENCE_SECONDS)
    connection.connect(str(served.socket))
    return connection


def send_until_closed(connection: socket.socket, content: bytes) -> None:
    """Send without reading until the server closes the connection."""
    connection.setblocking(False)

    def is_closed() -> bool:
        try:
            connection.send(content)
        except BlockingIOError:
            return False
        except OSError:
            return True
        sleep(0.01)
        return False

    eventually(is_closed)


# As another user: open connections, send a part of a request, or a whole one, and tell how many were answered.
CLIENT = """
import os, socket, sys
path, gid, uid, count, part = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5].encode()
os.setgroups([gid]); os.setgid(gid); os.setuid(uid)
connections = [socket.socket(socket.AF_UNIX) for _ in range(count)]
for connection in connections:
    connection.settimeout(600)
    try:
        connection.connect(path)
        connection.sendall(part.replace(b"|", b"\\r\\n"))
    except OSError:
        pass  # closed: too many of this user wait
print("connected", flush=True)
answered = 0
for connection in connections:
    try:
        answered += connection.recv(8) == b"HTTP/1.1"
        connection.close()
    except OSError:
        pass
print(answered, flush=True)
"""


def client(served: Served, uid: int, count: int, part: str) -> subprocess.Popen[str]:
    """Start it, and return when it is connected."""
    arguments = [str(served.socket), str(os.getgid()), str(uid), str(count), part]
    process = subprocess.Popen([sys.executable, "-c", CLIENT, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "connected\n"
    return process


def outcome(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    with process:
        return int(process.stdout.readline())


WHOLE = "GET /healthz HTTP/1.1|Connection: close||"


@as_root
def test_slow_connections_of_one_user_delay_no_other(served: Served) -> None:
    with client(served, 12345, 200, "GET /heal") as slow:
        fast = client(served, 12346, 20, WHOLE)
        watch = Stopwatch()
        assert outcome(fast) == 20
        assert watch.seconds() < 2  # a request has 5 s to arrive, for which the first 16 hold their places
        assert answers(served.socket)
        slow.kill()


@as_root
def test_more_connections_of_a_user_than_are_served_at_once_wait_for_their_turn(served: Served) -> None:
    assert outcome(client(served, 12345, 60, WHOLE)) == 60


def test_a_request_must_arrive_in_time_however_it_drips(
    served: Served, connections: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_server, "_REQUEST_SECONDS", 0.5)
    connection = connect(served, connections)
    send_until_closed(connection, b"G")


def test_a_body_must_arrive_in_time(served: Served, connections: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_server, "_REQUEST_SECONDS", 0.2)
    connection = connect(served, connections)
    connection.sendall(b"POST /v1/leases HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    assert connection.recv(1) == b""


def test_an_idle_connection_is_closed(served: Served, connections: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_server, "_IDLE_SECONDS", 0.2)
    connection = connect(served, connections)
    for _ in range(2):
        connection.sendall(REQUEST)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert b"ok" in response.read()
    assert connection.recv(1) == b""


def test_a_client_that_reads_no_answer_keeps_no_place(
    served: Served, connections: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_server, "_REQUEST_SECONDS", 0.2)
    connection = connect(served, connections)
    send_until_closed(connection, REQUEST * 100)


def peers(uid: int, count: int) -> list[tuple[socket.socket, Peer]]:
    return [(socket.socket(socket.AF_UNIX), Peer(1, uid, frozenset())) for _ in range(count)]


def test_users_share_the_places_and_some_are_left_for_administrators() -> None:
    served: list[Peer] = []
    turns = _Turns(lambda _connection, peer: served.append(peer))
    added = [turns.add(*one) for uid in range(1001, 1009) for one in peers(uid, 20)]
    assert all(added)
    assert [sum(peer.uid == uid for peer in served) for uid in range(1001, 1009)] == [16] * 7 + [0]
    for one in peers(os.geteuid(), 20):
        turns.add(*one)
    assert sum(peer.uid == os.geteuid() for peer in served) == 16
    turns.end(Peer(1, 1001, frozenset()))
    assert len(served) == 129
    assert [turns.add(*one) for one in peers(1010, 80)].count(False) == 16
    added = [turns.add(*one) for uid in range(1011, 1020) for one in peers(uid, 64)]
    assert added.count(True) < 512


def test_a_deleted_socket_is_noticed_and_another_ones_is_left(served: Served) -> None:
    seen = [served.server.is_reachable]
    served.socket.unlink()
    seen.append(served.server.is_reachable)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(served.socket))
        seen.append(served.server.is_reachable)
        served.server.shutdown()
        served.server.server_close()
        assert served.socket.exists()
    served.socket.unlink()
    assert seen == [True, False, False]
