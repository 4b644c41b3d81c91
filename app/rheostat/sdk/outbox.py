"""Delivers the reports of a run: in order, at least once; the server removes duplicates."""

import logging
from http import HTTPStatus
from pathlib import Path
from threading import Lock, Thread

from rheostat.errors import RheostatError, ServerRefused
from rheostat.schemas.fields import Body
from rheostat.sdk.server import ServerClient
from rheostat.sdk.spool import RequestQueue, claimed, spool_directory, spool_files
from rheostat.sdk.transport import AnswerT, HttpRequest

_log = logging.getLogger("rheostat")

# A later try gets the same answer; any other refusal can be remedied meanwhile, as an expired token.
_FINAL_STATUSES = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)


class WarnOnce:
    """Logs what goes wrong: the first time as a warning, later at level INFO."""

    def __init__(self) -> None:
        self._warned = False

    def __call__(self, what: str, error: Exception) -> None:
        """Log it."""
        _log.log(logging.INFO if self._warned else logging.WARNING, "%s: %s", what, error)
        self._warned = True


class Outbox:
    """Sends the requests of one run; while the server is away they are queued, and :attr:`waits` is true.

    Args:
        client: Client of the server.
        warn: Is called when a request cannot be sent.
    """

    def __init__(self, client: ServerClient, warn: WarnOnce) -> None:
        self._client = client
        self._warn = warn
        self._directory = spool_directory()
        self._queue = RequestQueue(client.base_url, self._directory)
        self._lock = Lock()

    @property
    def waits(self) -> bool:
        """Whether requests are queued."""
        return len(self._queue) > 0

    def send(self, request: HttpRequest[AnswerT]) -> AnswerT | None:
        """Send a request, behind those that are queued; return its answer, or None when there is none yet."""
        with self._lock:
            if self.waits:
                self._queue.append(request)
                return None
            try:
                return self._client.send(request)
            except RheostatError as error:
                if _is_final(error):
                    self._warn("The server refuses a report", error)
                else:
                    self._warn("Training goes on without the server", error)
                    self._queue.append(request)
                return None

    def queue(self, request: HttpRequest[Body]) -> None:
        """Queue a request without a try."""
        with self._lock:
            self._queue.append(request)

    def deliver(self, *, retry: bool = False) -> Body | None:
        """Send what is queued; return the answer to the last request once all are sent."""
        with self._lock:
            return _deliver(self._client, self._queue, retry=retry)

    def close(self) -> None:
        """Leave what is still queued to a later run."""
        with self._lock:
            if self.waits:
                _log.info("%d unsent reports wait for the server in %s.", len(self._queue), self._directory)
            self._queue.close()

    def deliver_spool(self) -> None:
        """Send what earlier runs left for the same server, in the background."""
        if any(left.url == self._client.base_url for left in spool_files(self._directory)):
            arguments = (self._client, self._directory)
            Thread(target=deliver_spool, args=arguments, name="rheostat-spool", daemon=True).start()


def deliver_spool(client: ServerClient, directory: Path) -> int:
    """Send what ended runs left for a server; return how many requests still wait for it."""
    still_waiting = 0
    for left in spool_files(directory):
        if left.url != client.base_url:
            continue
        with claimed(left) as queue:
            if queue is not None:
                _deliver(client, queue)
                still_waiting += len(queue)
    return still_waiting


def _deliver(client: ServerClient, queue: RequestQueue, *, retry: bool = False) -> Body | None:
    answer = None
    while (request := queue.first) is not None:
        try:
            answer = client.send(request, retry=retry)
        except RheostatError as error:
            if not _is_final(error):
                return None
            _log.warning("The server refuses a report that was queued: %s", error)
        queue.drop_first()
    return answer


def _is_final(error: RheostatError) -> bool:
    """Return whether the same request will be refused again, whenever it is sent."""
    return isinstance(error, ServerRefused) and error.status in _FINAL_STATUSES and not error.server_retryable
