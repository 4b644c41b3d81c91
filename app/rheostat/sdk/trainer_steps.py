"""The steps of a survey that a trainer makes in this process: its own iterator of steps, at any batch size."""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from time import monotonic, monotonic_ns
from typing import Any

from rheostat.sdk.slice_meter import Mark

StepsAt = Callable[[int], Iterable[object]]
"""Returns an iterator of training steps at a batch size: asked for the next item, it makes a step."""

_FEWEST_STEPS = 2


class TooFewStepsError(Exception):
    """An iterator came to its end before anything could be measured."""


class TrainerSteps:
    """Makes the steps of an iterator, which is made anew when it comes to its end.

    Python cannot interrupt a step, so that time is bounded between two of them.

    Args:
        steps_at: Makes the iterator.
        batch_size: What it trains with.
    """

    def __init__(self, steps_at: StepsAt, batch_size: int) -> None:
        self._steps_at = steps_at
        self._batch_size = batch_size
        self._iterator: Iterator[object] | None = None
        self._steps = self._of_iterator = 0

    def next_mark(self, give_up_at: float) -> Mark | None:
        """See `StepSource`.

        Raises:
            TooFewStepsError: The iterator has fewer than two steps.
        """
        while monotonic() < give_up_at:
            if self._iterator is None:
                self._iterator, self._of_iterator = iter(self._steps_at(self._batch_size)), 0
            try:
                next(self._iterator)
            except StopIteration:
                self._check_length()
                self._close_iterator()
                continue
            self._steps, self._of_iterator = self._steps + 1, self._of_iterator + 1
            mark = Mark(self._steps, monotonic_ns(), is_first=self._of_iterator == 1)
            return self.completed(mark) if mark.is_first else mark
        return None

    def completed(self, mark: Mark) -> Mark:
        """See `StepSource`."""
        cuda = _cuda()
        if cuda is None:
            return mark
        cuda.synchronize()
        return Mark(mark.steps, monotonic_ns(), mark.is_first)

    def close(self) -> None:
        """Free what the steps used, as far as nothing else holds it."""
        self._close_iterator()
        gc.collect()
        if (cuda := _cuda()) is not None:
            with suppress(Exception):  # an error of an earlier step comes again with each call
                cuda.empty_cache()

    def _close_iterator(self) -> None:
        iterator, self._iterator = self._iterator, None
        with suppress(Exception):
            getattr(iterator, "close", lambda: None)()

    def _check_length(self) -> None:
        if self._of_iterator < _FEWEST_STEPS:
            raise TooFewStepsError(f"the iterator ends after {self._of_iterator} steps: let it make some dozens")


def _cuda() -> Any:
    """Return `torch.cuda`, if this process uses it."""
    torch: Any = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None
