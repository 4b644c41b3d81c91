"""Surveys before a run: the real server, and the real agent over the fake NVML."""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import sleep
from uuid import uuid4

import numpy as np
import pytest

from rheostat import Client, Gpu, JobSettings
from rheostat.errors import ServerRefused
from rheostat.schemas.power import SurveyRequest
from rheostat.sdk import survey
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.slice_meter import Mark, survey_rules
from rheostat.sdk.slices import SliceRules
from rheostat.sdk.trial import RunningTrial
from tests.agent.agents import Agent, as_privileged
from tests.nvml.fake import FakeNvml
from tests.sdk.examples import unused_url
from tests.sdk.server_process import ServerProcess
from tests.sdk.training import FakeTraining
from tests.waiting import Stopwatch

SIZES = [16, 32, 64, 128]
SETTINGS = JobSettings(
    batch_sizes=SIZES, default_batch_size=32, max_epochs=5000, power_limits_watts=[150, 300], eta_knob=0.0, seed=1
)
GPU = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a third of a second: what they show does not matter."""

    def rules(energy_source: str | None, longest_seconds: float) -> SliceRules:
        usual = survey_rules(energy_source, longest_seconds)
        return replace(usual, shortest_settle_seconds=0.05, settle_steps=2, shortest_seconds=0.25, longest_seconds=0.5)

    monkeypatch.setattr(survey, "survey_rules", rules)


class Trainer:
    """A trainer whose steps cost a part that does not depend on the batch size, and one that does.

    Attributes:
        asked: Batch sizes that it made steps of.
        problems: What it raises at a batch size, in its third step.
    """

    def __init__(self, step: Callable[[float], None]) -> None:
        self._step = step
        self.asked: list[int] = []
        self.problems: dict[int, BaseException] = {}

    def steps_at(self, batch_size: int) -> Iterator[None]:
        self.asked.append(batch_size)
        for number in range(100_000):
            if number == 2 and batch_size in self.problems:
                raise self.problems[batch_size]
            self._step(0.02 + 0.0002 * batch_size)
            yield


class Node:
    """A job on a node with or without an agent."""

    def __init__(self, server: ServerProcess, stack: ExitStack, agent: NodeAgent | None) -> None:
        self.client = stack.enter_context(Client(server.url, retry_for_seconds=0.2))
        self.job_id = f"job-{uuid4().hex}"
        self._agent = agent
        self._gpu = GPU if agent is None else None

    def trial(
        self, trainer: Trainer, settings: JobSettings = SETTINGS, examples_per_epoch: float | None = 10_000
    ) -> RunningTrial:
        return self.client.trial(
            self.job_id,
            settings,
            self._gpu,
            node_agent=self._agent,
            survey=trainer.steps_at,
            examples_per_epoch=examples_per_epoch,
        )

    def left(self, gpu: Gpu) -> list[int]:
        """The batch sizes that the server wants to know more of."""
        return [step.batch_size for step in self.client.survey(self.job_id, SurveyRequest(gpu=gpu)).survey]

    def trials(self) -> int:
        return len(self.client.list_trials(self.job_id).trials)


@pytest.fixture
def node(server: ServerProcess) -> Iterator[Node]:
    """A node without an agent."""
    with ExitStack() as stack:
        yield Node(server, stack, None)


@pytest.fixture
def sleeper() -> Trainer:
    return Trainer(sleep)


@as_privileged
class TestWithAgent:
    @pytest.fixture
    def agent(self, fake: FakeNvml, tmp_path: Path) -> Iterator[Agent]:
        with Agent(fake, tmp_path) as agent:
            agent.start()
            yield agent

    @pytest.fixture
    def node(self, agent: Agent, server: ServerProcess) -> Iterator[Node]:
        with ExitStack() as stack:
            yield Node(server, stack, stack.enter_context(NodeAgent(agent.socket)))

    @pytest.fixture
    def trainer(self, fake: FakeNvml) -> Trainer:
        return Trainer(lambda seconds: FakeTraining(fake.gpus[0], seconds).step())

    def test_the_first_run_begins_at_the_batch_size_that_the_survey_predicts(
        self, fake: FakeNvml, node: Node, trainer: Trainer, quick: None
    ) -> None:
        with node.trial(trainer) as trial:
            assert trainer.asked[0] == 32
            assert sorted(trainer.asked) == SIZES
            assert trial.batch_size > 32
            assert "survey" in trial.reason
            # As time is all that counts here, the other batch sizes are measured under the highest limit.
            assert 150 in fake.gpus[0].sets_watts()
            assert fake.gpus[0].sets_watts()[-1] == 300
        assert fake.gpus[0].limit_watts == 300
        with node.trial(trainer):
            assert len(trainer.asked) == len(SIZES)

    def test_a_survey_that_is_interrupted_restores_the_limit_and_goes_on_in_the_next_run(
        self, fake: FakeNvml, node: Node, trainer: Trainer, quick: None
    ) -> None:
        trainer.problems = {64: KeyboardInterrupt()}
        with pytest.raises(KeyboardInterrupt), node.trial(trainer):
            pytest.fail("training began")
        assert fake.gpus[0].limit_watts == 300
        assert node.trials() == 0
        before, trainer.problems, trainer.asked = trainer.asked, {}, []
        with node.trial(trainer):
            assert 32 not in trainer.asked
            assert set(before) | set(trainer.asked) == set(SIZES)

    def test_where_limits_may_not_be_set_batch_sizes_are_surveyed_under_the_limit_found(
        self, fake: FakeNvml, server: ServerProcess, tmp_path: Path, trainer: Trainer, quick: None
    ) -> None:
        with ExitStack() as stack:
            agent = stack.enter_context(Agent(fake, tmp_path, "[limits]\nchange = false\n"))
            agent.start()
            node = Node(server, stack, stack.enter_context(NodeAgent(agent.socket)))
            with node.trial(trainer):
                assert sorted(trainer.asked) == SIZES
        assert fake.gpus[0].sets_watts() == []


@pytest.mark.parametrize("examples_per_epoch", [10_000, None])
def test_without_an_agent_batch_sizes_are_compared_by_time(
    node: Node, sleeper: Trainer, quick: None, examples_per_epoch: float | None
) -> None:
    with node.trial(sleeper, examples_per_epoch=examples_per_epoch) as trial:
        assert sleeper.asked[0] == 32
        assert sorted(sleeper.asked) == SIZES
        assert trial.batch_size > 32
    assert node.left(GPU.model_copy(update={"min_power_limit_watts": None, "max_power_limit_watts": None})) == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_what_does_not_fit_in_memory_is_not_predicted_and_nothing_larger_is_tried(
    node: Node, sleeper: Trainer, quick: None, error: Exception
) -> None:
    sleeper.problems = {64: error}
    with node.trial(sleeper) as trial:
        assert sorted(sleeper.asked) == [16, 32, 64]
        assert trial.batch_size < 64
    assert node.trials() == 1


def test_a_trainer_whose_survey_fails_trains_all_the_same_after_one_warning(
    node: Node, sleeper: Trainer, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    sleeper.problems = {32: ValueError("no such layer"), 64: ValueError("no such layer")}
    with caplog.at_level(logging.WARNING, "rheostat"), node.trial(sleeper) as trial:
        assert trial.trial_id is not None
        assert trial.batch_size == 32
    warnings = [record.getMessage() for record in caplog.records if "survey" in record.getMessage()]
    assert warnings == ["The survey leaves out batch size 32: ValueError: no such layer"]


class _Broken:
    def next_mark(self, give_up_at: float) -> Mark | None:
        raise ValueError("no such layer")

    def completed(self, mark: Mark) -> Mark:
        return mark

    def close(self) -> None:
        raise OSError("no such process")


def test_steps_that_cannot_even_be_ended_keep_no_run_from_starting(
    node: Node, sleeper: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    trial = node.trial(sleeper)
    trial.survey_by(lambda _: _Broken())
    with trial:
        assert trial.trial_id is not None
    assert "The survey ends: OSError: no such process" in caplog.text


def test_the_run_draws_the_random_numbers_that_it_would_without_a_survey(node: Node, quick: None) -> None:
    def step(seconds: float) -> None:
        random.random()
        np.random.random()
        sleep(seconds)

    def drawn() -> tuple[float, float]:
        return random.random(), np.random.random()

    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()
    expected = drawn()
    random.setstate(states[0])
    np.random.set_state(states[1])
    trainer = Trainer(step)
    with node.trial(trainer):
        assert trainer.asked
        assert drawn() == expected


def test_an_iterator_that_makes_no_steps_is_left_out(node: Node, quick: None, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "rheostat"),
        node.client.trial(node.job_id, SETTINGS, GPU, survey=lambda _: []) as trial,
    ):
        assert trial.trial_id is not None
    assert "the iterator ends after 0 steps" in caplog.text


def test_a_survey_is_bounded_in_total(node: Node, sleeper: Trainer) -> None:
    watch = Stopwatch()
    settings = SETTINGS.model_copy(update={"survey_seconds": 2.0})
    with node.trial(sleeper, settings):
        assert len(sleeper.asked) < len(SIZES)
        assert watch.seconds() < 10  # 2 s, and what a busy machine adds


def test_a_survey_takes_a_small_share_of_the_run(node: Node, sleeper: Trainer, quick: None) -> None:
    settings = SETTINGS.model_copy(update={"max_epochs": 10})
    with node.trial(sleeper, settings, examples_per_epoch=320):  # a run takes about 3 s
        assert sleeper.asked == [32]


def test_a_run_that_is_restarted_with_its_key_goes_on_without_a_survey(node: Node, sleeper: Trainer) -> None:
    first = node.client.trial(node.job_id, SETTINGS, GPU, idempotency_key="nightly-1")

    def train_until_interrupted() -> None:
        with first as trial:
            trial.report(0.5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_until_interrupted()
    again = node.client.trial(node.job_id, SETTINGS, GPU, idempotency_key="nightly-1", survey=sleeper.steps_at)
    with again as trial:
        assert trial.trial_id == first.trial_id
    assert sleeper.asked == []


def test_a_run_that_goes_on_from_a_trial_is_not_surveyed_and_a_wrong_one_is_told_at_once(
    node: Node, sleeper: Trainer
) -> None:
    with (
        pytest.raises(ServerRefused, match="no trial 'unknown'"),
        node.client.trial(node.job_id, SETTINGS, GPU, resumes="unknown", survey=sleeper.steps_at),
    ):
        pytest.fail("training began")
    assert sleeper.asked == []


def test_no_survey_is_made_where_the_job_wants_none(node: Node, sleeper: Trainer) -> None:
    with node.trial(sleeper, SETTINGS.model_copy(update={"survey_seconds": 0.0})) as trial:
        assert trial.trial_id is not None
    assert sleeper.asked == []


def test_without_a_server_there_is_no_survey(sleeper: Trainer) -> None:
    with (
        Client(unused_url(), retry_for_seconds=0.1) as client,
        client.trial("nightly", SETTINGS, GPU, survey=sleeper.steps_at) as trial,
    ):
        assert trial.batch_size == 32
    assert sleeper.asked == []
