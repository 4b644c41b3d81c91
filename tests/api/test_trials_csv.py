"""The export of a job's trials by the API."""

import csv
from io import StringIO

import httpx
import pytest
from fastapi import FastAPI

from rheostat.service import Service, review
from tests.api.asgi import ask
from tests.domain.examples import JOB
from tests.service.examples import predict, register


@pytest.fixture
def service(app: FastAPI) -> Service:
    made = app.state.service
    assert isinstance(made, Service)
    return made


ASGI = {"version": "3.0", "spec_version": "2.4"}
"""From this version on, an answer in parts need not listen for a client that leaves."""


def test_every_trial_is_a_line(app: FastAPI, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "_TRIALS_AT_ONCE", 2)
    register(service)
    trials = [predict(service, node="=cmd|' /C calc'!A0", tags={"mlflow_run": str(number)}) for number in range(5)]
    answer = ask(app, f"/v1/jobs/{JOB}/trials.csv", asgi=ASGI)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == f'attachment; filename="{JOB}-trials.csv"'
    rows = list(csv.DictReader(StringIO(answer.body.decode())))
    assert [row["trial_id"] for row in rows] == [trial.trial_id for trial in reversed(trials)]
    assert {row["node"] for row in rows} == {"'=cmd|' /C calc'!A0"}
    assert rows[0]["tags"] == '{"mlflow_run": "4"}'


def test_a_server_sends_it_in_parts(http: httpx.Client) -> None:
    answer = http.get("/v1/jobs/nightly/trials.csv")
    assert (answer.status_code, answer.headers["transfer-encoding"]) == (200, "chunked")
    assert {"number", "gpu_model", "energy_joules", "tags"} <= set(answer.text.splitlines()[0].split(","))


def test_an_unknown_job_is_a_problem(http: httpx.Client) -> None:
    answer = http.get("/v1/jobs/unknown/trials.csv")
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
