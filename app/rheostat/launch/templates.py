"""Fills the placeholders in the arguments of a command. Pure."""

import re
from collections.abc import Iterable, Mapping

NAMES = ("batch_size", "per_device_batch_size", "learning_rate", "epochs", "seed", "trial_id")
"""The placeholders; all other braces are the command's own."""

_ANY = "|".join(NAMES)
# After a dollar it is a shell variable; doubled braces are an escape.
_PLACEHOLDER = re.compile(rf"\{{\{{(?P<literal>{_ANY})\}}\}}|(?<!\$)\{{(?P<name>{_ANY})\}}")


def names_in(texts: Iterable[str]) -> set[str]:
    """Return the placeholders in texts."""
    return {found["name"] for text in texts for found in _PLACEHOLDER.finditer(text) if found["name"] is not None}


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders of a text, and unescape doubled braces."""

    def value(found: re.Match[str]) -> str:
        return values[found["name"]] if found["literal"] is None else f"{{{found['literal']}}}"

    return _PLACEHOLDER.sub(value, text)
