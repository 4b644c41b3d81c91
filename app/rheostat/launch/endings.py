"""How a command's end becomes the trial's: its outcome, and what is said of it."""

from rheostat.launch.oom_kills import OomKills
from rheostat.launch.signals import signal_name
from rheostat.launch.watch import OutputWatch
from rheostat.schemas.fields import Outcome
from rheostat.sdk.outcome import RunEnded, RunInterrupted

STOPPED, NOT_EXECUTABLE, NOT_FOUND, BY_SIGNAL = 124, 126, 127, 128
"""Exit codes, as those of `timeout` and of shells."""

_SIGKILL = 9


class CommandEnded(RunEnded):
    """Ends the trial's block before the target, and nothing is learnt from the run.

    Attributes:
        exit_code: Exit code of `rheostat run`.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(CommandEnded, RunInterrupted):
    """A signal to `rheostat run` ended it."""


class OutOfMemory(CommandEnded):
    """The batch size was too large."""

    outcome: Outcome = "oom"


def own_code(code: int) -> int:
    """Return the exit code of a command as a shell has it, from one that is minus the number of a signal."""
    return code if code >= 0 else BY_SIGNAL - code


def unconverged_code(code: int) -> int:
    """Return the exit code of a run that did not converge: its command's own, except that 0 means convergence."""
    return own_code(code) or STOPPED


def failure(code: int, watch: OutputWatch, oom_kills: OomKills) -> CommandEnded:
    """Return the end of a command that has failed.

    A process that was killed ran out of memory if the kernel says that it killed one meanwhile; a kill alone may be
    anybody's. In our own control group the kernel's word is enough: what fails when one of its processes is killed
    need not say so.

    Args:
        code: Its exit code, or minus the number of the signal that ended it.
        watch: What was seen of its output.
        oom_kills: What the kernel has killed since it started.
    """
    if watch.out_of_memory is not None:
        return OutOfMemory(f"The command ran out of memory: {watch.out_of_memory.strip()}", own_code(code))
    is_killed = own_code(code) == BY_SIGNAL + _SIGKILL
    if oom_kills.of_our_group() or ((is_killed or watch.shows_a_kill) and oom_kills.of_any()):
        return OutOfMemory("The command ran out of memory: the kernel's OOM killer ended it.", own_code(code))
    how = f"was ended by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    if is_killed:
        how += "; the kernel counts no process that it ended for want of memory"
    last = watch.last_lines()
    return CommandEnded(f"The command {how}.{f' Its last line was: {last[0]}' if last else ''}", own_code(code))
