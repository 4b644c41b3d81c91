"""What a check finds."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem", "skipped"]
"""`problem`: something does not work. `warning`: it works, less well. `skipped`: there is nothing to check here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        name: The check, in one word.
        state: How grave it is.
        found: What was found, or why nothing was checked.
        why: Why that matters; empty where nothing is wrong.
        remedy: What to do, its first sentence the first thing; empty where nothing is wrong.
    """

    name: str
    state: State
    found: str
    why: str = ""
    remedy: str = ""


def ok(name: str, found: str) -> Finding:
    """Return that nothing is wrong."""
    return Finding(name, "ok", found)


def skipped(name: str, why: str) -> Finding:
    """Return that there is nothing to check here."""
    return Finding(name, "skipped", why)


def warning(name: str, found: str, why: str, remedy: str) -> Finding:
    """Return that something works less well than it could."""
    return Finding(name, "warning", found, why, remedy)


def problem(name: str, found: str, why: str, remedy: str) -> Finding:
    """Return that something does not work."""
    return Finding(name, "problem", found, why, remedy)
