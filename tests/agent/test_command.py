"""The commands of `rheostat agent`, in this process."""

import os
import socket
from collections.abc import Iterator
from errno import EACCES
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rheostat.agent import daemon, recover
from rheostat.agent.daemon import AgentSettings
from rheostat.agent.devices import Driver
from rheostat.agent.nvml import NvmlDriver
from rheostat.agent.simulated import SimulatedDriver
from rheostat.agent.site import Site
from rheostat.cli.agent import agent
from rheostat.errors import ConfigurationError, GpuReadOnly, GpuUnavailable, ServerUnreachable
from rheostat.schemas.agent import SOCKET_NAME
from tests.agent.agents import as_privileged
from tests.agent.bench import Bench, Served
from tests.nvml.fake import NO_PERMISSION, UNKNOWN, Call, FakeNvml


@pytest.fixture
def bench(fake: FakeNvml, directory: Path, site: Site) -> Iterator[Bench]:
    """A node whose ledger is where the commands look for it."""
    bench = Bench(fake, directory / "ledger", site)
    yield bench
    bench.close()


@pytest.fixture
def killed(bench: Bench) -> Bench:
    """A node whose agent was killed, with a living process that is limited to 200 W."""
    bench.node.set_power_limit(bench.lease(), 200_000)
    bench.kill()
    return bench


def run(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(agent, arguments, env={"RHEOSTAT_AGENT_DIR": str(directory)})


@as_privileged
def test_status_shows_each_gpu_and_its_holder(served: Served, bench: Bench, directory: Path) -> None:
    bench.node.set_power_limit(bench.lease(), 200_000)
    status = run(directory, "status")
    first, second = (gpu.uuid for gpu in bench.fake.gpus)
    assert status.exit_code == 0
    assert status.output.splitlines() == [
        f"0\t{first}\tverified\t200 W (found: 300 W)\tprocess {bench.processes[0].pid} of root, job nightly",
        f"1\t{second}\tfree\t300 W",
    ]


def test_status_lists_problems_and_fails_with_them(served: Served, bench: Bench, directory: Path) -> None:
    bench.fake.gpus[0].fail(Call.SET_LIMIT, NO_PERMISSION)
    with pytest.raises(GpuReadOnly):
        bench.node.set_power_limit(bench.lease(), 200_000)
    status = run(directory, "status")
    assert status.exit_code == 1
    assert f"! The driver does not permit changing the power limit of GPU {bench.fake.gpus[0].uuid}." in status.output


def test_status_tells_why_a_gpu_is_not_limited_and_that_is_no_problem(bench: Bench, directory: Path) -> None:
    bench.node.close()
    bench.site = Site.model_validate({"limits": {"change": False}})
    bench.fake.gpus[1].state.mig = 1
    bench.start()
    served = Served(bench, directory)
    try:
        status = run(directory, "status")
    finally:
        served.close()
    assert status.exit_code == 0
    first, second = status.output.splitlines()
    assert first.endswith("\tfree\t300 W, changing it is forbidden")
    assert second.endswith("\tfree\t300 W, partitioned (MIG), so not leased")


def test_status_without_an_agent_shows_what_must_be_restored(killed: Bench, directory: Path) -> None:
    status = run(directory, "status")
    assert status.exit_code == 1
    assert "No agent answers" in status.output
    assert f"{killed.fake.gpus[0].uuid}\tto restore: 300 W, by: rheostat agent recover" in status.output


def test_recover_keeps_the_limits_of_processes_that_are_alive(killed: Bench, directory: Path) -> None:
    kept = run(directory, "recover")
    assert (kept.exit_code, killed.limits()) == (0, [200, 300])
    pid = killed.processes[0].pid
    assert kept.output == f"{killed.fake.gpus[0].uuid}\tnot restored: its process {pid} is alive\n"
    killed.processes[0].kill()
    killed.processes[0].wait()
    recovered = run(directory, "recover")
    assert (recovered.exit_code, recovered.output, killed.limits()) == (0, "", [300, 300])
    assert killed.ledger.read() == {}


def test_recover_fails_when_a_limit_cannot_be_restored(
    killed: Bench, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover, "recover", partial(recover.recover, wait_seconds=0.1))
    killed.processes[0].kill()
    killed.processes[0].wait()
    killed.fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN)
    failed = run(directory, "recover")
    assert failed.exit_code == 1
    assert f"{killed.fake.gpus[0].uuid}\tnot restored: nvmlDeviceSetPowerManagementLimit" in failed.output
    killed.fake.gpus[0].lose()
    missing = run(directory, "recover")
    assert isinstance(missing.exception, GpuUnavailable)


def test_recover_is_refused_while_an_agent_is_running(bench: Bench, directory: Path) -> None:
    bench.node.set_power_limit(bench.lease(), 200_000)
    with bench.ledger.locked():
        refused = run(directory, "recover")
    assert isinstance(refused.exception, ConfigurationError)


@as_privileged
def test_restore_ends_the_leases_of_a_running_agent(served: Served, bench: Bench, directory: Path) -> None:
    bench.node.set_power_limit(bench.lease(0, 1), 200_000)
    restored = run(directory, "restore")
    assert restored.exit_code == 0
    assert restored.output.count("\tfree\t300 W\n") == 2
    assert (bench.limits(), bench.ledger.read()) == ([300, 300], {})


def test_restore_without_an_agent_restores_the_limits_of_living_processes_too(killed: Bench, directory: Path) -> None:
    restored = run(directory, "restore")
    assert (restored.exit_code, killed.limits(), killed.ledger.read()) == (0, [300, 300], {})


def test_restore_by_a_user_who_may_not_use_the_socket_is_no_success(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / SOCKET_NAME).touch()

    def forbid(*_: object) -> None:
        raise PermissionError(EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", forbid)
    monkeypatch.setattr(os, "access", lambda path, _: path != directory / SOCKET_NAME)
    refused = run(directory, "restore")
    assert isinstance(refused.exception, ServerUnreachable)
    assert "sudo usermod -aG rheostat" in refused.exception.hint


@pytest.mark.parametrize(
    ("arguments", "driver", "metrics_port", "own_group"),
    [
        ([], NvmlDriver, None, False),
        (["run"], NvmlDriver, None, False),
        (["run", "--simulate", "2", "--metrics-port", "0"], SimulatedDriver, 0, True),
    ],
)
def test_without_a_command_the_agent_runs(
    arguments: list[str],
    driver: type[Driver],
    metrics_port: int | None,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    own_group: bool,
) -> None:
    runs: list[tuple[Driver, AgentSettings]] = []

    def run_daemon(driver: Driver, settings: AgentSettings) -> int:
        runs.append((driver, settings))
        return 75

    monkeypatch.setattr(daemon, "run", run_daemon)
    assert run(directory, *arguments).exit_code == 75
    ((used, settings),) = runs
    assert isinstance(used, driver)
    assert (settings.runtime_directory, settings.metrics_port, settings.own_group) == (
        directory,
        metrics_port,
        own_group,
    )
