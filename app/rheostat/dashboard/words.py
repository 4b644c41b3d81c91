"""Figures as people read them."""

import re
from datetime import datetime

JOULES_PER_KWH = 3.6e6
UNKNOWN = "\N{EN DASH}"

_SCIENTIFIC = re.compile(r"\b\d(\.\d+)?e\+\d{2}\b")
_INVISIBLE = re.compile(r"[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Control characters but for the end of a line, those that direct the order of text, and those without a width."""
_MINUS = "\N{MINUS SIGN}"
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0


def energy(joules: float | None) -> str:
    """Return an energy in the unit that suits it."""
    if joules is None:
        return UNKNOWN
    for unit, size in (("GWh", 3.6e12), ("MWh", 3.6e9), ("kWh", 3.6e6), ("Wh", 3.6e3)):
        if abs(joules) >= 0.1 * size if unit == "kWh" else abs(joules) >= size:
            return f"{significant(joules / size)} {unit}"
    return f"{significant(joules)} J"


def cost(joules: float | None) -> str:
    """Return a cost in joule equivalents, as the API has it."""
    if joules is None:
        return UNKNOWN
    for unit, size in (("GJ-eq", 1e9), ("MJ-eq", 1e6), ("kJ-eq", 1e3)):
        if abs(joules) >= size:
            return f"{significant(joules / size)} {unit}"
    return f"{significant(joules)} J-eq"


def duration(seconds: float | None) -> str:
    """Return a time span."""
    if seconds is None:
        return UNKNOWN
    size = abs(seconds)
    if size >= 2 * _DAY:
        return f"{significant(seconds / _DAY)} days"
    if size >= _HOUR:
        return f"{significant(seconds / _HOUR)} h"
    if size >= _MINUTE:
        return f"{significant(seconds / _MINUTE)} min"
    return f"{significant(seconds)} s"


def percent(share: float | None, *, signed: bool = False) -> str:
    """Return a percentage, which is given in percent."""
    if share is None:
        return UNKNOWN
    digits = 0 if abs(share) >= 10 else 1  # noqa: PLR2004
    return f"{share:{'+' if signed else ''}.{digits}f} %".replace("-", _MINUS)


def money(amount: float | None, currency: str) -> str:
    """Return an amount of money; less than a hundredth is shown, too."""
    if amount is None:
        return UNKNOWN
    text = f"{amount:,.2f}" if abs(amount) >= 0.01 or not amount else f"{amount:.1g}"  # noqa: PLR2004
    return f"{text} {currency}".replace(",", "\N{THIN SPACE}").replace("-", _MINUS)


def mass(grams: float | None) -> str:
    """Return a mass."""
    if grams is None:
        return UNKNOWN
    for unit, size in (("t", 1e6), ("kg", 1e3)):
        if abs(grams) >= size:
            return f"{significant(grams / size)} {unit}"
    return f"{significant(grams)} g"


def significant(figure: float) -> str:
    """Return a figure with three significant digits, and no exponent where it can do without."""
    text = f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:#.3g}".rstrip(".")  # noqa: PLR2004
    return text.replace(",", "\N{THIN SPACE}").replace("-", _MINUS)


def readable(text: str) -> str:
    """Return a text with its large numbers written out: 5.62e+04 as 56 200."""
    return _SCIENTIFIC.sub(lambda found: f"{float(found[0]):,.0f}".replace(",", "\N{THIN SPACE}"), text)


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
    return f"{count:,} {thing}{'' if count == 1 else 's'}".replace(",", "\N{THIN SPACE}")


def gpu(model: str, count: int) -> str:
    """Return a GPU and how many of it."""
    return model if count == 1 else f"{count} \N{MULTIPLICATION SIGN} {model}"
