"""Machines to check, users without privileges, and programs that answer over HTTP."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time
from typing import Any

import pytest

import rheostat
from rheostat.doctor.examination import CHECKS
from rheostat.doctor.facts.disk import Spool
from rheostat.doctor.facts.gpus import Gpus
from rheostat.doctor.facts.installation import Installation
from rheostat.doctor.facts.node import NodeFacts
from rheostat.doctor.facts.remote import Remote
from rheostat.doctor.facts.store import Store
from rheostat.doctor.finding import Finding
from rheostat.doctor.machine import Machine

NOBODY = 65534

PLAIN = Machine(Installation(), Gpus(), NodeFacts(), Remote(), Store(), Spool())
"""A machine of which nothing was seen."""


def found(name: str, **facts: Any) -> Finding:
    """Return what a check finds on a machine of which only these facts are known."""
    (check,) = [check for _, check in CHECKS if check.__name__ == name]
    finding = check(replace(PLAIN, **facts))
    assert finding.name == name
    assert (finding.state in {"ok", "skipped"}) == (not finding.remedy) == (not finding.why), finding
    return finding


@contextmanager
def unprivileged() -> Iterator[None]:
    """Run a block as a user who is not root and in no group of this process's."""
    if os.geteuid() != 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    try:
        os.setgroups([])
    except PermissionError:
        pytest.skip("root may not become another user here")
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


OURS: Mapping[str, tuple[int, Any]] = {
    "/healthz": (200, {"status": "ok"}),
    "/readyz": (200, {"status": "ok"}),
    f"/v1/trials/{'0' * 32}/heartbeat": (
        404,
        {
            "type": "urn:rheostat:trial_not_found",
            "title": "Trial not found",
            "status": 404,
            "detail": "There is no trial with that id.",
            "code": "trial_not_found",
            "retryable": False,
        },
    ),
    "/openapi.json": (200, {"info": {"title": "Rheostat", "version": rheostat.__version__}}),
}
"""What a Rheostat server answers; to the heartbeat of an unknown trial, too."""


@contextmanager
def answering(answers: Mapping[str, tuple[int, Any]], *, ahead_seconds: float = 0.0) -> Iterator[str]:
    """Serve answers, by path; the server's clock may be wrong. What else is asked for is not found."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answers.get(self.path, (404, "not found"))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815 -- the base class calls them so

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time() + ahead_seconds if timestamp is None else timestamp)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
