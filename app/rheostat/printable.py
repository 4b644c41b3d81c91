"""Text from elsewhere as a terminal may show it: it can hold what moves the cursor or begins a line of its own."""

import logging
from copy import copy


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with its control and format characters escaped, as ``\x1b`` and ``\u202e``.

    Args:
        text: The text.
        keep: Characters to leave as they are, such as the tabs between columns.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode("ascii") for one in text
    )


class PrintableFormatter(logging.Formatter):
    """A formatter whose lines are those of the log alone: the message is on one, those of a traceback are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text."""
        traceback = ""
        if record.exc_info:
            traceback = self.formatException(record.exc_info)
            record = copy(record)
            record.exc_info = record.exc_text = None
        return "\n    ".join(map(printable, [super().format(record), *traceback.splitlines()]))
