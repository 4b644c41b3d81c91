"""In this process and through a server, the same seed makes the same decisions."""

from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rheostat.errors import InvalidInput
from rheostat.policy.cost import NOTHING, Outlay, PowerMeasurement
from rheostat.policy.interface import Choice, Job, Outlays, Policy, Progress, Result, Situation
from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.zeus import JustInTimePowerLimit, PruningThompsonSampling
from rheostat.replay import run
from rheostat.replay.backend import InProcess, Report, Server, Slice, SurveySlice
from rheostat.replay.run import Outcome, Plan, replay_worlds
from rheostat.replay.world import World
from rheostat.schemas.server import Gpu, JobSettings, Target
from rheostat.sdk.client import Client
from tests.replay.examples import a_world
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS

SETTINGS = JobSettings(
    batch_sizes=[16, 32, 64],
    default_batch_size=32,
    target=Target(metric="accuracy", value=0.7, direction="maximize"),
    max_epochs=3,
    power_limits_watts=[100, 200],
    seed=5,
)
GPU = Gpu(model="t4", min_power_limit_watts=100, max_power_limit_watts=250)

seen: list[tuple[object, ...]] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


class Noting(PruningThompsonSampling):
    """The baseline, noting what it is asked and told."""

    def register_job(self, job: Job, batch_sizes: list[int]) -> None:
        seen.append(("register", batch_sizes))
        super().register_job(job, batch_sizes)

    def choose(self, job: Job, situation: Situation) -> Choice:
        choice = super().choose(job, situation)
        seen.append(("choose", job.trial_number, situation, choice.batch_size))
        return choice

    def early_stop(self, job: Job, progress: Progress) -> str | None:
        seen.append(("early_stop", progress))
        return super().early_stop(job, progress)

    def conclude(self, job: Job, result: Result) -> None:
        seen.append(("conclude", result))
        super().conclude(job, result)


class NotingPower(JustInTimePowerLimit):
    """The baseline's other half, noting what it is told."""

    def measure(self, job: Job, batch_size: int, measurement: PowerMeasurement) -> None:
        seen.append(("measure", batch_size, measurement))
        super().measure(job, batch_size, measurement)


def a_backend() -> InProcess:
    return InProcess(SETTINGS, GPU, policy=Policy(Noting, NotingPower))


def test_the_policy_is_asked_with_the_trial_s_number_and_those_that_run() -> None:
    backend = a_backend()
    first, second = backend.predict(), backend.predict()
    assert seen == [
        ("register", [16, 32, 64]),
        ("choose", 1, Situation((16, 32, 64)), 32),
        ("choose", 2, Situation((16, 32, 64), pending=(32,), exploring=(32,)), 16),
    ]
    assert (first.number, second.number) == (1, 2)
    backend.observe(first, Report(1, 0.9, 10.0, 1.0))
    backend.predict()
    assert seen[-1] == ("choose", 3, Situation((16, 32, 64), pending=(16,), exploring=(16,)), 64)


def test_a_measured_slice_is_learnt_as_an_epoch() -> None:
    backend = a_backend()
    launch = backend.predict()
    assert launch.power.profile_power_limits_watts == (200, 100)
    advice = backend.observe_power_limit(launch, Slice(200, time_seconds=3.0, energy_joules=300.0, per_epoch=2))
    cost = 0.5 * 600.0 + 0.5 * 250.0 * 6.0
    assert seen[-1] == ("measure", 32, PowerMeasurement(200, cost, 6.0, 600.0))
    assert advice.profile_power_limits_watts == (100,)
    advice = backend.observe_power_limit(launch, Slice(100, time_seconds=9.0, energy_joules=300.0, per_epoch=2))
    assert advice.power_limit_watts == 200


def test_a_trial_ends_at_its_target_and_the_policy_learns_from_it() -> None:
    backend = a_backend()
    launch = backend.predict()
    assert backend.observe(launch, Report(1, 0.5, 100.0, 2.0)) == "running"
    assert backend.observe(launch, Report(2, 0.7, 200.0, 4.0)) == "converged"
    cost = 0.5 * 200.0 + 0.5 * 250.0 * 4.0
    assert seen[-1] == (
        "conclude",
        Result(
            32,
            cost,
            "converged",
            epochs=2.0,
            curve=LearningCurve(((1.0, 0.5), (2.0, 0.7)), 2.0),
            spent=cost,
            fixed_cost=0.0,
            outlays=Outlays(Outlay(200.0, 4.0), Outlay(200.0, 4.0), NOTHING),
        ),
    )


def test_a_trial_fails_at_its_last_epoch() -> None:
    backend = a_backend()
    launch = backend.predict()
    states = [backend.observe(launch, Report(epoch, None, 100.0 * epoch, 2.0 * epoch)) for epoch in (1, 2, 3)]
    assert states == ["running", "running", "failed"]
    assert isinstance(result := seen[-1][1], Result)
    assert result.converged is False


def replayed(world: World, plan: Plan) -> tuple[Outcome, ...]:
    return tuple(replay_worlds([world], plan))


def a_plan(policy: str = "zeus", **more: Any) -> Plan:
    return Plan(policy, 0.5, 2.0, recurrences=14, seeds=(1,), **more)


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("survey", [True, False])
def test_a_server_decides_as_this_process_does(
    tmp_path: Path, server: ServerProcess, policy: str, concurrency: int, survey: bool
) -> None:
    world = a_world(tmp_path)
    (here,) = replayed(world, a_plan(policy, concurrency=concurrency, survey=survey))
    (there,) = replayed(world, a_plan(policy, concurrency=concurrency, survey=survey, server=server.url))
    assert there.trials == here.trials
    assert {trial.state for trial in here.trials} > {"converged"}


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_a_server_that_is_killed_and_started_again_decides_as_before(tmp_path: Path, policy: str) -> None:
    world = a_world(tmp_path)
    with ServerProcess(tmp_path) as server:
        done: list[int] = []

        def kill_twice() -> None:
            done.append(len(done))
            if len(done) in {4, 9}:
                kill_and_start(server, restarts)

        restarts: list[Thread] = []
        (there,) = replay_worlds([world], a_plan(policy, server=server.url), kill_twice)
        for restart in restarts:
            restart.join()
    assert len(restarts) == 2
    (here,) = replayed(world, a_plan(policy))
    assert there.trials == here.trials


def test_a_server_that_is_killed_within_a_survey_decides_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_world(tmp_path)
    (here,) = replayed(world, a_plan("rheostat", survey=True))
    with ServerProcess(tmp_path) as server:
        slices: list[SurveySlice] = []
        restarts: list[Thread] = []

        def observe_survey(backend: Server, wanted: SurveySlice, measured: Slice) -> None:
            slices.append(wanted)
            if len(slices) in {2, 5}:
                kill_and_start(server, restarts)
            report(backend, wanted, measured)

        report = Server.observe_survey
        monkeypatch.setattr(Server, "observe_survey", observe_survey)
        (there,) = replayed(world, a_plan("rheostat", survey=True, server=server.url))
        for restart in restarts:
            restart.join()
    assert (len(restarts), len(slices)) == (2, 7)
    assert there.trials == here.trials
    assert here.trials[0].time_seconds > replayed(world, a_plan("rheostat"))[0].trials[0].time_seconds


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let replays wait for a server for as long as a busy machine takes to start it."""
    monkeypatch.setattr(run, "RETRY_FOR_SECONDS", 10 * PATIENCE_SECONDS)


def kill_and_start(server: ServerProcess, restarts: list[Thread]) -> None:
    """Kill a server, and start it again while its clients wait."""
    server.kill()
    restart = Thread(target=server.start)
    restart.start()
    restarts.append(restart)


def test_the_jobs_of_a_replay_stay_on_the_server_under_names_of_their_own(
    tmp_path: Path, server: ServerProcess
) -> None:
    world = a_world(tmp_path)
    plan = Plan("zeus", 0.5, None, recurrences=1, seeds=(4, 5), server=server.url)
    outcomes = [outcome for _ in range(2) for outcome in replayed(world, plan)]
    names = [outcome.job_id for outcome in outcomes]
    assert len(set(names)) == 4
    with Client(server.url) as client:
        for outcome in outcomes:
            assert outcome.job_id is not None
            assert outcome.job_id.startswith(f"replay-digits-t4-{outcome.seed}-")
            job = client.get_job(outcome.job_id)
            assert job.trials == len(outcome.trials)
            assert job.settings.beta_knob is None
            assert job.settings.seed == outcome.seed


def test_a_job_that_ran_before_is_not_replayed_into(tmp_path: Path, server: ServerProcess) -> None:
    world = a_world(tmp_path)
    (outcome,) = replayed(world, a_plan(server=server.url, job_id="once"))
    assert outcome.job_id == "once"
    with pytest.raises(InvalidInput, match="The job once has run on this server before"):
        replayed(world, a_plan(server=server.url, job_id="once"))
