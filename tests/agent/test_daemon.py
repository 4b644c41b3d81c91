"""The agent as a process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns, sleep

import pytest

from rheostat.agent.daemon import EXIT_RESTART
from rheostat.agent.simulated import step_seconds
from tests.agent.agents import Agent, Trainer, answers, ask
from tests.nvml.fake import Call, FakeGpu, FakeNvml
from tests.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture
def agent(fake: FakeNvml, directory: Path) -> Iterator[Agent]:
    with Agent(fake, directory) as agent:
        agent.start()
        yield agent


@pytest.fixture
def trainers() -> Iterator[list[Trainer]]:
    trainers: list[Trainer] = []
    yield trainers
    for trainer in trainers:
        trainer.close()


def test_an_admins_limit_is_restored_after_a_normal_exit_and_after_a_kill(
    agent: Agent, trainers: list[Trainer]
) -> None:
    agent.fake.gpus[0].limit_watts = 250
    normal = Trainer(agent, [300, 200], stay="no")
    trainers.append(normal)
    answers = [json.loads(line)[1]["gpus"][0] for line in normal.wait_ready()]
    assert [(one["requested_watts"], one["applied_watts"], one["limited_by"]) for one in answers] == [
        (300, 250, "found"),
        (200, 200, None),
    ]
    assert normal.process.wait(PATIENCE_SECONDS) == 0
    assert agent.fake.gpus[0].limit_watts == 250

    killed = Trainer(agent, [200])
    trainers.append(killed)
    killed.wait_ready()
    assert agent.fake.gpus[0].limit_watts == 200
    killed.kill()
    eventually(lambda: agent.fake.gpus[0].limit_watts == 250)


def test_a_killed_trainers_limit_is_restored_within_a_second_even_if_a_child_holds_the_socket_open(
    agent: Agent, trainers: list[Trainer]
) -> None:
    trainer = Trainer(agent, [200], stay="child")
    trainers.append(trainer)
    trainer.wait_ready()
    trainer.wait_child()
    trainer.kill()
    assert eventually(lambda: agent.fake.gpus[0].limit_watts == 300) < 1


def moment(gpu: FakeGpu) -> tuple[int, float]:
    """Return a moment and the true energy up to then, less than a millisecond apart."""
    while True:
        before_ns, joules, after_ns = monotonic_ns(), gpu.energy_joules(), monotonic_ns()
        if after_ns - before_ns < 1_000_000:
            return before_ns, joules


def test_the_energy_of_a_window_is_as_precise_as_it_says(agent: Agent, trainers: list[Trainer]) -> None:
    gpu = agent.fake.gpus[0]
    gpu.load(0.8)
    trainers.append(Trainer(agent, [250]))
    trainers[0].wait_ready()
    counter = f"/v1/energy?gpu={gpu.uuid}"
    # Until it is followed; on a busy machine the first ticks may be seen too late to be used.
    eventually(lambda: agent.ask("GET", counter)["gpus"][0]["cumulative_joules"] is not None)
    since_ns, before = moment(gpu)
    sleep(0.6)
    until_ns, after = moment(gpu)
    window = f"{counter}&since_ns={since_ns}&until_ns={until_ns}"
    eventually(lambda: agent.ask("GET", window)["gpus"][0]["energy_joules"] is not None)
    (usage,) = agent.ask("GET", window)["gpus"]
    # Where the agent got its turn too late for a tick, on a busy machine, it knows less and says so.
    watts = (after - before) / ((until_ns - since_ns) / 1e9)
    allowed_joules = max(0.01 * (after - before), watts * usage["resolution_seconds"])
    assert usage["energy_joules"] == pytest.approx(after - before, abs=allowed_joules)
    assert (usage["source"], usage["unknown_because"]) == ("counter", None)


def test_sigterm_restores_every_limit(agent: Agent, trainers: list[Trainer]) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    assert agent.terminate() == 0
    assert agent.fake.gpus[0].limit_watts == 300
    assert agent.entries() == []
    assert not agent.socket.exists()


def test_a_reloaded_driver_ends_the_agent_for_its_supervisor_to_restart_it(
    agent: Agent, trainers: list[Trainer]
) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    agent.fake.reload_driver()
    assert agent.process is not None
    assert agent.process.wait(PATIENCE_SECONDS) == EXIT_RESTART
    agent.fake.world.driver_reloaded = 0
    agent.start()
    assert agent.ask("GET", "/v1/gpus")["gpus"][0]["state"] == "verified"
    trainers[0].kill()
    eventually(lambda: agent.fake.gpus[0].limit_watts == 300)


def test_a_second_agent_is_refused(agent: Agent) -> None:
    second = agent.run("run")
    assert second.returncode == 1
    assert "Another agent is running" in second.stderr
    assert "rheostat agent status" in second.stderr
    assert agent.answers()


def test_an_agent_with_another_directory_is_refused_the_same_gpus(agent: Agent, tmp_path: Path) -> None:
    assert agent.process is not None
    (tmp_path / "other").mkdir()
    with Agent(agent.fake, tmp_path / "other") as other:
        other.start(ready=False)
        assert other.process is not None
        assert other.process.wait(PATIENCE_SECONDS) == 1
        assert f"Another agent has GPU {agent.fake.gpus[0].uuid}: process {agent.process.pid}, " in other.log()
        assert str(agent.directory) in other.log()
        assert agent.answers()
        agent.kill()  # its locks end with it
        other.start()
        assert other.answers()


def test_where_no_lock_can_be_made_a_warning_says_so(fake: FakeNvml, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Agent(fake, directory) as agent:
        agent.start(RHEOSTAT_LOCKS_DIR=str(tmp_path / "file"))
        assert agent.log().count("It is unknown whether another agent has GPU") == len(fake.gpus)


def test_without_the_drivers_library_it_says_what_to_install(fake: FakeNvml, directory: Path) -> None:
    with Agent(fake, directory) as agent:
        agent.start(ready=False, LD_LIBRARY_PATH="", LD_PRELOAD="")
        assert agent.process is not None
        assert agent.process.wait(PATIENCE_SECONDS) == 1
        assert "Install NVIDIA's driver, which has libnvidia-ml.so.1" in agent.log()


def test_systemd_is_notified_when_it_is_ready_and_that_it_is_alive(fake: FakeNvml, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, Agent(fake, directory) as agent:
        systemd.bind(str(directory / "notify"))
        systemd.settimeout(10)
        agent.start(NOTIFY_SOCKET=str(directory / "notify"), WATCHDOG_USEC="80000")
        assert systemd.recv(100) == b"READY=1"
        fake.gpus[0].hang(Call.GET_LIMIT)  # a hung GPU is no reason to be killed
        for _ in range(10):
            assert systemd.recv(100) == b"WATCHDOG=1"
        fake.gpus[0].heal()
        agent.terminate()


def test_metrics_are_served_on_loopback_when_asked_for(fake: FakeNvml, directory: Path) -> None:
    with Agent(fake, directory) as agent:
        agent.start("--metrics-port", "0")
        address = re.compile(r"http://127\.0\.0\.1:\d+/metrics")
        eventually(lambda: address.search(agent.log()) is not None)
        (url,) = address.findall(agent.log())

        def is_served(line: str) -> bool:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                return f"{line}\n" in answer.read().decode()

        # Once each GPU has been read.
        eventually(lambda: is_served(f'rheostat_agent_power_limit_watts{{gpu="{fake.gpus[1].uuid}"}} 300'))
        eventually(lambda: is_served(f'rheostat_agent_gpu_state{{gpu="{fake.gpus[0].uuid}",state="free"}} 1'))


def test_a_port_in_use_is_an_error(fake: FakeNvml, directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Agent(fake, directory) as agent:
        agent.start("--metrics-port", str(taken.getsockname()[1]), ready=False)
        assert agent.process is not None
        assert agent.process.wait(PATIENCE_SECONDS) == 1
        assert "cannot be used for metrics" in agent.log()
        assert "--metrics-port" in agent.log()
        assert "Traceback" not in agent.log()


def test_a_simulated_node_needs_no_gpu_and_no_group(directory: Path) -> None:
    command = [sys.executable, "-m", "rheostat", "agent", "run", "--simulate", "2", "--runtime-dir", str(directory)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: answers(directory / "agent.sock"))
            environment = {**os.environ, "RHEOSTAT_AGENT_DIR": str(directory)}
            status = subprocess.run(
                [sys.executable, "-m", "rheostat", "agent", "status"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
            assert status.stdout.count("250 W") == 2
            path = directory / "agent.sock"
            gpu = ask(path, "GET", "/v1/gpus")["gpus"][0]["gpu"]
            lease = ask(path, "POST", "/v1/leases", {"gpus": [gpu], "pid": os.getpid()})["lease_id"]
            ask(path, "PUT", f"/v1/leases/{lease}/power-limit", {"power_limit_watts": 125})
            done = ask(path, "POST", "/v1/simulated-steps", {"gpu": gpu, "batch_size": 64, "steps": 1000})
            assert done["power_limit_watts"] == 125
            assert done["time_seconds"] == pytest.approx(1000 * step_seconds(64, 125))
            ask(path, "DELETE", f"/v1/leases/{lease}")
            assert ask(path, "GET", "/v1/gpus")["gpus"][0]["power_limit_watts"] == 250
        finally:
            process.terminate()


def test_the_error_for_a_missing_group_says_how_to_create_it(fake: FakeNvml, directory: Path) -> None:
    agent = Agent(fake, directory)
    (directory / "agent.toml").write_text('group = "no-such-group"')
    refused = agent.run("run")
    assert refused.returncode == 1
    assert "groupadd --system no-such-group" in refused.stderr


def states(agent: Agent) -> list[str]:
    return [gpu["state"] for gpu in agent.ask("GET", "/v1/gpus")["gpus"]]


def test_a_deleted_runtime_directory_is_made_again_and_no_limit_found_is_lost(
    agent: Agent, trainers: list[Trainer]
) -> None:
    trainers += [Trainer(agent, [200], gpus=(0,)), Trainer(agent, [], gpus=(1,))]
    for trainer in trainers:
        trainer.wait_ready()
    agent.delete_directory()
    eventually(lambda: agent.answers() and bool(agent.entries()))
    assert states(agent) == ["verified", "held"]
    agent.kill()
    agent.start()
    assert states(agent) == ["verified", "held"]
    for trainer in trainers:
        trainer.kill()
    eventually(lambda: agent.fake.gpus[0].limit_watts == 300)
    eventually(lambda: states(agent) == ["free", "free"])
    assert list((agent.directory / "ledger").iterdir()) == [agent.directory / "ledger" / "lock"]
    assert agent.terminate() == 0


def test_a_deleted_socket_is_made_again(agent: Agent) -> None:
    agent.socket.unlink()
    eventually(agent.answers)


def test_an_agent_whose_directory_was_deleted_ends_when_another_has_started_there(
    agent: Agent, trainers: list[Trainer]
) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    assert agent.process is not None
    os.kill(agent.process.pid, signal.SIGSTOP)
    agent.delete_directory()
    with Agent(agent.fake, agent.directory.parent) as other:
        other.start()
        os.kill(agent.process.pid, signal.SIGCONT)
        assert agent.process.wait(PATIENCE_SECONDS) == 0
        assert agent.fake.gpus[0].limit_watts == 300
        assert other.answers()


@pytest.mark.parametrize("content", ["[]", "garbage", None])
def test_an_agent_starts_with_a_ledger_file_of_the_wrong_shape_and_recover_fails_until_it_is_deleted(
    agent: Agent, content: str | None
) -> None:
    agent.kill()
    path = agent.directory / "ledger" / f"{agent.fake.gpus[0].uuid}.json"
    path.mkdir() if content is None else path.write_text(content)
    for _ in range(2):
        recovered = agent.run("recover")
        assert recovered.returncode == 1
        assert "Traceback" not in recovered.stderr
        assert "is unreadable: check that GPU's power limit, then delete the file" in recovered.stdout
    agent.start()
    assert any("is unreadable" in problem for problem in agent.ask("GET", "/healthz")["problems"])
    agent.kill()
    aside = path.with_suffix(".unreadable")
    aside.rmdir() if content is None else aside.unlink()
    assert agent.run("recover").returncode == 0
