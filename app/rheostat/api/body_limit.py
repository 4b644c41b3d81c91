"""A limit on the size of a request's body, and on the time that it takes to arrive."""

from asyncio import get_running_loop, timeout_at
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rheostat.api import problems
from rheostat.api.paths import header

FIRST_SECONDS = 10.0
"""Time for a body that is small, or the beginning of one."""

LEAST_BYTES_PER_SECOND = 5_000
"""How fast the rest must arrive; Apache's mod_reqtimeout has 500."""


class LimitBody:
    """Refuses a request whose body is too long or arrives too slowly.

    The declared length is checked first, then the bytes that arrive. Without the time limit a client could hold a
    connection open indefinitely. The rest of a refused body is received and dropped by the connection, within the same
    time: a client that is still sending would not see the answer.

    Args:
        app: The next application.
        max_body_bytes: Longest body.
        timeout_seconds: Longest time from the request's head to the end of its body.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, timeout_seconds: float) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = header(scope, b"content-length") or ""
        received, more = 0, True
        began = get_running_loop().time()
        if declared.isdecimal() and self._is_longer(declared):
            await problems.http_problem(scope, self._too_large())(scope, receive, send)
            return

        async def limited_receive() -> Message:
            nonlocal received, more
            if not more:  # only the client's disconnect can follow, which may take as long as the answer does
                return await receive()
            try:
                async with timeout_at(began + self._seconds_for(received)):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"The body did not arrive within {self._seconds_for(received):g} seconds",
                    {"Connection": "close"},  # the rest of the body must not be read as a new request
                ) from error
            more = message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise self._too_large()
            return message

        await self._app(scope, limited_receive, send)

    def _seconds_for(self, received: int) -> float:
        return min(self._timeout_seconds, FIRST_SECONDS + received / LEAST_BYTES_PER_SECOND)

    def _is_longer(self, declared: str) -> bool:
        digits = declared.lstrip("0")  # there may be thousands, more than int() takes
        return len(digits) > len(str(self._max_body_bytes)) or int(digits or "0") > self._max_body_bytes

    def _too_large(self) -> HTTPException:
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is longer than {self._max_body_bytes} bytes"
        )
