"""One request and its answer, over HTTP to a server or over a Unix socket to the agent, within a time."""

import http.client
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import urlencode

import httpx

from rheostat.schemas.fields import Body

_LARGEST_ANSWER_BYTES = 64 * 2**20
_PIECE_BYTES = 2**16

AnswerT = TypeVar("AnswerT", bound=Body)
AnswerT_co = TypeVar("AnswerT_co", bound=Body, covariant=True)


@dataclass(frozen=True, slots=True)
class HttpRequest(Generic[AnswerT_co]):
    """A request, as it is sent at once or waits in the outbox.

    Attributes:
        method: HTTP method.
        path: Path on the server; names in it are quoted.
        answer: Model of the answer.
        body: JSON; None: the request has none.
        idempotency_key: Makes a repetition the same request, on routes that need one.
        parameters: Of the query; those that are None are left out.
    """

    method: str
    path: str
    answer: type[AnswerT_co]
    body: str | None = None
    idempotency_key: str | None = None
    parameters: Mapping[str, str | int | float | list[str] | None] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to it."""
        key = self.idempotency_key
        return {"Content-Type": "application/json", **({} if key is None else {"Idempotency-Key": key})}

    @property
    def query(self) -> dict[str, str | int | float | list[str]]:
        """The parameters that are given."""
        return {name: value for name, value in self.parameters.items() if value is not None}


class Reply(NamedTuple):
    """What a server answered, whatever it is.

    Attributes:
        status: HTTP status.
        content: Body.
        headers: Headers, their names in lower case; none over a Unix socket.
    """

    status: int
    content: bytes
    headers: Mapping[str, str] = {}


class Exchange(Protocol):
    """Sends requests to one server; safe to share between threads.

    Attributes:
        address: The server's, for messages.
    """

    address: str

    def send(self, request: HttpRequest[Body], within_seconds: float) -> Reply:
        """Return the answer.

        Raises:
            httpx.RequestError: There is none in time.
        """

    def close(self) -> None:
        """Close what is open."""


class HttpExchange:
    """Sends requests over HTTP; see `Exchange`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.address = str(http.base_url).rstrip("/")

    def send(self, request: HttpRequest[Body], within_seconds: float) -> Reply:
        """See `Exchange`."""
        built = self._http.build_request(
            request.method, request.path, params=request.query, content=request.body, headers=request.headers
        )
        return _Try(self._http, built).result(within_seconds)

    def close(self) -> None:
        """See `Exchange`."""
        self._http.close()


class _Try(Thread):
    """A request in a thread, so that its caller can stop waiting at any time.

    httpx's own timeout begins again with every byte that arrives, and it has none for looking up a name.
    """

    def __init__(self, http: httpx.Client, request: httpx.Request) -> None:
        super().__init__(name="rheostat-request", daemon=True)
        self._http = http
        self._request = request
        self._opened: list[Any] = []
        self._answer: Reply | None = None
        self._error: Exception | None = None

    def result(self, within_seconds: float) -> Reply:
        """Return the answer.

        Raises:
            httpx.RequestError: There is no answer in time.
        """
        self._request.extensions["trace"] = self._note
        try:
            self.start()
        except RuntimeError as error:  # as at the end of the interpreter
            raise httpx.RequestError(str(error)) from error
        self.join(within_seconds)
        if self._error is not None:
            raise self._error
        if self._answer is None:
            self._cut()
            raise httpx.ReadTimeout(f"no answer within {within_seconds:.3g} s")
        return self._answer

    def run(self) -> None:
        try:
            self._answer = self._fetch()
        except Exception as error:
            self._error = error

    def _fetch(self) -> Reply:
        response = self._http.send(self._request, stream=True)
        try:
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                _check_size(content)
            return Reply(response.status_code, bytes(content), dict(response.headers))
        finally:
            response.close()

    def _note(self, event: str, details: Mapping[str, Any]) -> None:
        """Note the connection that this try opens; httpx calls it."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._opened.append(details["return_value"])

    def _cut(self) -> None:
        """End the thread: what waits for a socket wakes up when it is shut down."""
        for stream in self._opened:
            with suppress(OSError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class UnixExchange:
    """Sends requests to a process of this machine, which answers at once or not at all; see `Exchange`.

    A connection for each request: none is left open in a process that forks. It takes a millisecond less than httpx.
    """

    def __init__(self, path: Path, address: str) -> None:
        self._path = path
        self.address = address

    def send(self, request: HttpRequest[Body], within_seconds: float) -> Reply:
        """See `Exchange`."""
        give_up_at = monotonic() + within_seconds
        connection = http.client.HTTPConnection("agent")
        target = f"{request.path}?{urlencode(request.query, doseq=True)}" if request.query else request.path
        try:
            with socket.socket(socket.AF_UNIX) as connection.sock:
                connection.sock.settimeout(within_seconds)
                connection.sock.connect(str(self._path))
                connection.request(request.method, target, request.body, request.headers)
                with connection.getresponse() as response:
                    return Reply(response.status, _body(response, give_up_at))
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no answer within {within_seconds:.3g} s") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise httpx.ConnectError(str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise httpx.ReadError(str(error)) from error

    def close(self) -> None:
        """See `Exchange`."""


def _body(response: http.client.HTTPResponse, give_up_at: float) -> bytes:
    content = bytearray()
    while piece := response.read1(_PIECE_BYTES):
        content += piece
        _check_size(content)
        if monotonic() > give_up_at:
            raise TimeoutError
    return bytes(content)


def _check_size(content: bytearray) -> None:
    if len(content) > _LARGEST_ANSWER_BYTES:
        raise httpx.ReadError("the answer is too large")
