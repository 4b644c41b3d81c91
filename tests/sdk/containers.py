"""Trainers in mount namespaces and control groups of their own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agents import Agent
from tests.agent.device_programs import allow_only, attach, version_2_root
from tests.waiting import PATIENCE_SECONDS

# Its first argument is a control group to enter, or nothing.
TRAINER = """
import json, os, sys
from pathlib import Path
from rheostat import Client, JobSettings
from rheostat.errors import RheostatError
from rheostat.schemas.agent import LeaseRequest
from rheostat.sdk.node_agent import NodeAgent

settings = JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=5)
for group in sys.argv[1:]:
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
with NodeAgent() as agent, Client("http://127.0.0.1:1", retry_for_seconds=0) as client:
    node = agent.node_gpus()
    found = {"visible": node.visible, "by": node.visible_by, "refused": []}
    for gpu in node.gpus:
        try:
            agent.end_lease(agent.lease(LeaseRequest(gpus=[gpu.gpu])).lease_id)
        except RheostatError as error:
            found["refused"].append([gpu.index, error.server_code])
    with client.trial("nightly", settings, node_agent=agent) as trial:
        found["limited"] = trial.limit_power(150)
        found["held"] = [gpu.index for gpu in agent.gpus() if gpu.holder is not None]
print(json.dumps(found))
"""
PRIVATE_DEV = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3"


def train(agent: Agent, *, namespace: str | None = None, group: Path | None = None, **environment: str) -> Any:
    """Run the trainer, in a mount namespace that some commands prepare, or in a control group."""
    command = [sys.executable, "-c", TRAINER, *([] if group is None else [str(group)])]
    if namespace is not None:
        command = ["unshare", "--mount", "sh", "-ec", f'{namespace}; exec "$0" "$@"', *command]
    environment = {**os.environ, "RHEOSTAT_AGENT_DIR": str(agent.directory), **environment}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"log": done.stderr}


def may_make_containers() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    script = f"{PRIVATE_DEV} && mknod /dev/nvidia9 c 195 9"
    return subprocess.run(["unshare", "--mount", "sh", "-ec", script], capture_output=True, check=False).returncode == 0


@contextmanager
def gpu_1_group(version: str) -> Iterator[Path]:
    """Make a control group of version 1 or 2 that allows GPU 1 only; where none can be made the test is skipped."""
    root = version_2_root() if version == "2" else Path("/sys/fs/cgroup/devices")
    group = root / f"rheostat-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups of version {version} cannot be made here: {error}")
    try:
        if version == "2":
            attach(group, allow_only([1], others=True))
        else:
            (group / "devices.deny").write_text("a")
            for rule in ("c 1:* rwm", "c 5:* rwm", "c 136:* rwm", "c 195:1 rw"):
                (group / "devices.allow").write_text(rule)
        yield group
    finally:
        with suppress(OSError):
            group.rmdir()
