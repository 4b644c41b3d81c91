"""Requests while the database is silent: they are answered within the time that a request may take."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event

import pytest
from fastapi import FastAPI, Request

from rheostat import service as use_cases
from rheostat.api import authentication
from rheostat.api.authentication import TokenAuthenticator
from rheostat.api.dependencies import answer_of
from rheostat.api.waiting import READS
from rheostat.errors import DatabaseBusy, DatabaseUnavailable, TokenInvalid
from rheostat.service import Decision
from tests.api.asgi import answer_to, ask, scope_of
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def silence() -> Iterator[Event]:
    """What threads wait for that read from a silent database."""
    over = Event()
    yield over
    over.set()


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/nightly", "/v1/jobs/nightly/savings"])
def test_a_get_is_answered_in_time(app: FastAPI, silence: Event, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    app.state.request_timeout_seconds = 0.2
    for name in ("list_jobs", "get_job", "savings"):
        monkeypatch.setattr(use_cases, name, lambda *_, **__: silence.wait(PATIENCE_SECONDS))
    answer = ask(app, path)
    assert answer.status == 503
    assert b"database_unavailable" in answer.body
    assert ask(app, "/healthz").status == 200


def test_a_change_that_takes_longer_than_a_request_goes_on_and_says_so(app: FastAPI) -> None:
    app.state.request_timeout_seconds = 0.01
    change: Future[Decision[str]] = Future()
    assert change.set_running_or_notify_cancel()
    request = Request(scope_of(app=app))
    with pytest.raises(DatabaseBusy, match="weighed") as refused:
        asyncio.run(answer_of(request, change, late="Past runs are being weighed."))
    assert "ask again" in refused.value.hint
    with pytest.raises(DatabaseUnavailable, match="did not answer"):
        asyncio.run(answer_of(request, change))
    assert not change.cancelled()


def test_authentication_ends_in_time(app: FastAPI, silence: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "authenticate", lambda *_: silence.wait(PATIENCE_SECONDS))
    authenticator = TokenAuthenticator(app.state.service, allow_anonymous=False, timeout_seconds=0.2)
    with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
        asyncio.run(authenticator.identify("Bearer any"))


def test_probes_and_tokens_are_answered_while_reads_hold_all_their_threads(
    app: FastAPI, silence: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_cases, "list_jobs", lambda *_, **__: silence.wait(PATIENCE_SECONDS))
    authenticator = TokenAuthenticator(app.state.service, allow_anonymous=False, timeout_seconds=PATIENCE_SECONDS)

    async def in_time() -> list[int]:
        reads = [asyncio.create_task(answer_to(app, "/v1/jobs")) for _ in range(80)]
        while READS.statistics().borrowed_tokens < READS.total_tokens:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(PATIENCE_SECONDS):
            statuses = [(await answer_to(app, path)).status for path in ("/healthz", "/readyz", "/metrics")]
            with pytest.raises(TokenInvalid):
                await authenticator.identify("Bearer any")
        silence.set()
        await asyncio.gather(*reads)
        return statuses

    assert asyncio.run(in_time()) == [200, 200, 200]
