"""The server process: one uvicorn on a loopback address."""

import socket
from ipaddress import ip_address

import uvicorn

from rheostat.api.app import create_app
from rheostat.api.settings import Settings
from rheostat.errors import ConfigurationError

GRACEFUL_SHUTDOWN_SECONDS = 30
"""Requests in flight may take this long to end after a SIGTERM."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. The first line on standard output tells the address.

    Raises:
        ConfigurationError: The address is not a loopback address or cannot be had, or the database's URL is wrong.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    _require_loopback(settings.host)
    with _listen(settings) as listener:
        config = uvicorn.Config(
            create_app(settings),
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
            server_header=False,
            access_log=False,  # a line a request would take as long as a report
        )
        _AnnouncingServer(config).run(sockets=[listener])


class _AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        host, port = sockets[0].getsockname()[:2]
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
