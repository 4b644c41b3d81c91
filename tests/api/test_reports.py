"""The savings reports of the API."""

import httpx
import pytest


@pytest.mark.parametrize("day", ["0", "1793491200", "2026-11-01T00:00:00", "2026-13-01", "yesterday"])
def test_a_day_is_written_in_one_way(http: httpx.Client, day: str) -> None:
    for path in ("/v1/reports", "/v1/jobs/nightly/report"):
        answer = http.get(path, params={"since": day})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), path


def test_a_report_may_begin_on_a_day(http: httpx.Client) -> None:
    assert http.get("/v1/reports", params={"since": "2026-11-01"}).status_code == 200
