"""Whoever dies, whenever: every GPU ends at the limit that was found there, or at what somebody else has set since.

The agent's steps (reads and changes of limits, and what makes its ledger durable) are counted by the fake NVML, which
kills agent, trainer or both right before the one that it is told. So each step is tried, not hoped to be hit.
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

from rheostat.agent.client import ask
from rheostat.errors import ServerUnreachable
from tests.agent.agents import eventually
from tests.nvml.fake import FakeNvml

FOUND_WATTS, SITE_MAX_WATTS, FOREIGN_WATTS = (250, 270), 260, 230
LIMITS_WATTS = [300, 150]
# The run without a death takes fewer; the test fails when that is not so any more.
MOST_STEPS = 90
RANDOM_RUNS = 120


class Node:
    """A node on which agents and trainers are born and die; the GPUs outlive them."""

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
        self._born: list[int] = []

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def _bear(self, role: str, *, victim: bool = False, **order: object) -> int:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        environment = {"FAKE_NVML_VICTIM": "1"} if victim else {}
        site = {"limits": {"max_watts": float(SITE_MAX_WATTS)}}
        order = {"role": role, "environment": environment, "directory": str(self.directory), "site": site, **order}
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        self._born.append(int(self._zygote.stdout.readline()))
        return self._born[-1]

    def agent(self, *, victim: bool) -> int:
        """Start an agent, and wait until it answers or is dead."""
        pid = self._bear("agent", victim=victim)
        eventually(lambda: self.answers() or not lives(pid))
        return pid

    def recovery(self) -> int:
        return self._bear("recovery")

    def trainer(self, train_seconds: float = 0.0) -> int:
        uuids = [gpu.uuid for gpu in self.fake.gpus]
        return self._bear(
            "trainer", socket=str(self.socket), gpus=uuids, limits_watts=LIMITS_WATTS, train_seconds=train_seconds
        )

    def answers(self) -> bool:
        try:
            ask(self.socket, "GET", "/healthz")
        except ServerUnreachable:
            return False
        return True

    def ask(self, target: str) -> Any:
        return ask(self.socket, "GET", target)

    def begin(self) -> None:
        """Bring the GPUs to where an administrator has left them."""
        self.fake.world.random_faults_per_mille = 0
        self.fake.world.foreign_mw = 0
        self.fake.die_at(0, agent=False)
        for gpu, watts in zip(self.fake.gpus, FOUND_WATTS, strict=True):
            gpu.heal()
            gpu.limit_watts = watts
            gpu.state.set_count = 0

    def limits_watts(self) -> tuple[float, ...]:
        return tuple(gpu.limit_watts for gpu in self.fake.gpus)

    def entries(self) -> list[str]:
        return [path.stem for path in (self.directory / "ledger").glob("*.json")]

    def check_sets(self) -> None:
        """No limit was ever set above the site's maximum, but for the one that was found."""
        for gpu, found in zip(self.fake.gpus, FOUND_WATTS, strict=True):
            assert all(watts <= SITE_MAX_WATTS or watts == found for watts in gpu.sets_watts()), gpu.sets_watts()

    def bury(self) -> None:
        """End all that still lives."""
        for pid in self._born:
            kill(pid)
        for pid in self._born:
            wait_end(pid)
        self._born.clear()

    def close(self) -> None:
        self.bury()
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait()
        self._zygote.stdout.close()
        self._log.close()


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(pid: int) -> None:
    if lives(pid):
        os.kill(pid, signal.SIGKILL)


def wait_end(pid: int, seconds: float = 15) -> bool:
    """Wait until a process that is no child of ours has ended; tells whether it did."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


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
    module_node.bury()
    module_node.begin()


def end_of_story(node: Node, agent: int, trainer: int, expected_watts: tuple[float, ...], *, by_recovery: bool) -> None:
    """Let the dust settle as a supervisor would, and see what is left on the GPUs."""
    try:
        if not lives(agent):
            if by_recovery:
                kill(trainer)
                assert wait_end(node.recovery())
            else:
                agent = node.agent(victim=False)
                kill(trainer)
        elif not lives(trainer):
            assert eventually(lambda: node.limits_watts() == expected_watts) < 1
        else:
            kill(trainer)
        eventually(lambda: node.limits_watts() == expected_watts and not node.entries())
        node.check_sets()
    except AssertionError as error:
        story = (
            f"{node.limits_watts()} W, entries {node.entries()}, sets {[gpu.sets_watts() for gpu in node.fake.gpus]}"
        )
        raise AssertionError(f"{error}\n{story}\n{node.log()[-4000:]}") from None


def live_through(node: Node, step: int, *, victim: str, foreign_at: int | None = None) -> tuple[int, int, bool]:
    """Let a trainer and an agent meet, with a death right before a step; tells who they were and if it came to that."""
    trainer = node.trainer()
    if foreign_at is not None:
        node.fake.foreign_at(foreign_at, FOREIGN_WATTS)
    node.fake.die_at(step, agent=victim != "trainer", trainer_pid=0 if victim == "agent" else trainer)
    agent = node.agent(victim=True)
    give_up_at = monotonic() + 15
    while lives(trainer) and lives(agent):
        assert monotonic() < give_up_at, node.log()[-4000:]
        sleep(0.003)
    came_to_it = node.fake.world.steps >= step
    if came_to_it:
        for pid, dies in ((agent, victim != "trainer"), (trainer, victim != "agent")):
            assert not dies or wait_end(pid)
    node.fake.die_at(0, agent=False)
    return agent, trainer, came_to_it


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["agent", "trainer", "both"])
def test_a_death_at_any_step_leaves_what_was_found(node: Node, victim: str) -> None:
    for step in range(1, MOST_STEPS):
        node.begin()
        agent, trainer, came_to_it = live_through(node, step, victim=victim)
        end_of_story(node, agent, trainer, FOUND_WATTS, by_recovery=step % 2 == 0)
        node.bury()
        if not came_to_it:
            assert step > 40  # start, two limits and the end, on two GPUs
            return
    pytest.fail("The protocol has more steps than are tried.")


@pytest.mark.timeout(300)
def test_a_limit_that_somebody_else_sets_at_any_step_is_what_is_left(node: Node) -> None:
    expected = (FOREIGN_WATTS, FOUND_WATTS[1])
    for step in range(1, MOST_STEPS):
        node.begin()
        # Every third time the agent dies a little later.
        agent, trainer, _ = live_through(node, step + 4 if step % 3 == 0 else 10_000, victim="agent", foreign_at=step)
        if node.fake.world.foreign_mw:
            return
        end_of_story(node, agent, trainer, expected, by_recovery=step % 2 == 0)
        node.bury()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(4))
def test_random_deaths_faults_and_foreign_limits_leave_no_gpu_behind(node: Node, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(RANDOM_RUNS // 4):
        node.begin()
        foreign_at = chance.randrange(1, 60) if chance.random() < 0.3 else None
        victim = chance.choice(["agent", "trainer", "both"])
        node.fake.world.random_state = chance.getrandbits(63) | 1
        node.fake.world.random_faults_per_mille = chance.choice([0, 20, 100])
        agent, trainer, _ = live_through(node, chance.randrange(1, 70), victim=victim, foreign_at=foreign_at)
        node.fake.world.random_faults_per_mille = 0
        foreign_came = node.fake.end_foreign() and foreign_at is not None
        expected = (FOREIGN_WATTS if foreign_came else FOUND_WATTS[0], FOUND_WATTS[1])
        if lives(agent):
            kill(trainer)
            eventually(lambda expected=expected: node.limits_watts() == expected)  # type: ignore[misc]
        end_of_story(node, agent, trainer, expected, by_recovery=chance.random() < 0.5)
        node.bury()


def test_a_killed_agents_lease_is_gone_on_with_and_ends_with_its_owner(node: Node) -> None:
    trainer = node.trainer(train_seconds=30)
    agent = node.agent(victim=False)
    eventually(lambda: node.limits_watts() == (150, 150))
    for _ in range(3):
        kill(agent)
        wait_end(agent)
        agent = node.agent(victim=False)
        assert [gpu["state"] for gpu in node.ask("/v1/gpus")["gpus"]] == ["verified", "verified"]
        assert {gpu["holder"]["pid"] for gpu in node.ask("/v1/gpus")["gpus"]} == {trainer}
    kill(trainer)
    assert eventually(lambda: node.limits_watts() == FOUND_WATTS) < 1
