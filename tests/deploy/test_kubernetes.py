"""The settings of the DaemonSet that the agent depends on, and what the kustomizations are made of."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

import rheostat
from rheostat.agent import site
from rheostat.agent.daemon import socket_path
from rheostat.api.settings import Settings
from rheostat.schemas import agent as agent_schemas
from tests.agent.agents import Agent
from tests.nvml.fake import FakeNvml
from tests.waiting import PATIENCE_SECONDS

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
PATH = KUBERNETES / "agent" / "agent-daemonset.yaml"
KUSTOMIZATIONS = sorted(KUBERNETES.rglob("kustomization.yaml"))


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(PATH.read_text())}


@pytest.fixture(scope="module")
def pod(documents: dict[str, Any]) -> dict[str, Any]:
    template: dict[str, Any] = documents["DaemonSet"]["spec"]["template"]["spec"]
    return template


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    found: dict[str, Any] = only
    return found


def test_names_and_labels_agree(documents: dict[str, Any]) -> None:
    namespace = documents["Namespace"]["metadata"]["name"]
    assert {documents[kind]["metadata"]["namespace"] for kind in ("ConfigMap", "DaemonSet")} == {namespace}
    spec = documents["DaemonSet"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


def test_it_sees_the_nodes_processes_and_not_its_network_nor_the_cluster(pod: dict[str, Any]) -> None:
    assert pod["hostPID"] is True
    assert pod["automountServiceAccountToken"] is False
    assert not pod.get("hostNetwork")


def test_it_has_the_capabilities_that_it_needs_and_is_not_privileged(container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert (context["runAsUser"], context["privileged"], context["readOnlyRootFilesystem"]) == (0, False, True)
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["SYS_ADMIN", "CHOWN", "SYS_PTRACE"]}


def test_it_may_look_at_trainers_in_other_containers(container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert context["appArmorProfile"] == {"type": "Unconfined"}
    assert context["seLinuxOptions"] == {"type": "spc_t"}


def test_it_requests_no_gpu(container: dict[str, Any]) -> None:
    asked = {name for kind in container["resources"].values() for name in kind}
    assert asked <= {"cpu", "memory"}


def test_socket_and_ledger_are_on_the_node_where_the_agent_keeps_them(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert (
        volumes["runtime"]["hostPath"]["path"] == mounts["runtime"]["mountPath"] == str(agent_schemas.DEFAULT_DIRECTORY)
    )
    assert mounts["site"]["mountPath"] == str(site.DEFAULT_PATH.parent)


def test_its_site_file_is_valid(documents: dict[str, Any]) -> None:
    site.Site.model_validate(tomllib.loads(documents["ConfigMap"]["data"][site.DEFAULT_PATH.name]))


def test_it_is_alive_while_the_agent_answers(container: dict[str, Any], fake: FakeNvml) -> None:
    _python, *arguments = container["livenessProbe"]["exec"]["command"]
    with TemporaryDirectory(prefix="rheostat-") as name, Agent(fake, Path(name)) as agent:
        there, here = str(socket_path(agent_schemas.DEFAULT_DIRECTORY)), str(agent.socket)
        assert there in arguments[-1]
        probe = [sys.executable, *(argument.replace(there, here) for argument in arguments)]
        agent.start()
        assert subprocess.run(probe, timeout=PATIENCE_SECONDS, check=False).returncode == 0
        agent.kill()
        assert subprocess.run(probe, stderr=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, check=False).returncode != 0


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_a_kustomization_has_every_manifest_of_its_folder(path: Path) -> None:
    kustomization = yaml.safe_load(path.read_text())
    folders = [name for name in kustomization["resources"] if not name.endswith(".yaml")]
    assert all((path.parent / name / "kustomization.yaml").exists() for name in folders)
    manifests = {name.name for name in path.parent.glob("*.yaml")} - {path.name}
    assert {*kustomization["resources"]} - {*folders} == manifests


def test_the_example_changes_what_is_in_the_base() -> None:
    example = yaml.safe_load((KUBERNETES / "overlays" / "example" / "kustomization.yaml").read_text())
    base = [
        document
        for name in ("server.yaml", "migrate.yaml")
        for document in yaml.safe_load_all((KUBERNETES / "base" / name).read_text())
    ]
    names = {(document["kind"], document["metadata"]["name"]) for document in base}
    assert {(patch["target"]["kind"], patch["target"]["name"]) for patch in example["patches"]} <= names
    assert {("Deployment", replica["name"]) for replica in example["replicas"]} <= names
    images = {
        container["image"].partition(":")[0]
        for document in base
        for container in document["spec"].get("template", {}).get("spec", {}).get("containers", ())
    }
    assert {image["name"] for image in example["images"]} == images
    literals = [line for generator in example["configMapGenerator"] for line in generator["literals"]]
    given = {
        name.removeprefix("RHEOSTAT_").lower(): value for name, _, value in (line.partition("=") for line in literals)
    }
    assert set(given) <= set(Settings.model_fields)
    Settings.model_validate(given)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_the_example_is_built_with_the_sites_image_and_settings() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / "overlays" / "example"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    documents = {document["kind"]: document for document in yaml.safe_load_all(built.stdout)}
    spaces = {
        kind: document["metadata"].get("namespace") for kind, document in documents.items() if kind != "Namespace"
    }
    assert set(spaces.values()) == {documents["Namespace"]["metadata"]["name"]}
    deployment = documents["Deployment"]["spec"]
    assert deployment["replicas"] == 3
    (container,) = deployment["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.org/ml/rheostat:{rheostat.__version__}"
    (source,) = container["envFrom"]
    assert source["configMapRef"]["name"] == documents["ConfigMap"]["metadata"]["name"]
