"""Checks of what a server on this machine needs."""

from rheostat.doctor.facts.store import Store
from rheostat.doctor.finding import Finding, ok, problem, skipped, warning
from rheostat.doctor.machine import Machine

_WHY = "A server here cannot answer without its database."
_LEAST_FREE_BYTES = 100_000_000


def database(machine: Machine) -> Finding:
    """Check that the database of a server here is of this version, and can be written."""
    store = machine.store
    if not store.has_extra:
        return skipped("database", _no_extra(machine))
    if not store.is_writable:
        return _unwritable(store)
    if store.error is not None and not (store.is_file and store.is_older):
        cause = store.error.cause_text()
        where = f"{store.place}: " if store.place and store.place not in store.error.message else ""
        remedy = store.error.hint or "Check --database-url or RHEOSTAT_DATABASE_URL."
        return problem("database", f"{where}{store.error.message}{cause}", _WHY, remedy)
    if not store.exists and not store.is_named and machine.remote.is_named and not machine.remote.is_local:
        return skipped("database", "the server is on another machine")
    return _state(store, machine.installation.command)


def _unwritable(store: Store) -> Finding:
    found = f"{store.place} may not be written by this user; it is {store.owner}'s"
    if not store.exists:
        found = f"{store.place} cannot be made: its folder, {store.owner}'s, may not be written by this user"
    remedy = f"Run the server as {store.owner}, or set RHEOSTAT_DATABASE_URL to a file in a folder of yours."
    return problem("database", found, _WHY, remedy)


def _state(store: Store, command: str) -> Finding:
    if store.free_bytes is not None and store.free_bytes < _LEAST_FREE_BYTES:
        found = f"{store.free_bytes / 1e6:.0f} MB are left on the disk of {store.place}"
        return warning("database", found, "On a full disk the server refuses to write.", "Make room on that disk.")
    if not store.exists:
        return ok("database", f"there is none yet; rheostat serve makes {store.place}")
    if store.is_older:
        return warning(
            "database",
            f"the schema of {store.place} is older: {store.revision or 'empty'}",
            "rheostat serve upgrades it at its start, after a backup; an older server then no longer opens it.",
            f"Keep a backup of your own if you may go back: {command} db backup FILE",
        )
    room = "" if store.free_bytes is None else f", {store.free_bytes / 1e9:.1f} GB free"
    return ok("database", f"{store.place}, schema {store.revision}{room}")


def port(machine: Machine) -> Finding:
    """Check that the port of a server here is free."""
    store, remote = machine.store, machine.remote
    if not store.has_extra:
        return skipped("port", _no_extra(machine))
    if remote.is_usable and remote.is_local:
        return skipped("port", "a server runs here already")
    if store.server_url:
        names = "names another address" if remote.is_named else "does not name it"
        return skipped("port", f"a Rheostat server listens at {store.server_url}; RHEOSTAT_URL {names}")
    if not store.port_problem:
        return ok("port", f"{store.host}:{store.port} is free for a server")
    found = f"{store.host}:{store.port} cannot be bound: {store.port_problem}"
    why = "rheostat serve does not start while that is so."
    return warning("port", found, why, f"Find what has it: ss -ltnp 'sport = :{store.port}'. Or serve with --port.")


def _no_extra(machine: Machine) -> str:
    return f"no server is installed here: {machine.installation.install_command('server')}"
