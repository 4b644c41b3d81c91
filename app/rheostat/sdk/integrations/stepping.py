"""Turns a training loop that calls back after each step into an iterator of its steps, for a survey."""

from collections.abc import Callable, Generator
from threading import Semaphore, Thread

_END_SECONDS = 10.0

OnStep = Callable[[], None]


class _Stopped(BaseException):
    """Unwinds a training loop of which no more steps are wanted; loops that handle exceptions let it through."""


class _Handover:
    """Lets either the training or whoever asks for its steps run, and never both."""

    def __init__(self) -> None:
        self.wanted, self.made = Semaphore(0), Semaphore(0)
        self.is_over = False
        self.error: BaseException | None = None

    def on_step(self) -> None:
        """Called by the training after each step: wait until another one is wanted."""
        self.made.release()
        self.wanted.acquire()
        if self.is_over:
            raise _Stopped

    def run(self, train: Callable[[OnStep], object]) -> None:
        """Run the training, from the first request for a step on."""
        self.wanted.acquire()
        try:
            if not self.is_over:
                train(self.on_step)
        except _Stopped:
            pass
        except BaseException as error:
            self.error = error
        self.is_over = True
        self.made.release()


def steps_of(train: Callable[[OnStep], object]) -> Generator[None, None, None]:
    """Yield after each step of a training, which runs in a thread of its own and waits between two of them.

    When the iterator is closed, the training is ended by an exception in its next callback.

    Args:
        train: Trains, and calls what it is given after each step.
    """
    handover = _Handover()
    thread = Thread(target=handover.run, args=(train,), name="rheostat-survey", daemon=True)
    thread.start()
    try:
        while True:
            handover.wanted.release()
            handover.made.acquire()
            if handover.is_over:
                break
            yield
    finally:
        handover.is_over = True
        handover.wanted.release()
        thread.join(_END_SECONDS)
    error, handover.error = handover.error, None
    if error is not None:
        raise error
