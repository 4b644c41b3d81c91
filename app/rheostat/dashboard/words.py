"""Figures as people read them: a unit that suits, three digits, and no break of the line between the two."""

import re
from dataclasses import dataclass
from datetime import datetime
from math import floor, log10

from rheostat.schemas.server import UNKNOWN_MODEL

JOULES_PER_KWH = 3.6e6
UNKNOWN = "\N{EN DASH}"

_DIGITS = 3
_MOST_DECIMALS = 2
_SMALLEST = 0.01
_BESIDE = "\N{NO-BREAK SPACE}"
_THOUSANDS = "\N{NARROW NO-BREAK SPACE}"
_INVISIBLE = re.compile(r"[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Control characters but for the end of a line, those that direct the order of text, and those without a width."""
_MINUS = "\N{MINUS SIGN}"
_SCIENTIFIC = re.compile(r"\b\d(\.\d+)?e\+\d{2}\b")
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:[kMG]?J(?:-eq)?|[kMG]?Wh|W|ms|s|min|h|days|%)(?![\w-]))")
_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_JOULES = re.compile(rf"(?<![\w.]){_NUMBER} (J-eq|J)(?![\w-])")
_FRACTION_OF_SECONDS = re.compile(r"(?<![\w.])(\d+\.\d+(?:e[+-]?\d+)?|\d+e[+-]?\d+) s(?![\w-])")
_COST_INTERVAL = re.compile(rf"95 % interval {_NUMBER} to {_NUMBER}(?=\))")
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Quantity:
    """A kind of figure, which is called to write one.

    Attributes:
        units: From the largest: the name of each, its size, and from how many of it on it is used.
    """

    units: tuple[tuple[str, float, float], ...]

    def __call__(self, figure: float | None) -> str:
        """Return a figure in the unit that suits it; one that is next to nothing as less than can be read."""
        if figure is None:
            return UNKNOWN
        unit, size = self._unit(figure)
        return beside(_under(figure / size) or significant(figure / size), unit)

    def interval(self, low: float | None, high: float | None, word: str = "to") -> str:
        """Return two figures in the unit, and with the decimals, that suit the larger one."""
        if low is None or high is None:
            return UNKNOWN
        largest = max(abs(low), abs(high))
        unit, size = self._unit(largest)
        decimals = _decimals(largest / size)
        return f"{_fixed(low / size, decimals)} {word} {beside(_fixed(high / size, decimals), unit)}"

    def saved(self, figure: float | None) -> str:
        """Return what was saved as so much less, or so much more."""
        return UNKNOWN if figure is None else f"{self(abs(figure))} {less(figure)}"

    def _unit(self, figure: float) -> tuple[str, float]:
        rounded = abs(_rounded(figure))
        *larger, (name, size, _) = self.units
        return next(((unit, one) for unit, one, least in larger if rounded >= least * one), (name, size))


energy = Quantity((("GWh", 3.6e12, 1), ("MWh", 3.6e9, 1), ("kWh", JOULES_PER_KWH, 0.1), ("kJ", 1e3, 1), ("J", 1, 0)))
"""Energy, which is given in joules."""

cost = Quantity((("GJ-eq", 1e9, 1), ("MJ-eq", 1e6, 1), ("kJ-eq", 1e3, 1), ("J-eq", 1, 0)))
"""Cost in joule equivalents, as the API has it."""

duration = Quantity((("days", _DAY, 2), ("h", _HOUR, 1), ("min", _MINUTE, 1), ("s", 1, 1), ("ms", 1e-3, 0)))
"""A time span, which is given in seconds."""

mass = Quantity((("t", 1e6, 1), ("kg", 1e3, 1), ("g", 1, 1), ("mg", 1e-3, 0)))
"""A mass, which is given in grams."""


def watts(limit: float | None) -> str:
    """Return a power limit, whose fraction counts."""
    return UNKNOWN if limit is None else beside(f"{limit:.6g}", "W")


def percent(share: float | None) -> str:
    """Return a percentage, which is given in percent."""
    if share is None:
        return UNKNOWN
    digits = 0 if abs(share) >= 10 else 1  # noqa: PLR2004
    return beside(f"{share:.{digits}f}".replace("-", _MINUS), "%")


def less(saved: float) -> str:
    """Return the word for what was saved: less was used, or more."""
    return "less" if saved >= 0.0 else "more"


def saved_percent(share: float | None) -> str:
    """Return the share that was saved, in percent, in words instead of a sign: 29 % less, 38 % more."""
    return UNKNOWN if share is None else f"{percent(abs(share))} {less(share)}"


@dataclass(frozen=True, slots=True)
class Money:
    """Money, in hundredths of a currency; it is called to write an amount."""

    currency: str

    def __call__(self, amount: float | None) -> str:
        """Return an amount; less than a hundredth is not written out."""
        if amount is None:
            return UNKNOWN
        return beside(_under(amount) or _fixed(amount, _MOST_DECIMALS), self.currency)

    def interval(self, low: float, high: float, word: str = "to") -> str:
        """Return two amounts; empty where neither is a hundredth."""
        if max(abs(low), abs(high)) < _SMALLEST:
            return ""
        return f"{_fixed(low, _MOST_DECIMALS)} {word} {beside(_fixed(high, _MOST_DECIMALS), self.currency)}"


def beside(number: str, unit: str) -> str:
    """Return a number and its unit, which stay on one line."""
    return f"{number}{_BESIDE}{unit}"


def significant(figure: float) -> str:
    """Return a figure with three significant digits, and no exponent where it can do without."""
    if not figure:
        return "0"
    if abs(figure) < 10**-_DIGITS:
        return f"{figure:.{_DIGITS}g}".replace("-", _MINUS)
    return _fixed(figure, max(_DIGITS - 1 - floor(log10(abs(_rounded(figure)))), 0))


def _rounded(figure: float) -> float:
    return float(f"{figure:.{_DIGITS}g}")


def _decimals(figure: float) -> int:
    """Return the decimals with which a figure of its own unit has three digits."""
    return _MOST_DECIMALS if figure < 1.0 else max(_DIGITS - 1 - floor(log10(_rounded(figure))), 0)


def _fixed(figure: float, decimals: int) -> str:
    text = f"{figure:,.{decimals}f}"
    return (
        (text.lstrip("-") if not float(text.replace(",", "")) else text).replace(",", _THOUSANDS).replace("-", _MINUS)
    )


def _under(figure: float) -> str:
    """Return what to write instead of a figure that is next to nothing; empty for any other."""
    if not figure or abs(figure) >= _SMALLEST:
        return ""
    return beside("<", f"{_SMALLEST}") if figure > 0.0 else beside(">", f"{_MINUS}{_SMALLEST}")


def readable(text: str) -> str:
    """Return a text whose figures have three digits and a unit that suits, on one line with it."""
    text = _COST_INTERVAL.sub(lambda found: f"95 % interval {cost.interval(float(found[1]), float(found[2]))}", text)
    text = _JOULES.sub(lambda found: {"J": energy, "J-eq": cost}[found[2]](float(found[1])), text)
    text = _FRACTION_OF_SECONDS.sub(lambda found: duration(float(found[1])), text)
    return _BEFORE_UNIT.sub(_BESIDE, _SCIENTIFIC.sub(lambda found: _fixed(float(found[0]), 0), text))


def sentence(text: str) -> str:
    """Return a reason as a sentence, with readable numbers."""
    shown = readable(text).strip().rstrip(".")
    return f"{shown[:1].upper()}{shown[1:]}." if shown else ""


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was."""
    seconds = (now - then).total_seconds()
    for unit, size in (("day", _DAY), ("hour", _HOUR), ("minute", _MINUTE)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def visible(text: str) -> str:
    """Return a text with its control characters as escapes; some turn the order of what follows."""
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode-escape").decode(), text)


def counted(count: int, thing: str) -> str:
    """Return how many there are of a thing."""
    return f"{_fixed(count, 0)} {thing}{'' if count == 1 else 's'}"


def gpu(model: str, count: int) -> str:
    """Return a GPU and how many of it."""
    model = "unknown GPU" if model == UNKNOWN_MODEL else model
    return model if count == 1 else f"{count} \N{MULTIPLICATION SIGN} {model}"
