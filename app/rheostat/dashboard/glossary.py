"""The words of the pages that need one: the same text beside them and at the foot of the page."""

import re

from markupsafe import Markup, escape

from rheostat.dashboard import words

GLOSSARY = {
    "J-eq": "Joule equivalents, the unit of cost: eta_knob x energy + (1 - eta_knob) x highest power x time.",
    "eta_knob": "How energy weighs against time in the cost: 1 is energy alone, 0 is time alone.",
    "beta_knob": "A run is stopped when it has cost this many times the lowest cost so far.",
    "best known": "The batch size of the lowest expected cost among those that have reached the target.",
    "Cheapest?": "How likely a batch size is the cheapest of all; what has not reached the target counts, too.",
    "runs of the default": "The unit of the account: what a run with the default batch size is expected to cost.",
    "exploring": "Running another batch size than the best known, or measuring power limits, to learn what it costs.",
    "survey": "A few steps of each batch size and power limit, measured before the first run.",
    "front": "The runs that no other run beats in both energy and time.",
    "lease": "How long a run may be silent before it counts as abandoned; every report renews it.",
    "simulated": "Calculated, not measured: it proves decisions, not joules, and has a clock of its own.",
}
"""What each word means."""

_KNOWN = re.compile(
    "|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in sorted(GLOSSARY, key=len, reverse=True))
)


def anchor(word: str) -> str:
    """Return the id of a word at the foot of the page."""
    return "word-" + re.sub(r"\W+", "-", word).strip("-").lower()


def explained(text: str) -> Markup:
    """Return a text in which each word of the glossary leads to what it means, once."""
    seen: set[str] = set()

    def link(found: re.Match[str]) -> str:
        word = found[0]
        if word in seen:
            return str(escape(word))
        seen.add(word)
        return f'<a class="word" href="#{anchor(word)}" title="{escape(GLOSSARY[word])}">{escape(word)}</a>'

    parts, end = [], 0
    text = words.visible(text)
    for found in _KNOWN.finditer(text):
        parts += [str(escape(text[end : found.start()])), link(found)]
        end = found.end()
    return Markup("".join([*parts, str(escape(text[end:]))]))  # noqa: S704  # it is escaped
