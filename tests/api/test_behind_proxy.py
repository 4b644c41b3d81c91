"""The server behind a reverse proxy: under a prefix, and over TLS."""

import re
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
import trustme
from starlette.types import Receive, Scope, Send

from rheostat import Client
from rheostat.api.behind_proxy import BehindProxy
from rheostat.api.settings import load_settings
from rheostat.errors import ConfigurationError, ServerRefused, ServerUnreachable
from rheostat.schemas.server import JobSettings
from tests.api.asgi import ask
from tests.proxies import proxied
from tests.serving import SETTINGS, Serving, serving
from tests.waiting import PATIENCE_SECONDS

PREFIX = {"X-Forwarded-Prefix": "/rheostat"}


def every_page_works(address: str) -> None:
    """Check the documentation as a browser reads it, and a route that it names."""
    with httpx.Client(timeout=PATIENCE_SECONDS) as browser:
        page = browser.get(f"{address}/docs")
        linked = re.findall(r'(?:src|href)="([^"]+)"', page.text) + re.findall(r"url: '([^']+)'", page.text)
        assert len(linked) >= 4
        for link in linked:
            assert browser.get(urljoin(str(page.url), link)).status_code == 200, link
        document = browser.get(urljoin(str(page.url), linked[-1])).json()
        base = document.get("servers", [{"url": ""}])[0]["url"]
        assert browser.get(urljoin(str(page.url), f"{base}/healthz")).json() == {"status": "ok"}
        lost = browser.get(f"{address}/v2").json()
        routes = re.search(r"at (\S+)\.$", lost["hint"])
        assert routes is not None
        assert browser.get(urljoin(str(page.url), routes[1])).status_code == 200


@pytest.mark.parametrize("strips", [True, False], ids=["strips", "keeps"])
def test_every_page_works_under_the_prefix_that_the_proxy_names(server: Serving, strips: bool) -> None:
    with proxied(str(server.client.base_url), prefix="/rheostat", strips=strips, headers=PREFIX) as address:
        every_page_works(address)
    every_page_works(str(server.client.base_url).rstrip("/"))


@pytest.mark.parametrize("strips", [True, False], ids=["strips", "keeps"])
def test_every_page_works_under_the_prefix_that_is_set(tmp_path: Path, strips: bool) -> None:
    with (
        serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log", "--root-path", "/ml/rheostat/") as server,
        proxied(str(server.client.base_url), prefix="/ml/rheostat", strips=strips) as address,
    ):
        every_page_works(address)
        every_page_works(str(server.client.base_url).rstrip("/"))


def test_the_client_works_under_a_prefix(server: Serving) -> None:
    with (
        proxied(str(server.client.base_url), prefix="/rheostat", headers=PREFIX) as address,
        Client(f"{address}/", retry_for_seconds=0.0) as client,
    ):
        assert client.register_job("behind-a-proxy", JobSettings.model_validate(SETTINGS)).trials == 0
        with pytest.raises(ServerRefused, match="no job 'other'"):
            client.get_job("other")


def answered(
    headers: dict[str, str], peer: str | None = "127.0.0.1", root_path: str = "", path: str = "/docs"
) -> Scope:
    """Return the scope of a request as the application gets it."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})

    ask(BehindProxy(app, root_path, "127.0.0.1,10.1.0.0/16"), path, headers=headers, client=peer and (peer, 1))
    return seen[0]


def test_only_trusted_proxies_are_believed() -> None:
    every = PREFIX | {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    for peer in ("127.0.0.1", "10.1.2.3"):
        scope = answered(every, peer)
        assert (scope["root_path"], scope["path"], scope["raw_path"]) == (
            "/rheostat",
            "/rheostat/docs",
            b"/rheostat/docs",
        )
        assert (scope["client"][0], scope["scheme"]) == ("192.0.2.7", "https")
    stranger = answered(every, "10.2.0.1")
    assert (stranger["root_path"], stranger["path"], stranger["scheme"]) == ("", "/docs", "http")
    assert stranger["client"][0] == "10.2.0.1"


@pytest.mark.parametrize(
    ("value", "root_path"),
    [
        ("/a/b/", "/a/b"),
        ("/a, /b", "/a/b"),
        ("/", ""),
        ("", ""),
        ("a", ""),
        ("//evil.example", ""),
        ("/..", ""),
        ("/a'-alert(1)-'", ""),
        ('/a"><script>', ""),
        ("/" + "a" * 256, ""),
        (",".join(["/a"] * 200), ""),
    ],
)
def test_a_prefix_that_a_page_cannot_carry_does_not_count(value: str, root_path: str) -> None:
    assert answered({"X-Forwarded-Prefix": value})["root_path"] == root_path


def test_what_is_set_comes_before_what_the_proxy_names() -> None:
    assert answered(PREFIX, root_path="/ml")["path"] == "/ml/docs"
    assert answered({}, root_path="/ml", path="/mlops")["path"] == "/ml/mlops"
    assert answered({}, root_path="/ml", path="/ml")["path"] == "/ml"


@pytest.mark.parametrize("value", ["rheostat", "/a b", "http://ml.example.org/rheostat", "//a"])
def test_a_root_path_that_is_no_path_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--root-path: must be a path, as /rheostat"):
        load_settings(root_path=value)


def test_a_private_certificate_authority_is_trusted_through_its_file(
    server: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with proxied(str(server.client.base_url), authority=authority) as address:
        assert address.startswith("https://")
        with Client(address, retry_for_seconds=0.0) as client, pytest.raises(ServerUnreachable) as refusal:
            client.list_jobs()
        assert "SSL_CERT_FILE" in refusal.value.hint
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with Client(address) as client:
            client.register_job("over-tls", JobSettings.model_validate(SETTINGS))
            assert client.get_job("over-tls").trials == 0


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("192.0.2.7:1234", "192.0.2.7"),
        ("[2001:DB8::7]:1", "2001:db8::7"),
        ('x" actor=admin, 192.0.2.7', "192.0.2.7"),
        ('192.0.2.7, x" actor=admin', "127.0.0.1"),
        ("fe80::1%\x1b[2J", "127.0.0.1"),
        ("unknown", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("1" * 10_000, "127.0.0.1"),
    ],
)
def test_what_is_not_an_address_is_no_client(forwarded: str, client: str) -> None:
    assert answered({"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "javascript"})["client"][0] == client


def test_without_an_address_of_the_peer_nobody_is_believed() -> None:
    assert answered({"X-Forwarded-For": "192.0.2.7"}, None)["client"] is None
