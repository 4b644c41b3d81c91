"""The short way of predict, observe and heartbeat answers as the framework's routes do."""

from typing import Any

import httpx
import pytest

from tests.serving import SETTINGS, V100

PLAIN = {"Content-Type": "application/json"}
OTHERWISE = {"Content-Type": "application/json; charset=utf-8"}
"""Not the way nearly everybody writes it: the framework answers."""


def _post(http: httpx.Client, path: str, body: str, headers: dict[str, str]) -> httpx.Response:
    return http.post(path, content=body, headers=headers)


def _same(one: httpx.Response, other: httpx.Response) -> bool:
    return (one.status_code, one.headers["content-type"]) == (other.status_code, other.headers["content-type"])


def test_both_ways_answer_alike(http: httpx.Client) -> None:
    answers: list[list[dict[str, Any]]] = []
    for headers, job in ((PLAIN, "short"), (OTHERWISE, "long")):
        http.put(f"/v1/jobs/{job}", json=SETTINGS).raise_for_status()
        gpu = '{"gpu": {"model": "V100", "min_power_limit_watts": 100, "max_power_limit_watts": 250.0}}'
        began = _post(http, f"/v1/jobs/{job}/predict", gpu, headers | {"Idempotency-Key": "k"})
        again = _post(http, f"/v1/jobs/{job}/predict", gpu, headers | {"Idempotency-Key": "k"})
        assert began.status_code == again.status_code == 201
        assert began.json() == again.json()
        trial = f"/v1/trials/{began.json()['trial_id']}"
        alive = http.post(f"{trial}/heartbeat", headers={"X-Way": "any"})
        half = _post(http, f"{trial}/observe", '{"epoch": 1, "metric": 0.5, "energy_joules": 10}', headers)
        whole = _post(http, f"{trial}/observe", '{"epoch": 2, "metric": 0.95, "energy_joules": 20}', headers)
        answers.append([dict(answer.json()) for answer in (began, alive, half, whole)])
        assert all(answer.headers["content-type"] == "application/json" for answer in (began, alive, half, whole))
    for short, long in zip(*answers, strict=True):
        assert short.keys() == long.keys()
        for name in short.keys() - {"trial_id", "job_id", "lease_expires_at"}:
            assert short[name] == long[name]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '{"gpu": null}',
        '{"gpu": {"model": "V100", "min_power_limit_watts": "100", "max_power_limit_watts": 250}}',
        '{"gpu": {"model": "V100", "min_power_limit_watts": true, "max_power_limit_watts": 250}}',
        '{"gpu": {"model": "V\\u0000", "min_power_limit_watts": 100, "max_power_limit_watts": 250}}',
        '{"gpu": {"model": "\\ud800", "min_power_limit_watts": 100, "max_power_limit_watts": 250}}',
        '{"gpu": {"model": "V100", "min_power_limit_watts": 100, "max_power_limit_watts": 250}, "else": 1}',
        '{"gpu": {"model": "V100", "min_power_limit_watts": NaN, "max_power_limit_watts": 250}}',
        "[" * 5000,
    ],
)
def test_both_ways_refuse_alike(http: httpx.Client, body: str) -> None:
    short = _post(http, "/v1/jobs/nightly/predict", body, PLAIN)
    long = _post(http, "/v1/jobs/nightly/predict", body, OTHERWISE)
    assert short.status_code in (400, 422)
    assert _same(short, long)
    assert short.json() == long.json()


@pytest.mark.parametrize("headers", [PLAIN, OTHERWISE])
def test_both_ways_know_what_is_not_there(http: httpx.Client, headers: dict[str, str]) -> None:
    for path, body in (
        ("/v1/jobs/nowhere/predict", {"gpu": V100}),
        (f"/v1/trials/{'0' * 32}/observe", {"epoch": 1}),
        (f"/v1/trials/{'0' * 32}/heartbeat", {}),
    ):
        answer = http.post(path, json=body, headers=headers)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_key_that_is_none_and_a_body_without_a_type_are_refused_by_name(http: httpx.Client) -> None:
    bad_key = http.post("/v1/jobs/nightly/predict", json={"gpu": V100}, headers={"Idempotency-Key": "a b"})
    assert [field["field"] for field in bad_key.json()["fields"]] == ["Idempotency-Key"]
    no_type = http.post("/v1/jobs/nightly/predict", content='{"gpu": 1}')
    assert "Content-Type" in no_type.json()["hint"]


def test_a_body_that_comes_in_pieces_is_read_whole(http: httpx.Client) -> None:
    def pieces() -> Any:
        yield b'{"gpu": {"model": "V100", "min_power_limit_watts": 100,'
        yield b' "max_power_limit_watts": 250}}'

    assert http.post("/v1/jobs/nightly/predict", content=pieces(), headers=PLAIN).status_code == 201
    assert http.post("/v1/jobs/nightly/predict", content=pieces(), headers=OTHERWISE).status_code == 201
