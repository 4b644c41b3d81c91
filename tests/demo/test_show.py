import pytest
from rich.console import Console

from rheostat.demo.recurrence import Recurrence
from rheostat.demo.show import saved_percent, summary, table

BASELINE = Recurrence(32, 250, runs=1, energy_joules=1000.0, time_seconds=10.0)
CHEAP = Recurrence(64, 150, runs=1, energy_joules=500.0, time_seconds=5.0)
EXPENSIVE = Recurrence(512, 175, runs=3, energy_joules=3000.0, time_seconds=15.0)


def test_savings_are_of_the_sums() -> None:
    assert saved_percent([(CHEAP, BASELINE), (EXPENSIVE, BASELINE)], "energy_joules") == pytest.approx(-75)
    assert saved_percent([(CHEAP, BASELINE)], "time_seconds") == pytest.approx(50)


def test_a_loss_is_called_one() -> None:
    assert "75.0 % MORE energy, 0.0 % less time" in summary([(CHEAP, BASELINE), (EXPENSIVE, BASELINE)])


def test_the_latest_recurrences_are_also_summed_alone() -> None:
    text = summary([(EXPENSIVE, BASELINE)] * 3 + [(CHEAP, BASELINE)])
    assert text.splitlines()[1] == ("The latest 1 alone: 50.0 % less energy, 50.0 % less time, 50.0 % less cost.")


def test_the_table_fits_an_ordinary_terminal() -> None:
    console = Console(width=80, record=True, quiet=False, file=None)
    with console.capture() as captured:
        console.print(table([(CHEAP, BASELINE), (EXPENSIVE, BASELINE)] * 10))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in captured.get()
    assert sum("│" in line for line in lines) == 20


def test_the_table_says_less_or_more_instead_of_a_sign() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(table([(CHEAP, BASELINE), (EXPENSIVE, BASELINE)]))
    first, second = [line for line in captured.get().splitlines() if "│" in line]
    assert "50 % less" in first
    assert "% more" in second
