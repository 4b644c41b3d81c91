"""systemd accepts the unit, and the agent works within its restrictions."""

import grp
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from typer.testing import CliRunner

from rheostat.agent.daemon import EXIT_RESTART
from rheostat.cli import app
from rheostat.schemas import agent as agent_schemas
from tests.agent.agents import Agent, Trainer, as_privileged
from tests.nvml.fake import FakeNvml
from tests.sdk.containers import gpu_1_group, train
from tests.waiting import PATIENCE_SECONDS, eventually

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
INSTALLED = "/opt/rheostat/bin/rheostat"
HERE = str(Path(sys.executable).parent / "rheostat")


def settings(file: str) -> dict[str, str]:
    text = (SYSTEMD / file).read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@needs("systemd-analyze")
@pytest.mark.parametrize("with_metrics", [False, True])
def test_systemd_accepts_the_unit(tmp_path: Path, *, with_metrics: bool) -> None:
    unit = tmp_path / "rheostat-agent.service"
    unit.write_text((SYSTEMD / unit.name).read_text().replace(INSTALLED, HERE))
    if with_metrics:
        (tmp_path / f"{unit.name}.d").mkdir()
        drop_in = (SYSTEMD / "metrics.conf").read_text().replace(INSTALLED, HERE)
        (tmp_path / f"{unit.name}.d" / "metrics.conf").write_text(drop_in)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])


@needs("systemd-sysusers")
def test_the_agents_group_is_created(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "sysusers.conf")], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"systemd-sysusers does not work here: {done.stderr.decode()}")
    assert re.search(r"^rheostat:", (tmp_path / "etc" / "group").read_text(), re.MULTILINE)


def test_the_unit_agrees_with_the_agent() -> None:
    unit = settings("rheostat-agent.service")
    assert unit["RestartForceExitStatus"] == str(EXIT_RESTART)
    assert f"/run/{unit['RuntimeDirectory']}" == str(agent_schemas.DEFAULT_DIRECTORY)
    for line in (unit["ExecStart"], unit["ExecStopPost"], settings("metrics.conf")["ExecStart"]):
        program, *arguments = line.split()
        assert program == INSTALLED
        assert CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0


def test_the_unit_lets_the_agent_look_at_trainers() -> None:
    unit = settings("rheostat-agent.service")
    assert "bpf" in unit["SystemCallFilter"].split()
    assert "CAP_SYS_PTRACE" in unit["CapabilityBoundingSet"].split()
    assert not {"ProtectProc", "ProcSubset", "PrivatePIDs", "PrivateUsers"} & unit.keys()


class Confined(Agent):
    """An agent with the unit's capabilities, which gives its socket to a group that it is not in."""

    def command(self, name: str, *arguments: str) -> list[str]:
        kept = settings("rheostat-agent.service")["CapabilityBoundingSet"].lower().split()
        bounds = ",".join(["-all", *(f"+{capability.removeprefix('cap_')}" for capability in kept)])
        return ["setpriv", "--no-new-privs", "--bounding-set", bounds, *super().command(name, *arguments)]


@needs("setpriv")
@as_privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give capabilities away")
def test_the_units_capabilities_are_sufficient(fake: FakeNvml) -> None:
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid)
    with TemporaryDirectory(prefix="rheostat-") as name, Confined(fake, Path(name)) as agent:
        Path(name, "agent.toml").write_text(f'group = "{group.gr_name}"\n')
        agent.start()
        assert agent.socket.stat().st_gid == group.gr_gid
        trainer = Trainer(agent, [200])
        try:
            trainer.wait_ready()
            assert agent.run("status").returncode == 0
            agent.kill()
            trainer.kill()
            eventually(lambda: trainer.process.poll() is not None)
            assert agent.run("recover").returncode == 0
            assert fake.gpus[0].limit_watts == 300
        finally:
            trainer.close()


@needs("setpriv")
@as_privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give capabilities away")
@pytest.mark.parametrize("version", ["1", "2"])
def test_the_units_capabilities_suffice_to_find_a_trainers_gpus(fake: FakeNvml, version: str) -> None:
    with (
        TemporaryDirectory(prefix="rheostat-") as name,
        Confined(fake, Path(name)) as agent,
        gpu_1_group(version) as group,
    ):
        agent.start()
        assert train(agent, group=group)["visible"] == [fake.gpus[1].uuid]
