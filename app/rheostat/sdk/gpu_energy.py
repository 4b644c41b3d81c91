"""The energy of a run's GPUs since it began, as the agent counts it, over breaks in that count."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic, monotonic_ns

from rheostat.errors import RheostatError
from rheostat.schemas.agent import EnergyAnswer, EnergySource, GpuUsage
from rheostat.sdk.node_agent import ENERGY_SECONDS, NodeAgent

_log = logging.getLogger("rheostat")

_BY_PRECISION: tuple[EnergySource, ...] = ("counter", "power_samples", "power_readings")
# Agents that follow each other may differ by what a GPU uses in a tick of its counter.
_BLUR_JOULES = 200.0
# An agent answers in a few milliseconds; one that takes this long is stopped, or its driver hangs.
_SILENT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Energy:
    """What GPUs used since a run began.

    Attributes:
        joules: The sum of what was counted.
        unknown_seconds: How long nobody counted; the sum is without what was used then.
    """

    joules: float = 0.0
    unknown_seconds: float = 0.0


def total_energy(parts: Iterable[Energy | None]) -> Energy | None:
    """Return the energy of several GPUs together; None when one is unknown."""
    total = Energy()
    for part in parts:
        if part is None:
            return None
        total = Energy(total.joules + part.joules, max(total.unknown_seconds, part.unknown_seconds))
    return total


class EnergyCount:
    """Counts the energy of GPUs from when it is made; safe to share between threads.

    Attributes:
        source: How the agent measures it: the least precise source of any GPU, as far as the agent has answered.

    Args:
        agent: The node's agent.
        gpus: UUIDs.
    """

    def __init__(self, agent: NodeAgent, gpus: Sequence[str]) -> None:
        self._agent = agent
        self._gpus = list(gpus)
        self._lock = Lock()
        self._is_silent = False
        self._final: tuple[int, Energy | None] | None = None
        self.source: EnergySource = "counter"
        answer = self._answer(None)
        begun_ns = monotonic_ns() if answer is None else answer.until_ns
        self._counts = {uuid: _GpuCount(begun_ns) for uuid in self._gpus}
        if answer is not None:
            self._add(answer)

    @property
    def is_silent(self) -> bool:
        """Whether the agent kept a caller waiting, and has not answered since."""
        return self._is_silent

    def at(self, moment_ns: int) -> Energy | None:
        """Return the energy up to a moment of :func:`time.monotonic_ns`; None when it is unknown.

        An agent that does not answer holds up one call only: later ones return at once until :meth:`note` has got an
        answer.
        """
        if self._final is not None and moment_ns >= self._final[0]:
            return self._final[1]
        return None if self._is_silent else self._ask(moment_ns)

    def note(self) -> None:
        """Take the present count, so that a break later on loses little; for the background."""
        self._ask(None)

    def end(self, moment_ns: int) -> None:
        """Count up to a moment, and no further."""
        self._final = moment_ns, self.at(moment_ns)

    def _ask(self, moment_ns: int | None) -> Energy | None:
        answer = self._answer(moment_ns)
        return None if answer is None else self._add(answer)

    def _answer(self, moment_ns: int | None) -> EnergyAnswer | None:
        began = monotonic()
        try:
            answer = self._agent.energy(self._gpus, until_ns=moment_ns, within_seconds=ENERGY_SECONDS)
        except RheostatError as error:
            self._is_silent = self._is_silent or monotonic() - began > _SILENT_SECONDS
            _log.info("The energy is unknown: %s", error)
            return None
        self._is_silent = False
        return answer

    def _add(self, answer: EnergyAnswer) -> Energy | None:
        self.source = max((usage.source for usage in answer.gpus), key=_BY_PRECISION.index)
        with self._lock:
            return total_energy([self._counts[usage.gpu].add(usage, answer.until_ns) for usage in answer.gpus])


class _GpuCount:
    """The energy of one GPU.

    The agent's count is a series that may break off, as when it is restarted and the GPU has no counter, or when the
    counter began anew while no agent was there to notice. What was known of one series stays; nobody counted from its
    last figure to the first of the next.
    """

    def __init__(self, begun_ns: int) -> None:
        self._series: str | None = None
        self._joules = self._begun = self._last = 0.0
        self._last_ns = begun_ns
        self._unknown_ns = 0

    def add(self, usage: GpuUsage, moment_ns: int) -> Energy | None:
        """Take the agent's count at a moment; return the energy up to then."""
        count = usage.cumulative_joules
        if count is None:
            return None
        went_back = moment_ns >= self._last_ns and count < self._last - _BLUR_JOULES
        if usage.series != self._series or (usage.known_from_ns or 0) > self._last_ns or went_back:
            self._joules += self._last - self._begun
            self._unknown_ns += max(moment_ns - self._last_ns, 0)
            self._series, self._begun, self._last = usage.series, count, count
        if moment_ns >= self._last_ns:
            count = max(count, self._last)  # a total does not go back
            self._last, self._last_ns = count, moment_ns
        return Energy(max(self._joules + count - self._begun, 0.0), self._unknown_ns / 1e9)
