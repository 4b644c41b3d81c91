"""The client of the agent, against a Unix socket that a test serves itself; the real agent is in test_gpu_lease.py."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from rheostat.errors import ServerUnreachable
from rheostat.sdk import node_agent
from rheostat.sdk.node_agent import NodeAgent
from tests.waiting import PATIENCE_SECONDS, Stopwatch

BODY = b'{"status": "ok", "problems": ["a GPU is lost"]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)

Serve = Callable[[socket.socket, Event], None]


@contextmanager
def listening(path: Path, serve: Serve) -> Iterator[None]:
    """Serve connections to a socket, one after the other, until the block ends."""
    leave = Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(0.05)

        def accept() -> None:
            while not leave.is_set():
                with suppress(TimeoutError):
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        serve(connection, leave)

        thread = Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            leave.set()
            thread.join()


def hang(connection: socket.socket, leave: Event) -> None:
    leave.wait()


def dribble(connection: socket.socket, leave: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not leave.wait(0.02):
        connection.sendall(b" ")


def test_a_connection_is_closed_after_each_request(tmp_path: Path) -> None:
    closed = Event()

    def serve(connection: socket.socket, leave: Event) -> None:
        connection.recv(65536)
        connection.sendall(ANSWER)
        connection.settimeout(PATIENCE_SECONDS)
        assert connection.recv(1) == b""
        closed.set()

    with listening(tmp_path / "agent.sock", serve), NodeAgent(tmp_path / "agent.sock") as agent:
        assert agent.problems() == ["a GPU is lost"]
        assert closed.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("serve", [hang, dribble])
def test_an_agent_that_never_finishes_times_out(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_agent, "_TIMEOUT_SECONDS", 0.3)
    watch = Stopwatch()
    with (
        listening(tmp_path / "agent.sock", serve),
        NodeAgent(tmp_path / "agent.sock") as agent,
        pytest.raises(ServerUnreachable, match=r"agent\.sock"),
    ):
        agent.problems()
    assert watch.seconds() < 3


def test_without_a_socket_the_error_says_where_it_was_expected(tmp_path: Path) -> None:
    with NodeAgent(tmp_path / "agent.sock") as agent, pytest.raises(ServerUnreachable, match=str(tmp_path)):
        agent.gpus()


def test_certificates_and_proxies_of_the_environment_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("ALL_PROXY", "nonsense://proxy")

    def serve(connection: socket.socket, leave: Event) -> None:
        connection.recv(65536)
        connection.sendall(ANSWER)

    with listening(tmp_path / "agent.sock", serve), NodeAgent(tmp_path / "agent.sock") as agent:
        assert agent.problems() == ["a GPU is lost"]
