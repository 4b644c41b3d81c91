"""`rheostat measure`: runs a command, and tells its time and the energy of its GPUs."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from threading import Event, Thread
from time import monotonic, monotonic_ns, sleep

from rheostat.errors import ConfigurationError, RheostatError
from rheostat.launch.endings import own_code
from rheostat.launch.process import Command
from rheostat.launch.signals import SignalForwarder
from rheostat.schemas.agent import GpuUsage, NodeGpu
from rheostat.sdk.gpu_lease import GpuLease
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.ranks import ranks_of_this_run
from rheostat.sdk.run_gpus import NamedGpus, find_run_gpus

# A signal that comes just before a wait begins is forwarded only when it ends.
_SIGNAL_SECONDS = 0.5
_FIRST_READING_SECONDS, _LOOK_SECONDS = 1.0, 0.02

_SOURCES = {"counter": "its energy counter", "power_samples": "power samples", "power_readings": "power readings"}


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """What one GPU used; None is unknown, and then there is a reason."""

    gpu: str
    index: int
    model: str
    energy_joules: float | None
    mean_watts: float | None
    source: str | None
    resolution_seconds: float | None
    unknown_because: str | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a command used: all GPUs together, and each of them."""

    command: Sequence[str]
    exit_code: int
    time_seconds: float
    energy_joules: float | None
    mean_watts: float | None
    unknown_because: str | None
    gpus: Sequence[GpuFigures]


def measure(arguments: Sequence[str], gpus: NamedGpus, agent: NodeAgent) -> Measurement:
    """Run a command to its end, with this process's inputs and outputs; signals are forwarded to it.

    Args:
        arguments: The command.
        gpus: The GPUs to measure.
        agent: The agent of this node, which need not be there.

    Raises:
        ConfigurationError: A named GPU is not on this node.
        OSError: The command cannot be run.
    """
    with ExitStack() as open_until_end, SignalForwarder(lambda: None) as signals:
        meter = _Meter(agent, gpus, open_until_end)
        begun_ns = monotonic_ns()
        command = Command(arguments, os.environ, 1, 2)
        signals.begin(command)
        ended = _End(command)
        meter.begin(begun_ns)
        ended_ns = ended.wait()
        code = command.reap()
        seconds = (ended_ns - begun_ns) / 1e9
        figures = meter.end(ended_ns, seconds)
    unknown = meter.problem or next((one.unknown_because for one in figures if one.energy_joules is None), None)
    joules = None if unknown else sum(one.energy_joules or 0.0 for one in figures)
    return Measurement(
        command=list(arguments),
        exit_code=own_code(code),
        time_seconds=seconds,
        energy_joules=joules,
        mean_watts=None if joules is None else joules / seconds,
        unknown_because=unknown,
        gpus=figures,
    )


class _End:
    """Notes when a command ends."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._ended_ns = 0
        self._event = Event()
        Thread(target=self._watch, name="rheostat-measure-end", daemon=True).start()

    def _watch(self) -> None:
        self._command.wait()
        self._ended_ns = monotonic_ns()
        self._event.set()

    def wait(self) -> int:
        while not self._event.wait(_SIGNAL_SECONDS):
            pass
        return self._ended_ns


class _Meter:
    """The energy of the GPUs, as far as there is an agent that tells it.

    Attributes:
        problem: Why nothing at all can be measured.
    """

    def __init__(self, agent: NodeAgent, gpus: NamedGpus, open_until_end: ExitStack) -> None:
        self._agent = agent
        self._gpus: list[NodeGpu] = []
        self._begun: Mapping[str, GpuUsage] = {}
        self._begun_ns = 0
        self.problem: str | None = None
        found = find_run_gpus(agent, ranks_of_this_run(), None, gpus)
        try:
            if found.problem is not None:
                raise found.problem
            if not found.to_lease:
                raise ConfigurationError("This process sees no GPU.", hint="Name some by --gpus.")
            self._gpus = [gpu for gpu in agent.gpus() if gpu.gpu in found.to_lease]
            lease = GpuLease(agent, found.to_lease, "measure", None)
            open_until_end.callback(lease.close)
            self._await_first_reading()
        except RheostatError as error:
            self.problem = str(error)

    def _await_first_reading(self) -> None:
        """Wait until the energy is known: an agent that only reads the power begins with the lease."""
        give_up_at = monotonic() + _FIRST_READING_SECONDS
        while any(usage.cumulative_joules is None for usage in self._counts(monotonic_ns()).values()):
            if monotonic() > give_up_at:
                return
            sleep(_LOOK_SECONDS)

    def begin(self, at_ns: int) -> None:
        self._begun, self._begun_ns = self._counts(at_ns), at_ns

    def end(self, at_ns: int, seconds: float) -> list[GpuFigures]:
        now = self._counts(at_ns)
        return [self._figures(gpu, self._begun.get(gpu.gpu), now.get(gpu.gpu), seconds) for gpu in self._gpus]

    def _counts(self, at_ns: int) -> dict[str, GpuUsage]:
        if self.problem is not None:
            return {}
        try:
            usages = self._agent.energy([gpu.gpu for gpu in self._gpus], until_ns=at_ns).gpus
        except RheostatError as error:
            self.problem = str(error)
            return {}
        return {usage.gpu: usage for usage in usages}

    def _figures(self, gpu: NodeGpu, begun: GpuUsage | None, ended: GpuUsage | None, seconds: float) -> GpuFigures:
        joules, why = None, self.problem
        if begun is not None and ended is not None:
            if begun.cumulative_joules is None or ended.cumulative_joules is None:
                why = begun.unknown_because or ended.unknown_because
            elif begun.series != ended.series or (ended.known_from_ns or 0) > self._begun_ns:
                why = "The agent's count of the energy began anew while the command ran."
            else:
                joules = ended.cumulative_joules - begun.cumulative_joules
        resolutions = [one.resolution_seconds for one in (begun, ended) if one and one.resolution_seconds is not None]
        return GpuFigures(
            gpu=gpu.gpu,
            index=gpu.index,
            model=gpu.model,
            energy_joules=joules,
            mean_watts=None if joules is None else joules / seconds,
            source=None if ended is None else ended.source,
            resolution_seconds=max(resolutions, default=None),
            unknown_because=None if joules is not None else why or "The agent does not say why.",
        )


def as_json(measurement: Measurement) -> str:
    """Return the measurement as one line of JSON."""
    return json.dumps(asdict(measurement))


def summary(measurement: Measurement) -> list[str]:
    """Return the measurement in words: one line for all, and one for each GPU."""
    what = f"{measurement.time_seconds:.3f} s"
    if measurement.energy_joules is None:
        lines = [f"{what}; the energy is unknown: {measurement.unknown_because}"]
    else:
        lines = [f"{what}, {measurement.energy_joules:.1f} J, {measurement.mean_watts:.1f} W on average"]
    for gpu in measurement.gpus:
        name = f"GPU {gpu.index} ({gpu.model}, {gpu.gpu})"
        if gpu.energy_joules is None:
            lines.append(f"{name}: unknown: {gpu.unknown_because}")
            continue
        exact = "" if gpu.resolution_seconds is None else f", read every {gpu.resolution_seconds:.3f} s"
        by = _SOURCES.get(gpu.source or "", gpu.source)
        lines.append(f"{name}: {gpu.energy_joules:.1f} J, {gpu.mean_watts:.1f} W, by {by}{exact}")
    return lines
