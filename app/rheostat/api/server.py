"""The server process: one uvicorn, or several workers that share a socket."""

import errno
import gc
import logging
import os
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import connection, parent_process
from threading import Thread

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from rheostat.api import logs
from rheostat.api.app import create_app, open_from
from rheostat.api.connections import Connections
from rheostat.api.file_limit import room_for
from rheostat.api.peer import is_rheostat
from rheostat.api.settings import Settings, unknown_variables
from rheostat.errors import ConfigurationError, Unavailable
from rheostat.service import Service
from rheostat.service.operations import begin_serving, check_ready, database_place
from rheostat.service.tokens import has_valid_tokens

GRACEFUL_SHUTDOWN_SECONDS = 30
"""Longest time that requests in flight may take after SIGTERM."""

WORKER_HEALTHCHECK_SECONDS = 60
"""A worker that does not answer its supervisor for this long is replaced; a busy machine takes seconds to start one."""

BACKLOG = 2048
"""Longest queue of connections that no worker has accepted yet."""

_log = logging.getLogger(__name__)

COLLECTION_THRESHOLDS = (20_000, 20, 50)
"""A request leaves no cycles, so there is little to collect, and each collection looks through all that is cached: at
Python's own thresholds (700, 10, 10) collections take a tenth of the time."""

SWITCH_SECONDS = 0.0005
"""How long a thread that computes may keep the others waiting: at Python's own 5 ms, a few threads that read large jobs
make each step of every request, of which there are ten, wait for tens of milliseconds."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. The first line on standard output shows the address.

    Raises:
        ConfigurationError: The address cannot be bound, or is not a loopback address and there is no token, or the
            database's URL is wrong.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    # uvicorn raises SIGTERM again after it has stopped; the default action would skip our cleanup.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logs.configure(settings.log_format, settings.log_level)
    for message in unknown_variables(os.environ):
        _log.warning("%s", message)
    if not settings.on_loopback:
        _require_tokens(settings)
    with _listen(settings) as listener, ExitStack() as stack:
        if settings.workers == 1:
            app = _application(settings)
            stack.enter_context(_told_database(app.state.service))
            _AnnouncingServer(_config(settings, app)).run(sockets=[listener])
            return
        service = open_from(settings)  # upgrades an embedded database once, before the workers open it
        stack.enter_context(_told_database(service))
        service.close()
        config = _config(settings, partial(_app_of_worker, settings))
        listener.listen(config.backlog)
        _announce(listener)
        _Supervisor(config, sockets=[listener]).run()


@contextmanager
def _told_database(service: Service) -> Iterator[None]:
    """Say which database is served, whether it can be, and whether another server does as well, within a block."""
    place = database_place(service)
    _log.info("the database is %s", place)
    with ExitStack() as stack:
        if (serving := begin_serving(service)) is not None:
            stack.callback(serving.close)
            if serving.is_first is False:
                _log.warning(
                    "another server of this machine serves %s as well: that is safe, but their writes take turns",
                    place,
                )
        try:
            check_ready(service)
        except Unavailable as error:
            _log.error("requests are answered with 503 until this is mended: %s%s", error, error.cause_text())
        yield


def _config(settings: Settings, app: FastAPI | partial[FastAPI]) -> uvicorn.Config:
    maximum, backlog = room_for(settings.max_connections, BACKLOG)
    if maximum < settings.max_connections:
        _log.warning("the limit on open files leaves room for %d connections; raise it with: ulimit -n", maximum)
    return uvicorn.Config(
        app,
        factory=isinstance(app, partial),
        workers=settings.workers,
        backlog=backlog,
        http=Connections(maximum, settings.request_timeout_seconds),  # type: ignore[arg-type]  # called as a class is
        ws="none",
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        server_header=False,
        proxy_headers=False,  # the application reads them itself, with one that uvicorn does not know
        access_log=False,
        log_config=None,
        timeout_worker_healthcheck=WORKER_HEALTHCHECK_SECONDS,
    )


def _application(settings: Settings) -> FastAPI:
    """Return the application of this process, and exempt all objects that exist by now from garbage collection.

    Scanning them again and again would pause all requests for tens of milliseconds each time.
    """
    app = create_app(settings)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTION_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
    return app


def _app_of_worker(settings: Settings) -> FastAPI:
    """Return the application of one of several workers, which exits with its supervisor.

    Otherwise it would keep the port, unsupervised, after its supervisor was killed.
    """
    parent = parent_process()
    assert parent is not None

    def exit_with_parent() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=exit_with_parent, name="exit-with-parent", daemon=True).start()
    logs.configure(settings.log_format, settings.log_level)
    return _application(settings)


class _Supervisor(Multiprocess):
    """Replaces a worker immediately that dies during a health check.

    uvicorn's supervisor holds the worker's end of the pipe open as well, so that it would wait for the timeout instead
    of seeing the pipe close.
    """

    def init_processes(self) -> None:
        super().init_processes()
        self._close_worker_ends()

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        self._close_worker_ends()

    def _close_worker_ends(self) -> None:
        for process in self.processes:
            process.child_conn.close()


class _AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        _announce(sockets[0])


def _announce(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    print(f"Rheostat listens on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)


def _require_tokens(settings: Settings) -> None:
    """Refuse an address that other hosts can reach while there is no valid token."""
    service = open_from(settings)
    try:
        has_token = has_valid_tokens(service)
    except Unavailable as error:
        _log.warning("cannot check yet whether a token exists; authentication is required in any case: %s", error)
        return
    finally:
        service.close()
    if not has_token:
        # The environment names the same database to that command.
        is_named = settings.database_url is not None and "RHEOSTAT_DATABASE_URL" not in os.environ
        where = f" --database-url {shlex.quote(str(service.database))}" if is_named else ""
        raise ConfigurationError(
            f"Without tokens the server listens on loopback only, not on {settings.host}.",
            hint=f"Create a token first: rheostat token create admin --scope admin{where}. Or use --host 127.0.0.1.",
        )


def _listen(settings: Settings) -> socket.socket:
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    # asyncio sets TCP_NODELAY only if the protocol is given; without it each answer waits for an acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, settings.port))
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, settings.port, error) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigurationError:
    why, hint = error.strerror, "Choose another port with --port or RHEOSTAT_PORT; 0 takes any free one."
    if error.errno == errno.EADDRINUSE and is_rheostat(host, port):
        why = f"{why}: a Rheostat server uses it"
        hint = f"Use that one, or stop it first. {hint}"
    elif error.errno == errno.EADDRINUSE:
        why = f"{why}: another program uses it"
    elif error.errno == errno.EACCES:
        hint = "Ports below 1024 are for root: choose a higher one with --port or RHEOSTAT_PORT."
    elif error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        hint = "--host and RHEOSTAT_HOST take an address of this machine, or 0.0.0.0 for all that it has."
    return ConfigurationError(f"Cannot listen on {host}:{port}: {why}.", hint=hint)
