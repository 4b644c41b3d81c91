"""Checks of the server, over real ones and over programs that are none."""

import socket
from dataclasses import replace

import pytest
import trustme

import rheostat
from rheostat.doctor.facts.installation import Installation
from rheostat.doctor.facts.remote import Remote, look_at_server
from rheostat.doctor.facts.store import Store
from tests.doctor.machines import OURS, answering, found
from tests.proxies import proxied
from tests.serving import Serving, make_token

NOT_READY = {
    "type": "urn:rheostat:schema_outdated",
    "title": "Schema outdated",
    "status": 503,
    "detail": "The database's schema is 0007; this version needs 0008.",
    "code": "schema_outdated",
    "retryable": False,
    "hint": "Run `rheostat db upgrade`.",
}


def url_of(server: Serving) -> str:
    return str(server.client.base_url).rstrip("/")


def test_a_server_as_it_should_be(server: Serving) -> None:
    remote = look_at_server(url_of(server))
    for name in ("server", "version", "token", "clock"):
        assert found(name, remote=remote).state == "ok", found(name, remote=remote)
    assert found("proxy", remote=remote).state == "skipped"


def test_a_wrong_token_and_one_that_may_only_read(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    database = server._options[1]
    right, reads = make_token(database, "ci"), make_token(database, "eye", "--scope", "read")
    states = {}
    for token in ("rheo_wrong", reads, right):
        monkeypatch.setenv("RHEOSTAT_TOKEN", token)
        finding = found("token", remote=look_at_server(url_of(server)))
        states[token] = finding.state
        assert "rheostat token create" in finding.remedy or finding.state == "ok"
        assert token not in finding.found
    assert list(states.values()) == ["problem", "warning", "ok"]


def test_no_server_is_a_problem_where_one_was_named() -> None:
    with answering({}) as url:
        pass
    named = found("server", remote=look_at_server(url))
    assert (named.state, url in named.found) == ("problem", True)
    port = url.rpartition(":")[2]
    assert named.remedy.startswith(f"Start the server: rheostat serve --port {port}. Or correct the port")
    usual_port = found("server", remote=replace(look_at_server(url), port=8420))
    assert usual_port.remedy == "Start the server: rheostat serve"
    away = found("server", remote=replace(look_at_server(url), is_local=False, host="gpu-server"))
    assert away.remedy.startswith("Start the server on gpu-server. If it runs, it may listen on loopback alone")
    usual = found("server", remote=replace(look_at_server(url), is_named=False))
    assert (usual.state, usual.remedy.partition(".")[0]) == ("warning", "Set RHEOSTAT_URL to your server's address")
    here = found("server", remote=replace(look_at_server(url), is_named=False), store=Store(has_extra=True))
    assert here.remedy.startswith("Start one here: rheostat serve.")
    for name in ("version", "token", "clock"):
        assert found(name, remote=look_at_server(url)).state == "skipped"


@pytest.mark.parametrize("url", ["http:/localhost:8420", "ftp://host", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    finding = found("server", remote=look_at_server(url))
    assert (finding.state, "not an HTTP address" in finding.found) == ("problem", True)


def test_a_host_that_the_name_service_does_not_know() -> None:
    finding = found("server", remote=look_at_server("http://rheostat.invalid:8420"))
    assert (finding.state, "does not know rheostat.invalid" in finding.remedy) == ("problem", True)


def test_a_server_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rheostat.doctor.facts.remote._TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        finding = found("server", remote=look_at_server(f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert (finding.state, "a firewall on the way" in finding.remedy) == ("problem", True)


def test_https_where_the_server_speaks_http(server: Serving) -> None:
    finding = found("server", remote=look_at_server(url_of(server).replace("http", "https")))
    assert (finding.state, "with http://" in finding.remedy) == ("problem", True)


@pytest.mark.parametrize("answers", [{}, {"/healthz": (200, {"status": "ok"})}, {"/healthz": (500, "<html>")}])
def test_another_program_on_the_port(answers: dict[str, tuple[int, object]]) -> None:
    with answering(answers) as url:
        finding = found("server", remote=look_at_server(url))
    assert (finding.state, finding.found) == ("problem", f"another program than Rheostat answers at {url}")


def test_a_server_that_is_not_ready() -> None:
    with answering({**OURS, "/readyz": (503, NOT_READY)}) as url:
        remote = look_at_server(url)
    finding = found("server", remote=remote)
    assert (finding.state, finding.remedy) == ("problem", "Run `rheostat db upgrade`.")
    assert found("token", remote=remote).state == "skipped"


@pytest.mark.parametrize(
    ("ours", "text", "remedy"),
    [
        ("99.0.0", "the server is older", "Upgrade the server to 99.0.0"),
        ("0.0.1", "the server is newer", f"pip install 'rheostat=={rheostat.__version__}'"),
    ],
)
def test_a_server_of_another_version(server: Serving, ours: str, text: str, remedy: str) -> None:
    installation = Installation(version=ours)
    finding = found("version", remote=look_at_server(url_of(server)), installation=installation)
    assert (finding.state, text in finding.found, remedy in finding.remedy) == ("warning", True, True)


def test_a_certificate_that_is_not_trusted(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    with proxied(url_of(server), authority=authority) as url:
        finding = found("server", remote=look_at_server(url))
        assert (finding.state, "SSL_CERT_FILE" in finding.remedy) == ("problem", True)
        with authority.cert_pem.tempfile() as path:
            monkeypatch.setenv("SSL_CERT_FILE", path)
            assert found("server", remote=look_at_server(url)).state == "ok"


@pytest.mark.parametrize(
    ("ahead_seconds", "state", "text"),
    [
        (3600, "problem", "60 min behind the server's"),
        (-86_400, "problem", "24.0 h ahead of the server's"),
        (200, "warning", "behind the server's"),
        (1, "ok", "agrees"),
    ],
)
def test_a_clock_that_is_wrong(ahead_seconds: float, state: str, text: str) -> None:
    with answering(OURS, ahead_seconds=ahead_seconds) as url:
        remote = look_at_server(url)
    finding = found("clock", remote=remote)
    assert (finding.state, text in finding.found) == (state, True), finding


def test_a_clock_that_is_not_the_databases() -> None:
    finding = found("clock", store=Store(behind_seconds=-7200.0))
    assert (finding.state, finding.found) == ("problem", "this machine's clock is 2.0 h ahead of the database's")


def test_a_token_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_TOKEN_FILE", "/no/token")
    finding = found("server", remote=look_at_server(None))
    assert (finding.state, "RHEOSTAT_TOKEN_FILE" in finding.found) == ("problem", True)


def test_a_proxy_of_the_environment_that_does_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({}) as gone:
        pass
    monkeypatch.setenv("HTTP_PROXY", gone.replace("http://", "http://user:secret@"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    remote = look_at_server("http://rheostat.example:8420")
    finding = found("proxy", remote=remote)
    assert (finding.state, finding.remedy) == ("warning", "Run: export NO_PROXY=rheostat.example")
    assert "secret" not in finding.found
    assert found("server", remote=remote).state == "problem"


def test_a_proxy_that_the_server_is_excepted_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "rheostat.invalid")
    assert found("proxy", remote=look_at_server("https://rheostat.invalid")).state == "ok"
    assert found("proxy", remote=Remote(is_local=False)).state == "ok"
