import pytest

from rheostat.errors import ConfigurationError
from rheostat.schemas.server import JobPage, JobUpdate
from rheostat.schemas.trials import ObserveRequest
from rheostat.sdk.client import Client
from rheostat.sdk.server import DEFAULT_URL
from tests.sdk.examples import GOES_ON, JOB, SETTINGS, client, unused_url
from tests.sdk.scripted_server import Reply, ScriptedServer, in_turn


class TestOperations:
    def test_an_answer_comes_back_as_its_model(self) -> None:
        with ScriptedServer(in_turn(Reply(201, JOB))) as server, client(server) as rheostat:
            assert rheostat.register_job("nightly", SETTINGS) == JOB

    def test_defaults_are_not_sent(self) -> None:
        with ScriptedServer(in_turn(Reply(200, JOB))) as server, client(server) as rheostat:
            rheostat.update_job("nightly", JobUpdate(eta_knob=0.25))
            assert (server.seen[0].method, server.seen[0].body) == ("PATCH", {"eta_knob": 0.25})

    def test_an_explicit_null_is_sent(self) -> None:
        with ScriptedServer(in_turn(Reply(200, JOB))) as server, client(server) as rheostat:
            rheostat.update_job("nightly", JobUpdate(beta_knob=None))
            assert server.seen[0].body == {"beta_knob": None}

    @pytest.mark.parametrize("job_id", ["a/b", "a b", "a%2Fb", "a?force=true", "a#b", "ä", "", "-a", "a\n", "a" * 129])
    def test_a_name_that_no_job_can_have_is_refused_before_it_is_sent(self, job_id: str) -> None:
        with ScriptedServer(in_turn()) as server, client(server) as rheostat:
            with pytest.raises(ConfigurationError, match="letters of A to Z and a to z, digits, dots"):
                rheostat.get_job(job_id)
            assert not server.seen

    def test_a_path_in_the_address_stays_in_front(self) -> None:
        page = JobPage(jobs=[], next_cursor=None)
        with ScriptedServer(in_turn(Reply(200, page))) as server, Client(f"{server.url}/rheostat/") as rheostat:
            rheostat.list_jobs(limit=7)
            assert server.seen[0].path == "/rheostat/v1/jobs?limit=7"

    def test_a_delete_has_no_answer_to_read(self) -> None:
        with ScriptedServer(in_turn(Reply(204))) as server, client(server) as rheostat:
            rheostat.delete_job("nightly", force=True)
            assert (server.seen[0].method, server.seen[0].path) == ("DELETE", "/v1/jobs/nightly?force=true")

    def test_the_token_is_sent_as_bearer(self) -> None:
        with (
            ScriptedServer(in_turn(Reply(200, JOB))) as server,
            Client(server.url, token="secret\n") as rheostat,
        ):
            rheostat.get_job("nightly")
            assert server.seen[0].headers["Authorization"] == "Bearer secret"


class TestConfiguration:
    def test_the_address_comes_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RHEOSTAT_URL", "http://rheostat.example:80/")
        assert Client().base_url == "http://rheostat.example:80"
        monkeypatch.delenv("RHEOSTAT_URL")
        assert Client().base_url == DEFAULT_URL

    @pytest.mark.parametrize("url", ["ftp://host", "http://", "http:/host", ":8420", "http://[::1"])
    def test_an_invalid_address_is_refused_at_once(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="http://host:8420"):
            Client(url)

    def test_a_token_that_no_header_carries_is_refused_at_once(self) -> None:
        with pytest.raises(ConfigurationError):
            Client(token="two\nlines")

    @pytest.mark.parametrize("proxy", ["unused", "socks5://127.0.0.1:9", "no proxy at all"])
    def test_loopback_is_reached_without_a_proxy(self, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        proxy = unused_url() if proxy == "unused" else proxy
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with ScriptedServer(in_turn(Reply(200, JOB))) as server:
            for host in ("127.0.0.1", "localhost"):
                with Client(server.url.replace("127.0.0.1", host), retry_for_seconds=0.0) as rheostat:
                    assert rheostat.get_job("nightly") == JOB

    def test_other_hosts_are_reached_through_the_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with ScriptedServer(in_turn(Reply(200, GOES_ON))) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            with Client("http://rheostat.invalid", retry_for_seconds=0.0) as rheostat:
                assert rheostat.observe("0" * 32, ObserveRequest(epoch=1.0)) == GOES_ON

    def test_a_malformed_proxy_is_refused_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "nonsense://proxy")
        with pytest.raises(ConfigurationError, match="proxy"):
            Client("http://rheostat.invalid")
