"""The server's address: what is wrong with one, and what to check where no server answers."""

import httpx
import pytest

from rheostat.errors import ConfigurationError, ServerRefused, ServerUnreachable
from rheostat.sdk.address import unreachable_hint
from rheostat.sdk.client import Client
from tests.sdk.examples import client, unused_url
from tests.sdk.scripted_server import Reply, ScriptedServer, in_turn, problem


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("localhost:8420", "http://localhost:8420"),
        ("10.0.0.1:8420", "http://10.0.0.1:8420"),
        ("gpu-server", "http://gpu-server"),
        ("ftp://gpu-server", "http://host:8420"),
    ],
)
def test_an_address_without_a_scheme_is_shown_with_one(url: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an HTTP address") as refused:
        Client(url)
    assert f"write {remedy}." in refused.value.hint


def test_a_malformed_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "127.0.0.1:99x")
    with pytest.raises(ConfigurationError, match="HTTP_PROXY"):
        Client("http://gpu-server:8420")


def test_a_proxy_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    url = httpx.URL("http://gpu-server:8420")
    assert "rheostat serve" in unreachable_hint(url)
    monkeypatch.setenv("http_proxy", unused_url())
    assert "NO_PROXY=gpu-server" in unreachable_hint(url)
    assert "rheostat serve" in unreachable_hint(httpx.URL("http://127.0.0.1:8420"))
    with (
        Client(str(url), retry_for_seconds=0) as rheostat,
        pytest.raises(ServerUnreachable, match="went through the proxy"),
    ):
        rheostat.get_job("nightly")
    monkeypatch.setenv("no_proxy", "gpu-server")
    assert "rheostat serve" in unreachable_hint(url)


def test_https_where_http_is_spoken_is_told() -> None:
    with ScriptedServer(in_turn(Reply(200))) as server:
        url = server.url.replace("http://", "https://")
        with Client(url, retry_for_seconds=0) as rheostat, pytest.raises(ServerUnreachable, match="with http://"):
            rheostat.get_job("nightly")


def test_a_route_in_the_address_is_told() -> None:
    unknown = problem(404, "no_such_route", retryable=False)
    why = r"does not know GET .*/v1/v1/jobs/nightly\. .*has no route in it"
    with (
        ScriptedServer(in_turn(unknown)) as server,
        Client(f"{server.url}/v1") as rheostat,
        pytest.raises(ServerRefused, match=why),
    ):
        rheostat.get_job("nightly")


@pytest.mark.parametrize(
    "words", ["unknown field", "unknown field; did you mean seed?", "extra inputs are not permitted"]
)
def test_a_field_that_an_older_server_does_not_know_is_no_mistake_of_the_trainer(words: str) -> None:
    refusal = problem(422, "invalid_input", retryable=False)
    refusal.body["fields"] = [{"field": "survey_seconds", "message": words}]
    with (
        ScriptedServer(in_turn(refusal)) as server,
        client(server) as rheostat,
        pytest.raises(ServerRefused, match="server is older than this client"),
    ):
        rheostat.get_job("nightly")
