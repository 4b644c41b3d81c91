"""Whatever is killed, and whenever: every GPU ends with the limit found, or with a foreign limit set since.

The fake NVML counts the agent's steps (reads and changes of limits, and durable writes to its ledger) and kills agent,
trainer or both right before a given one. So every step is tested, not hit by chance.
"""

import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import pytest

from tests.agent.agents import answers, ask
from tests.nvml.fake import FakeNvml
from tests.waiting import PATIENCE_SECONDS, eventually

FOUND_WATTS, SITE_MAX_WATTS, FOREIGN_WATTS = (250, 270), 260, 230
LIMITS_WATTS = [300, 155]
# A run without a kill takes fewer; otherwise the test fails.
MOST_STEPS = 90
RANDOM_RUNS = 120


class Node:
    """A node on which agents and trainers are started and killed; the GPUs remain."""

    def __init__(self, fake: FakeNvml, directory: Path) -> None:
        self.fake = fake
        self.directory = directory
        self.socket = directory / "agent.sock"
        self._log = (directory / "log").open("ab")
        environment = {**os.environ, **fake.victim_environment()}
        del environment["FAKE_NVML_VICTIM"]
        command = [sys.executable, "-m", "tests.agent.zygote"]
        self._zygote = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self._pids: list[int] = []

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def _fork(self, role: str, *, victim: bool = False, **order: object) -> int:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        environment = {"FAKE_NVML_VICTIM": "1"} if victim else {}
        site = {"limits": {"max_watts": float(SITE_MAX_WATTS)}}
        order = {"role": role, "environment": environment, "directory": str(self.directory), "site": site, **order}
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        self._pids.append(int(self._zygote.stdout.readline()))
        return self._pids[-1]

    def agent(self, *, victim: bool) -> int:
        """Start an agent, and wait until it answers or has been killed."""
        pid = self._fork("agent", victim=victim)
        eventually(lambda: answers(self.socket) or not is_alive(pid))
        return pid

    def recovery(self) -> int:
        return self._fork("recovery")

    def trainer(self, train_seconds: float = 0.0) -> int:
        uuids = [gpu.uuid for gpu in self.fake.gpus]
        return self._fork(
            "trainer", socket=str(self.socket), gpus=uuids, limits_watts=LIMITS_WATTS, train_seconds=train_seconds
        )

    def ask(self, target: str) -> Any:
        return ask(self.socket, "GET", target)

    def begin(self) -> None:
        """Set the GPUs' limits as an administrator has left them."""
        self.fake.world.random_faults_per_mille = 0
        self.fake.world.foreign_mw = 0
        self.fake.die_at(0, agent=False)
        for gpu, watts in zip(self.fake.gpus, FOUND_WATTS, strict=True):
            gpu.heal()
            gpu.limit_watts = watts
            gpu.state.set_count = 0
            gpu.state.rounding_mw = 0

    def limits_watts(self) -> tuple[float, ...]:
        return tuple(gpu.limit_watts for gpu in self.fake.gpus)

    def entries(self) -> list[str]:
        return [path.stem for path in (self.directory / "ledger").glob("*.json")]

    def check_sets(self) -> None:
        """Check that no limit was set above the site's maximum, except the one found."""
        for gpu, found in zip(self.fake.gpus, FOUND_WATTS, strict=True):
            assert all(watts <= SITE_MAX_WATTS or watts == found for watts in gpu.sets_watts()), gpu.sets_watts()

    def end_all(self) -> None:
        """End all processes."""
        for pid in self._pids:
            kill(pid)
        for pid in self._pids:
            wait_end(pid)
        self._pids.clear()

    def close(self) -> None:
        self.end_all()
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait()
        self._zygote.stdout.close()
        self._log.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(pid: int) -> None:
    if is_alive(pid):
        os.kill(pid, signal.SIGKILL)


def wait_end(pid: int, seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait until a process that is not a child of this one has ended; return whether it has."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        has_ended = bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
    if has_ended:
        eventually(lambda: not is_alive(pid))  # for a moment it is there still, as a zombie
    return has_ended


@pytest.fixture(scope="module")
def module_node(fake_library: Path) -> Iterator[Node]:
    with TemporaryDirectory(prefix="rheostat-") as name:
        fake = FakeNvml(fake_library, Path(name) / "gpus")
        node = Node(fake, Path(name))
        yield node
        node.close()
        fake.close()


@pytest.fixture
def node(module_node: Node) -> Iterator[Node]:
    module_node.begin()
    yield module_node
    module_node.end_all()
    module_node.begin()


def check_outcome(
    node: Node, agent: int, trainer: int, expected_watts: tuple[float, ...], *, by_recovery: bool
) -> None:
    """Do what a supervisor would do, and check the limits of the GPUs."""
    try:
        if not is_alive(agent):
            if by_recovery:
                kill(trainer)
                assert wait_end(node.recovery())
            else:
                agent = node.agent(victim=False)
                kill(trainer)
        elif not is_alive(trainer):
            assert eventually(lambda: node.limits_watts() == expected_watts) < 1
        else:
            kill(trainer)
        eventually(lambda: node.limits_watts() == expected_watts and not node.entries())
        node.check_sets()
    except AssertionError as error:
        outcome = (
            f"{node.limits_watts()} W, entries {node.entries()}, sets {[gpu.sets_watts() for gpu in node.fake.gpus]}"
        )
        raise AssertionError(f"{error}\n{outcome}\n{node.log()[-4000:]}") from None


def run_until_killed(node: Node, step: int, *, victim: str, foreign_at: int | None = None) -> tuple[int, int, bool]:
    """Run agent and trainer with a kill right before a step; return both and whether the step was reached."""
    trainer = node.trainer()
    if foreign_at is not None:
        node.fake.foreign_at(foreign_at, FOREIGN_WATTS)
    node.fake.die_at(step, agent=victim != "trainer", trainer_pid=0 if victim == "agent" else trainer)
    agent = node.agent(victim=True)
    give_up_at = monotonic() + PATIENCE_SECONDS
    while is_alive(trainer) and is_alive(agent):
        assert monotonic() < give_up_at, node.log()[-4000:]
        sleep(0.003)
    reached = node.fake.world.steps >= step
    if reached:
        for pid, dies in ((agent, victim != "trainer"), (trainer, victim != "agent")):
            assert not dies or wait_end(pid)
    node.fake.die_at(0, agent=False)
    return agent, trainer, reached


@pytest.mark.parametrize(("victim", "rounds_watts"), [("agent", 0), ("trainer", 0), ("both", 0), ("agent", 10)])
def test_a_kill_at_any_step_leaves_the_limit_found(node: Node, victim: str, rounds_watts: int) -> None:
    for step in range(1, MOST_STEPS):
        node.begin()
        for gpu in node.fake.gpus:
            gpu.state.rounding_mw = rounds_watts * 1000
        agent, trainer, reached = run_until_killed(node, step, victim=victim)
        check_outcome(node, agent, trainer, FOUND_WATTS, by_recovery=step % 2 == 0)
        node.end_all()
        if not reached:
            assert step > 40  # the start, two limits and the end, on two GPUs
            return
    pytest.fail("The protocol has more steps than are tested.")


def test_a_foreign_limit_set_at_any_step_is_kept(node: Node) -> None:
    for step in range(1, MOST_STEPS):
        node.begin()
        # Every third time the agent is killed a little later, which may be before the foreign limit is set.
        killed = step % 3 == 0
        agent, trainer, _ = run_until_killed(node, step + 4 if killed else 10_000, victim="agent", foreign_at=step)
        foreign_set = node.fake.end_foreign()
        expected = (FOREIGN_WATTS if foreign_set else FOUND_WATTS[0], FOUND_WATTS[1])
        check_outcome(node, agent, trainer, expected, by_recovery=step % 2 == 0)
        node.end_all()
        if not foreign_set and not killed:
            assert step > 40  # the start, two limits and the end, on two GPUs
            return
    pytest.fail("The protocol has more steps than are tested.")


@pytest.mark.parametrize("seed", range(4))
def test_random_kills_faults_and_foreign_limits_leave_no_gpu_unrestored(node: Node, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(RANDOM_RUNS // 4):
        node.begin()
        foreign_at = chance.randrange(1, 60) if chance.random() < 0.3 else None
        victim = chance.choice(["agent", "trainer", "both"])
        node.fake.world.random_state = chance.getrandbits(63) | 1
        node.fake.world.random_faults_per_mille = chance.choice([0, 20, 100])
        for gpu in node.fake.gpus:
            gpu.state.rounding_mw = chance.choice([0, 10_000])
        agent, trainer, _ = run_until_killed(node, chance.randrange(1, 70), victim=victim, foreign_at=foreign_at)
        node.fake.world.random_faults_per_mille = 0
        foreign_set = node.fake.end_foreign() and foreign_at is not None
        expected = (FOREIGN_WATTS if foreign_set else FOUND_WATTS[0], FOUND_WATTS[1])
        if is_alive(agent):
            kill(trainer)
            eventually(lambda expected=expected: node.limits_watts() == expected)  # type: ignore[misc]
        check_outcome(node, agent, trainer, expected, by_recovery=chance.random() < 0.5)
        node.end_all()


def test_the_next_agent_continues_a_killed_agents_lease_until_its_owner_exits(node: Node) -> None:
    trainer = node.trainer(train_seconds=30)
    agent = node.agent(victim=False)
    eventually(lambda: node.limits_watts() == (155, 155))
    for _ in range(3):
        kill(agent)
        wait_end(agent)
        agent = node.agent(victim=False)
        assert [gpu["state"] for gpu in node.ask("/v1/gpus")["gpus"]] == ["verified", "verified"]
        assert {gpu["holder"]["pid"] for gpu in node.ask("/v1/gpus")["gpus"]} == {trainer}
    kill(trainer)
    assert eventually(lambda: node.limits_watts() == FOUND_WATTS) < 1
