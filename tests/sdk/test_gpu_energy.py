from collections.abc import Sequence
from threading import Event, Thread
from time import monotonic, sleep

import pytest

from rheostat.errors import ServerUnreachable
from rheostat.schemas.agent import EnergyAnswer, GpuUsage
from rheostat.sdk import gpu_energy
from rheostat.sdk.gpu_energy import Energy, EnergyCount, total_energy
from rheostat.sdk.node_agent import NodeAgent
from tests.waiting import Stopwatch

SECOND = 1_000_000_000
GPUS = ["GPU-0", "GPU-1"]


class ScriptedAgent(NodeAgent):
    """Answers with the counts that a test sets: for each GPU its series and joules."""

    def __init__(self) -> None:
        super().__init__()
        self.now_seconds = 100.0
        self.counts: dict[str, tuple[str, float | None]] = dict.fromkeys(GPUS, ("counter", 1000.0))
        self.known_from_ns: int | None = None
        self.is_away = False
        self.answers = Event()
        self.answers.set()
        self.asked = 0

    def energy(
        self,
        gpus: Sequence[str],
        since_ns: int | None = None,
        until_ns: int | None = None,
        *,
        within_seconds: float = 3.0,
    ) -> EnergyAnswer:
        self.asked += 1
        if self.is_away or not self.answers.wait(within_seconds):
            raise ServerUnreachable("No answer.")
        usages = [
            GpuUsage(
                gpu=gpu,
                energy_joules=None,
                cumulative_joules=self.counts[gpu][1],
                series=self.counts[gpu][0],
                known_from_ns=self.known_from_ns,
                source="counter",
                resolution_seconds=None,
                unknown_because=None,
                throttle_reasons=None,
            )
            for gpu in gpus
        ]
        return EnergyAnswer(since_ns=since_ns, until_ns=until_ns or round(self.now_seconds * SECOND), gpus=usages)

    def use(self, seconds: float, joules: float, gpus: Sequence[str] = GPUS) -> None:
        """Let time pass, in which each GPU uses so much."""
        self.now_seconds += seconds
        for gpu in gpus:
            series, count = self.counts[gpu]
            self.counts[gpu] = series, None if count is None else count + joules

    def at(self, count: EnergyCount) -> Energy | None:
        return count.at(round(self.now_seconds * SECOND))


@pytest.fixture
def agent() -> ScriptedAgent:
    return ScriptedAgent()


@pytest.fixture
def count(agent: ScriptedAgent) -> EnergyCount:
    return EnergyCount(agent, GPUS)


def test_it_is_the_sum_of_the_gpus_since_the_begin(agent: ScriptedAgent, count: EnergyCount) -> None:
    agent.use(10, 50)
    assert agent.at(count) == Energy(100)


def test_a_count_that_cannot_be_read_is_unknown_and_the_next_has_all(agent: ScriptedAgent, count: EnergyCount) -> None:
    agent.use(10, 50)
    agent.is_away = True
    assert agent.at(count) is None
    agent.is_away = False
    agent.use(10, 50)
    assert agent.at(count) == Energy(200)


def test_a_new_series_goes_on_from_what_was_known(agent: ScriptedAgent, count: EnergyCount) -> None:
    agent.use(10, 50)
    count.note()
    agent.counts = dict.fromkeys(GPUS, ("power_samples-1", 7.0))
    agent.use(4, 0)
    assert agent.at(count) == Energy(100, unknown_seconds=4)
    agent.use(6, 30)
    assert agent.at(count) == Energy(160, unknown_seconds=4)


def test_a_series_that_was_broken_under_its_name_is_a_new_one(agent: ScriptedAgent, count: EnergyCount) -> None:
    agent.use(10, 50)
    count.note()
    agent.use(5, 123_456)
    agent.known_from_ns = round(agent.now_seconds * SECOND)
    assert agent.at(count) == Energy(100, unknown_seconds=5)


def test_a_total_does_not_go_back_where_a_new_agent_counts_a_little_less(
    agent: ScriptedAgent, count: EnergyCount
) -> None:
    agent.use(10, 50)
    count.note()
    agent.use(1, -20)
    assert agent.at(count) == Energy(100)
    agent.use(1, 40)
    assert agent.at(count) == Energy(140)


def test_a_gpu_that_was_unknown_at_the_begin_counts_from_its_first_figure(agent: ScriptedAgent) -> None:
    agent.counts["GPU-1"] = "counter", None
    count = EnergyCount(agent, GPUS)
    agent.use(10, 50)
    assert agent.at(count) is None
    agent.counts["GPU-1"] = "counter", 500.0
    assert agent.at(count) == Energy(50, unknown_seconds=10)
    agent.use(10, 50)
    assert agent.at(count) == Energy(150, unknown_seconds=10)


def test_an_agent_that_is_away_at_the_begin_counts_from_its_first_answer(agent: ScriptedAgent) -> None:
    agent.is_away = True
    agent.now_seconds = monotonic()
    count = EnergyCount(agent, GPUS)
    agent.is_away = False
    agent.use(10, 50)
    energy = agent.at(count)
    assert energy is not None
    assert energy.joules == 0
    assert 9 < energy.unknown_seconds < 11


def test_an_agent_that_is_stopped_holds_up_one_call_only(
    agent: ScriptedAgent, count: EnergyCount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_energy, "ENERGY_SECONDS", 0.6)
    agent.answers.clear()
    assert agent.at(count) is None
    assert count.is_silent
    asked, watch = agent.asked, Stopwatch()
    assert [agent.at(count) for _ in range(10)] == [None] * 10
    assert (agent.asked, watch.seconds() < 0.5) == (asked, True)
    agent.use(10, 50)
    agent.answers.set()
    assert agent.at(count) is None  # nobody has heard of it yet
    count.note()
    assert agent.at(count) == Energy(100)


def test_after_the_end_it_stays_as_it_was(agent: ScriptedAgent, count: EnergyCount) -> None:
    agent.use(10, 50)
    end = round(agent.now_seconds * SECOND)
    count.end(end)
    agent.use(10, 50)
    assert agent.at(count) == Energy(100)
    assert count.at(end) == Energy(100)


def test_threads_may_ask_at_once(agent: ScriptedAgent, count: EnergyCount) -> None:
    agent.use(10, 50)
    seen: list[Energy | None] = []

    def ask() -> None:
        for _ in range(50):
            seen.append(agent.at(count))
            count.note()
            sleep(0)

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [Energy(100)] * 200


def test_the_energy_of_nodes_together_is_unknown_if_one_is() -> None:
    assert total_energy([Energy(1, 2), Energy(10, 3)]) == Energy(11, 3)
    assert total_energy([Energy(1), None]) is None


def test_a_counter_that_began_anew_while_no_agent_ran_is_a_break(agent: ScriptedAgent, count: EnergyCount) -> None:
    agent.use(10, 500)
    count.note()
    agent.counts = dict.fromkeys(GPUS, ("counter", 3.0))
    agent.use(10, 0)
    assert agent.at(count) == Energy(1000, 10)
    agent.use(10, 50)
    assert agent.at(count) == Energy(1100, 10)
