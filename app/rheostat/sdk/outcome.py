"""How a run ended, by the exception that ended it: one rule for the SDK and for `rheostat run`."""

import re
from collections.abc import Iterator

from rheostat.schemas.fields import Outcome

# As Python, CUDA, cuBLAS, PyTorch, TensorFlow and XLA say it; cuDNN finds no algorithm when none fits the memory.
_OUT_OF_MEMORY = re.compile(
    r"out[ _-]?of[ _-]?memory|\bMemoryError\b|\bOOM when allocating|RESOURCE_EXHAUSTED: Failed to allocate"
    r"|CUBLAS_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation|DefaultCPUAllocator: (?:can't|not enough)"
    r"|Unable to find a valid cuDNN algorithm|unable to find an engine to execute this computation",
    re.IGNORECASE,
)


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
    return "oom" if any(map(_is_out_of_memory, _with_causes(error))) else "cancelled"


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


def shows_out_of_memory(text: str) -> bool:
    """Return whether a text, such as a traceback, reports an out-of-memory error."""
    return _OUT_OF_MEMORY.search(text) is not None


def _is_out_of_memory(error: BaseException) -> bool:
    names = " ".join(cls.__name__ for cls in type(error).__mro__)
    return shows_out_of_memory(f"{names}: {error}")
