"""Passes the signals on that are meant for the command."""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Self

from rheostat.errors import ConfigurationError
from rheostat.launch.process import Command

_ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
_PASSED_ON = (*_ENDING, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)


class Signals:
    """Passes on what is sent to this process, for the length of a block; what was ignored before stays so.

    Attributes:
        ended_by: The first signal that was to end the command.

    Args:
        resize: Is called when the terminal's size changes.
    """

    def __init__(self, resize: Callable[[], None]) -> None:
        self._resize = resize
        self._command: Command | None = None
        self._early: list[int] = []
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}
        self.ended_by: int | None = None

    def __enter__(self) -> Self:
        handlers = {
            **dict.fromkeys((*_PASSED_ON, signal.SIGTSTP), self._take),
            signal.SIGWINCH: lambda *_: self._resize(),
        }
        for number, handler in handlers.items():
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin(self, command: Command) -> None:
        """Pass on to this command, also what came before it began."""
        self._command = command
        for number in self._early:
            self._pass_on(command, number)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._command is None:
            self._early.append(number)
        else:
            self._pass_on(self._command, number)

    def _pass_on(self, command: Command, number: int) -> None:
        if self.ended_by is None and number in _ENDING:
            self.ended_by = number
        command.signal(number)
        if number == signal.SIGTSTP:  # both stop, as a shell expects, until SIGCONT
            os.kill(os.getpid(), signal.SIGSTOP)


def signal_number(name: str) -> int:
    """Read the name of a signal, as ``SIGTERM`` or ``TERM``.

    Raises:
        ConfigurationError: There is none of that name.
    """
    upper = name.upper()
    try:
        return signal.Signals[upper if upper.startswith("SIG") else f"SIG{upper}"]
    except KeyError:
        raise ConfigurationError(f"--stop-signal {name!r} is not the name of a signal.", hint="As: SIGTERM.") from None


def signal_name(number: int) -> str:
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # one of those for real-time use
