"""What the ranks of the tests do: one function for each trainer, which returns what it has to say."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

from rheostat import Client, Gpu, JobSettings, LearningRate, PowerLimitMeasurement, RunningTrial, Target
from rheostat.schemas.agent import SimulatedSteps
from rheostat.schemas.power import PowerLimitAnswer
from rheostat.sdk.gpu_lease import GpuLease
from rheostat.sdk.integrations.pytorch import data_loader, set_learning_rate
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.profiling import Profiler
from rheostat.sdk.ranks import ranks_of_this_run
from rheostat.sdk.step_clock import StepClock

SETTINGS = JobSettings(
    batch_sizes=[32, 64],
    default_batch_size=64,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
    max_epochs=100,
    power_limits_watts=[150, 250],
    learning_rate=LearningRate(default=0.1, scaling="linear"),
    seed=1,
)
GPU = Gpu(model="Test GPU", count=2, min_power_limit_watts=100, max_power_limit_watts=250)


def answers(trial: RunningTrial) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "batch_size": trial.batch_size,
        "per_device": trial.per_device_batch_size,
        "learning_rate": trial.learning_rate,
        "energy_source": trial.energy_source,
    }


def same_for_all(job_id: str) -> dict[str, Any]:
    """Deal out a data set, report metrics that differ, and measure power limits by hand."""
    with Client(retry_for_seconds=0.1) as client, client.trial(job_id, SETTINGS, GPU) as trial:
        loader = data_loader(trial, TensorDataset(torch.arange(130)), accumulation_steps=2)
        batches = [batch.tolist() for (batch,) in loader]
        measurements = [
            PowerLimitMeasurement(power_limit_watts=watts, time_seconds=5.0, energy_joules=5.0 * watts, steps=50.0)
            for watts in (250, 150)
        ]
        limits = [trial.measured([measurement]) for measurement in measurements]
        actions = [trial.report(0.95 * trial.rank), trial.report(0.95 - 0.95 * trial.rank)]
        return {**answers(trial), "batches": batches, "actions": actions, "limits": limits}


def is_refused(job_id: str) -> str:
    """Begin a trial that is to go on from one that does not exist."""
    try:
        with Client() as client, client.trial(job_id, SETTINGS, GPU, resumes="no-such-trial"):
            return "training began"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def uses_energy(job_id: str, batches: str) -> dict[str, Any]:
    """Let this rank's own simulated GPU run steps, then report."""
    agent = NodeAgent()
    mine = sorted(agent.gpus(), key=lambda gpu: gpu.index)[int(os.environ["LOCAL_RANK"])]
    with Client() as client, client.trial(job_id, SETTINGS) as trial:
        distributed.barrier()
        held = sorted(gpu.gpu for gpu in agent.gpus() if gpu.holder is not None and gpu.holder.pid == os.getpid())
        steps = int(batches) * (trial.rank + 1)
        used = agent.simulate_steps(SimulatedSteps(gpu=mine.gpu, batch_size=64, steps=steps))
        distributed.barrier()
        # The steps' energy is used in a moment: the meter takes it for used since its reading before.
        sleep(3)
        trial.report(0.95)
        return {**answers(trial), "held": len(held), "joules": used.energy_joules}


def trains_on_what_is_there(job_id: str) -> dict[str, Any]:
    with Client() as client, client.trial(job_id, SETTINGS) as trial:
        trial.report(0.95)
        return answers(trial)


def measures_a_limit() -> list[dict[str, Any]]:
    """Measure one power limit over ranks of which the last is the slowest; return what rank 0 reports."""
    agent, clock, measured = NodeAgent(), StepClock(), list[PowerLimitMeasurement]()

    def tell(measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitAnswer:
        measured.extend(measurements)
        return PowerLimitAnswer(power_limit_watts=200, profile_power_limits_watts=[])

    channel, mine = ranks_of_this_run(), agent.gpus()[int(os.environ["LOCAL_RANK"])]
    lease = GpuLease(agent, [mine.gpu], "nightly", None)
    profiler = Profiler(clock, lease, channel, tell, steps_per_epoch=100)
    profiler.start(None, [200])
    while profiler.is_running:
        sleep(0.02 if channel.rank == 0 else 0.03)
        clock.step()
    profiler.close()
    lease.close()
    return [one.model_dump() for one in measured]


def trains_while_limits_are_measured(job_id: str) -> dict[str, Any]:
    """Train with DistributedDataParallel until the best power limit is known."""
    data = TensorDataset(torch.randn(9600, 8), torch.randn(9600, 1))
    with Client() as client, client.trial(job_id, SETTINGS) as trial:
        torch.manual_seed(0)
        model = DistributedDataParallel(nn.Linear(8, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        set_learning_rate(optimizer, trial.learning_rate)
        loader = data_loader(trial, data)
        action = "continue"
        while action == "continue":
            for inputs, wanted in trial.steps(loader):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(inputs), wanted).backward()  # type: ignore[no-untyped-call, unused-ignore]
                optimizer.step()
                sleep(0.03)
            sleep(0.1)  # an evaluation
            action = trial.report(0.1 if trial.power_limit_watts is None else 0.95)
        weights = nn.utils.parameters_to_vector(model.parameters()).tolist()
        return {**answers(trial), "limit": trial.power_limit_watts, "weights": weights}


def loses_its_last_rank(job_id: str) -> str:
    """Limit the GPUs of all nodes, and then let the last rank die."""
    try:
        with Client() as client, client.trial(job_id, SETTINGS) as trial:
            assert trial.limit_power(150)
            distributed.barrier()
            if trial.rank == trial.world_size - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            trial.report(0.5)
    except RuntimeError as error:
        return str(error)
    return "nothing happened"


def is_not_initialised(job_id: str) -> str:
    distributed.destroy_process_group()
    try:
        with Client() as client, client.trial(job_id, SETTINGS, GPU):
            return "training began"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main(name: str, arguments: Sequence[str], output: Path) -> None:
    """Run one of these functions as a rank, and write down what it says."""
    distributed.init_process_group("gloo")
    trainer: Callable[..., Any] = globals()[name]
    output.write_text(json.dumps(trainer(*arguments)))
    if distributed.is_initialized():
        distributed.destroy_process_group()
