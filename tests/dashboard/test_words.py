"""Figures as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from rheostat.dashboard import words

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def plain(text: str) -> str:
    """Return a text with spaces and minus signs as they are typed."""
    for shown, typed in (("\N{NO-BREAK SPACE}", " "), ("\N{NARROW NO-BREAK SPACE}", ","), ("\N{MINUS SIGN}", "-")):
        text = text.replace(shown, typed)
    return text


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        (None, words.UNKNOWN),
        (0.0, "0 J"),
        (0.0004, "< 0.01 J"),
        (0.5, "0.500 J"),
        (900.0, "900 J"),
        (999.7, "1.00 kJ"),
        (2900.0, "2.90 kJ"),
        (54_000.0, "54.0 kJ"),
        (3.6e5, "0.100 kWh"),
        (-7.2e6, "-2.00 kWh"),
        (3.6e9, "1.00 MWh"),
        (3.6e12, "1.00 GWh"),
        (3.6e16, "10,000 GWh"),
    ],
)
def test_energy_has_the_unit_that_suits_it(joules: float | None, text: str) -> None:
    assert plain(words.energy(joules)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0002, "0.200 ms"),
        (0.25, "250 ms"),
        (5.0, "5.00 s"),
        (59.99, "1.00 min"),
        (90.0, "1.50 min"),
        (7200.0, "2.00 h"),
        (864_000.0, "10.0 days"),
        (None, words.UNKNOWN),
    ],
)
def test_a_time_span_has_the_unit_that_suits_it(seconds: float | None, text: str) -> None:
    assert plain(words.duration(seconds)) == text


@pytest.mark.parametrize(
    ("grams", "text"),
    [(1e-9, "< 0.01 mg"), (0.02, "20.0 mg"), (12.0, "12.0 g"), (1500.0, "1.50 kg"), (2e6, "2.00 t")],
)
def test_a_mass_has_the_unit_that_suits_it(grams: float, text: str) -> None:
    assert plain(words.mass(grams)) == text


@pytest.mark.parametrize(
    ("joules", "text"), [(5.0, "5.00 J-eq"), (5000.0, "5.00 kJ-eq"), (5e6, "5.00 MJ-eq"), (5e9, "5.00 GJ-eq")]
)
def test_a_cost_has_the_unit_that_suits_it(joules: float, text: str) -> None:
    assert plain(words.cost(joules)) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, words.UNKNOWN),
        (0.0, "0.00 EUR"),
        (3e-05, "< 0.01 EUR"),
        (0.0099, "< 0.01 EUR"),
        (-3e-05, "> -0.01 EUR"),
        (0.01, "0.01 EUR"),
        (1234.5, "1,234.50 EUR"),
        (-12.0, "-12.00 EUR"),
    ],
)
def test_money_is_counted_in_hundredths(amount: float | None, text: str) -> None:
    assert plain(words.Money("EUR")(amount)) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (2300.0, 3400.0, "2.30 to 3.40 kJ"),
        (-40.0, 3400.0, "-0.04 to 3.40 kJ"),
        (-1.0, 3400.0, "0.00 to 3.40 kJ"),
        (-7.2e6, -3.6e5, "-2.00 to -0.10 kWh"),
        (900.0, 0.0, "900 to 0 J"),
        (0.0, 0.0, "0.00 to 0.00 J"),
        (None, 1.0, words.UNKNOWN),
    ],
)
def test_an_interval_has_one_unit(low: float | None, high: float | None, text: str) -> None:
    assert plain(words.energy.interval(low, high)) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(-0.5, 1234.0, "-0.50 to 1,234.00 EUR"), (-0.0003, 0.02, "0.00 to 0.02 EUR"), (-3e-5, 3e-5, "")],
)
def test_an_interval_of_money_is_left_out_where_it_cannot_be_read(low: float, high: float, text: str) -> None:
    assert plain(words.Money("EUR").interval(low, high)) == text


def test_an_interval_fits_into_a_sentence() -> None:
    assert plain(words.energy.interval(2300.0, 3400.0, "and")) == "2.30 and 3.40 kJ"


def test_percentages_have_a_digit_after_the_point_where_they_are_small() -> None:
    assert [plain(words.percent(share)) for share in (12.34, 1.234, -3.0)] == ["12 %", "1.2 %", "-3.0 %"]
    assert [plain(words.saved_percent(share)) for share in (12.34, -3.0)] == ["12 % less", "3.0 % more"]


def test_no_figure_is_parted_from_its_unit() -> None:
    shown = [
        words.energy(7.2e9),
        words.cost(5.0),
        words.duration(5.0),
        words.mass(5.0),
        words.Money("EUR")(12_345.0),
        words.Money("EUR")(0.001),
        words.percent(5.0),
        words.watts(250),
    ]
    assert [text for text in shown if " " in text or "\N{THIN SPACE}" in text] == []
    assert " " not in words.readable("5.62e+04 J-eq")


def test_limits_keep_their_fraction() -> None:
    assert [plain(words.watts(limit)) for limit in (250, 250.0, 187.5, None)] == [
        "250 W",
        "250 W",
        "187.5 W",
        words.UNKNOWN,
    ]


def test_reasons_become_sentences_without_exponents() -> None:
    assert plain(words.sentence("expected cost 5.62e+04 J-eq")) == "Expected cost 56.2 kJ-eq."
    assert plain(words.sentence("1282 J-eq (95 % interval 1201 to 1366), 0.0008195 s")) == (
        "1.28 kJ-eq (95 % interval 1.20 to 1.37 kJ-eq), 0.820 ms."
    )
    assert plain(words.sentence("1.597 J-eq in 0.96 of 60 s")) == "1.60 J-eq in 0.96 of 60 s."
    assert words.sentence("1e-05 is small.") == "1e-05 is small."
    assert words.sentence("") == ""


def test_ages_are_told_in_whole_units() -> None:
    ages = [timedelta(seconds=3), timedelta(minutes=1), timedelta(hours=5), timedelta(days=2)]
    assert [words.ago(NOW - age, NOW) for age in ages] == ["just now", "1 minute ago", "5 hours ago", "2 days ago"]


def test_counts_have_their_plural() -> None:
    assert [plain(words.counted(count, "run")) for count in (1, 2, 12_000)] == ["1 run", "2 runs", "12,000 runs"]


def test_text_that_hides_or_turns_other_text_is_shown_as_what_it_is() -> None:
    assert words.visible("a\N{RIGHT-TO-LEFT OVERRIDE}b\0c\N{ZERO WIDTH SPACE}") == r"a\u202eb\x00c\u200b"
    plain = "two\nlines, \N{NO-BREAK SPACE}\N{HEBREW LETTER ALEF}\N{FIRE}"
    assert words.visible(plain) == plain
