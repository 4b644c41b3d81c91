"""The survey before the first recurrence: what a few steps of each batch size cost on the simulated GPU.

A trainer on a real GPU only gives ``client.trial(..., survey=steps_at)``; here time is simulated too.
"""

from contextlib import suppress

from rheostat.demo.digits import TRAINING_SAMPLES
from rheostat.demo.simulated_gpu import SimulatedGpu
from rheostat.errors import RheostatError
from rheostat.schemas.power import ObservePowerLimitRequest, PowerLimitMeasurement, SurveyRequest
from rheostat.schemas.server import Gpu, JobSettings
from rheostat.sdk import Client
from rheostat.sdk.gpu_lease import GpuLease
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.ranks import Alone
from rheostat.sdk.run_gpus import find_run_gpus

_STEPS = 3


def survey(client: Client, agent: NodeAgent, job_id: str, settings: JobSettings) -> SimulatedGpu:
    """Measure what the server asks for; nothing after the first recurrence, nor without a server.

    Returns:
        The GPU, with the time and energy that it took.
    """
    gpu = SimulatedGpu(agent)
    found = find_run_gpus(agent, Alone(), None, None)
    lease = GpuLease(agent, found.to_lease, job_id, None)
    try:
        with suppress(RheostatError):
            client.register_job(job_id, settings)
            while wanted := client.survey(job_id, SurveyRequest(gpu=found.gpu)).survey:
                size, limits = wanted[0].batch_size, wanted[0].power_limits_watts
                lease.try_limit(limits[0])
                request = _slice(gpu, found.gpu, size, limits[0])
                client.observe_power_limit(job_id, request)
    finally:
        lease.close()
    return gpu


def _slice(simulated: SimulatedGpu, gpu: Gpu, batch_size: int, power_limit_watts: int) -> ObservePowerLimitRequest:
    joules_before, seconds_before = simulated.energy_joules, simulated.time_seconds
    simulated.run(batch_size, _STEPS)
    measurement = PowerLimitMeasurement(
        power_limit_watts=power_limit_watts,
        time_seconds=simulated.time_seconds - seconds_before,
        energy_joules=simulated.energy_joules - joules_before,
        steps=_STEPS,
        steps_per_epoch=TRAINING_SAMPLES / batch_size,
    )
    return ObservePowerLimitRequest(batch_size=batch_size, gpu=gpu, measurements=[measurement])
