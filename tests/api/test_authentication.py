"""Authentication by bearer tokens, and what each token may do."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from rheostat.api.authentication import CACHE_SECONDS, TokenAuthenticator
from rheostat.api.wrong_tokens import BURST, PER_MINUTE
from rheostat.errors import RheostatError, TokenInvalid, TokenRequired, TooManyWrongTokens
from rheostat.sdk.client import Client
from rheostat.service import Service
from rheostat.service.operations import open_service
from rheostat.service.tokens import create_token, new_token, revoke_token
from tests.api.test_problems import problem
from tests.serving import SETTINGS, V100, Serving, make_token, operate, serving

SCOPES = {
    "register_job": "trainer",
    "predict": "trainer",
    "observe": "trainer",
    "observe_run": "trainer",
    "heartbeat": "trainer",
    "predict_power_limit": "trainer",
    "observe_power_limit": "trainer",
    "survey": "trainer",
    "list_jobs": "read",
    "get_job": "read",
    "get_trial": "read",
    "list_trials": "read",
    "estimates": "read",
    "savings": "read",
    "job_report": "read",
    "list_reports": "read",
    "power_curves": "read",
    "calibration": "read",
    "list_observations": "read",
    "trials_csv": "read",
    "update_job": "admin",
    "delete_job": "admin",
    "list_audit": "admin",
    "pin_job": "admin",
    "unpin_job": "admin",
    "pause_job": "admin",
    "resume_job": "admin",
    "force_job": "admin",
    "unforce_job": "admin",
}
PEER_SCOPES = {
    "zeus_register_job": "trainer",
    "zeus_predict": "trainer",
    "zeus_report": "trainer",
    "zeus_end_trial": "trainer",
    "zeus_delete_job": "admin",
}
"""Of the peer's protocol; its errors are other ones, see :mod:`tests.api.test_zeus`."""
OPEN = {"healthz", "readyz", "metrics"}


class Guarded:
    """A server on all addresses, which therefore requires tokens, and tokens for it."""

    def __init__(self, server: Serving, url: str) -> None:
        self.server = server
        self.url = url
        self.tokens = {scope: make_token(url, scope, "--scope", scope) for scope in ("trainer", "read")}
        self.tokens["vision"] = make_token(
            url, "vision", "--scope", "trainer", "--scope", "read", "--namespace", "vision"
        )

    def ask(self, method: str, path: str, token: str | None, **request: Any) -> httpx.Response:
        headers = request.pop("headers", {})
        if token is not None:
            headers |= {"Authorization": f"Bearer {self.tokens.get(token, token)}"}
        return self.server.client.request(method, path, headers=headers, **request)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("guarded")
    url = f"sqlite:///{home / 'rheostat.db'}"
    admin = make_token(url, "admin", "--scope", "admin")
    with serving(url, home / "log", RHEOSTAT_HOST="0.0.0.0") as server:
        made = Guarded(server, url)
        made.tokens["admin"] = admin
        made.ask("PUT", "/v1/jobs/nightly", "admin", json=SETTINGS).raise_for_status()
        yield made


def _operations(guarded: Guarded) -> Iterator[tuple[str, str, str]]:
    for path, methods in guarded.server.client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            if operation["operationId"] not in PEER_SCOPES:
                yield operation["operationId"], method.upper(), path.format(job_id="nightly", trial_id="0" * 32)


def test_every_operation_documents_the_scope_that_it_needs(guarded: Guarded) -> None:
    document = guarded.server.client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    documented = {o["operationId"]: o["security"][0]["token"][0] for o in operations if "security" in o}
    assert documented == SCOPES | PEER_SCOPES
    assert {o["operationId"] for o in operations} == SCOPES.keys() | PEER_SCOPES.keys() | OPEN


def test_requests_without_a_token_are_refused(guarded: Guarded) -> None:
    for operation, method, path in _operations(guarded):
        answer = guarded.ask(method, path, None)
        if operation in OPEN:
            assert answer.status_code == 200
        else:
            refusal = problem(answer, 401)
            assert (refusal["code"], refusal["detail"]) == ("token_required", "Authentication required.")
            assert "rheostat token create" in refusal["hint"]
            assert answer.headers["www-authenticate"] == 'Bearer realm="rheostat"'
    assert problem(guarded.ask("GET", "/v1/nothing", None), 401)["code"] == "token_required"


@pytest.mark.parametrize("header", ["Bearer x", "Basic eDp5", "Bearer", "", "bearer rht_0_0", "\xff"])
def test_a_wrong_token_is_refused(guarded: Guarded, header: str) -> None:
    answer = guarded.server.client.get("/v1/jobs", headers={b"Authorization": header.encode("latin-1")})
    assert problem(answer, 401)["code"] == "token_invalid"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_token_allows_only_the_operations_of_its_scope(guarded: Guarded) -> None:
    for operation, method, path in _operations(guarded):
        for scope in ("trainer", "read"):
            refused = operation not in OPEN and SCOPES[operation] != scope
            body = {"eta_knob": 0.5} if operation == "update_job" else SETTINGS
            answer = guarded.ask(method, path, scope, json=body if method in ("PUT", "PATCH") else None)
            assert (answer.status_code == 403) == refused, (operation, scope, answer.text)
            if refused:
                assert problem(answer, 403)["code"] == "scope_missing"
                assert f'scope="{SCOPES[operation]}"' in answer.headers["www-authenticate"]


def test_one_team_does_not_see_the_jobs_of_another(guarded: Guarded) -> None:
    trial = guarded.ask("POST", "/v1/jobs/nightly/predict", "trainer", json={"gpu": V100}).json()["trial_id"]
    assert problem(guarded.ask("GET", "/v1/jobs/nightly", "vision"), 404)["code"] == "job_not_found"
    assert problem(guarded.ask("POST", f"/v1/trials/{trial}/heartbeat", "vision"), 404)["code"] == "trial_not_found"
    assert guarded.ask("PUT", "/v1/jobs/nightly", "vision", json=SETTINGS | {"max_epochs": 3}).status_code == 201
    assert guarded.ask("GET", "/v1/jobs/nightly", "read").json()["settings"]["max_epochs"] == 10
    named = {"Rheostat-Namespace": "vision"}
    seen = guarded.ask("GET", "/v1/jobs/nightly", "admin", headers=dict(named)).json()
    assert seen["settings"]["max_epochs"] == 3
    refused = guarded.ask("GET", "/v1/jobs/nightly", "read", headers=dict(named))
    assert problem(refused, 403)["code"] == "namespace_forbidden"
    nonsense = guarded.ask("GET", "/v1/jobs/nightly", "admin", headers={"Rheostat-Namespace": "A B"})
    assert problem(nonsense, 422)["code"] == "invalid_input"


def test_the_audit_trail_names_the_token_and_has_pages(guarded: Guarded) -> None:
    guarded.ask("PUT", "/v1/jobs/trailed", "trainer", json=SETTINGS).raise_for_status()
    guarded.ask("DELETE", "/v1/jobs/trailed", "admin").raise_for_status()
    page = guarded.ask("GET", "/v1/audit?limit=2", "admin").json()
    assert [entry["action"] for entry in page["entries"]] == ["delete_job", "register_job"]
    assert page["entries"][0]["actor"].startswith("admin (")
    assert page["entries"][1]["actor"].startswith("trainer (")
    rest = guarded.ask("GET", f"/v1/audit?cursor={page['next_cursor']}", "admin").json()
    assert "create_token" in {entry["action"] for entry in rest["entries"]}
    printed = operate(guarded.url, "audit", "--limit", "2")
    assert re.search(r"^\S+Z\tdefault\tadmin \(\w+\)\tdelete_job\ttrailed", printed)


def test_a_revoked_token_is_refused_within_seconds(guarded: Guarded) -> None:
    token = make_token(guarded.url, "brief", "--scope", "read")
    assert guarded.ask("GET", "/v1/jobs", token).status_code == 200
    assert "brief\tread" in operate(guarded.url, "token", "list")
    operate(guarded.url, "token", "revoke", token.split("_")[1])
    assert "revoked" in operate(guarded.url, "token", "list")
    # How long the first one stays cached is tested below, with a clock.
    fresh = make_token(guarded.url, "fresh", "--scope", "read")
    operate(guarded.url, "token", "revoke", fresh.split("_")[1])
    assert problem(guarded.ask("GET", "/v1/jobs", fresh), 401)["code"] == "token_invalid"


def test_no_token_is_in_the_log(guarded: Guarded) -> None:
    guarded.ask("GET", "/v1/jobs", "read")
    guarded.ask("GET", "/v1/jobs", "rht_" + "0" * 12 + "_" + "5ec7e7" * 10 + "0000")
    log = guarded.server.log()
    assert "5ec7e7" not in log
    for token in guarded.tokens.values():
        assert token.split("_")[2] not in log


def test_the_client_sends_the_token_from_a_file(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(guarded.tokens["read"] + "\n")
    monkeypatch.setenv("RHEOSTAT_TOKEN_FILE", str(file))
    with Client(str(guarded.server.client.base_url), retry_for_seconds=0) as client:
        assert client.get_job("nightly").job_id == "nightly"


class _Clock:
    time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    opened = open_service(f"sqlite:///{tmp_path / 'rheostat.db'}", timedelta(minutes=1))
    yield opened
    opened.close()


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def test_anonymous_requests_are_accepted_until_the_first_token_is_created(service: Service, clock: _Clock) -> None:
    authenticator = TokenAuthenticator(service, allow_anonymous=True, now=clock)
    assert asyncio.run(authenticator.identify(None)).actor == "local"
    token, _ = create_token(service, "first", ["read"])
    assert asyncio.run(authenticator.identify(f"Bearer {token}")).scopes == ("read",)
    revoke_token(service, token.split("_")[1])
    clock.time += CACHE_SECONDS
    with pytest.raises(TokenRequired):  # revoking the only token does not allow anonymous requests again
        asyncio.run(authenticator.identify(None))


def test_a_valid_token_is_cached_for_seconds_and_no_longer(service: Service, clock: _Clock) -> None:
    authenticator = TokenAuthenticator(service, allow_anonymous=False, now=clock)
    token, _ = create_token(service, "brief", ["read"])
    asyncio.run(authenticator.identify(f"Bearer {token}"))
    revoke_token(service, token.split("_")[1])
    clock.time += CACHE_SECONDS - 0.1
    assert asyncio.run(authenticator.identify(f"bearer  {token}")).scopes == ("read",)
    clock.time += 0.1
    with pytest.raises(TokenInvalid):
        asyncio.run(authenticator.identify(f"Bearer {token}"))


def test_a_cached_token_is_refused_once_it_expires(service: Service, clock: _Clock) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    service = replace(service, now=lambda: moment)
    authenticator = TokenAuthenticator(service, allow_anonymous=False, now=clock)
    token, _ = create_token(service, "brief", ["read"], lifetime=timedelta(seconds=2))
    asyncio.run(authenticator.identify(f"Bearer {token}"))
    moment += timedelta(seconds=1)
    asyncio.run(authenticator.identify(f"Bearer {token}"))
    moment += timedelta(seconds=1)
    with pytest.raises(TokenInvalid):
        asyncio.run(authenticator.identify(f"Bearer {token}"))


def _identify(authenticator: TokenAuthenticator, token: str, address: str = "192.0.2.1") -> type[Exception] | None:
    """Return how a token is refused; None: it is accepted."""
    try:
        asyncio.run(authenticator.identify(f"Bearer {token}", address))
    except RheostatError as error:
        return type(error)
    return None


def test_an_address_that_sends_many_wrong_tokens_is_slowed_and_a_right_one_from_there_is_accepted(
    service: Service, clock: _Clock
) -> None:
    token, _ = create_token(service, "right", ["read"])
    other, _ = create_token(service, "new", ["read"])
    authenticator = TokenAuthenticator(service, allow_anonymous=False, now=clock)
    assert _identify(authenticator, token) is None
    answers = [_identify(authenticator, new_token()) for _ in range(BURST + 2)]
    assert answers == [TokenInvalid] * BURST + [TooManyWrongTokens] * 2
    assert _identify(authenticator, new_token(), "192.0.2.2") is TokenInvalid
    for valid in (token, other):
        assert _identify(authenticator, valid) is None
    clock.time += 60 / PER_MINUTE
    assert _identify(authenticator, new_token()) is TokenInvalid


def test_wrong_tokens_are_answered_with_the_time_to_wait(guarded: Guarded) -> None:
    wrong = {"Authorization": f"Bearer {new_token()}"}
    answers = [guarded.server.client.get("/v1/jobs", headers=wrong) for _ in range(BURST + 1)]
    body = problem(answers[-1], 429)
    assert (body["code"], body["retryable"]) == ("too_many_wrong_tokens", True)
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60 / PER_MINUTE
    right = {"Authorization": f"Bearer {guarded.tokens['read']}"}
    assert guarded.server.client.get("/v1/jobs", headers=right).status_code == 200


def test_wrong_tokens_are_not_kept(service: Service, clock: _Clock) -> None:
    authenticator = TokenAuthenticator(service, allow_anonymous=False, now=clock)
    for _ in range(30):
        _identify(authenticator, new_token())
    assert not authenticator._cache
