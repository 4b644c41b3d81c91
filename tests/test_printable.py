"""Text from elsewhere as a terminal may show it."""

import logging
import sys

import pytest

from rheostat.printable import PrintableFormatter, printable

HOSTILE = "a\x1b[2J\x00\u202eb\u2066\u200f\x9bc\r\n"


def test_control_and_format_characters_are_escaped() -> None:
    assert printable(HOSTILE) == r"a\x1b[2J\x00\u202eb\u2066\u200f\x9bc\r\n"
    assert printable("\ud800") == r"\ud800"
    assert printable("a\tb\n", keep="\t") == "a\tb\\n"


@pytest.mark.parametrize("text", ["", "plain", "Größe 8 µs → ✓"])
def test_other_text_stays(text: str) -> None:
    assert printable(text) == text


def test_a_log_line_stays_one_and_a_traceback_is_indented() -> None:
    formatter = PrintableFormatter("%(levelname)s %(message)s")
    record = logging.LogRecord("x", logging.INFO, "", 0, "GPU %s", (HOSTILE,), None)
    assert formatter.format(record) == f"INFO GPU {printable(HOSTILE)}"
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed\nERROR", (), sys.exc_info())
    first, *rest = formatter.format(record).split("\n")
    assert first == r"ERROR failed\nERROR"
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
