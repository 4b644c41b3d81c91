"""The database of a server on this machine, and the port that it would listen on."""

import errno
import os
import shutil
import socket
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from rheostat.agent.peer import user_name
from rheostat.doctor.facts.disk import is_writable, nearest
from rheostat.errors import RheostatError

if TYPE_CHECKING:
    from rheostat.api.settings import Settings

_LEASE = timedelta(days=36_500)
"""Leases are the server's; none ends here."""

_IN_USE = "another program has it"
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- nothing is bound
"""Where a server that listens on all addresses is reached."""


@dataclass(frozen=True, slots=True)
class Store:
    """A database, and what a server here would need.

    Attributes:
        has_extra: Whether the server is installed.
        is_named: Whether the database was named, by an option, a variable or a file.
        place: Where it is; empty: unknown.
        is_file: Whether it is an SQLite file.
        exists: Whether there is one.
        revision: Its schema; empty: none.
        is_older: Whether a server of this version would upgrade it.
        is_writable: Whether this user may write it, or make it.
        owner: Who owns the file, or the folder that it would be made in.
        free_bytes: Room on its disk; None: unknown.
        error: Why it cannot be used.
        host: The address that a server would listen on.
        port: The port.
        port_problem: Why it could not; empty: it could.
        server_url: The address of a Rheostat server that has that port; empty: none does.
        unknown_variables: What is said of variables that are probably misspelt settings of the server.
        behind_seconds: How far this machine's clock is behind PostgreSQL's; None: unknown.
    """

    has_extra: bool = False
    is_named: bool = False
    place: str = ""
    is_file: bool = False
    exists: bool = False
    revision: str = ""
    is_older: bool = False
    is_writable: bool = True
    owner: str = ""
    free_bytes: int | None = None
    error: RheostatError | None = None
    host: str = "127.0.0.1"
    port: int = 8420
    port_problem: str = ""
    server_url: str = ""
    unknown_variables: tuple[str, ...] = ()
    behind_seconds: float | None = None


def look_at_store(database_url: str | None) -> Store:
    """Return the database that a server here would use, by an option or else by the settings; it is only read."""
    try:
        from rheostat.api.settings import load_settings, unknown_variables  # noqa: PLC0415 -- the server is an extra
    except ModuleNotFoundError:
        return Store()
    try:
        settings = load_settings(database_url=database_url)
    except RheostatError as error:
        return Store(has_extra=True, is_named=True, error=error)
    seen = {"has_extra": True, "unknown_variables": tuple(unknown_variables(os.environ))}
    seen |= {"host": settings.host, "port": settings.port, "port_problem": _port_problem(settings)}
    if seen["port_problem"] == _IN_USE:
        seen["server_url"] = _server_url(settings.host, settings.port)
    return Store(**seen | _database(settings))  # type: ignore[arg-type]


def _database(settings: "Settings") -> dict[str, object]:
    from rheostat.service.operations import (  # noqa: PLC0415
        check_ready,
        database_place,
        database_time,
        open_service,
        schema_status,
    )

    password = settings.database_password
    seen: dict[str, object] = {"is_named": settings.database_url is not None}
    try:
        service = open_service(
            settings.database_url,
            _LEASE,
            upgrade=False,
            password=None if password is None else password.get_secret_value(),
        )
    except RheostatError as error:
        return seen | {"error": error}
    try:
        place = database_place(service)
        is_file = place.startswith("/")
        seen |= {"place": place, "is_file": is_file, "exists": True}
        if is_file:
            seen |= _file(Path(place))
        else:
            before = time()
            moment = database_time(service)
            seen["behind_seconds"] = moment.timestamp() - (before + time()) / 2
        if not seen["exists"]:
            return seen
        status = schema_status(service)
        seen |= {"revision": status.current or "", "is_older": status.known and not status.at_head}
        check_ready(service)
    except RheostatError as error:
        return seen | {"error": error}
    finally:
        service.close()
    return seen


def _file(path: Path) -> dict[str, object]:
    there = nearest(path)
    may_write = is_writable(there) and (there != path or is_writable(path.parent))  # SQLite keeps a log beside it
    return {
        "exists": path.exists(),
        "is_writable": may_write,
        "owner": user_name(there.stat().st_uid),
        "free_bytes": shutil.disk_usage(there).free,
    }


def _port_problem(settings: "Settings") -> str:
    """Return why the server's port cannot be bound; it is let go of at once, before anything can connect."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        return _IN_USE if in_use else os.strerror(error.errno or 0).lower()
    return ""


def _server_url(host: str, port: int) -> str:
    """Return the address of the Rheostat server that listens there; empty: it is another program."""
    from rheostat.api.peer import is_rheostat  # noqa: PLC0415 -- the server is an extra

    reached = _ANY_HOST.get(host, host)
    if not is_rheostat(reached, port):
        return ""
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
