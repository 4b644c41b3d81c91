"""The deployment's files agree with the code. `.ci/check_deployment` validates them."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
import yaml

import rheostat
from rheostat.api.settings import Settings, unknown_variables
from tests.serving import SETTINGS, V100, serving
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
HAPROXY = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
SERVER_FILES = [ROOT / "deploy" / "kubernetes" / "base" / name for name in ("server.yaml", "migrate.yaml")]


def _compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def _manifests() -> list[dict[str, Any]]:
    return [document for path in SERVER_FILES for document in yaml.safe_load_all(path.read_text())]


def test_the_version_is_that_of_the_package() -> None:
    images = re.findall(r"image: rheostat:(\S+)", "".join(path.read_text() for path in [COMPOSE, *SERVER_FILES]))
    assert len(images) == 3
    assert set(images) == {rheostat.__version__}


def test_the_variables_are_settings() -> None:
    text = "".join(path.read_text() for path in [COMPOSE, ROOT / "Dockerfile", *SERVER_FILES])
    settings = {f"RHEOSTAT_{name.upper()}" for name in Settings.model_fields}
    # Variables of compose itself, not of a server.
    settings |= {"RHEOSTAT_PUBLISH", "RHEOSTAT_POSTGRES_PASSWORD_FILE", "RHEOSTAT_ADMIN_TOKEN_FILE"}
    named = set(re.findall(r"RHEOSTAT_[A-Z_]+", text))
    assert {name.removesuffix("_FILE") for name in named} <= {name.removesuffix("_FILE") for name in settings}
    assert unknown_variables(dict.fromkeys(named, "x")) == []


def test_no_password_has_a_default_and_each_secret_is_required() -> None:
    for secret in _compose()["secrets"].values():
        assert re.fullmatch(r"\$\{RHEOSTAT_\w+_FILE:\?.+\}", secret["file"])
    for service in _compose()["services"].values():
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or value.startswith("/run/secrets/")
            assert not re.search(r"//[^/@]*:[^/@]*@", value), "a password in a URL"
    assert not [document for document in _manifests() if document["kind"] == "Secret"]


def test_no_container_has_more_rights_than_needed() -> None:
    services = _compose()["services"]
    for name in ("migrate", "server", "proxy", "agent"):
        assert services[name]["cap_drop"] == ["ALL"], name
        assert services[name]["read_only"] is True
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert services[name].get("cap_add", []) == (["SYS_ADMIN"] if name == "agent" else [])
        assert "privileged" not in services[name]
    assert (services["agent"]["pid"], services["agent"]["network_mode"]) == ("host", "none")
    assert services["agent"]["profiles"] == ["agent"]
    for manifest in _manifests():
        if manifest["kind"] not in ("Deployment", "Job"):
            continue
        pod = manifest["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["enableServiceLinks"] is pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_stop_waits_as_long_as_the_server_may_take() -> None:
    from rheostat.api.server import GRACEFUL_SHUTDOWN_SECONDS

    assert int(_compose()["services"]["server"]["stop_grace_period"].removesuffix("s")) > GRACEFUL_SHUTDOWN_SECONDS
    (deployment,) = [manifest for manifest in _manifests() if manifest["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > GRACEFUL_SHUTDOWN_SECONDS + 5


def test_the_dashboard_queries_existing_metrics(tmp_path: Path) -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "rheostat.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        server.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
        trial = server.client.post("/v1/jobs/nightly/predict", json={"gpu": V100}).json()["trial_id"]
        done = {"epoch": 1, "metric": 0.95, "energy_joules": 1.0, "time_seconds": 1.0}
        server.client.post(f"/v1/trials/{trial}/observe", json=done).raise_for_status()
        server.client.get("/v1/jobs/none")
        page = server.client.get("/metrics").text
    there = set(re.findall(r"^(rheostat_\w+)", page, re.MULTILINE))
    labels = set(re.findall(r"[{,](\w+)=", page)) | {"job", "le"}
    for expression in asked:
        names = re.findall(r"rheostat_\w+", expression)
        assert names
        assert set(names) <= there, expression
        matched = re.findall(r"[{,](\w+)[=!]", expression)
        grouped = [name for group in re.findall(r"by \(([^)]*)\)", expression) for name in re.split(r",\s*", group)]
        assert set(matched + grouped) <= labels, expression


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_one_of_two_servers_behind_one_port_may_be_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(url, tmp_path / "a") as a, serving(url, tmp_path / "b") as b:
        servers = "\n".join(
            f"    server {name} {server.client.base_url.host}:{server.client.base_url.port}"
            for name, server in (("a", a), ("b", b))
        )
        config = HAPROXY.read_text().replace(":8420\n", f"127.0.0.1:{port}\n", 1)
        config, changed = re.subn(r"    server-template .*", servers, config)
        assert changed == 1
        (tmp_path / "haproxy.cfg").write_text(config)
        with subprocess.Popen(["haproxy", "-db", "-f", str(tmp_path / "haproxy.cfg")]) as proxy:
            try:
                with httpx.Client(
                    base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_SECONDS
                ) as http:
                    _wait_for(http)
                    http.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
                    assert http.get("/metrics").status_code == 404
                    a.kill()
                    for _ in range(20):
                        http.post("/v1/jobs/nightly/predict", json={"gpu": V100}).raise_for_status()
                    assert http.get("/v1/jobs/nightly").json()["trials"] == 20
            finally:
                proxy.terminate()


def _wait_for(http: httpx.Client) -> None:
    give_up_at = monotonic() + PATIENCE_SECONDS
    while monotonic() < give_up_at:
        try:
            if http.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        sleep(0.05)
    raise AssertionError("timed out waiting for the proxy")
