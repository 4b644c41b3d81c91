"""Every error is a problem that says what is wrong and what to do."""

import json
from typing import Any

import httpx
import pytest

from tests.serving import SETTINGS, V100

JOB = "/v1/jobs/hostile"


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["code"]
    assert isinstance(body["retryable"], bool)
    for leak in ("Traceback", "SELECT", "INSERT", ".py", "sqlalchemy"):
        assert leak not in answer.text
    return body


def fields(body: dict[str, Any]) -> set[str]:
    return {field["field"] for field in body["fields"]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"batch_sizes": []}, "batch_sizes"),
        ({"batch_sizes": [32, 32]}, "batch_sizes"),
        ({"batch_sizes": [32, -8]}, "batch_sizes.1"),
        ({"batch_sizes": [32, 0]}, "batch_sizes.1"),
        ({"batch_sizes": ["8", 32]}, "batch_sizes.0"),
        ({"batch_sizes": [True, 32]}, "batch_sizes.0"),
        ({"batch_sizes": [8.5, 32]}, "batch_sizes.0"),
        ({"batch_sizes": list(range(1, 100))}, "batch_sizes"),
        ({"default_batch_size": 33}, "default_batch_size"),
        ({"default_batch_size": 10**30}, "default_batch_size"),
        ({"eta_knob": 1.5}, "eta_knob"),
        ({"eta_knob": "0.5"}, "eta_knob"),
        ({"beta_knob": 0.5}, "beta_knob"),
        ({"max_epochs": None}, "max_epochs"),
        ({"target": {"metric": "a\u0000b", "value": 1.0, "direction": "maximize"}}, "target.metric"),
        ({"target": {"metric": "x" * 1000, "value": 1.0, "direction": "maximize"}}, "target.metric"),
        ({"target": {"metric": "x", "value": 1.0, "direction": "up"}}, "target.direction"),
        ({"policy": "nobodys"}, "policy"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_field_is_named(http: httpx.Client, change: dict[str, Any], field: str) -> None:
    body = problem(http.put(JOB, json=SETTINGS | change), 422)
    assert field in fields(body)
    assert problem(http.get(JOB), 404)["code"] == "job_not_found"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batchsizes": [32]}, "batchsizes: unknown field; did you mean batch_sizes?"),
        ({"target": SETTINGS["target"] | {"metrics": "x"}}, "target.metrics: unknown field; did you mean metric?"),
        ({"colour": "red"}, "colour: unknown field."),
    ],
)
def test_an_unknown_field_is_said_to_be_one_with_the_name_that_is_meant(
    http: httpx.Client, change: dict[str, Any], said: str
) -> None:
    body = problem(http.put(JOB, json=SETTINGS | change), 422)
    assert body["detail"] == said
    assert "/docs" in body["hint"]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "1e308"])
def test_numbers_that_are_not_finite_or_not_sane_are_refused(http: httpx.Client, literal: str) -> None:
    trial = http.post("/v1/jobs/nightly/predict", json={"gpu": V100}).json()
    answer = http.post(
        f"/v1/trials/{trial['trial_id']}/observe",
        content=f'{{"epoch": 1, "energy_joules": {literal}}}',
        headers={"content-type": "application/json"},
    )
    assert fields(problem(answer, 422)) == {"energy_joules"}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 422, "invalid_input"),
        (b"", 422, "invalid_input"),
        (b"null", 422, "invalid_input"),
        (b"\x80\x81", 422, "invalid_input"),
        (b"[" * 100_000, 422, "invalid_input"),
        (
            b'{"gpu": {"model": "\\ud800", "min_power_limit_watts": 1, "max_power_limit_watts": 2}}',
            422,
            "invalid_input",
        ),
        (b"1" * 5_000, 422, "invalid_input"),
    ],
)
def test_a_malformed_body_is_a_problem(http: httpx.Client, content: bytes, status: int, code: str) -> None:
    headers = {"content-type": "application/json"}
    assert problem(http.post("/v1/jobs/nightly/predict", content=content, headers=headers), status)["code"] == code


def test_a_missing_content_type_is_named_in_the_hint(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs/nightly/predict", content=json.dumps({"gpu": V100}))
    assert "Content-Type: application/json" in problem(answer, 422)["hint"]
    assert "has no Content-Type" in problem(answer, 422)["detail"]
    curls = {"content-type": "application/x-www-form-urlencoded"}
    answer = http.post("/v1/jobs/nightly/predict", content=json.dumps({"gpu": V100}), headers=curls)
    assert "Content-Type: application/json" in problem(answer, 422)["hint"]
    assert "has the Content-Type application/x-www-form-urlencoded" in problem(answer, 422)["detail"]


def test_what_is_left_out_is_missing(http: httpx.Client) -> None:
    assert "max_epochs: is missing" in problem(http.put(JOB, json={"batch_sizes": [1]}), 422)["detail"]
    empty = http.put(JOB, headers={"content-type": "application/json"})
    assert problem(empty, 422)["detail"] == "body: is missing."


def test_an_unknown_route_and_a_wrong_method_are_problems(http: httpx.Client) -> None:
    body = problem(http.get("/v2/jobs"), 404)
    assert (body["code"], body["detail"]) == ("no_such_route", "There is no route GET /v2/jobs.")
    assert "is a variable unset?" in problem(http.post("/v1/trials//observe", json={}), 404)["hint"]
    assert "A job's name has no slash" in problem(http.get("/v1/jobs/team%2Fnightly"), 404)["hint"]
    answer = http.post("/v1/jobs/nightly")
    assert problem(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "DELETE, GET, PATCH, PUT"
    assert "DELETE, GET, PATCH, PUT" in answer.json()["hint"]


@pytest.mark.parametrize("job_id", ["x" * 129, "-x", "a%00b", "a%20b", "%ED%A0%80"])
def test_an_invalid_job_id_is_refused(http: httpx.Client, job_id: str) -> None:
    assert fields(problem(http.put(f"/v1/jobs/{job_id}", json=SETTINGS), 422)) == {"job_id"}


def test_a_conflict_shows_what_differs(http: httpx.Client) -> None:
    body = problem(http.put("/v1/jobs/nightly", json=SETTINGS | {"max_epochs": 11}), 409)
    assert (body["code"], fields(body)) == ("job_differs", {"max_epochs"})


def test_measurements_that_are_sent_again_are_answered_as_before_and_others_under_their_key_refused(
    http: httpx.Client,
) -> None:
    measured = {"power_limit_watts": 250, "time_seconds": 5.0, "energy_joules": 1000.0, "steps": 50}
    report = {"batch_size": 8, "gpu": {**V100, "model": "Measured twice"}, "measurements": [measured]}
    key = {"Idempotency-Key": "sweep-1"}
    first, again = (http.post("/v1/jobs/nightly/power/observe", json=report, headers=key) for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    other = {**report, "measurements": [{**measured, "energy_joules": 1001.0}]}
    refused = problem(http.post("/v1/jobs/nightly/power/observe", json=other, headers=key), 409)
    assert (refused["code"], fields(refused)) == ("idempotency_key_reused", {"measurements"})


def _unknown(count: int) -> bytes:
    return json.dumps({f"k{number}": 1 for number in range(count)}).encode()


def test_of_many_wrong_fields_the_first_are_named_and_the_others_counted(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs/nightly/predict", content=_unknown(2000), headers={"Content-Type": "application/json"})
    body = problem(answer, 422)
    assert len(body["fields"]) == 21
    assert body["fields"][-1]["message"] == "and 1,981 more"  # gpu is missing, too
    assert body["detail"].endswith("; and 1,996 more.")


@pytest.mark.parametrize("content", [_unknown(60_000), b'{"a":' * 100_000], ids=["wide", "deep"])
def test_a_body_with_too_many_fields_is_not_validated(http: httpx.Client, content: bytes) -> None:
    answer = http.post("/v1/jobs/nightly/predict", content=content, headers={"Content-Type": "application/json"})
    (field,) = problem(answer, 422)["fields"]
    assert field == {"field": "body", "message": "must have at most 3000 fields (colons)"}


def test_a_long_curve_is_refused_at_its_first_wrong_point(http: httpx.Client) -> None:
    run = {"batch_size": 32, "gpu": V100, "energy_joules": 1.0, "time_seconds": 1.0, "curve": [["a", "b"]] * 10_000}
    body = problem(http.post("/v1/jobs/nightly/observe", json=run), 422)
    assert fields(body) <= {"curve.0.0", "curve.0.1"}


def test_a_long_name_is_not_sent_back_whole(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs/nightly/predict", json={"x" * 500_000: 1})
    problem(answer, 422)
    assert len(answer.content) < 2000
