"""Notifications to systemd, to a socket that stands in for it."""

import os
import socket
from pathlib import Path

import pytest

from rheostat.agent.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_lines_reach_the_socket_that_systemd_names(tmp_path: Path, *, abstract: bool) -> None:
    name = f"@rheostat-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        systemd.settimeout(10)
        Notifier({"NOTIFY_SOCKET": name}).send("READY=1", "STATUS=up")
        assert systemd.recv(100) == b"READY=1\nSTATUS=up"


def test_without_systemd_nothing_is_sent(tmp_path: Path) -> None:
    Notifier({}).send("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "missing")}).send("READY=1")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_systemd_names(environment: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environment).watchdog_seconds == seconds
