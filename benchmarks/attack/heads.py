"""Attacks before any token: heads and bodies that no honest client sends, and connections that only wait."""

import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from time import monotonic, sleep

from benchmarks.attack.target import Attack, Target, Verdict
from benchmarks.server.load import request

MEGABYTE = 1_000_000
CONNECTIONS = 1100
"""More than the files that a service may open by default, 1,024."""

MOST_CPU_SECONDS = 0.5
"""Processor time for the refusal of one request."""

MOST_ANSWER_BYTES = 64_000

WAIT_SECONDS = 30.0
"""How long connections may stay that have sent no request; some reverse proxies open theirs well ahead of it."""

_TOO_LARGE = ("400", "413", "431", "closed")
_LINE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_CHUNK = 65_536


def _connect(target: Target, timeout: float = 30.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", target.port), timeout)


def _send(target: Target, chunks: Iterable[bytes]) -> bytes:
    """Send what the server takes, and return the beginning of its answer."""
    with _connect(target) as connection:
        with suppress(OSError):
            for chunk in chunks:
                connection.sendall(chunk)
        answer = b""
        with suppress(OSError):
            while chunk := connection.recv(_CHUNK):
                answer += chunk
                if _is_whole(answer):
                    break
        return answer


def _is_whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    _, named, length = head.lower().partition(b"content-length:")
    return bool(separator) and bool(named) and len(body) >= int(length.split(b"\r\n")[0])


def _status(answer: bytes) -> str:
    return answer[9:12].decode("ascii", "replace") or "closed"


def _refused(target: Target, chunks: Iterable[bytes], statuses: tuple[str, ...]) -> Verdict:
    """Send a request that is to be refused with one of some statuses, for little work and in few bytes."""
    before = target.server.cpu_seconds()
    answer = _send(target, chunks)
    cpu = target.server.cpu_seconds() - before
    held = _status(answer) in statuses and cpu <= MOST_CPU_SECONDS and len(answer) <= MOST_ANSWER_BYTES
    return Verdict(f"{_status(answer)}, {cpu:.1f} s of CPU, {len(answer)} bytes", held)


def _many_headers(target: Target) -> Verdict:
    lines = b"X-Many: a\r\n" * 5000
    return _refused(target, (_LINE, *[lines] * (30 * MEGABYTE // len(lines)), b"\r\n"), _TOO_LARGE)


def _long_header(target: Target) -> Verdict:
    part = b"a" * _CHUNK
    return _refused(target, (_LINE + b"X: ", *[part] * (50 * MEGABYTE // _CHUNK), b"\r\n\r\n"), _TOO_LARGE)


def _long_content_length(target: Target) -> Verdict:
    """Send more digits than Python reads as a number; zeros before it, which parsers of HTTP let pass."""
    head = b"POST /v1/jobs/x/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + b"0" * 4400 + b"2\r\n\r\n{}"
    return _refused(target, (head,), ("400", "404", "413", "422", "431"))


def _unknown_fields(target: Target) -> Verdict:
    body = {f"f{number}": 0 for number in range(90_000)}
    return _refused(target, (request("POST", "/v1/jobs/bystander/predict", body),), ("413", "422"))


def _held_open(target: Target, first: bytes, again: Callable[[socket.socket], object] | None = None) -> Verdict:
    """Hold many connections open for as long as the server lets them, and say how many it refused and kept."""
    with ExitStack() as stack:
        held: list[socket.socket] = []
        for _ in range(CONNECTIONS):
            with suppress(OSError):
                connection = stack.enter_context(_connect(target, 1.0))
                connection.sendall(first)
                connection.setblocking(False)
                held.append(connection)
        opened, give_up_at = len(held), monotonic() + WAIT_SECONDS
        while held and monotonic() < give_up_at:
            sleep(0.5)
            held = [connection for connection in held if _is_open(connection, again)]
        return Verdict(f"{opened} opened, {len(held)} open after {WAIT_SECONDS:.0f} s", not held)


def _is_open(connection: socket.socket, again: Callable[[socket.socket], object] | None) -> bool:
    try:
        if again is not None:
            again(connection)
        return bool(connection.recv(_CHUNK))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _idle(target: Target) -> Verdict:
    return _held_open(target, b"")


def _half_heads(target: Target) -> Verdict:
    return _held_open(target, _LINE + b"X: a", lambda connection: connection.send(b"a"))


def _slow_bodies(target: Target) -> Verdict:
    head = b"POST /v1/jobs/bystander/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\n"
    return _held_open(target, head, lambda connection: connection.send(b" "))


def _never_reading(path: str) -> Callable[[Target], Verdict]:
    """Return an attack that asks for an answer again and again on one connection, and reads none."""

    def attack(target: Target) -> Verdict:
        message, sent = request("GET", path) * 100, 0
        with _connect(target, 5.0) as connection, suppress(OSError):
            give_up_at = monotonic() + 5
            while monotonic() < give_up_at:
                sent += connection.send(message)
        return Verdict(f"{sent // MEGABYTE} MB of requests sent, no answer read", held=True)

    return attack


_CROWDED_MILLISECONDS = 500.0
"""A thousand connections at once have to be taken before any is refused."""

HEADS = (
    Attack("30 MB of headers", _many_headers),
    Attack("a header of 50 MB", _long_header),
    Attack("Content-Length of 4,300 digits", _long_content_length),
    Attack("90,000 unknown fields", _unknown_fields),
    Attack("large answers never read", _never_reading("/openapi.json")),
    Attack("small answers never read", _never_reading("/healthz")),
    Attack("idle connections", _idle, most_milliseconds=_CROWDED_MILLISECONDS),
    Attack("half heads", _half_heads, most_milliseconds=_CROWDED_MILLISECONDS),
    Attack("slow bodies", _slow_bodies, most_milliseconds=_CROWDED_MILLISECONDS),
)
"""What anybody can do who reaches the port."""
