"""Sends requests with a deadline and retries, and turns error answers into errors that say what to do."""

from http import HTTPStatus
from itertools import count
from math import inf
from random import SystemRandom
from time import monotonic, sleep

import httpx
from pydantic import ValidationError

from rheostat.errors import FieldError, RheostatError, ServerRefused, ServerUnreachable
from rheostat.schemas.fields import UNKNOWN_FIELD, Body
from rheostat.schemas.operations import Problem
from rheostat.sdk.exchange import AnswerT, Exchange, HttpRequest, Reply

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_SUCCESS = range(200, 300)
# Of the time for retries, where nothing listens: a server that restarts is back by then.
_REFUSED_FRACTION = 0.3
# What a gateway answers while the server behind it restarts.
_GATEWAY_STATUSES = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": (
        "Does SSL_CERT_FILE name a file with the certificate of the authority that signed the server's?"
    ),
    "WRONG_VERSION_NUMBER": "The server speaks HTTP there, not HTTPS: write its address with http://.",
    "Permission denied": (
        "The agent's socket is for the members of its group, rheostat unless the site file names another: "
        "sudo usermod -aG rheostat $USER, and log in again."
    ),
    "Server disconnected": "Does another program listen there, or a server that wants https://?",
}
_ROUTE_HINT = (
    "The server's address has no route in it, as http://host:8420; with the right address, the server is older than "
    "this client: upgrade the server."
)
_UNKNOWN_FIELD = (UNKNOWN_FIELD, "extra inputs are not permitted")
"""What a server says of a field that it does not know, and what one of before this version said."""
_OLD_SERVER_HINT = "The server is older than this client: upgrade it, or install its version of rheostat here."

_random = SystemRandom()


def as_json(body: Body) -> str:
    """Return a body as it is sent: what the caller leaves at its default is the server's to decide."""
    return body.model_dump_json(exclude_unset=True)


class Transport:
    """Sends requests to one server; safe to share between threads.

    Args:
        exchange: Sends each try.
        timeout_seconds: How long one try may take as a whole.
        retry_for_seconds: How long to retry; 0 is one try. Where nothing listens, three tenths of it.
        unreachable_hint: What to check when there is no answer.
        garbage_hint: What to check when the answer is not one of ours.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        timeout_seconds: float,
        retry_for_seconds: float,
        unreachable_hint: str,
        garbage_hint: str,
    ) -> None:
        self._exchange = exchange
        self._timeout_seconds = timeout_seconds
        self._retry_for_seconds = retry_for_seconds
        self._unreachable_hint = unreachable_hint
        self._garbage_hint = garbage_hint

    def close(self) -> None:
        """Close the connections."""
        self._exchange.close()

    def send(
        self, request: HttpRequest[AnswerT], *, retry: bool = True, within_seconds: float | None = None
    ) -> AnswerT:
        """Return the answer, parsed; arguments and errors as :meth:`fetch`."""
        content = self.fetch(request, retry=retry, within_seconds=within_seconds)
        try:
            return request.answer.model_validate_json(content, extra="ignore")  # a newer server may send more
        except ValidationError as error:
            raise ServerUnreachable(
                f"{self._exchange.address} answered with something that is not a {request.answer.__name__}.",
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
        began = monotonic()
        give_up_at = inf if within_seconds is None else began + within_seconds
        retry_until = began + (self._retry_for_seconds if retry else 0.0)
        for attempt in count():
            try:
                left = max(give_up_at - monotonic(), 0.0)
                status, content, _ = self._exchange.send(request, min(self._timeout_seconds, left))
            except httpx.RequestError as error:
                failure: RheostatError = self._no_answer(request, error)
                may_pass = True
                if isinstance(error, httpx.ConnectError):
                    retry_until = min(retry_until, began + _REFUSED_FRACTION * self._retry_for_seconds)
            else:
                if status in _SUCCESS:
                    return content
                failure, may_pass = self._error_answer(request, status, content)
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt) * _random.uniform(0.5, 1.0)
            if not may_pass or monotonic() + pause > min(retry_until, give_up_at):
                break
            sleep(pause)
        raise failure

    def look(self, path: str) -> Reply:
        """Return what is answered to a GET, whatever it is; tried once.

        Raises:
            ServerUnreachable: There is no answer.
        """
        request = HttpRequest("GET", path, Body)
        try:
            return self._exchange.send(request, self._timeout_seconds)
        except httpx.RequestError as error:
            raise self._no_answer(request, error) from error

    def error_of(self, path: str, reply: Reply) -> RheostatError:
        """Return the error that an answer of `look` stands for."""
        return self._error_answer(HttpRequest("GET", path, Body), reply.status, reply.content)[0]

    def _describe(self, request: HttpRequest[Body]) -> str:
        return f"{request.method} {self._exchange.address}{request.path}"

    def _no_answer(self, request: HttpRequest[Body], error: httpx.RequestError) -> ServerUnreachable:
        why = str(error) or type(error).__name__
        hint = next((hint for sign, hint in _HINTS.items() if sign in why), self._unreachable_hint)
        return ServerUnreachable(f"No answer to {self._describe(request)}: {why}.", hint=hint)

    def _error_answer(self, request: HttpRequest[Body], status: int, content: bytes) -> tuple[RheostatError, bool]:
        """Return the error that an answer stands for, and whether a retry may succeed."""
        try:
            problem = Problem.model_validate_json(content, extra="ignore")
        except ValidationError:
            message = f"{self._describe(request)} was answered with status {status} and no reason."
            return ServerUnreachable(message, hint=self._garbage_hint), status in _GATEWAY_STATUSES
        fields = [FieldError(problem.field, problem.message) for problem in problem.fields]
        if problem.retryable and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ServerUnreachable(problem.detail, hint=problem.hint, fields=fields), True
        detail, hint = problem.detail, problem.hint
        if problem.code == "no_such_route":
            detail, hint = f"The server does not know {self._describe(request)}.", _ROUTE_HINT
        elif any(field.message.startswith(_UNKNOWN_FIELD) for field in fields):
            hint = _OLD_SERVER_HINT  # what our own models made has no field that its server does not know
        refused = ServerRefused(
            detail,
            status=status,
            server_code=problem.code,
            server_retryable=problem.retryable,
            hint=hint,
            fields=fields,
        )
        return refused, problem.retryable
