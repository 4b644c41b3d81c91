"""Reads and counts training steps in the lines that a command writes. Pure."""

from rheostat.launch.patterns import compiled
from rheostat.sdk.slice_meter import Mark


class StepReader:
    """Reads the number of a step from a line.

    Args:
        pattern: A regular expression with ``{step}`` in place of the number, or a group; or without, for lines of which
            each is a step.

    Raises:
        ConfigurationError: It is not such an expression.
    """

    def __init__(self, pattern: str) -> None:
        self._compiled = compiled("--step-pattern", pattern, pattern.replace("{step}", "(?P<step>[0-9]+)"))
        self._lines = 0

    def __call__(self, line: str) -> int | None:
        """Return the number of the step that has ended; None: the line tells of none."""
        if (found := self._compiled.search(line)) is None:
            return None
        self._lines += 1
        groups = found.groupdict().get("step") or next(iter(found.groups()), None)
        try:
            return self._lines if groups is None else int(groups)
        except ValueError:
            return None


class StepCount:
    """Counts steps by the numbers that are read.

    Attributes:
        steps: How many there were at least.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._last: int | None = None

    def begin_anew(self) -> None:
        """Expect the first step of another run of the command."""
        self._last = None

    def mark(self, step: int, at_ns: int) -> Mark:
        """Count up to a step that ended at a moment."""
        last, self._last = self._last, step
        # A number that falls begins again with each epoch: it is not known how many steps lie between the two.
        is_first = last is None or step <= last
        self.steps += 1 if last is None or is_first else step - last
        return Mark(self.steps, at_ns, is_first)
