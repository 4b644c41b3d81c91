"""The real agent in a process of its own, over the fake NVML, and trainers that use it."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from rheostat.agent.nvml import NvmlDriver
from rheostat.errors import ServerRefused, ServerUnreachable
from tests.nvml.fake import FakeNvml
from tests.waiting import PATIENCE_SECONDS, eventually

# Without it the agent reports that it is not ready, although the fake driver would permit changes.
as_privileged = pytest.mark.skipif(
    not NvmlDriver().may_set_limits(), reason="only a process with CAP_SYS_ADMIN is ready to change power limits"
)


def ask(path: Path, method: str, target: str, body: object = None) -> Any:
    """Ask the agent behind a socket; returns the JSON that it answers.

    Raises:
        ServerUnreachable: No agent answers there.
        ServerRefused: It refuses.
    """
    try:
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(path), verify=False), timeout=PATIENCE_SECONDS, trust_env=False
        ) as client:
            response = client.request(method, f"http://agent{target}", json=body)
    except httpx.TransportError as error:
        raise ServerUnreachable(f"No agent answers at {path}: {error}.") from None
    answer = response.json()
    if response.is_error and "detail" in answer:
        raise ServerRefused(answer["detail"], status=response.status_code, server_code=answer["code"])
    return answer


def answers(socket: Path) -> bool:
    """Return whether an agent answers on a socket."""
    try:
        ask(socket, "GET", "/healthz")
    except ServerUnreachable:
        return False
    return True


class Agent:
    """`rheostat agent` in a directory; it may be killed and started again."""

    def __init__(self, fake: FakeNvml, directory: Path, site: str = "") -> None:
        self.fake = fake
        self.directory = directory / "run"
        self.socket = self.directory / "agent.sock"
        self._log = directory / "agent.log"
        self._site = directory / "agent.toml"
        group = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()
        self._site.write_text(f'group = "{group}"\n{site}')
        self._site.chmod(0o644)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *arguments: str, victim: bool = False, ready: bool = True, **environment: str) -> None:
        """Start it and return when it answers; a victim may be killed before."""
        fake = self.fake.victim_environment() if victim else self.fake.environment()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command("run", *arguments), env={**os.environ, **fake, **environment}, stdout=log, stderr=log
            )
        if ready:
            eventually(lambda: self.answers() or self.ended)
            assert victim or not self.ended, self.log()

    def command(self, name: str, *arguments: str) -> list[str]:
        common = ["--runtime-dir", str(self.directory)]
        site = [] if name == "status" else ["--site", str(self._site)]
        return [sys.executable, "-m", "rheostat", "agent", name, *common, *site, *arguments]

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run one of the other commands and wait for it."""
        environment = {**os.environ, **self.fake.environment()}
        return subprocess.run(
            self.command(name), env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )

    @property
    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def answers(self) -> bool:
        return answers(self.socket)

    def ask(self, method: str, target: str, body: object = None) -> Any:
        return ask(self.socket, method, target, body)

    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def delete_directory(self) -> None:
        """Delete its runtime directory, all at once: it makes again what it misses while the rest is being deleted."""
        removed = self.directory.rename(self.directory.with_name("removed"))
        shutil.rmtree(removed)

    def terminate(self) -> int:
        """End it by SIGTERM; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def entries(self) -> list[str]:
        return sorted(path.stem for path in (self.directory / "ledger").glob("*.json"))


TRAINER = """
import http.client, json, os, socket, sys, time

def connect():
    connection = http.client.HTTPConnection("localhost", timeout=300)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(sys.argv[1])
    return connection

def ask(connection, method, target, body=None):
    connection.request(method, target, body and json.dumps(body))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())

limits, stay, gpus = json.loads(sys.argv[2]), sys.argv[3], sys.argv[4:]
connection = connect()
status, lease = ask(connection, "POST", "/v1/leases", {"gpus": gpus, "job_id": "nightly"})
assert status == 201, lease
for watts in limits:
    answer = ask(connection, "PUT", f"/v1/leases/{lease['lease_id']}/power-limit", {"power_limit_watts": watts})
    print(json.dumps(answer), flush=True)
print("ready", flush=True)
if stay == "child":  # a data loader's worker, which inherits the socket
    os.set_inheritable(connection.sock.fileno(), True)
    if os.fork() == 0:
        print("child", flush=True)
        time.sleep(30)
        os._exit(0)
if stay != "no":
    time.sleep(60)
print(json.dumps(ask(connection, "DELETE", f"/v1/leases/{lease['lease_id']}")), flush=True)
"""


class Trainer:
    """A process that leases GPUs, sets limits one after another, and then stays, or ends the lease.

    Args:
        agent: The agent.
        limits_watts: The limits that it sets.
        gpus: The indices of the GPUs.
        stay: Whether it stays: `yes`, `no`, or `child`, with a child that holds its socket open.
    """

    def __init__(
        self, agent: Agent, limits_watts: list[float], gpus: tuple[int, ...] = (0,), stay: str = "yes"
    ) -> None:
        uuids = [agent.fake.gpus[index].uuid for index in gpus]
        command = [sys.executable, "-c", TRAINER, str(agent.socket), json.dumps(limits_watts), stay, *uuids]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(self) -> list[str]:
        """Wait until its limits are set; return the answers."""
        lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "ready\n":
                return lines
            lines.append(line)
        raise AssertionError(f"the trainer ended early: {lines}")

    def wait_child(self) -> None:
        """Wait until it has a child."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "child\n"

    def kill(self) -> None:
        """End it by SIGKILL, but none of its children."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def raw(path: Path, request: bytes) -> bytes:
    """Send bytes to the socket and return the response."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return str(response.status).encode() + b" " + response.read()
