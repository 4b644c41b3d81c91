"""Checks of the server, as trainers on this machine reach it."""

import re
from dataclasses import replace
from http import HTTPStatus

from rheostat.doctor.finding import Finding, ok, problem, skipped, warning
from rheostat.doctor.machine import Machine
from rheostat.errors import ConfigurationError, RheostatError, ServerRefused

_MOST_SKEW_SECONDS = 5.0
_GRAVE_SKEW_SECONDS = 300.0
_DEFAULT_BATCH_SIZE = "Runs then train with their default batch size, and their reports wait in the spool."
_NEW_PORT = "Then in the trainer's environment: RHEOSTAT_URL=http://127.0.0.1:8421"
_SLOW = ("no answer within", "timed out")
_UNKNOWN_NAME = ("not known", "No address", "name resolution")
_OR_PORT = "Or correct the port in RHEOSTAT_URL; the usual one is 8420."
_NO_SERVER = "no Rheostat server answers"


def server(machine: Machine) -> Finding:
    """Check that a Rheostat server answers, and is ready."""
    finding, remote = _server(machine), machine.remote
    if remote.is_usable or not machine.store.server_url or isinstance(remote.error, ConfigurationError):
        return finding
    here = f"se the server that listens here: export RHEOSTAT_URL={machine.store.server_url}"
    return replace(finding, remedy=f"U{here}" if remote.is_local else f"{finding.remedy.rstrip('.')}. Or u{here}")


def _server(machine: Machine) -> Finding:
    remote = machine.remote
    if remote.error is not None:
        if not remote.is_named and not isinstance(remote.error, ConfigurationError):
            return warning(
                "server",
                f"no server answers at {remote.url}, and RHEOSTAT_URL names no other",
                _DEFAULT_BATCH_SIZE,
                _start(machine),
            )
        return problem("server", remote.error.message, _DEFAULT_BATCH_SIZE, _reach(machine, remote.error))
    if not remote.is_rheostat:
        remedy = "Set RHEOSTAT_URL to the server's address and, behind a proxy, its path."
        if not remote.is_named and machine.store.has_extra:
            remedy = f"Serve on another port: {machine.installation.command} serve --port 8421. {_NEW_PORT}"
        return problem("server", f"another program than Rheostat answers at {remote.url}", _DEFAULT_BATCH_SIZE, remedy)
    if remote.not_ready is not None:
        found = f"the server at {remote.url} is not ready: {remote.not_ready.message}"
        remedy = remote.not_ready.hint or "Look at the server's log."
        return problem("server", found, _DEFAULT_BATCH_SIZE, remedy)
    return ok("server", f"a Rheostat server is ready at {remote.url}")


def _reach(machine: Machine, error: RheostatError) -> str:
    """Return what to do about an error of the connection; the client's own hint where nothing more is known."""
    remote = machine.remote
    if remote.proxy:
        return error.hint
    if "refused" in error.message:
        if remote.is_local:
            start = f"Start the server: {machine.installation.command} serve"
            return start if remote.port == machine.store.port else f"{start} --port {remote.port}. {_OR_PORT}"
        return f"Start the server on {remote.host}. If it runs, it may listen on loopback alone: RHEOSTAT_HOST."
    if any(sign in error.message for sign in _SLOW):
        return f"Look for a firewall on the way: curl -v {remote.url}/healthz"
    if any(sign in error.message for sign in _UNKNOWN_NAME):
        return f"Correct the host in RHEOSTAT_URL. This machine's name service does not know {remote.host}."
    return error.hint or "Look at the server's log."


def _start(machine: Machine) -> str:
    start = f"{machine.installation.command} serve"
    if machine.store.has_extra:
        return f"Start one here: {start}. Or set RHEOSTAT_URL to the address of yours."
    install = machine.installation.install_command("server")
    return f"Set RHEOSTAT_URL to your server's address. Or run one here: {install} && {start}"


def version(machine: Machine) -> Finding:
    """Compare the server's version with this one."""
    theirs, ours = machine.remote.version, machine.installation.version
    if not machine.remote.is_usable:
        return skipped("version", _NO_SERVER)
    if theirs == ours:
        return ok("version", f"the server is of this version, {ours}")
    if _numbers(theirs) > _numbers(ours):
        found = f"the server is newer, {theirs}; this is {ours}"
        why = "A newer server answers older clients, but what is new in it is missing here."
        return warning("version", found, why, f"Upgrade here: pip install 'rheostat=={theirs}'")
    return warning(
        "version",
        f"the server is older, {theirs}; this is {ours}",
        "A server refuses fields of a request that it does not know.",
        f"Upgrade the server to {ours}, or install {theirs} here.",
    )


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def proxy(machine: Machine) -> Finding:
    """Check that no proxy of the environment gets in the way."""
    remote = machine.remote
    if remote.is_local:
        return skipped("proxy", "the server is on this machine, where no proxy is asked")
    if not remote.proxy:
        return ok("proxy", "no proxy variable concerns the server")
    if remote.is_usable:
        return ok("proxy", f"requests go through the proxy {remote.proxy}, and arrive")
    return warning(
        "proxy",
        f"requests go through the proxy {remote.proxy}, by the variables of the environment",
        "Many proxies do not reach hosts of the own network.",
        f"Run: export NO_PROXY={remote.host}",
    )


def token(machine: Machine) -> Finding:
    """Check that the server accepts a trainer's requests."""
    remote = machine.remote
    if not remote.is_usable or remote.not_ready is not None:
        return skipped("token", _NO_SERVER if not remote.is_usable else "the server is not ready")
    if remote.refusal is None:
        return ok("token", "the token may train" if remote.has_token else "the server wants no token")
    refusal = remote.refusal
    why = "The server refuses every request of a trainer."
    status = refusal.status if isinstance(refusal, ServerRefused) else None
    if status == HTTPStatus.FORBIDDEN:
        remedy = "Make one that may, on the server: rheostat token create NAME"
        return warning("token", f"the token is valid, but may not train: {refusal.message}", why, remedy)
    remedy = "Set RHEOSTAT_TOKEN to a valid token. One is made on the server: rheostat token create NAME"
    if status != HTTPStatus.UNAUTHORIZED:
        remedy = refusal.hint or "Look at the server's log."
    return problem("token", refusal.message, why, remedy)


def clock(machine: Machine) -> Finding:
    """Compare this machine's clock with PostgreSQL's, on the server's machine, else with the server's."""
    remote = machine.remote
    behind, whose = remote.behind_seconds, "the server's"
    if machine.store.behind_seconds is not None:
        behind, whose = machine.store.behind_seconds, "the database's"
    if behind is None:
        return skipped("clock", f"{_NO_SERVER} with its time" if remote.is_usable else _NO_SERVER)
    if abs(behind) <= _MOST_SKEW_SECONDS + remote.doubt_seconds:
        return ok("clock", f"this machine's clock agrees with {whose}")
    found = f"this machine's clock is {_span(behind)} {'behind' if behind > 0 else 'ahead of'} {whose}"
    why = "Times in logs and of runs do not match; valid certificates and tokens may seem expired."
    remedy = "Correct the wrong clock. On each machine timedatectl shows whether its clock is synchronised."
    say = problem if abs(behind) > _GRAVE_SKEW_SECONDS else warning
    return say("clock", found, why, remedy)


def _span(seconds: float) -> str:
    whole = round(abs(seconds))
    minutes, hours = 60, 3600
    if whole < 2 * minutes:
        return f"{whole} s"
    return f"{whole / minutes:.0f} min" if whole < 2 * hours else f"{whole / hours:.1f} h"
