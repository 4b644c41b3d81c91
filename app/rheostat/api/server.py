"""The server: one uvicorn on a loopback address, or several that share it."""

import os
import signal
import socket
from functools import partial
from ipaddress import ip_address
from multiprocessing import connection, parent_process
from threading import Thread

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from rheostat.api.app import create_app, prepare_database
from rheostat.api.settings import Settings
from rheostat.errors import ConfigurationError

GRACEFUL_SHUTDOWN_SECONDS = 30
"""Requests in flight may take this long to end after a SIGTERM."""

WORKER_SECONDS = 60
"""A process that does not answer its supervisor for so long is replaced; a busy machine takes seconds to start one."""

BACKLOG = 2048
"""Connections that may wait until a worker takes them."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. The first line on standard output tells the address.

    Raises:
        ConfigurationError: The address is not a loopback address or cannot be had, or the database's URL is wrong.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    _require_loopback(settings.host)
    with _listen(settings) as listener:
        if settings.workers == 1:
            _AnnouncingServer(_config(create_app(settings))).run(sockets=[listener])
            return
        prepare_database(settings)
        listener.listen(BACKLOG)
        _announce(listener)
        Multiprocess(_config(partial(_app_of_worker, settings), settings.workers), sockets=[listener]).run()


def _config(app: FastAPI | partial[FastAPI], workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, partial),
        workers=workers,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        server_header=False,
        access_log=False,  # a line a request would take as long as a report
        timeout_worker_healthcheck=WORKER_SECONDS,
    )


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
    return create_app(settings)


class _AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        _announce(sockets[0])


def _announce(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    print(f"Rheostat listens on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)


def _require_loopback(host: str) -> None:
    """Refuse any other address: whoever reached it could change every job, for this server knows no tokens."""
    try:
        is_loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ConfigurationError(
            f"The server listens on loopback only, not on {host}: it does not ask callers who they are.",
            hint="Use 127.0.0.1, and let an authenticating proxy or an SSH tunnel on this machine pass others on.",
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
