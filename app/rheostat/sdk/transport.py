"""How the SDK asks: HTTP with a deadline, retries with backoff, and errors that say what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from itertools import count
from random import SystemRandom
from time import monotonic, sleep
from typing import TypeVar

import httpx
from pydantic import ValidationError

from rheostat.errors import FieldError, RheostatError, ServerRefused, ServerUnreachable
from rheostat.schemas.server import Body, Problem

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_LARGEST_ANSWER_BYTES = 64 * 2**20
_SUCCESS = range(200, 300)
# What a gateway says while the server behind it restarts.
_GATEWAY_STATUSES = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)

_random = SystemRandom()

Parameters = Mapping[str, str | int | list[str] | None]
Answer = TypeVar("Answer", bound=Body)


class Transport:
    """Asks one server; safe to share between threads.

    Args:
        http: The connections; its timeout is the one of each try.
        timeout_seconds: How long one try may take as a whole.
        retry_for_seconds: How long to go on trying; 0 is one try.
        unreachable_hint: What to look at when nothing answers.
        garbage_hint: What to look at when the answer makes no sense.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        timeout_seconds: float,
        retry_for_seconds: float,
        unreachable_hint: str,
        garbage_hint: str,
    ) -> None:
        self._http = http
        self._timeout_seconds = timeout_seconds
        self._retry_for_seconds = retry_for_seconds
        self._unreachable_hint = unreachable_hint
        self._garbage_hint = garbage_hint

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(
        self,
        answer: type[Answer],
        method: str,
        path: str,
        body: Body | bytes | None = None,
        *,
        parameters: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        retry: bool = True,
    ) -> Answer:
        """Return the answer, read; arguments and errors as :meth:`request`."""
        content = self.request(method, path, body, parameters=parameters, headers=headers, retry=retry)
        try:
            return answer.model_validate_json(content, extra="ignore")  # a newer server may say more
        except ValidationError as error:
            raise ServerUnreachable(
                f"{self._http.base_url} answered with something that is not a {answer.__name__}.",
                hint=self._garbage_hint,
            ) from error

    def request(
        self,
        method: str,
        path: str,
        body: Body | bytes | None = None,
        *,
        parameters: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        retry: bool = True,
    ) -> bytes:
        """Return the body of the answer.

        Raises:
            ServerUnreachable: There was no usable answer within the time for retries.
            ServerRefused: The answer is an error.
        """
        request = self._http.build_request(
            method,
            path,
            params={name: value for name, value in (parameters or {}).items() if value is not None},
            # What is left to its default is the server's to decide.
            content=body.model_dump_json(exclude_unset=True) if isinstance(body, Body) else body,
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        give_up_at = monotonic() + (self._retry_for_seconds if retry else 0.0)
        for attempt in count():
            try:
                status, content = self._try(request)
            except httpx.RequestError as error:
                failure: RheostatError = self._no_answer(request, error)
                may_pass = True
            else:
                if status in _SUCCESS:
                    return content
                failure, may_pass = self._error_answer(request, status, content)
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt) * _random.uniform(0.5, 1.0)
            if not may_pass or monotonic() + pause > give_up_at:
                break
            sleep(pause)
        raise failure

    def _try(self, request: httpx.Request) -> tuple[int, bytes]:
        """Return status and body, bounded as a whole: httpx's own timeout starts anew with every byte."""
        late_at = monotonic() + self._timeout_seconds
        response = self._http.send(request, stream=True)
        try:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if monotonic() > late_at or len(content) > _LARGEST_ANSWER_BYTES:
                    raise httpx.ReadTimeout("the answer goes on and on")
            return response.status_code, bytes(content)
        finally:
            response.close()

    def _no_answer(self, request: httpx.Request, error: httpx.RequestError) -> ServerUnreachable:
        return ServerUnreachable(
            f"No answer to {request.method} {request.url}: {str(error) or type(error).__name__}.",
            hint=self._unreachable_hint,
        )

    def _error_answer(self, request: httpx.Request, status: int, content: bytes) -> tuple[RheostatError, bool]:
        """Return the error that an answer stands for, and whether it may pass."""
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
