"""The savings report of the command line."""

import csv
import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest

from rheostat import service as use_cases
from rheostat.schemas.server import Gpu
from rheostat.service.operations import open_service
from tests.domain.examples import JOB
from tests.service.examples import predict, register
from tests.serving import operate
from tests.visualization.examples import explore


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a job that has explored."""
    made: Path = tmp_path_factory.mktemp("savings") / "rheostat.db"
    service = open_service(f"sqlite:///{made}", timedelta(hours=1))
    explore(service)
    service.close()
    return f"sqlite:///{made}"


@pytest.fixture
def saved_joules(url: str) -> float:
    service = open_service(url, timedelta(hours=1))
    energy = use_cases.savings(service, JOB).placements[0].energy_joules
    service.close()
    assert energy.actual is not None
    assert energy.baseline is not None
    return energy.baseline - energy.actual


def test_every_format_has_the_figures_of_the_api(
    url: str, saved_joules: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RHEOSTAT_ELECTRICITY_PRICE_PER_KWH", "0.5")
    monkeypatch.setenv("RHEOSTAT_CURRENCY", "EUR")
    document = json.loads(operate(url, "savings", "--format", "json"))
    energy = document["jobs"][0]["placements"][0]["energy_joules"]
    assert (energy["saved"], energy["origin"], document["currency"]) == (saved_joules, "measured", "EUR")
    (row,) = csv.DictReader(StringIO(operate(url, "savings", "--format", "csv")))
    assert (row["job_id"], float(row["energy_joules_saved"])) == (JOB, saved_joules)
    assert float(row["saved_EUR"]) == pytest.approx(saved_joules / 3.6e6 * 0.5)
    assert float(row["saved_EUR_low"]) == pytest.approx(energy["saved_low"] / 3.6e6 * 0.5)
    assert float(row["saved_EUR_high"]) == pytest.approx(energy["saved_high"] / 3.6e6 * 0.5)
    assert "saved_grams_co2e" not in row
    table = operate(url, "savings")
    assert "energy saved: 2.93 kJ" in table.replace("\N{NO-BREAK SPACE}", " ")
    assert "over 11 runs of 1 job" in " ".join(table.split())


def test_the_html_report_is_one_file_that_loads_nothing(url: str) -> None:
    page = operate(url, "savings", "--format", "html")
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "<link" not in page
    assert f">{JOB}</th>" in page
    assert f"<b>{JOB}</b> on V100: Energy, time, cost: actual: all runs that trained" in page


def test_days_before_a_date_do_not_count(url: str, saved_joules: float) -> None:
    later = json.loads(operate(url, "savings", "--format", "json", "--since", "2999-01-01", "--job", JOB))
    energy = later["jobs"][0]["placements"][0]["energy_joules"]
    assert (energy["actual"], energy["baseline"], later["since"]) == (0.0, 0.0, "2999-01-01")
    whole = json.loads(operate(url, "savings", "--format", "json", "--since", "2000-01-01"))
    (placement,) = whole["jobs"][0]["placements"]
    assert placement["energy_joules"]["saved"] == pytest.approx(saved_joules)
    assert placement["cost"]["saved"] == pytest.approx(saved_joules)  # eta_knob is 1


def test_a_gpu_may_have_any_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    service = open_service(url, timedelta(hours=1))
    register(service)
    for name in ("[/red]", "=1+1"):
        predict(service, Gpu(model=name))
    service.close()
    assert "[/red]" in operate(url, "savings")
    rows = csv.DictReader(StringIO(operate(url, "savings", "--format", "csv")))
    assert [row["gpu_model"] for row in rows] == ["[/red]", "'=1+1"]


def test_a_job_that_has_saved_nothing_yet_measured_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    service = open_service(url, timedelta(hours=1))
    register(service)
    predict(service)
    service.close()
    table = operate(url, "savings")
    assert ("measured" in table, "95 %" in table, "\N{EN DASH}" in table) == (False, False, True)


def test_an_empty_database_has_an_empty_report(tmp_path: Path) -> None:
    empty = f"sqlite:///{tmp_path / 'rheostat.db'}"
    operate(empty, "db", "upgrade")
    assert operate(empty, "savings") == ""
    (columns,) = operate(empty, "savings", "--format", "csv").splitlines()
    assert {"job_id", "energy_joules_saved_low", "cost_method"} <= set(columns.split(","))
    assert json.loads(operate(empty, "savings", "--format", "json"))["jobs"] == []


def test_the_table_fits_a_terminal_of_eighty_columns_without_breaking_a_word(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = operate(url, "savings")
    assert max(map(len, table.splitlines())) <= 80
    assert f"{JOB} " in table
    assert "\N{MINUS SIGN}" not in table
    rows = [line for line in table.splitlines() if line.startswith(("┃", "│"))]
    assert all(cell.strip() for cell in rows[0].strip("┃").split("┃")), "every column has a heading"
