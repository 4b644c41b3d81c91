"""What systemd is told: sd_notify(3), a datagram to the socket that it names."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Talks to systemd, or to nobody where it did not start us.

    Args:
        environment: Where systemd says how; read once, so that no child of ours takes it for its own.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]  # an abstract socket
        microseconds = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_seconds = int(microseconds) / 1e6 if ours and microseconds.isdecimal() else None

    def send(self, *lines: str) -> None:
        """Send lines as `READY=1`; systemd being away is no reason to stop."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.sendto("\n".join(lines).encode(), self._address)
