"""Sends requests over HTTP with a deadline and retries, and turns error answers into errors that say what to do."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from math import inf
from random import SystemRandom
from threading import Thread
from time import monotonic, sleep
from typing import Any, Generic, TypeVar

import httpx
from pydantic import ValidationError

from rheostat.errors import FieldError, RheostatError, ServerRefused, ServerUnreachable
from rheostat.schemas.fields import Body
from rheostat.schemas.server import Problem

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_LARGEST_ANSWER_BYTES = 64 * 2**20
_SUCCESS = range(200, 300)
# Of the time for retries, where nothing listens: a server that restarts is back by then.
_REFUSED_FRACTION = 0.3
# What a gateway answers while the server behind it restarts.
_GATEWAY_STATUSES = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)

_random = SystemRandom()

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
    parameters: Mapping[str, str | int | list[str] | None] = field(default_factory=dict)


def as_json(body: Body) -> str:
    """Return a body as it is sent: what the caller leaves at its default is the server's to decide."""
    return body.model_dump_json(exclude_unset=True)


class Transport:
    """Sends requests to one server; safe to share between threads.

    Args:
        http: The connections; its timeout is the one of each try.
        timeout_seconds: How long one try may take as a whole.
        retry_for_seconds: How long to retry; 0 is one try. Where nothing listens, three tenths of it.
        unreachable_hint: What to check when there is no answer.
        garbage_hint: What to check when the answer is not one of ours.
        is_local: Whether the server is a process of this machine that answers at once or not at all.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        timeout_seconds: float,
        retry_for_seconds: float,
        unreachable_hint: str,
        garbage_hint: str,
        is_local: bool = False,
    ) -> None:
        self._http = http
        self._timeout_seconds = timeout_seconds
        self._retry_for_seconds = retry_for_seconds
        self._unreachable_hint = unreachable_hint
        self._garbage_hint = garbage_hint
        self._is_local = is_local

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(
        self, request: HttpRequest[AnswerT], *, retry: bool = True, within_seconds: float | None = None
    ) -> AnswerT:
        """Return the answer, parsed; arguments and errors as :meth:`fetch`."""
        content = self.fetch(request, retry=retry, within_seconds=within_seconds)
        try:
            return request.answer.model_validate_json(content, extra="ignore")  # a newer server may send more
        except ValidationError as error:
            raise ServerUnreachable(
                f"{self._http.base_url} answered with something that is not a {request.answer.__name__}.",
                hint=self._garbage_hint,
            ) from error

    def fetch(self, request: HttpRequest[Body], *, retry: bool = True, within_seconds: float | None = None) -> bytes:
        """Return the body of the answer.

        Args:
            request: The request.
            retry: Whether to try again what fails for a temporary reason.
            within_seconds: How long all tries together may take; None: as the settings say.

        Raises:
            ServerUnreachable: There was no usable answer within the time for retries.
            ServerRefused: The answer is an error.
        """
        key = request.idempotency_key
        built = self._http.build_request(
            request.method,
            request.path,
            params={name: value for name, value in request.parameters.items() if value is not None},
            content=request.body,
            headers={"Content-Type": "application/json", **({} if key is None else {"Idempotency-Key": key})},
        )
        began = monotonic()
        give_up_at = inf if within_seconds is None else began + within_seconds
        retry_until = began + (self._retry_for_seconds if retry else 0.0)
        for attempt in count():
            try:
                left = max(give_up_at - monotonic(), 0.0)
                status, content = self._try(built, min(self._timeout_seconds, left))
            except httpx.RequestError as error:
                failure: RheostatError = self._no_answer(built, error)
                may_pass = True
                if isinstance(error, httpx.ConnectError):
                    retry_until = min(retry_until, began + _REFUSED_FRACTION * self._retry_for_seconds)
            else:
                if status in _SUCCESS:
                    return content
                failure, may_pass = self._error_answer(built, status, content)
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt) * _random.uniform(0.5, 1.0)
            if not may_pass or monotonic() + pause > min(retry_until, give_up_at):
                break
            sleep(pause)
        raise failure

    def _try(self, request: httpx.Request, within_seconds: float) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        if not self._is_local:
            return _Try(self._http, request).result(within_seconds)
        request.extensions["timeout"] = httpx.Timeout(within_seconds).as_dict()
        return _fetch(self._http, request, within_seconds)

    def _no_answer(self, request: httpx.Request, error: httpx.RequestError) -> ServerUnreachable:
        return ServerUnreachable(
            f"No answer to {request.method} {request.url}: {str(error) or type(error).__name__}.",
            hint=self._unreachable_hint,
        )

    def _error_answer(self, request: httpx.Request, status: int, content: bytes) -> tuple[RheostatError, bool]:
        """Return the error that an answer stands for, and whether a retry may succeed."""
        try:
            problem = Problem.model_validate_json(content, extra="ignore")
        except ValidationError:
            message = f"{request.method} {request.url} was answered with status {status} and no reason."
            return ServerUnreachable(message, hint=self._garbage_hint), status in _GATEWAY_STATUSES
        fields = [FieldError(problem.field, problem.message) for problem in problem.fields]
        if problem.retryable and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ServerUnreachable(problem.detail, hint=problem.hint, fields=fields), True
        refused = ServerRefused(
            problem.detail,
            status=status,
            server_code=problem.code,
            server_retryable=problem.retryable,
            hint=problem.hint,
            fields=fields,
        )
        return refused, problem.retryable


def _fetch(http: httpx.Client, request: httpx.Request, within_seconds: float = inf) -> tuple[int, bytes]:
    give_up_at = monotonic() + within_seconds
    response = http.send(request, stream=True)
    try:
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if monotonic() > give_up_at or len(content) > _LARGEST_ANSWER_BYTES:
                raise httpx.ReadTimeout("the answer takes too long or is too large")
        return response.status_code, bytes(content)
    finally:
        response.close()


class _Try(Thread):
    """One try of a request, in a thread, so that its caller can stop waiting at any time.

    httpx's own timeout begins again with every byte that arrives, and it has none for looking up a name.
    """

    def __init__(self, http: httpx.Client, request: httpx.Request) -> None:
        super().__init__(name="rheostat-request", daemon=True)
        self._http = http
        self._request = request
        self._opened: list[Any] = []
        self._answer: tuple[int, bytes] | None = None
        self._error: Exception | None = None

    def result(self, within_seconds: float) -> tuple[int, bytes]:
        """Return status and body.

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
            self._answer = _fetch(self._http, self._request)
        except Exception as error:
            self._error = error

    def _note(self, event: str, details: Mapping[str, Any]) -> None:
        """Note the connection that this try opens; httpx calls it."""
        if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete", ".start_tls.complete")):
            self._opened.append(details["return_value"])

    def _cut(self) -> None:
        """End the thread: what waits for a socket wakes up when it is shut down."""
        for stream in self._opened:
            with suppress(OSError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
