"""Requests that no honest client sends, each on a connection of its own: none may fail in the server or hang."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from benchmarks.attack.bystander import JOB
from benchmarks.attack.target import Attack, Target, Verdict

PATIENCE_SECONDS = 20.0
"""How long an answer is waited for; a connection may also be closed without one."""

_HOST = b"Host: 127.0.0.1\r\n"
_PREDICT = f"/v1/jobs/{JOB}/predict"
_GPU = {"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250}
_WIDE_A = "\N{FULLWIDTH LATIN SMALL LETTER A}"
_DEEP = 100_000


def _get(path: bytes, *lines: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"".join((b"GET ", path, b" ", version, b"\r\n", _HOST, *(line + b"\r\n" for line in lines), b"\r\n"))


def _post(body: bytes, *lines: bytes, path: str = _PREDICT) -> bytes:
    """Return a request with a body as it is given; the lines may say otherwise of its type and length."""
    named = {line.split(b":")[0].lower() for line in lines}
    usual = [b"Content-Type: application/json"]
    if not named & {b"content-length", b"transfer-encoding"}:
        usual.append(b"Content-Length: %d" % len(body))
    head = [f"POST {path} HTTP/1.1".encode(), _HOST.strip(), *usual, *lines]
    return b"\r\n".join((*head, b"", body))


def _body(**changes: Any) -> bytes:
    return json.dumps({"gpu": _GPU, **changes}).encode()


def _heads() -> Iterator[tuple[str, bytes]]:
    yield "nothing but line ends", b"\r\n" * 1000
    yield "NUL bytes", b"\0" * 1000
    yield "a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 500
    yield "HTTP/0.9", b"GET /healthz\r\n\r\n"
    yield "HTTP/1.0 without Host", b"GET /healthz HTTP/1.0\r\n\r\n"
    yield "HTTP/1.1 without Host", b"GET /healthz HTTP/1.1\r\n\r\n"
    yield "HTTP/9.9", _get(b"/healthz", version=b"HTTP/9.9")
    yield "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "an upgrade to h2c", _get(b"/healthz", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
                                    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")  # fmt: skip
    yield "an upgrade to a websocket", _get(b"/v1/jobs", b"Connection: Upgrade", b"Upgrade: websocket",
                                            b"Sec-WebSocket-Version: 13",
                                            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    yield "CONNECT", b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + _HOST + b"\r\n"
    yield "OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + _HOST + b"\r\n"
    yield "TRACE", b"TRACE /healthz HTTP/1.1\r\n" + _HOST + b"\r\n"
    yield "an unknown method", b"BREW /healthz HTTP/1.1\r\n" + _HOST + b"\r\n"
    yield "a whole URL as target", _get(b"http://127.0.0.1/healthz")
    yield "another host's URL as target", _get(b"http://example.org/healthz")
    yield "a path of 60,000 bytes", _get(b"/" + b"a" * 60_000)
    yield "a query of 60,000 bytes", _get(b"/v1/jobs?cursor=" + b"a" * 60_000)
    yield "a path with NUL", _get(b"/v1/jobs/%00")
    yield "a path of invalid UTF-8", _get(b"/v1/jobs/%ff%fe")
    yield "a path of raw bytes", _get(b"/v1/jobs/\xff\xfe")
    yield "a path with dots and slashes", _get(b"//v1/../v1/jobs/%2e%2e%2fx//")
    yield "an escape that is cut short", _get(b"/v1/jobs/%f")
    yield "a header without a name", _get(b"/healthz", b": x")
    yield "a header's name with a space", _get(b"/healthz", b"X Y: x")
    yield "a folded header", _get(b"/healthz", b"X: a\r\n b")
    yield "two hosts", _get(b"/healthz", b"Host: example.org")
    yield "a host with credentials", b"GET /healthz HTTP/1.1\r\nHost: a:b@127.0.0.1\r\n\r\n"
    yield "a host of raw bytes", b"GET /healthz HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n"
    yield "a token of raw bytes", _get(b"/v1/jobs", b"Authorization: Bearer \xff\xfe")
    yield "an empty token", _get(b"/v1/jobs", b"Authorization: Bearer ")
    yield "a namespace of raw bytes", _get(b"/v1/jobs", b"Rheostat-Namespace: \xff\xfe")
    yield (
        "a namespace that looks like another",
        _get(b"/v1/jobs", "Rheostat-Namespace: def\N{CYRILLIC SMALL LETTER A}ult".encode()),
    )
    yield "a forged proxy", _get(b"/v1/jobs", b"X-Forwarded-For: \x1b[31m, 1.2.3.4", b"X-Forwarded-Proto: \x1b",
                                 b"Forwarded: for=\"[::\"")  # fmt: skip
    yield "a trace context of nonsense", _get(b"/v1/jobs", b"traceparent: 00-zz-zz-zz", b"tracestate: \xff=\xfe",
                                              b"baggage: " + b"a=b," * 500)  # fmt: skip
    yield "a page of -1", _get(b"/v1/jobs?limit=-1")
    yield "a cursor beyond 64 bits", _get(f"/v1/jobs/{JOB}/trials?cursor={2**64}".encode())
    yield "a cursor of 5,000 digits", _get(f"/v1/jobs/{JOB}/trials?cursor={'9' * 5000}".encode())
    yield "the same parameter 1,000 times", _get(b"/v1/jobs?" + b"&".join([b"limit=1"] * 1000))
    yield "a body to GET", _get(b"/v1/jobs", b"Content-Length: 2") + b"{}"


def _bodies() -> Iterator[tuple[str, bytes]]:
    yield "a negative length", _post(b"{}", b"Content-Length: -2")
    yield "a signed length", _post(b"{}", b"Content-Length: +2")
    yield "a length in hex", _post(b"{}", b"Content-Length: 0x2")
    yield "a list of lengths", _post(b"{}", b"Content-Length: 2, 2")
    yield "two lengths", _post(b"{}", b"Content-Length: 2", b"Content-Length: 3")
    yield "a length and chunks", _post(b"0\r\n\r\n", b"Content-Length: 5", b"Transfer-Encoding: chunked")
    yield "an unknown coding", _post(b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked")
    yield "chunked that is not last", _post(b"0\r\n\r\n", b"Transfer-Encoding: chunked, identity")
    yield "a chunk of 2^64 bytes", _post(b"FFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")
    yield "a chunk that is no number", _post(b"two\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")
    extension = b"2;" + b"a" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n"
    yield "a chunk's extension of 1 MB", _post(extension, b"Transfer-Encoding: chunked")
    trailers = b"2\r\n{}\r\n0\r\n" + b"X-Many: a\r\n" * 90_000 + b"\r\n"
    yield "1 MB of trailers", _post(trailers, b"Transfer-Encoding: chunked")
    yield "3,000,000 chunks of a byte", _post(b"1\r\n \r\n" * 3_000_000, b"Transfer-Encoding: chunked")
    yield "an unknown expectation", _post(_body(), b"Expect: 200-ok")
    yield "a compressed body", _post(b"\x1f\x8b\x08\x00\x00", b"Content-Encoding: gzip")
    yield "no body", _post(b"")
    yield "a body of NUL", _post(b"\0\0")
    yield "a body of invalid UTF-8", _post(b'{"gpu": "\xff\xfe"}')
    yield "a body in UTF-16", _post(_body().decode().encode("utf-16"))
    yield "a body after a byte order mark", _post(b"\xef\xbb\xbf" + _body())
    yield "another type of body", _post(_body(), b"Content-Type: text/plain; charset=utf-16")
    yield "a form", _post(b"gpu=V100", b"Content-Type: multipart/form-data; boundary=\xff")
    yield "arrays in arrays", _post(b"[" * _DEEP + b"]" * _DEEP)
    yield "objects in objects", _post(b'{"gpu":' * _DEEP + b"1" + b"}" * _DEEP)
    yield "an integer of 100,000 digits", _post(b'{"gpu":' + b"9" * _DEEP + b"}")
    yield "a float of 100,000 digits", _post(b'{"gpu":0.' + b"9" * _DEEP + b"e" + b"9" * 1000 + b"}")
    yield "not a number", _post(b'{"gpu":NaN,"node":-Infinity,"max_batch_size":1e999}')
    yield "half a surrogate", _post(b'{"gpu":{"model":"\\ud800","count":1},"node":"\\udfff"}')
    yield "NUL in a name", _post(_body(node="a\0b"))
    yield "a name that is written backwards", _post(_body(node="\u202egpu"))
    yield "a model's name of 60,000 letters", _post(_body(gpu=_GPU | {"model": "ẞ" * 60_000}))
    yield "numbers beyond 64 bits", _post(_body(max_batch_size=2**70, gpu=_GPU | {"count": 2**70}))
    yield "keys twice", _post(b'{"gpu":1,' + _body()[1:])
    yield "a key of raw bytes", _post(_body(), b"Idempotency-Key: \xff\xfe")
    yield "a key of 60,000 letters", _post(_body(), b"Idempotency-Key: " + b"a" * 60_000)
    yield "two keys", _post(_body(), b"Idempotency-Key: a", b"Idempotency-Key: b")
    yield "a trial of another shape", _post(b"{}", path=f"/v1/trials/{_WIDE_A * 32}/observe")


def _answer(target: Target, message: bytes) -> str:
    """Return the status of the first answer, ``closed`` without one, or ``hung``."""
    with socket.create_connection(("127.0.0.1", target.port), PATIENCE_SECONDS) as connection:
        with suppress(OSError):
            connection.sendall(message)
        answer = b""
        try:
            while b"\r\n" not in answer and (part := connection.recv(4096)):
                answer += part
        except TimeoutError:
            return "hung"
        except OSError:
            return "closed"
    return answer[9:12].decode("ascii", "replace") or "closed"


def _sent(requests: Iterator[tuple[str, bytes]]) -> Callable[[Target], Verdict]:
    """Return an attack that sends requests one after the other, and names those that hung or failed in the server."""

    def attack(target: Target) -> Verdict:
        named: dict[str, list[str]] = {}
        for name, message in requests:
            named.setdefault(_answer(target, message), []).append(name)
        counts = {status: len(names) for status, names in sorted(named.items())}
        failed = {status: names for status, names in named.items() if status == "hung" or status.startswith("5")}
        traced = "; a traceback in the log" if "Traceback" in target.log.read_text() else ""
        return Verdict(f"{counts} {failed or ''}{traced}", not failed and not traced)

    return attack


ODD = (
    Attack("odd heads", _sent(_heads())),
    Attack("odd bodies", _sent(_bodies())),
)
"""What parsers of HTTP and JSON stumble over."""
