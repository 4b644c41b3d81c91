"""Reads the metric from lines of output by a pattern, which must not cut a number. Pure but for its one warning."""

import logging
import re

from rheostat.errors import ConfigurationError
from rheostat.launch.readings import Reader, Reading, number

_log = logging.getLogger(__name__)

# A number as a whole, with sign and exponent; not a part of another one, nor of a version such as 1.2.3.
_NUMBER = r"""
    (?:
        (?<![0-9.]) (?<![0-9.][eE]) (?<![0-9.][eE][+-])
        (?<!^[+-]) (?<![^\w)\]][+-])
        (?: (?<![\w)\]]) [+-] )?             # after a word it is a dash
        (?: [0-9]+ (?:\.[0-9]*)? | \.[0-9]+ ) (?: [eE][+-]?[0-9]+ )?
        (?! [eE][+-]?[0-9] | _?\.?[0-9] )
    |
        (?<!\w) [+-]? (?: [nN][aA][nN] | [iI][nN][fF] (?:[iI][nN][iI][tT][yY])? ) (?!\w)
    )
"""
# What follows the whole part of 0,91 and of 1,234.5, but not the 3 of 3,0.91.
_COMMA = r",(?: [0-9]{3}(?![0-9]) | [0-9]+(?![0-9.,eE]) )"

_PLACEHOLDERS = {
    "{metric}": f"(?x:(?P<metric>{_NUMBER}(?!{_COMMA})))",
    "{epoch}": f"(?x:(?P<epoch>{_NUMBER}))",
}
_numbers = re.compile(_NUMBER, re.VERBOSE)
_comma = re.compile(_COMMA, re.VERBOSE)


def pattern_reader(pattern: str) -> Reader:
    """Return a reader of lines that match a regular expression.

    A line of which it cuts a number, as it does when it reads ``9.1`` of ``9.1e-1``, has an unknown metric.

    Args:
        pattern: Has ``{metric}``, and optionally ``{epoch}``, in place of the numbers; or groups of these names; or
            one group, the metric.

    Raises:
        ConfigurationError: It is not such an expression.
    """
    expression = pattern
    for placeholder, group in _PLACEHOLDERS.items():
        expression = expression.replace(placeholder, group)
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise ConfigurationError(
            f"--metric-pattern {pattern!r} is not a regular expression: {error}.",
            hint="Write a backslash before each of .^$*+?{}[]\\|() that stands for itself.",
        ) from error
    metric: str | int = "metric" if "metric" in compiled.groupindex else 1
    if metric == 1 and (compiled.groups != 1 or compiled.groupindex):
        raise ConfigurationError(
            f"--metric-pattern {pattern!r} does not say where the metric is.",
            hint="Write {metric} in its place: 'accuracy={metric}'; before [ and ( a backslash.",
        )
    return _PatternReader(pattern, compiled, metric)


class _PatternReader:
    def __init__(self, pattern: str, compiled: re.Pattern[str], metric: str | int) -> None:
        self._pattern = pattern
        self._compiled = compiled
        self._metric = metric
        self._has_epoch = "epoch" in compiled.groupindex
        self._has_warned = False

    def __call__(self, line: str) -> Reading | None:
        found = self._compiled.search(line)
        if found is None or (metric := number(found[self._metric])) is None:
            return None
        if self._cuts(found, self._metric):
            metric = float("nan")
        if not self._has_epoch or found["epoch"] is None:
            return Reading(metric, None)
        return None if self._cuts(found, "epoch") else Reading(metric, number(found["epoch"]))

    def _cuts(self, found: re.Match[str], group: str | int) -> bool:
        """Return whether a group is only a part of the number that the line has there."""
        begin, end = found.span(group)
        whole = next((one for one in _numbers.finditer(found.string) if one.start() < end and one.end() > begin), None)
        has_part = whole is not None and (whole.start() < begin or whole.end() > end)
        if not has_part and ("," in self._pattern or _comma.match(found.string, end) is None):
            return False
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "--metric-pattern %r reads only %r of a number in the line %r, which does not count: write {metric} "
                "instead of the group.",
                self._pattern,
                found[group],
                found.string[:200],
            )
        return True
