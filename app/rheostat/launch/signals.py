"""Forwards signals to the command."""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Self

from rheostat.errors import ConfigurationError
from rheostat.launch.process import Command

_ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
_FORWARDED = (*_ENDING, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)


class SignalForwarder:
    """Forwards signals that this process gets, inside its block; ignored signals stay ignored.

    Attributes:
        ended_by: The first signal that asked the command to end.

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
            **dict.fromkeys((*_FORWARDED, signal.SIGTSTP), self._take),
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
        """Forward to this command, including the signals that came before it began."""
        self._command = command
        for number in self._early:
            self._forward(command, number)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._command is None:
            self._early.append(number)
        else:
            self._forward(self._command, number)

    def _forward(self, command: Command, number: int) -> None:
        if self.ended_by is None and number in _ENDING:
            self.ended_by = number
        command.signal(number)
        if number == signal.SIGTSTP:  # both stop, as a shell expects, until SIGCONT
            os.kill(os.getpid(), signal.SIGSTOP)


def signal_number(name: str) -> int:
    """Read the name of a signal, as ``SIGTERM`` or ``TERM``.

    Raises:
        ConfigurationError: There is no signal of that name.
    """
    upper = name.upper()
    try:
        return signal.Signals[upper if upper.startswith("SIG") else f"SIG{upper}"]
    except KeyError:
        raise ConfigurationError(
            f"--stop-signal {name!r} is not the name of a signal.", hint="Example: SIGTERM."
        ) from None


def signal_name(number: int) -> str:
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal
