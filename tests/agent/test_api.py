"""The API on its socket, with the node in this process."""

import os
import pwd
import re
import shutil
import subprocess
import sys
from statistics import median
from time import monotonic_ns
from typing import Any

import pytest

import rheostat
from rheostat.agent.api import Api
from rheostat.agent.peer import Peer
from rheostat.agent.site import Site
from rheostat.errors import NotAllowed, ServerRefused
from tests.agent.agents import as_privileged, raw
from tests.agent.bench import Bench, Served
from tests.nvml.fake import Call
from tests.waiting import PATIENCE_SECONDS, Stopwatch, eventually

NOBODY = pwd.getpwnam("nobody")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def site() -> Site:
    return Site.model_validate({"gpus": {"GPU-00000001-0000-4000-8000-000000000000": {"users": ["alice"]}}})


def test_a_lease_sets_limits_is_renewed_and_restores_what_it_found(served: Served) -> None:
    served.gpus[0].limit_watts = 250
    grant = served.ask("POST", "/v1/leases", {"gpus": [served.gpus[0].uuid], "ttl_seconds": 20})
    assert (grant["gpus"], grant["ttl_seconds"], grant["heartbeat_seconds"]) == ([served.gpus[0].uuid], 20, 5)
    (above,) = served.limit(grant["lease_id"], 300)
    assert (above["requested_watts"], above["applied_watts"], above["limited_by"]) == (300, 250, "found")
    (below,) = served.limit(grant["lease_id"], 200)
    assert (below["applied_watts"], below["enforced_watts"], below["found_watts"]) == (200, 200, 250)
    served.bench.clock.seconds += 15
    renewed = served.ask("POST", f"/v1/leases/{grant['lease_id']}/heartbeat")
    assert renewed["expires_at"] is not None
    assert [gpu["state"] for gpu in renewed["gpus"]] == ["verified"]
    served.bench.clock.seconds += 15
    served.bench.node.reap(0)
    ended = served.ask("DELETE", f"/v1/leases/{grant['lease_id']}")
    assert (ended["expires_at"], [gpu["state"] for gpu in ended["gpus"]]) == (None, ["free"])
    assert served.gpus[0].limit_watts == 250


def test_the_error_for_a_leased_gpu_names_its_holder(served: Served) -> None:
    served.limit(served.lease(job_id="nightly"), 200)
    with pytest.raises(ServerRefused, match=rf"held by process {os.getpid()} of user \S+, job nightly") as caught:
        served.lease()
    assert (caught.value.status, caught.value.server_code) == (409, "gpu_held")
    (gpu, _) = served.ask("GET", "/v1/gpus")["gpus"]
    assert (gpu["state"], gpu["holder"]["pid"], gpu["found_watts"]) == ("verified", os.getpid(), 300)


def test_administrators_and_members_of_the_group_are_authorised(bench: Bench) -> None:
    api = Api(bench.node, bench.site, group=64321)
    api.authorise(Peer(1, 0, frozenset()))
    api.authorise(Peer(1, os.geteuid(), frozenset()))
    api.authorise(Peer(1, NOBODY.pw_uid, frozenset({64321})))
    with pytest.raises(NotAllowed, match=r"User nobody is not allowed.*sudo usermod -aG rheostat nobody"):
        api.authorise(Peer(1, NOBODY.pw_uid, frozenset({64320})))


ASK_AS_NOBODY = """
import os, sys
from pathlib import Path
from tests.agent.agents import ask
os.setgroups([int(group) for group in sys.argv[2].split(",") if group])
os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[4]))
for request in sys.argv[5:]:
    method, target, *gpus = request.split()
    try:
        print(ask(Path(sys.argv[1]), method, target, {"gpus": gpus} if gpus else None))
    except Exception as error:
        print(type(error).__name__, error)
"""


def ask_as_nobody(served: Served, *requests: str, groups: str = "") -> list[str]:
    arguments = [str(served.socket), groups, str(NOBODY.pw_gid), str(NOBODY.pw_uid), *requests]
    command = [sys.executable, "-c", ASK_AS_NOBODY, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    ).stdout.splitlines()


@as_root
def test_a_user_outside_the_group_is_refused(served: Served) -> None:
    assert "Permission denied" in ask_as_nobody(served, "GET /v1/gpus")[0]
    served.socket.chmod(0o666)  # even if the socket is opened to all
    assert "ServerRefused User nobody is not allowed to use the agent." in ask_as_nobody(served, "GET /v1/gpus")[0]


@as_root
def test_a_member_of_the_group_may_use_only_what_the_site_and_other_users_leave(served: Served) -> None:
    foreign = served.lease()
    requests = [
        f"DELETE /v1/leases/{foreign}",
        f"POST /v1/leases {served.gpus[1].uuid}",
        "POST /v1/quiesce",
        "POST /v1/resume",
    ]
    other_user, site, quiesce, resume = ask_as_nobody(served, *requests, groups=str(os.getgid()))
    assert "belongs to another user" in other_user
    assert "does not allow user nobody to lease GPU" in site
    assert "Only an administrator" in quiesce
    assert "Only an administrator" in resume
    served.ask("DELETE", f"/v1/leases/{foreign}")
    (granted,) = ask_as_nobody(served, f"POST /v1/leases {served.gpus[0].uuid}", groups=str(os.getgid()))
    assert "lease_id" in granted


def test_only_owner_and_group_can_open_the_socket(served: Served) -> None:
    status = served.socket.stat()
    assert (oct(status.st_mode & 0o777), status.st_gid) == ("0o660", os.getgid())


def test_the_energy_of_a_leased_gpu_comes_with_its_source_and_of_a_free_one_with_a_reason(served: Served) -> None:
    served.gpus[0].load(0.8)
    served.lease(0)
    target = f"/v1/energy?gpu={served.gpus[0].uuid}&gpu={served.gpus[1].uuid}&since_ns={monotonic_ns()}"
    (leased, free) = served.ask("GET", target)["gpus"]
    assert (free["energy_joules"], free["cumulative_joules"]) == (None, None)
    assert free["unknown_because"]
    assert leased["energy_joules"] is not None
    assert (leased["gpu"], leased["source"], leased["unknown_because"]) == (served.gpus[0].uuid, "counter", None)


def test_answers_about_energy_wait_neither_for_a_slow_counter_nor_for_a_driver_that_hangs(served: Served) -> None:
    served.bench.fake.be_real()
    served.gpus[0].slow(Call.GET_ENERGY, 0.2)  # else an answer rarely meets a reading
    served.gpus[0].load(0.8)
    served.lease(0)

    def ask() -> tuple[dict[str, Any], float]:
        watch = Stopwatch()
        (usage,) = served.ask("GET", f"/v1/energy?gpu={served.gpus[0].uuid}")["gpus"]
        return usage, watch.seconds()

    eventually(lambda: ask()[0]["cumulative_joules"] is not None)
    watch = Stopwatch()
    usages, seconds = zip(*(ask() for _ in range(40)), strict=True)
    # On a busy machine the agent gets its turn too late for a tick, and knows no energy then.
    assert watch.is_disturbed() or all(usage["cumulative_joules"] is not None for usage in usages)
    assert median(seconds) < 0.1
    for call in (Call.GET_ENERGY, Call.GET_SAMPLES, Call.GET_LIMIT):
        served.gpus[0].hang(call)
    eventually(lambda: ask()[0]["cumulative_joules"] is None)
    usage, took_seconds = ask()
    assert took_seconds < 0.5
    assert "The driver does not tell the energy." in usage["unknown_because"]
    served.gpus[0].heal()


@pytest.mark.skipif(shutil.which("curl") is None, reason="this test needs curl")
def test_a_shell_can_do_all_of_it(served: Served) -> None:
    script = f"""
ask() {{ curl -fsS --unix-socket {served.socket} "$@"; }}
lease=$(ask http://agent/v1/leases -d "{{\\"gpus\\": [\\"{served.gpus[0].uuid}\\"], \\"pid\\": $$}}" \
  | sed 's/.*"lease_id":"\\([0-9a-f]*\\)".*/\\1/')
ask -X PUT http://agent/v1/leases/$lease/power-limit -d '{{"power_limit_watts": 180}}'
ask -X POST http://agent/v1/leases/$lease/heartbeat
ask -X DELETE http://agent/v1/leases/$lease
"""
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert '"applied_watts":180' in done.stdout
    assert served.gpus[0].limit_watts == 300


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"POST /v1/leases HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", rb"422 .*gpus: Field required"),
        (b"POST /v1/leases HTTP/1.1\r\nContent-Length: 9\r\n\r\nnot JSON!", rb"422 .*Invalid JSON"),
        (b"POST /v1/leases HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", rb"422 .*Content-Length"),
        (b"POST /v1/leases HTTP/1.1\r\nContent-Length: -1\r\n\r\n", rb"422 .*Content-Length"),
        (b"POST /v1/leases HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", rb"422 .*Content-Length"),
        (b"GET /v1/nothing HTTP/1.1\r\n\r\n", rb"404 .*There is no /v1/nothing"),
        (b"PUT /v1/gpus HTTP/1.1\r\nContent-Length: 0\r\n\r\n", rb"422 .*accepts GET, not PUT"),
        (b"DELETE /v1/leases/..%2f HTTP/1.1\r\n\r\n", rb"404 .*lease_not_found"),
        (b"GET /v1/energy?since_ns=x HTTP/1.1\r\n\r\n", rb"422 .*since_ns"),
        (b"GET /v1/energy?until_ns=1&since_ns=2 HTTP/1.1\r\n\r\n", rb"422 .*before since_ns"),
        (b"GET /v1/energy?gpu=GPU-9 HTTP/1.1\r\n\r\n", rb"404 .*gpu_not_found"),
    ],
)
def test_the_answer_to_an_invalid_request_says_what_is_wrong(
    served: Served, request_bytes: bytes, answer: bytes
) -> None:
    found = raw(served.socket, request_bytes)
    assert re.match(answer, found, re.DOTALL), found


def test_an_unexpected_error_is_logged_and_does_not_end_the_server(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(served.bench.node, "problems", fail)
        with pytest.raises(ServerRefused, match="Internal error of the agent") as caught:
            served.ask("GET", "/healthz")
    assert caught.value.status == 500
    assert "ZeroDivisionError" in caplog.text
    assert served.ask("GET", "/healthz")["status"] == "ok"


def test_real_gpus_run_no_simulated_steps(served: Served) -> None:
    with pytest.raises(ServerRefused, match="are real"):
        served.ask("POST", "/v1/simulated-steps", {"gpu": served.gpus[0].uuid, "batch_size": 1, "steps": 1})


def test_a_lease_cannot_be_owned_by_a_process_that_does_not_exist(served: Served) -> None:
    with pytest.raises(ServerRefused, match="There is no process"):
        served.lease(pid=2**22)


@as_privileged
def test_an_admin_can_reset_a_gpu_while_the_agent_is_quiesced(served: Served) -> None:
    served.limit(served.lease(), 200)
    served.ask("POST", "/v1/quiesce")
    assert served.gpus[0].limit_watts == 300
    assert served.ask("GET", "/readyz")["status"] == "not_ready"
    assert served.ask("GET", "/healthz")["status"] == "ok"
    served.ask("POST", "/v1/resume")
    assert served.ask("GET", "/readyz")["status"] == "ok"
    assert served.ask("GET", "/v1/gpus")["gpus"][0]["state"] == "held"


def test_it_answers_with_the_version_of_the_package(served: Served) -> None:
    assert served.ask("GET", "/v1/gpus")["version"] == rheostat.__version__
