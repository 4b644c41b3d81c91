"""Figures as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from rheostat.dashboard import words

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        (None, words.UNKNOWN),
        (0.0, "0.00 J"),
        (900.0, "900 J"),
        (5400.0, "1.50 Wh"),
        (3.6e5, "0.100 kWh"),
        (-7.2e6, "\N{MINUS SIGN}2.00 kWh"),
        (3.6e9, "1.00 MWh"),
        (3.6e12, "1.00 GWh"),
    ],
)
def test_energy_has_the_unit_that_suits_it(joules: float | None, text: str) -> None:
    assert words.energy(joules) == text


def test_other_figures_have_three_digits() -> None:
    assert [words.duration(seconds) for seconds in (5.0, 90.0, 7200.0, 864_000.0, None)] == [
        "5.00 s",
        "1.50 min",
        "2.00 h",
        "10.0 days",
        words.UNKNOWN,
    ]
    assert [words.mass(grams) for grams in (12.0, 1500.0, 2e6)] == ["12.0 g", "1.50 kg", "2.00 t"]
    assert [words.money(amount, "EUR") for amount in (1234.5, 0.004, 0.0, None)] == [
        "1\N{THIN SPACE}234.50 EUR",
        "0.004 EUR",
        "0.00 EUR",
        words.UNKNOWN,
    ]
    costs = [words.cost(joules) for joules in (5.0, 5000.0, 5e6, 5e9)]
    assert costs == [
        "5.00 J-eq",
        "5.00 kJ-eq",
        "5.00 MJ-eq",
        "5.00 GJ-eq",
    ]
    assert [words.percent(share) for share in (12.34, 1.234, -3.0)] == ["12 %", "1.2 %", "\N{MINUS SIGN}3.0 %"]
    assert words.percent(3.0, signed=True) == "+3.0 %"


def test_reasons_become_sentences_without_exponents() -> None:
    assert words.sentence("expected cost 5.62e+04 J-eq") == "Expected cost 56\N{THIN SPACE}200 J-eq."
    assert words.sentence("1e-05 is small.") == "1e-05 is small."
    assert words.sentence("") == ""


def test_ages_are_told_in_whole_units() -> None:
    ages = [timedelta(seconds=3), timedelta(minutes=1), timedelta(hours=5), timedelta(days=2)]
    assert [words.ago(NOW - age, NOW) for age in ages] == ["just now", "1 minute ago", "5 hours ago", "2 days ago"]


def test_text_that_hides_or_turns_other_text_is_shown_as_what_it_is() -> None:
    assert words.visible("a\N{RIGHT-TO-LEFT OVERRIDE}b\0c\N{ZERO WIDTH SPACE}") == r"a\u202eb\x00c\u200b"
    plain = "two\nlines, \N{NO-BREAK SPACE}\N{HEBREW LETTER ALEF}\N{FIRE}"
    assert words.visible(plain) == plain
