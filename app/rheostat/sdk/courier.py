"""Gets what a run has to say to the server, now or later, each once and in order."""

import logging
from http import HTTPStatus
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import quote

from rheostat.errors import RheostatError, ServerRefused
from rheostat.schemas.server import Body, JobDetail, ObserveAnswer, ObserveRunAnswer, PowerLimitAnswer
from rheostat.sdk.spool import Letter, Outbox, spool_directory, taken, waiting
from rheostat.sdk.transport import Transport

_log = logging.getLogger("rheostat")

# Answers that will be the same tomorrow; anything else may be mended, as an expired token is.
_FINAL_STATUSES = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)


_ANSWERS: dict[str, type[Body]] = {
    model.__name__: model for model in (JobDetail, ObserveAnswer, ObserveRunAnswer, PowerLimitAnswer)
}


def letter(method: str, path: str, body: Body, answer: type[Body], idempotency_key: str | None = None) -> Letter:
    """Return a request as it waits; names within the path must be quoted."""
    return Letter(method, path, body.model_dump_json(exclude_unset=True), answer.__name__, idempotency_key)


def quoted(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="")


def deliver(transport: Transport, post: Letter, *, retry: bool = False) -> Body:
    """Send a letter; errors as :meth:`Transport.ask`."""
    headers = {} if post.idempotency_key is None else {"Idempotency-Key": post.idempotency_key}
    answer = _ANSWERS[post.answer]
    return transport.ask(answer, post.method, post.path, post.body.encode(), headers=headers, retry=retry)


def is_final(error: RheostatError) -> bool:
    """Whether the same request will be refused again, whenever it is sent."""
    return isinstance(error, ServerRefused) and error.status in _FINAL_STATUSES and not error.server_retryable


class Courier:
    """Sends the letters of one run.

    Attributes:
        lost: Whether the server is not to be reached, so that nothing is worth waiting for.

    Args:
        transport: To the server.
        url: Its address.
        directory: Where letters wait; by default as :func:`rheostat.sdk.spool.spool_directory` says.
    """

    def __init__(self, transport: Transport, url: str, directory: Path | None = None) -> None:
        self._transport = transport
        self._url = url
        self._directory = spool_directory() if directory is None else directory
        self._outbox = Outbox(url, self._directory)
        self._lock = Lock()
        self._warned = False
        self.lost = False

    def send(self, post: Letter) -> Body | None:
        """Send a letter, or let it wait while the server is lost; returns the answer, if there is one."""
        with self._lock:
            if self.lost:
                self._outbox.add(post)
                return None
            try:
                return deliver(self._transport, post, retry=True)
            except RheostatError as error:
                self._fail("Training goes on without the server", error)
                if not is_final(error):
                    self.lost = True
                    self._outbox.add(post)
                return None

    def keep(self, post: Letter) -> None:
        """Let a letter wait."""
        with self._lock:
            self._outbox.add(post)

    def catch_up(self, *, retry: bool = False) -> Body | None:
        """Send what waits, in order; returns the answer to the last letter if all were sent."""
        with self._lock:
            answer = _send_all(self._transport, self._outbox, retry=retry)
            self.lost = len(self._outbox) > 0
            return answer

    def close(self) -> None:
        """Leave what could not be sent to a later run."""
        with self._lock:
            if len(self._outbox):
                _log.info("%d reports wait in %s for the server.", len(self._outbox), self._directory)
            self._outbox.close()

    def send_what_others_left(self) -> None:
        """Send what earlier runs left for the same server, in the background."""
        if any(left.url == self._url for left in waiting(self._directory)):
            arguments = (self._transport, self._url, self._directory)
            Thread(target=send_waiting, args=arguments, name="rheostat-spool", daemon=True).start()

    def warn_once(self, what: str, error: Exception) -> None:
        """Say what is wrong: the first time as a warning, later for those who look closely."""
        _log.log(logging.INFO if self._warned else logging.WARNING, "%s: %s", what, error)
        self._warned = True

    def _fail(self, what: str, error: RheostatError) -> None:
        self.warn_once("The server refuses a report" if is_final(error) else what, error)


def send_waiting(transport: Transport, url: str, directory: Path) -> int:
    """Send what runs have left for a server; returns how many letters still wait for it."""
    left_over = 0
    for left in waiting(directory):
        if left.url != url:
            continue
        with taken(left) as outbox:
            if outbox is not None:
                _send_all(transport, outbox)
                left_over += len(outbox)
    return left_over


def _send_all(transport: Transport, outbox: Outbox, *, retry: bool = False) -> Body | None:
    answer = None
    while (post := outbox.first) is not None:
        try:
            answer = deliver(transport, post, retry=retry)
        except RheostatError as error:
            if not is_final(error):
                return None
            _log.warning("The server refuses a report that had to wait: %s", error)
        outbox.drop_first()
    return answer
