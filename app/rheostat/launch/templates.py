"""Fills the placeholders in the arguments of a command. Pure."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

NAMES = ("batch_size", "per_device_batch_size", "learning_rate", "epochs", "seed", "trial_id")
"""The placeholders; all other braces are the command's own."""

_ANY = "|".join(NAMES)
# After a dollar it is a shell variable; doubled braces are an escape.
_PLACEHOLDER = re.compile(rf"\{{\{{(?P<literal>{_ANY})\}}\}}|(?<!\$)\{{(?P<name>{_ANY})\}}")

_IN_BRACES = re.compile(r"(?<![${])\{([A-Za-z_-]+)\}")
_ALIKE = 0.75
"""So alike are batchsize and lr_rate to what they mean, and no two placeholders to each other."""


def names_in(texts: Iterable[str]) -> set[str]:
    """Return the placeholders in texts."""
    return {found["name"] for text in texts for found in _PLACEHOLDER.finditer(text) if found["name"] is not None}


def misspelt_in(texts: Iterable[str]) -> dict[str, str]:
    """Return what is in braces in texts and is probably meant to be a placeholder, with the placeholder."""
    words = {word for text in texts for word in _IN_BRACES.findall(text) if word not in NAMES}
    alike = {word: get_close_matches(word.lower(), NAMES, n=1, cutoff=_ALIKE) for word in sorted(words)}
    return {word: match[0] for word, match in alike.items() if match}


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders of a text, and unescape doubled braces."""

    def value(found: re.Match[str]) -> str:
        return values[found["name"]] if found["literal"] is None else f"{{{found['literal']}}}"

    return _PLACEHOLDER.sub(value, text)
