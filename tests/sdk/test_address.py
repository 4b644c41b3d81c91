"""The server's address: what is wrong with one, and what to check where no server answers."""

import httpx
import pytest

from rheostat.errors import ConfigurationError, ServerRefused, ServerUnreachable
from rheostat.sdk.address import unreachable_hint
from rheostat.sdk.client import Client
from tests.sdk.examples import client, unused_url
from tests.sdk.scripted_server import Reply, ScriptedServer, in_turn, problem


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:8420", "10.0.0.1:8420", "gpu-server", "gpu.example.org:8420/rheostat", "[::1]:8420"),
        *("http://gpu-server:8420", "https://gpu-server"),
    ],
)
def test_an_address_without_a_scheme_is_of_http(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_URL", f"{url}/")
    full = url if "://" in url else f"http://{url}"
    with Client() as named, Client(url) as given:
        assert named.base_url == given.base_url == full


@pytest.mark.parametrize(
    "url", ["ftp://gpu-server", "http:/gpu-server", "http//gpu-server", "//gpu-server", "8420", ":8420", "gpu:84x0"]
)
def test_a_malformed_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an HTTP address") as refused:
        Client(url)
    assert "write http://host:8420." in refused.value.hint


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
