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
    return ", ".join(
        f"{count} {'report waits' if count == 1 else 'reports wait'} for {url}"
        for url, count in sorted(spool.waiting.items())
    )


def _send(machine: Machine) -> str:
    """Return what sends the reports: to the server that answers, where they wait for an address at which none does."""
    remote, urls, command = machine.remote, machine.spool.waiting, f"{machine.installation.command} spool send"
    if not urls or (remote.is_usable and remote.url in urls):
        return f"Send them: {command}"
    url = remote.url if remote.url in urls else min(urls)
    if to := remote.url if remote.is_usable else machine.store.server_url:
        other = f"Or, once the one at {url} answers: {command} --server {url}"
        return f"Send them to the server that answers: {command} --from {url} --to {to}. {other}"
    return f"They are sent when it answers. If it has another address: {command} --from {url} --to ADDRESS"
