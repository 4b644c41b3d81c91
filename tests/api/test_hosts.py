"""The host names that the server answers to."""

from pathlib import Path

import pytest

from rheostat.api.hosts import host_name
from tests.api.test_problems import problem
from tests.serving import Serving, make_token, serving


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Example.org", "example.org"),
        ("example.org:8420", "example.org"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:8420", "::1"),
        ("[::1]", "::1"),
        ("", ""),
        ("a:b", ""),
        ("[::1", ""),
        ("localhost:1:2", ""),
    ],
)
def test_a_name_is_read_without_its_port(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "[::2]:80", "x" * 300])
def test_a_page_whose_name_points_to_this_machine_is_refused(server: Serving, host: str) -> None:
    body = problem(server.client.get("/v1/jobs", headers={"Host": host}), 421)
    assert body["code"] == "host_not_allowed"
    assert "RHEOSTAT_ALLOWED_HOSTS" in body["hint"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8420"])
def test_loopback_names_are_accepted(server: Serving, host: str) -> None:
    assert server.client.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_come_by_address_and_not_by_the_name_of_a_page(server: Serving, path: str) -> None:
    for host in ("10.0.0.7:8420", "[fd00::7]:8420", "localhost:8420"):
        assert server.client.get(path, headers={"Host": host}).status_code == 200
    assert problem(server.client.get(path, headers={"Host": "evil.example"}), 421)["code"] == "host_not_allowed"


def test_names_are_configurable_and_not_checked_on_other_addresses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log", RHEOSTAT_ALLOWED_HOSTS="rheostat.example, other") as named:
        assert named.client.get("/v1/jobs", headers={"Host": "Rheostat.example:80"}).status_code == 200
        assert named.client.get("/v1/jobs", headers={"Host": "localhost"}).status_code == 421
    bearer = {"Authorization": f"Bearer {make_token(url, 'any')}"}
    with serving(url, tmp_path / "log", RHEOSTAT_HOST="0.0.0.0") as everywhere:
        assert everywhere.client.get("/v1/jobs", headers=bearer | {"Host": "any.example"}).status_code == 200
