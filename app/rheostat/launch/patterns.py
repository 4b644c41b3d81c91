"""Reads the metric from lines of output by a pattern, which must not cut a number. Pure but for its one warning."""

import logging
import re

from rheostat.errors import ConfigurationError
from rheostat.launch.readings import Reader, Reading, number
from rheostat.sdk.seen_metrics import UNREAD

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
_not_finite = re.compile(r"(?<!\w)[+-]?(?:nan|inf(?:inity)?)(?!\w)", re.IGNORECASE)


def _as_digits(word: re.Match[str]) -> str:
    """Return a number that is as long as a word."""
    return f"0.{'0' * (len(word[0]) - 2)}"


def pattern_reader(pattern: str, target_value: float | None = None) -> Reader:
    """Return a reader of lines that match a regular expression.

    A line of which it cuts a number, as it does when it reads ``9.1`` of ``9.1e-1``, has an unknown metric.

    Args:
        pattern: Has ``{metric}``, and optionally ``{epoch}``, in place of the numbers; or groups of these names; or
            one group, the metric.
        target_value: The target; None: there is none. A share is not compared with a percentage without a warning.

    Raises:
        ConfigurationError: It is not such an expression.
    """
    expression = pattern
    for placeholder, group in _PLACEHOLDERS.items():
        expression = expression.replace(placeholder, group)
    matched = compiled("--metric-pattern", pattern, expression)
    metric: str | int = "metric" if "metric" in matched.groupindex else 1
    if metric == 1 and (matched.groups != 1 or matched.groupindex):
        raise ConfigurationError(
            f"--metric-pattern {pattern!r} does not say where the metric is.",
            hint="Write {metric} in its place: 'accuracy={metric}'; before [ and ( a backslash.",
        )
    return _PatternReader(pattern, matched, metric, target_value)


def compiled(option: str, pattern: str, expression: str | None = None) -> re.Pattern[str]:
    """Return the regular expression of an option.

    Args:
        option: Its name.
        pattern: As it was given.
        expression: With its placeholders replaced; None: it has none.

    Raises:
        ConfigurationError: It is not such an expression.
    """
    try:
        return re.compile(pattern if expression is None else expression)
    except re.error as error:
        raise ConfigurationError(
            f"{option} {pattern!r} is not a regular expression: {error}.",
            hint="Write a backslash before each of .^$*+?{}[]\\|() that stands for itself.",
        ) from error


class _PatternReader:
    def __init__(
        self, pattern: str, compiled: re.Pattern[str], metric: str | int, target_value: float | None = None
    ) -> None:
        self._pattern = pattern
        self._compiled = compiled
        self._metric = metric
        self._has_epoch = "epoch" in compiled.groupindex
        self._is_a_share = target_value is not None and 0 < target_value <= 1
        self._has_warned = False

    def __call__(self, line: str) -> Reading | None:
        found = self._compiled.search(line)
        if found is None:
            return self._not_finite(line)
        if (metric := number(found[self._metric])) is None:
            return None
        if self._cuts(found, self._metric):
            metric = UNREAD
        self._check_unit(found)
        if not self._has_epoch or found["epoch"] is None:
            return Reading(metric, None)
        return None if self._cuts(found, "epoch") else Reading(metric, number(found["epoch"]))

    def _not_finite(self, line: str) -> Reading | None:
        """Read a line whose metric is a word as ``nan``, where the pattern takes digits alone."""
        found = self._compiled.search(_not_finite.sub(_as_digits, line))
        if found is None or (word := _not_finite.search(line, found.start(self._metric))) is None:
            return None
        if word.span() != found.span(self._metric):
            return None
        return Reading(float("nan"), number(found["epoch"]) if self._has_epoch else None)

    def _check_unit(self, found: re.Match[str]) -> None:
        end = found.end(self._metric)
        if self._is_a_share and not self._has_warned and found.string[end:].lstrip().startswith("%"):
            self._has_warned = True
            _log.warning(
                "--metric-pattern %r reads %s of %r, and the target is at most 1: give the target in percent.",
                self._pattern,
                found[self._metric],
                found.string[found.start(self._metric) : end + 2].strip(),
            )

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
