"""Looking at something that may hang, as a GPU's driver or a file system may."""

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Look(Thread, Generic[T]):
    """Calls a function in a thread, which is left behind when it hangs.

    Attributes:
        result: What the function returned; None: it has not returned, or it raised.
        error: What it raised.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self.result: T | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        """Call the function."""
        try:
            self.result = self._function()
        except Exception as error:
            self.error = error
