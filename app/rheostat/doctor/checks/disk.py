"""Checks of the reports that wait on this machine for a server."""

from rheostat.doctor.facts.disk import Spool
from rheostat.doctor.finding import Finding, ok, problem, warning
from rheostat.doctor.machine import Machine
from rheostat.sdk.spool import MOST_BYTES


def spool(machine: Machine) -> Finding:
    """Check that no report waits, and that there is room for more."""
    found = machine.spool
    why = "A report that the server does not take waits there for a later run."
    if not found.is_writable:
        return problem(
            "spool",
            f"{found.directory} may not be written by this user",
            f"{why} Without it, it is lost when the run ends.",
            "Set RHEOSTAT_SPOOL_DIR to a folder that may be written.",
        )
    if found.free_bytes is not None and found.free_bytes < MOST_BYTES:
        text = f"{found.free_bytes / 1e6:.0f} MB are left on the disk of {found.directory}"
        return problem("spool", text, f"{why} It needs up to {MOST_BYTES / 2**20:.0f} MiB.", "Make room on that disk.")
    if found.is_full:
        text = f"the spool is full: {_waiting(found)}"
        return problem("spool", text, "The next reports push out the oldest.", _send(machine))
    if found.unreadable:
        text = f"{len(found.unreadable)} files in {found.directory} cannot be read, as {found.unreadable[0].name}"
        remedy = "Look at them, and delete what is of no use: those of another version that version sends."
        return warning("spool", text, "Their reports are not sent.", remedy)
    if found.waiting:
        return warning("spool", _waiting(found), "The server does not have them yet.", _send(machine))
    return ok("spool", f"no report waits in {found.directory}")


def _waiting(spool: Spool) -> str:
    return ", ".join(f"{count} reports wait for {url}" for url, count in sorted(spool.waiting.items()))


def _send(machine: Machine) -> str:
    urls, command = machine.spool.waiting, f"{machine.installation.command} spool send"
    if machine.remote.url in urls or not urls:
        return f"Send them: {command}"
    url = min(urls)
    return f"Send them: {command} --server {url}. If it has moved: --from {url} --to ADDRESS"
