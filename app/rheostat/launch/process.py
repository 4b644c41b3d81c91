"""The process of a command, with all processes that it starts."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic, sleep

from rheostat.launch.oom_kills import OomKills

_LOOK_SECONDS = 0.02

# A terminal sends these to all processes of the group; other signals go to the command alone.
_FOR_ALL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT)


class Command:
    """A command that runs in a process group of its own, so that it can be ended with all that it started.

    Attributes:
        oom_kills: What the kernel's OOM killer has ended since it started.

    Args:
        arguments: The program and its arguments.
        environment: Its environment.
        stdout: Descriptor of its standard output.
        stderr: Descriptor of its standard error.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int) -> None:
        # A process group other than the terminal's own would be stopped when it reads from there.
        stdin = subprocess.DEVNULL if os.isatty(0) else None
        self.oom_kills = OomKills()
        self._process = subprocess.Popen(  # noqa: S603 -- the user's own command
            arguments, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, process_group=0
        )

    def signal(self, number: int) -> None:
        """Send a signal to the command, or to all its processes if a terminal would."""
        if self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            if number in _FOR_ALL:
                os.killpg(self._process.pid, number)
            else:
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End all its processes by SIGKILL."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until it has ended. Its process id is not reused before :meth:`reap`, so no signal hits another one."""
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)

    def reap(self) -> int:
        """Return its exit code once it has ended; minus the number of the signal that ended it."""
        return self._process.wait()

    def end_rest(self, number: int, grace_seconds: float) -> None:
        """End the processes that it left behind, finally by SIGKILL; call it after :meth:`reap`."""
        give_up_at = monotonic() + grace_seconds
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
            while monotonic() < give_up_at:
                sleep(_LOOK_SECONDS)
                with suppress(ChildProcessError):  # as the first process of a container this one inherits orphans
                    os.waitpid(-self._process.pid, os.WNOHANG)
                os.killpg(self._process.pid, 0)
            os.killpg(self._process.pid, signal.SIGKILL)
