"""Exports as CSV."""

import csv
import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rheostat import cli
from rheostat.service.operations import open_service
from tests.domain.examples import JOB
from tests.serving import operate
from tests.visualization.examples import NODE, explore


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a job that has explored."""
    made = f"sqlite:///{tmp_path_factory.mktemp('export') / 'rheostat.db'}"
    service = open_service(made, timedelta(hours=1))
    explore(service)
    service.close()
    return made


def exported(url: str, *arguments: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(operate(url, "export", *arguments))))


def test_jobs_trials_and_their_reports_are_rows(url: str) -> None:
    (job,) = exported(url, "jobs")
    assert (job["job_id"], job["settings_target_metric"], job["trials"]) == (JOB, "accuracy", "13")
    trials = exported(url, "trials", "--job", JOB)
    assert [trial["number"] for trial in trials] == [str(number) for number in range(13, 0, -1)]
    assert {trial["node"] for trial in trials} == {NODE}
    reports = exported(url, "observations", "--job", JOB)
    of_first = [report for report in reports if report["number"] == "1"]
    assert [report["epoch"] for report in of_first] == ["1.0", "2.0", "3.0", "4.0"]
    assert float(of_first[-1]["energy_joules"]) == float(trials[-1]["energy_joules"])


def test_a_job_must_be_named_where_one_is_exported(url: str) -> None:
    refused = CliRunner().invoke(cli.app, ["export", "trials", "--database-url", url])
    assert "rheostat export trials --job JOB" in str(refused.exception)


def test_nothing_to_export_is_a_table_without_lines(tmp_path: Path) -> None:
    empty = f"sqlite:///{tmp_path / 'rheostat.db'}"
    operate(empty, "db", "upgrade")
    done = CliRunner().invoke(cli.app, ["export", "jobs", "--database-url", empty])
    assert done.stdout.startswith("job_id,")
    assert done.stdout.count("\n") == 1
    assert done.stderr == "There is nothing to export.\n"
    assert operate(empty, "export", "jobs", "--format", "json") == "[]\n"


def test_json_has_the_records_of_the_api(url: str) -> None:
    trials = json.loads(operate(url, "export", "trials", "--job", JOB, "--format", "json"))
    assert [trial["number"] for trial in trials] == list(range(13, 0, -1))
    assert trials[0]["gpu"]["model"] == "V100"
    reports = json.loads(operate(url, "export", "observations", "--job", JOB, "--format", "json"))
    assert {report["trial_id"] for report in reports} <= {trial["trial_id"] for trial in trials}
    assert [report["epoch"] for report in reports if report["number"] == 1] == [1.0, 2.0, 3.0, 4.0]


def test_trials_that_began_before_a_day_are_left_out(url: str) -> None:
    began = sorted(trial["created_at"][:10] for trial in exported(url, "trials", "--job", JOB))
    assert len(exported(url, "trials", "--job", JOB, "--since", began[0])) == 13
    assert exported(url, "trials", "--job", JOB, "--since", "2999-01-01") == []
    assert exported(url, "observations", "--job", JOB, "--since", "2999-01-01") == []
    refused = CliRunner().invoke(cli.app, ["export", "jobs", "--since", "2026-01-01", "--database-url", url])
    assert "Leave --since out" in str(refused.exception)
