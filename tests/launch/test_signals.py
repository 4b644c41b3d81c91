import os
import signal
from pathlib import Path

import pytest

from rheostat import Client
from tests.launch.runs import OPTIONS, Run, gone
from tests.sdk.server_process import ServerProcess
from tests.waiting import eventually

ENDLESS = "echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)]
)
def test_a_signal_ends_the_command_and_cancels_the_trial(
    server: ServerProcess, client: Client, job: str, number: int, code: int
) -> None:
    with Run(server.url, job, f"echo acc=0.1; {ENDLESS}", *OPTIONS) as run:
        run.until("ready")
        os.kill(run.pid, number)
        assert run.code == code
        assert run.err.endswith(f"The command was ended by {signal.Signals(number).name}.\n")
    assert client.list_trials(job).trials[0].state == "cancelled"


@pytest.mark.parametrize(("own", "code"), [(7, 7), (0, 124)])
def test_a_command_may_answer_with_a_code_of_its_own_but_not_as_if_converged(
    server: ServerProcess, client: Client, job: str, own: int, code: int
) -> None:
    with Run(server.url, job, f"trap 'echo saved; exit {own}' TERM; {ENDLESS}", *OPTIONS) as run:
        run.until("ready")
        os.kill(run.pid, signal.SIGTERM)
        assert run.code == code
        assert run.out.endswith("saved\n")
    assert client.list_trials(job).trials[0].state == "cancelled"


def test_signals_of_the_users_own_are_passed_on_and_end_nothing(
    server: ServerProcess, client: Client, job: str
) -> None:
    script = f"trap 'echo one' USR1; trap 'echo two; exit 0' USR2; echo acc=0.95 > /dev/null; {ENDLESS}"
    with Run(server.url, job, script, *OPTIONS) as run:
        run.until("ready")
        os.kill(run.pid, signal.SIGUSR1)
        run.until("one")
        os.kill(run.pid, signal.SIGUSR2)
        assert run.code == 124
        assert run.out.endswith("one\ntwo\n")


def test_what_the_command_has_left_behind_is_ended_with_it(server: ServerProcess, job: str) -> None:
    # The shell goes at once; its child, as a trainer under a script, does not heed the signal.
    script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.05; done'; true"
    with Run(server.url, job, script, *OPTIONS, "--stop-grace", "0.3") as run:
        run.until("\n")
        child = int(run.out)
        os.kill(run.pid, signal.SIGTERM)
        assert run.code == 143
    eventually(lambda: gone(child))


def test_both_stop_and_go_on_together(server: ServerProcess, job: str) -> None:
    def state(pid: int) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    with Run(server.url, job, "echo $$; exec sleep 60", *OPTIONS) as run:
        run.until("\n")
        child = int(run.out)
        os.kill(run.pid, signal.SIGTSTP)
        eventually(lambda: state(run.pid) == state(child) == "T")
        os.kill(run.pid, signal.SIGCONT)
        eventually(lambda: state(run.pid) == state(child) == "S")
        os.kill(run.pid, signal.SIGTERM)
        assert run.code == 143
