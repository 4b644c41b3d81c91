"""A page that many look at is made once, and not sent again to those who have it."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from rheostat.dashboard import sharing
from rheostat.errors import DatabaseBusy
from rheostat.service import review
from tests.dashboard.conftest import Pages
from tests.domain.examples import JOB
from tests.service.examples import predict, register


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs whose pages were made."""
    seen: list[str] = []
    read = review.job_summary

    def note(service: object, job_id: str) -> object:
        seen.append(job_id)
        return read(service, job_id)  # type: ignore[arg-type]

    monkeypatch.setattr(review, "job_summary", note)
    return seen


@pytest.mark.parametrize("path", ["/", f"/jobs/{JOB}", "/trials/{trial}"])
def test_a_page_that_has_not_changed_is_not_sent_again(empty: Pages, path: str) -> None:
    register(empty.service)
    path = path.format(trial=predict(empty.service).trial_id)
    first = empty.get(path).answer
    again = empty.get(path, headers={"If-None-Match": first.headers["etag"]}).answer
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    predict(empty.service)
    if path != "/":  # whose lines are some seconds old
        changed = empty.get(path, headers={"If-None-Match": first.headers["etag"]}).answer
        assert changed.status_code == 200
        assert changed.headers["etag"] != first.headers["etag"]


def test_a_page_is_made_once_for_all_who_look_at_it(empty: Pages, made: list[str]) -> None:
    register(empty.service)
    trial = predict(empty.service)
    pages = {empty.get(f"/jobs/{JOB}", cookies={"rheostat_form": f"visitor {n}"}).html for n in range(20)}
    assert made == [JOB]
    assert len(pages) == 20  # each with the proof of its visitor
    assert all(trial.reason.partition(":")[0] in page.lower() for page in pages)
    assert not any(sharing.PROOF_HERE in page for page in pages)


def test_those_who_ask_while_a_page_is_made_wait_for_it(empty: Pages, made: list[str]) -> None:
    register(empty.service)
    predict(empty.service)

    async def look_together() -> list[int]:
        transport = httpx.ASGITransport(empty.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = await asyncio.gather(*(client.get(f"/jobs/{JOB}") for _ in range(8)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(look_together()) == [200] * 8
    assert made == [JOB]


def test_what_a_page_shows_to_some_is_not_sent_to_others(empty: Pages, made: list[str]) -> None:
    register(empty.service)
    for query in ("", "?placement=0", "?tag=a%3Db"):
        empty.get(f"/jobs/{JOB}{query}")
    assert made == [JOB] * 3
    signed_in = empty.get(f"/jobs/{JOB}", cookies={"rheostat_token": "rst_none"})
    assert signed_in.answer.headers.get("etag") != empty.get(f"/jobs/{JOB}").answer.headers["etag"]


def test_a_page_that_failed_is_made_again(empty: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    register(empty.service)
    predict(empty.service)

    def fail(*_: object) -> None:
        raise DatabaseBusy("Timed out waiting for a database lock.")

    with monkeypatch.context() as patched:
        patched.setattr(review, "power_curves", fail)
        assert empty.get(f"/jobs/{JOB}").answer.status_code == 503
    assert empty.get(f"/jobs/{JOB}").answer.status_code == 200


def test_a_page_says_how_long_ago_things_were_for_a_minute_at_most(
    empty: Pages, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(empty.service)
    predict(empty.service)
    first = empty.get(f"/jobs/{JOB}").answer.headers["etag"]
    later = empty.service.now() + timedelta(seconds=sharing.LIFETIME_SECONDS)
    object.__setattr__(empty.service, "now", lambda: later)
    assert empty.get(f"/jobs/{JOB}", headers={"If-None-Match": first}).answer.status_code == 200
    assert len(made) == 2
