"""Signing in to pages on a server with tokens."""

import csv
from io import StringIO

import httpx
import pytest

from rheostat.service.tokens import create_token, revoke_token
from tests.dashboard.conftest import Pages
from tests.domain.examples import JOB
from tests.service.examples import predict, register


@pytest.fixture
def token(empty: Pages) -> str:
    register(empty.service)
    return create_token(empty.service, "viewer", ["read"])[0]


def sign_in(pages: Pages, token: str, wanted: str = "/", **headers: str) -> httpx.Response:
    return pages.send("POST", "/sign-in", data={"token": token, "next": wanted}, headers=headers)


def cookies_of(answer: httpx.Response) -> dict[str, str]:
    return {"rheostat_token": answer.cookies["rheostat_token"]}


def test_a_page_without_a_token_leads_to_the_sign_in_page_and_back(empty: Pages, token: str) -> None:
    refused = empty.get(f"/jobs/{JOB}?placement=1").answer
    assert (refused.status_code, refused.headers["location"]) == (303, f"/sign-in?next=%2Fjobs%2F{JOB}%3Fplacement%3D1")
    form = empty.get(refused.headers["location"])
    assert "rheostat token create NAME --scope read" in form.text
    assert f'name="next" value="/jobs/{JOB}?placement=1"' in form.html
    signed_in = sign_in(empty, token, f"/jobs/{JOB}?placement=1")
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, f"/jobs/{JOB}?placement=1")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {*signed_in.headers["set-cookie"].split("; ")}
    page = empty.get(f"/jobs/{JOB}", cookies=cookies_of(signed_in))
    assert (page.answer.status_code, "Sign out" in page.text) == (200, True)


def test_the_cookie_opens_pages_and_not_the_api(empty: Pages, token: str) -> None:
    cookies = {"rheostat_token": token}
    assert empty.get("/", cookies=cookies).answer.status_code == 200
    assert empty.get("/v1/jobs", cookies=cookies).answer.status_code == 401
    assert empty.send("POST", f"/v1/jobs/{JOB}/pause", cookies=cookies, json={}).status_code == 401


def test_a_wrong_token_is_refused_in_words(empty: Pages, token: str) -> None:
    answer = sign_in(empty, token[:-1] + ("0" if token[-1] != "0" else "1"))
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "The token is not valid" in answer.text
    trainer = create_token(empty.service, "trainer", ["trainer"])[0]
    assert "lacks the scope read" in sign_in(empty, trainer).text


def test_a_revoked_token_ends_the_session(empty: Pages, token: str) -> None:
    revoke_token(empty.service, token.split("_")[1])
    assert empty.get("/", cookies={"rheostat_token": token}).answer.status_code == 303


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_sign_in_leads_to_no_other_server(empty: Pages, token: str, wanted: str) -> None:
    assert sign_in(empty, token, wanted).headers["location"] == "/"


def test_a_form_of_another_site_does_not_sign_in_or_out(empty: Pages, token: str) -> None:
    headers = {"sec-fetch-site": "cross-site"}
    assert "set-cookie" not in sign_in(empty, token, **headers).headers
    assert "set-cookie" not in empty.send("POST", "/sign-out", headers=headers).headers
    assert 'rheostat_token=""; ' in empty.send("POST", "/sign-out").headers["set-cookie"]


def test_the_cookie_opens_the_download_on_the_page_of_a_job(empty: Pages, token: str) -> None:
    cookies = {"rheostat_token": token}
    predict(empty.service, node="=1+1")
    (link,) = [link for link in empty.get(f"/jobs/{JOB}", cookies=cookies).links if link.endswith(".csv")]
    (row,) = csv.DictReader(StringIO(empty.get(link, cookies=cookies).html))
    assert (row["job_id"], row["node"]) == (JOB, "'=1+1")
    assert empty.get(link).answer.status_code == 303
