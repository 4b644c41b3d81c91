"""Puts what a run is to train with into the arguments of its command. Pure."""

import re
from collections.abc import Iterable, Mapping

NAMES = ("batch_size", "per_device_batch_size", "learning_rate", "epochs", "seed", "trial_id")
"""What may stand in braces; all other braces are the command's own."""

_ANY = "|".join(NAMES)
# After a dollar it is a variable of a shell; doubled braces stand for themselves.
_PLACEHOLDER = re.compile(rf"\{{\{{(?P<literal>{_ANY})\}}\}}|(?<!\$)\{{(?P<name>{_ANY})\}}")


def names_in(texts: Iterable[str]) -> set[str]:
    """Return which placeholders texts have."""
    return {found["name"] for text in texts for found in _PLACEHOLDER.finditer(text) if found["name"] is not None}


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders of a text, and single the doubled braces."""

    def value(found: re.Match[str]) -> str:
        return values[found["name"]] if found["literal"] is None else f"{{{found['literal']}}}"

    return _PLACEHOLDER.sub(value, text)
