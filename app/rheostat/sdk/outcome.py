"""How a run ended, by the exception that ended it: one rule for the SDK and for `rheostat run`."""

from collections.abc import Iterator

from rheostat.schemas.fields import Outcome
from rheostat.sdk.out_of_memory import is_out_of_memory


class RunEnded(Exception):
    """Ends a trial's block by an outcome of the caller's own; what it says becomes part of the trial's reason.

    Attributes:
        outcome: How the run ended.
    """

    outcome: Outcome = "cancelled"


class RunInterrupted(Exception):
    """Somebody ended the run from outside, as with Ctrl-C; an exception that says so derives from it."""


def was_interrupted(error: BaseException | None) -> bool:
    """Return whether a run was ended from outside, so that its end says nothing of its batch size."""
    return isinstance(error, KeyboardInterrupt | RunInterrupted)


def outcome_of(error: BaseException | None, *, has_reported: bool) -> Outcome:
    """Return the outcome of a run that its trainer ended.

    A run that came to its own end before the target has failed: its batch size does not get there. An exception, or a
    command's exit code other than 0, says nothing about the batch size, unless the memory ran out.

    Args:
        error: What ended the run; None, or ``sys.exit(0)``: it came to its end.
        has_reported: Whether it has reported an evaluation.
    """
    if error is None or came_to_its_end(error):
        return "failed" if has_reported else "cancelled"
    if isinstance(error, RunEnded):
        return error.outcome
    return "oom" if any(map(is_out_of_memory, _with_causes(error))) else "cancelled"


def detail_of(error: BaseException | None) -> str | None:
    """Return what the trial's reason should say of an error; None: there is none."""
    if error is None or came_to_its_end(error):
        return None
    text = str(error)
    if not isinstance(error, RunEnded):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text


def came_to_its_end(error: BaseException | None) -> bool:
    """Return whether a run ended without an error."""
    return error is None or (isinstance(error, SystemExit) and error.code in (None, 0))


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, those that it was raised from or while handling, and those of groups."""
    left, seen = [error], set[int]()
    while left:
        if id(one := left.pop()) in seen:
            continue
        seen.add(id(one))
        yield one
        context = None if one.__suppress_context__ else one.__context__
        left.extend(cause for cause in (one.__cause__, context) if cause is not None)
        if isinstance(one, BaseExceptionGroup):
            left.extend(one.exceptions)
