"""Reads the numbers of training steps from lines that a command writes. Pure."""

from rheostat.launch.patterns import compiled


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
