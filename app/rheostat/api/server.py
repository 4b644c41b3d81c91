"""The server: one uvicorn, or several that share an address: any once there are tokens, until then loopback only."""

import gc
import logging
import os
import signal
import socket
import sys
from functools import partial
from multiprocessing import connection, parent_process
from threading import Thread

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from rheostat.api import logs
from rheostat.api.app import create_app, open_from
from rheostat.api.settings import Settings, unknown_variables
from rheostat.errors import ConfigurationError, Unavailable
from rheostat.service.operations import close_service
from rheostat.service.tokens import has_valid_tokens

GRACEFUL_SHUTDOWN_SECONDS = 30
"""Requests in flight may take this long to end after a SIGTERM."""

WORKER_SECONDS = 60
"""A process that does not answer its supervisor for so long is replaced; a busy machine takes seconds to start one."""

BACKLOG = 2048
"""Connections that may wait until a worker takes them."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. The first line on standard output tells the address.

    Raises:
        ConfigurationError: The address cannot be had, or is not a loopback address and there is no token, or the
            database's URL is wrong.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    # uvicorn hands a SIGTERM on when it has stopped; its default would end us before we have tidied up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logs.configure(settings.log_format, settings.log_level)
    for complaint in unknown_variables(os.environ):
        _log.warning("%s", complaint)
    if not settings.on_loopback:
        _require_tokens(settings)
    with _listen(settings) as listener:
        if settings.workers == 1:
            _AnnouncingServer(_config(_application(settings))).run(sockets=[listener])
            return
        close_service(open_from(settings))  # brings an embedded database to this version
        listener.listen(BACKLOG)
        _announce(listener)
        _Supervisor(_config(partial(_app_of_worker, settings), settings.workers), sockets=[listener]).run()


def _config(app: FastAPI | partial[FastAPI], workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, partial),
        workers=workers,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_worker_healthcheck=WORKER_SECONDS,
    )


def _application(settings: Settings) -> FastAPI:
    """Return the application of this process, and leave it out of all later garbage collections.

    To look through what is made at the start again and again stops all requests for tens of milliseconds each time.
    """
    app = create_app(settings)
    gc.collect()
    gc.freeze()
    return app


def _app_of_worker(settings: Settings) -> FastAPI:
    """Return the application of one of several processes, which ends with the one that started it.

    Otherwise it would hold the port after that one was killed, and nobody would look after it.
    """
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=follow, name="follow-parent", daemon=True).start()
    logs.configure(settings.log_format, settings.log_level)
    return _application(settings)


_log = logging.getLogger(__name__)


class _Supervisor(Multiprocess):
    """Replaces a worker at once that dies while it is asked whether it is well: only then does its pipe end with it."""

    def init_processes(self) -> None:
        super().init_processes()
        self._leave_pipes_to_workers()

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        self._leave_pipes_to_workers()

    def _leave_pipes_to_workers(self) -> None:
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
    """Refuse another address than loopback while nobody could prove who they are."""
    service = open_from(settings)
    try:
        guarded = has_valid_tokens(service)
    except Unavailable as error:
        _log.warning("whether there are tokens cannot be told yet; nobody is served without one: %s", error)
        return
    finally:
        close_service(service)
    if not guarded:
        raise ConfigurationError(
            f"Without tokens the server listens on loopback only, not on {settings.host}.",
            hint="Make a token first: rheostat token create NAME --scope admin. Or use --host 127.0.0.1.",
        )


def _listen(settings: Settings) -> socket.socket:
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    # With the protocol named asyncio sets TCP_NODELAY; without it every answer waits for an acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"The address {host}:{settings.port} cannot be had: {error.strerror}.",
            hint="Choose another with --port or RHEOSTAT_PORT; 0 takes any free one.",
        ) from error
    return listener
