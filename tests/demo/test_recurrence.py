from collections.abc import Iterator

import pytest

from rheostat.agent.simulated import MAX_POWER_LIMIT_WATTS, MIN_POWER_LIMIT_WATTS, MODEL
from rheostat.demo.digits import BATCH_SIZES, DEFAULT_BATCH_SIZE, MAX_EPOCHS, job_settings
from rheostat.demo.processes import demo_agent, demo_server
from rheostat.demo.recurrence import JOB_ID, Recurrence, RecurringJob
from rheostat.errors import ServerUnreachable
from rheostat.schemas.power import PredictPowerLimitRequest
from rheostat.schemas.server import Gpu
from rheostat.sdk import Client
from rheostat.sdk.node_agent import NodeAgent


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with demo_server() as server, Client(server.url) as client:
        yield client


@pytest.fixture(scope="module")
def agent() -> Iterator[NodeAgent]:
    with demo_agent() as agent:
        yield agent


@pytest.fixture(scope="module")
def recurrences(client: Client, agent: NodeAgent) -> list[Recurrence]:
    """The first four recurrences of a job."""
    job = RecurringJob(client, agent, 1, lambda *_: None)
    return [job.with_rheostat(number) for number in range(1, 5)]


def test_a_survey_comes_before_the_first_run_and_is_counted_there(
    client: Client, recurrences: list[Recurrence]
) -> None:
    first = client.list_trials(JOB_ID).trials[-1]
    assert (first.number, first.batch_size) == (1, DEFAULT_BATCH_SIZE)
    assert 0 < recurrences[0].time_seconds - (first.time_seconds or 0.0) < 0.3 * recurrences[0].time_seconds


def test_the_server_has_time_and_energy_of_all_runs(client: Client, recurrences: list[Recurrence]) -> None:
    trials = client.list_trials(JOB_ID).trials
    assert len(trials) == sum(recurrence.runs for recurrence in recurrences)
    after_the_survey = [trial for trial in trials if trial.number > recurrences[0].runs]
    assert sum(trial.energy_joules or 0 for trial in after_the_survey) == pytest.approx(
        sum(recurrence.energy_joules for recurrence in recurrences[1:])
    )
    assert sum(trial.time_seconds or 0 for trial in after_the_survey) == pytest.approx(
        sum(recurrence.time_seconds for recurrence in recurrences[1:])
    )


def test_every_recurrence_converged_with_what_the_server_chose(client: Client, recurrences: list[Recurrence]) -> None:
    converged = client.list_trials(JOB_ID, state="converged").trials
    assert [trial.batch_size for trial in reversed(converged)] == [recurrence.batch_size for recurrence in recurrences]
    assert client.list_trials(JOB_ID, state="running").trials == []


def test_power_limits_are_measured_in_the_first_run_of_a_batch_size(
    client: Client, recurrences: list[Recurrence]
) -> None:
    gpu = Gpu(model=MODEL, min_power_limit_watts=MIN_POWER_LIMIT_WATTS, max_power_limit_watts=MAX_POWER_LIMIT_WATTS)
    for recurrence in recurrences:
        question = PredictPowerLimitRequest(batch_size=recurrence.batch_size, gpu=gpu)
        answer = client.predict_power_limit(JOB_ID, question)
        assert answer.power_limit_watts == recurrence.power_limit_watts


def test_the_baseline_is_the_same_run_every_time_and_is_not_reported(client: Client, agent: NodeAgent) -> None:
    before = len(client.list_trials(JOB_ID).trials)
    first, again = (RecurringJob(client, agent, 1, lambda *_: None).baseline(3) for _ in range(2))
    assert first == again
    assert (first.batch_size, first.power_limit_watts) == (32, 250)
    assert len(client.list_trials(JOB_ID).trials) == before


def test_the_callback_sees_every_epoch(client: Client, agent: NodeAgent) -> None:
    seen: list[tuple[int, int, int, float]] = []
    RecurringJob(client, agent, 2, lambda *epoch: seen.append(epoch)).baseline(1)
    assert [epoch for _, _, epoch, _ in seen] == list(range(1, len(seen) + 1))
    assert len(seen) <= MAX_EPOCHS
    assert {batch_size for batch_size, *_ in seen} <= set(BATCH_SIZES)


def test_without_its_server_the_demo_ends_with_an_error(agent: NodeAgent) -> None:
    with (
        Client("http://127.0.0.1:1", retry_for_seconds=0.0) as lost,
        pytest.raises(ServerUnreachable, match="does not answer"),
    ):
        RecurringJob(lost, agent, 1, lambda *_: None).with_rheostat(1)


def test_the_agent_has_restored_every_limit(agent: NodeAgent, recurrences: list[Recurrence]) -> None:
    assert any(recurrence.power_limit_watts < 250 for recurrence in recurrences)
    (gpu,) = agent.gpus()
    assert (gpu.state, gpu.power_limit_watts) == ("free", 250)


def test_cost_weighs_energy_and_time_as_the_job_says() -> None:
    recurrence = Recurrence(64, 150, runs=1, energy_joules=1000.0, time_seconds=10.0)
    assert job_settings(1).eta_knob == 0.5
    assert recurrence.cost_joules == 0.5 * 1000 + 0.5 * 250 * 10
