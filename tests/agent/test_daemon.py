"""The agent as a process, over its socket."""

import json
import os
import pwd
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic_ns, sleep

import pytest

from rheostat.agent.client import ask
from rheostat.agent.daemon import EXIT_START_ANEW
from rheostat.agent.simulated import step_seconds
from rheostat.errors import ServerRefused
from tests.agent.agents import Agent, Trainer, as_privileged, eventually, raw
from tests.nvml.fake import Call, FakeNvml

NOBODY = pwd.getpwnam("nobody")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where other users may go, with a name short enough for a socket."""
    with TemporaryDirectory(prefix="rheostat-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def agent(fake: FakeNvml, directory: Path) -> Iterator[Agent]:
    with Agent(fake, directory, site='[gpus.GPU-00000001-0000-4000-8000-000000000000]\nusers = ["alice"]\n') as agent:
        agent.start()
        yield agent


@pytest.fixture
def trainers() -> Iterator[list[Trainer]]:
    trainers: list[Trainer] = []
    yield trainers
    for trainer in trainers:
        trainer.close()


def test_an_admins_cap_is_what_is_left_after_a_normal_exit_and_after_a_kill(
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
    assert normal.process.wait(10) == 0
    assert agent.fake.gpus[0].limit_watts == 250

    killed = Trainer(agent, [200])
    trainers.append(killed)
    killed.wait_ready()
    assert agent.fake.gpus[0].limit_watts == 200
    killed.kill()
    eventually(lambda: agent.fake.gpus[0].limit_watts == 250)


def test_a_killed_trainers_limit_is_back_within_a_second_though_a_child_holds_the_socket_open(
    agent: Agent, trainers: list[Trainer]
) -> None:
    trainer = Trainer(agent, [200], stay="child")
    trainers.append(trainer)
    trainer.wait_ready()
    sleep(0.2)
    trainer.kill()
    assert eventually(lambda: agent.fake.gpus[0].limit_watts == 300) < 1


def test_the_second_trainer_is_told_who_holds_the_gpu(agent: Agent, trainers: list[Trainer]) -> None:
    trainer = Trainer(agent, [200])
    trainers.append(trainer)
    trainer.wait_ready()
    with pytest.raises(ServerRefused, match=rf"held by process {trainer.pid} of user \S+, job nightly") as caught:
        agent.ask("POST", "/v1/leases", {"gpus": [agent.fake.gpus[0].uuid]})
    assert (caught.value.status, caught.value.server_code) == (409, "gpu_held")
    (gpu, _) = agent.ask("GET", "/v1/gpus")["gpus"]
    assert (gpu["state"], gpu["holder"]["pid"], gpu["found_watts"]) == ("verified", trainer.pid, 300)


ASK_AS_NOBODY = """
import os, sys
from pathlib import Path
from rheostat.agent.client import ask
os.setgroups([int(group) for group in sys.argv[2].split(",") if group])
os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[4]))
try:
    print(ask(Path(sys.argv[1]), "POST", "/v1/leases", {"gpus": [sys.argv[5]]}))
except Exception as error:
    print(type(error).__name__, error)
"""


def ask_as_nobody(agent: Agent, gpu: int, groups: str = "") -> str:
    arguments = [str(agent.socket), groups, str(NOBODY.pw_gid), str(NOBODY.pw_uid), agent.fake.gpus[gpu].uuid]
    command = [sys.executable, "-c", ASK_AS_NOBODY, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


@as_root
def test_a_user_outside_of_the_group_is_refused(agent: Agent) -> None:
    assert "Permission denied" in ask_as_nobody(agent, 0)
    agent.socket.chmod(0o666)  # even when somebody has opened the socket to all
    assert "ServerRefused User nobody may not use the agent." in ask_as_nobody(agent, 0)


@as_root
def test_a_member_of_the_group_may_lease_what_the_site_lets_him(agent: Agent) -> None:
    assert "lease_id" in ask_as_nobody(agent, 0, groups=str(os.getgid()))
    assert "does not let user nobody have GPU" in ask_as_nobody(agent, 1, groups=str(os.getgid()))


@as_root
def test_another_users_lease_cannot_be_touched(agent: Agent, trainers: list[Trainer]) -> None:
    trainer = Trainer(agent, [200])
    trainers.append(trainer)
    trainer.wait_ready()
    lease = agent.ask("GET", "/v1/gpus")["gpus"][0]["holder"]["lease_id"]
    program = ASK_AS_NOBODY.replace('"POST", "/v1/leases", {"gpus": [sys.argv[5]]}', '"DELETE", sys.argv[5]')
    arguments = [str(agent.socket), str(os.getgid()), str(NOBODY.pw_gid), str(NOBODY.pw_uid), f"/v1/leases/{lease}"]
    told = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert "is another user's" in told.stdout


def test_the_socket_is_for_the_group_alone(agent: Agent) -> None:
    status = agent.socket.stat()
    assert (oct(status.st_mode & 0o777), status.st_gid) == ("0o660", os.getgid())


def test_energy_since_the_last_report_is_told_with_its_source(agent: Agent, trainers: list[Trainer]) -> None:
    gpu = agent.fake.gpus[0]
    gpu.load(0.8)
    trainers.append(Trainer(agent, [250]))
    trainers[0].wait_ready()
    sleep(0.7)
    since_ns, before = monotonic_ns(), gpu.energy_joules()
    sleep(2)
    until_ns, truth = monotonic_ns(), gpu.energy_joules() - before
    target = f"/v1/energy?gpu={gpu.uuid}&since_ns={since_ns}&until_ns={until_ns}"
    (usage,) = agent.ask("GET", target)["gpus"]
    assert usage["energy_joules"] == pytest.approx(truth, rel=0.01)
    assert (usage["source"], usage["unknown_because"]) == ("counter", None)
    unleased = agent.ask("GET", f"/v1/energy?gpu={agent.fake.gpus[1].uuid}")["gpus"][0]
    assert (unleased["energy_joules"], unleased["cumulative_joules"]) == (None, None)
    assert unleased["unknown_because"]


def test_a_shell_can_do_all_of_it(agent: Agent) -> None:
    if not any(Path(directory, "curl").exists() for directory in os.get_exec_path()):
        pytest.skip("This test is about curl, which is not installed.")
    script = f"""
ask() {{ curl -fsS --unix-socket {agent.socket} "$@"; }}
lease=$(ask http://agent/v1/leases -d "{{\\"gpus\\": [\\"{agent.fake.gpus[0].uuid}\\"], \\"pid\\": $$}}" \
  | sed 's/.*"lease_id":"\\([0-9a-f]*\\)".*/\\1/')
ask -X PUT http://agent/v1/leases/$lease/power-limit -d '{{"power_limit_watts": 180}}'
ask -X POST http://agent/v1/leases/$lease/heartbeat
ask -X DELETE http://agent/v1/leases/$lease
"""
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert '"applied_watts":180' in done.stdout
    assert agent.fake.gpus[0].limit_watts == 300


@pytest.mark.parametrize(
    ("request_bytes", "told"),
    [
        (b"POST /v1/leases HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", rb"422 .*gpus: Field required"),
        (b"POST /v1/leases HTTP/1.1\r\nContent-Length: 9\r\n\r\nnot JSON!", rb"422 .*Invalid JSON"),
        (b"POST /v1/leases HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", rb"422 .*Content-Length"),
        (b"POST /v1/leases HTTP/1.1\r\nContent-Length: -1\r\n\r\n", rb"422 .*Content-Length"),
        (b"GET /v1/nothing HTTP/1.1\r\n\r\n", rb"404 .*nothing at /v1/nothing"),
        (b"PUT /v1/gpus HTTP/1.1\r\nContent-Length: 0\r\n\r\n", rb"422 .*takes GET, not PUT"),
        (b"DELETE /v1/leases/..%2f HTTP/1.1\r\n\r\n", rb"404 .*lease_not_found"),
        (b"GET /v1/energy?since_ns=x HTTP/1.1\r\n\r\n", rb"422 .*since_ns"),
        (b"GET /v1/energy?until_ns=1&since_ns=2 HTTP/1.1\r\n\r\n", rb"422 .*before since_ns"),
        (b"GET /v1/energy?gpu=GPU-9 HTTP/1.1\r\n\r\n", rb"404 .*gpu_not_found"),
    ],
)
def test_a_request_that_is_wrong_is_told_what_is_wrong(agent: Agent, request_bytes: bytes, told: bytes) -> None:
    answer = raw(agent.socket, request_bytes)
    assert re.match(told, answer, re.DOTALL), answer


def test_real_gpus_take_no_simulated_steps(agent: Agent) -> None:
    with pytest.raises(ServerRefused, match="are real"):
        agent.ask("POST", "/v1/simulated-steps", {"gpu": agent.fake.gpus[0].uuid, "batch_size": 1, "steps": 1})


def test_a_lease_cannot_be_tied_to_a_process_that_is_not_there(agent: Agent) -> None:
    with pytest.raises(ServerRefused, match="There is no process"):
        agent.ask("POST", "/v1/leases", {"gpus": [agent.fake.gpus[0].uuid], "pid": 2**22})


@as_privileged
def test_an_admin_can_reset_a_gpu_while_the_agent_is_quiesced(agent: Agent, trainers: list[Trainer]) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    agent.ask("POST", "/v1/quiesce")
    assert agent.fake.gpus[0].limit_watts == 300
    assert agent.ask("GET", "/readyz")["status"] == "not_ready"
    agent.ask("POST", "/v1/resume")
    assert agent.ask("GET", "/readyz")["status"] == "ok"
    assert agent.ask("GET", "/v1/gpus")["gpus"][0]["state"] == "held"


def test_sigterm_puts_every_limit_back(agent: Agent, trainers: list[Trainer]) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    assert agent.terminate() == 0
    assert agent.fake.gpus[0].limit_watts == 300
    assert agent.entries() == []
    assert not agent.socket.exists()


def test_a_reloaded_driver_ends_the_agent_for_its_supervisor_to_start_it_anew(
    agent: Agent, trainers: list[Trainer]
) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    agent.fake.reload_driver()
    assert agent.process is not None
    assert agent.process.wait(10) == EXIT_START_ANEW
    agent.fake.world.driver_reloaded = 0
    agent.start()
    assert agent.ask("GET", "/v1/gpus")["gpus"][0]["state"] == "verified"
    trainers[0].kill()
    eventually(lambda: agent.fake.gpus[0].limit_watts == 300)


def test_a_second_agent_is_refused(agent: Agent) -> None:
    second = agent.run("run")
    assert second.returncode == 1
    assert "Another agent is at work" in second.stderr
    assert agent.answers()


@as_privileged
def test_status_tells_how_the_gpus_stand(agent: Agent, trainers: list[Trainer]) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    status = agent.run("status")
    assert status.returncode == 0
    assert f"verified\t200 W (found: 300 W)\tprocess {trainers[0].pid}" in status.stdout
    agent.kill()
    status = agent.run("status")
    assert status.returncode == 1
    assert "to be restored to 300 W: rheostat agent recover" in status.stdout


def test_recover_puts_back_what_the_dead_left_and_keeps_what_the_living_use(
    agent: Agent, trainers: list[Trainer]
) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    assert agent.run("recover").returncode == 1  # the agent does that itself
    agent.kill()
    kept = agent.run("recover")
    assert (kept.returncode, agent.fake.gpus[0].limit_watts) == (0, 200)
    assert "its process lives" in kept.stdout
    trainers[0].close()
    assert agent.run("recover").returncode == 0
    assert (agent.fake.gpus[0].limit_watts, agent.entries()) == (300, [])


def test_recover_tells_of_a_gpu_that_is_not_there_to_be_restored(agent: Agent, trainers: list[Trainer]) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    agent.kill()
    trainers[0].close()
    agent.fake.gpus[0].lose()
    recovered = agent.run("recover")
    assert recovered.returncode == 1
    assert f"GPU {agent.fake.gpus[0].uuid}, whose limit is to be restored, is not there" in recovered.stderr
    agent.fake.gpus[0].heal()
    assert agent.run("recover").returncode == 0
    assert agent.fake.gpus[0].limit_watts == 300


@as_privileged
@pytest.mark.parametrize("running", [True, False])
def test_restore_puts_back_all_limits_with_and_without_an_agent(
    agent: Agent, trainers: list[Trainer], *, running: bool
) -> None:
    trainers.append(Trainer(agent, [200]))
    trainers[0].wait_ready()
    if not running:
        agent.kill()
    done = agent.run("restore")
    assert done.returncode == 0, done.stderr
    assert (agent.fake.gpus[0].limit_watts, agent.entries()) == (300, [])


def test_systemd_is_told_when_it_is_ready_and_that_it_lives(fake: FakeNvml, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, Agent(fake, directory) as agent:
        systemd.bind(str(directory / "notify"))
        systemd.settimeout(10)
        agent.start(NOTIFY_SOCKET=str(directory / "notify"), WATCHDOG_USEC="400000")
        assert systemd.recv(100) == b"READY=1"
        fake.gpus[0].hang(Call.GET_LIMIT)  # one GPU that hangs is no reason to be killed
        for _ in range(10):
            assert systemd.recv(100) == b"WATCHDOG=1"
        fake.gpus[0].heal()
        agent.terminate()


def test_metrics_are_served_on_loopback_when_asked_for(fake: FakeNvml, directory: Path) -> None:
    with Agent(fake, directory) as agent:
        agent.start("--metrics-port", "0")
        found = re.search(r"http://127\.0\.0\.1:\d+/metrics", agent.log())
        assert found is not None, agent.log()
        with urllib.request.urlopen(found[0], timeout=10) as answer:
            text = answer.read().decode()
    assert f'rheostat_agent_power_limit_watts{{gpu="{fake.gpus[1].uuid}"}} 300\n' in text
    assert f'rheostat_agent_gpu_state{{gpu="{fake.gpus[0].uuid}",state="free"}} 1\n' in text


def test_a_port_that_is_taken_is_told(fake: FakeNvml, directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Agent(fake, directory) as agent:
        agent.start("--metrics-port", str(taken.getsockname()[1]), ready=False)
        assert agent.process is not None
        assert agent.process.wait(30) == 1
        assert "Metrics cannot be served on port" in agent.log()
        assert "Traceback" not in agent.log()


def test_a_simulated_node_needs_no_gpu_and_no_group(directory: Path) -> None:
    command = [sys.executable, "-m", "rheostat", "agent", "run", "--simulate", "2", "--runtime-dir", str(directory)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            eventually((directory / "agent.sock").exists)
            sleep(0.1)
            environment = {**os.environ, "RHEOSTAT_AGENT_DIR": str(directory)}
            status = subprocess.run(
                [sys.executable, "-m", "rheostat", "agent", "status"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=30,
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


def test_a_group_that_is_not_there_is_told_with_its_remedy(fake: FakeNvml, directory: Path) -> None:
    agent = Agent(fake, directory)
    (directory / "agent.toml").write_text('group = "no-such-group"')
    refused = agent.run("run")
    assert refused.returncode == 1
    assert "groupadd --system no-such-group" in refused.stderr
