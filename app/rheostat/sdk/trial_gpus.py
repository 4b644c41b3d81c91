"""This node's GPUs while a run trains: their lease, their power limit, and the energy of the run."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache

from pydantic import ValidationError

from rheostat.errors import RheostatError, ServerRefused, ServerUnreachable
from rheostat.schemas.nodes import MAX_NODES, NodeReport
from rheostat.schemas.server import UNKNOWN_MODEL
from rheostat.sdk.gpu_energy import Energy, total_energy
from rheostat.sdk.gpu_lease import READ_ONLY_CODES, GpuLease
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.node_report import Limits, node_report
from rheostat.sdk.outbox import WarnOnce
from rheostat.sdk.ranks import Ranks
from rheostat.sdk.run_gpus import RunGpus

_log = logging.getLogger("rheostat")


@cache
def warn_once_per_process(text: str) -> None:
    """Log what is missing on this machine, which is the same in each of the process's trials."""
    _log.warning("%s", text)


class TrialGpus:
    """The GPUs of one trial, as one rank has them.

    Attributes:
        run: What is known of them.
        lease: The lease of this node's; None: another rank has it, or nobody does.
        are_leased: Whether any rank has a lease.

    Args:
        name: What the node is called.
        agent: The node's agent.
        run: The GPUs of the run.
        job_id: The job, for the lease.
        warn_once: Logs what does not work.
    """

    def __init__(self, name: str, agent: NodeAgent, run: RunGpus, job_id: str, warn_once: WarnOnce) -> None:
        self.run = run
        self.lease: GpuLease | None = None
        self.are_leased = False
        self._name = name
        self._problem = run.problem
        self._is_usual = run.is_usual
        self._others: list[NodeReport] = []
        self._agent = agent
        self._job_id = job_id
        self._warn_once = warn_once

    def new_lease(self, trial_id: str | None) -> GpuLease | None:
        """Lease this node's GPUs; None where this rank is not the one that does.

        Raises:
            RheostatError: The agent does not answer, or refuses the lease.
        """
        return GpuLease(self._agent, self.run.to_lease, self._job_id, trial_id) if self.run.to_lease else None

    def hold(self, trial_id: str | None, ranks: Ranks, *, chooses_batch_sizes: bool = True) -> None:
        """Lease this node's GPUs; what is in the way is logged. Every rank must call it.

        Args:
            trial_id: The trial; None: the server did not answer.
            ranks: The processes of the run.
            chooses_batch_sizes: Whether the job has more than one.
        """
        try:
            self.lease = self.new_lease(trial_id)
        except RheostatError as error:
            self._problem, self._is_usual = error, False
        if (problem := self._problem) is not None:
            # A run that has neither server nor agent has been told already that it trains as it is.
            is_usual = self._is_usual or (trial_id is None and isinstance(problem, ServerUnreachable))
            if not is_usual and isinstance(problem, ServerUnreachable) and not self._agent.has_socket:
                warn_once_per_process(self._without_agent(problem, chooses_batch_sizes=chooses_batch_sizes))
            else:
                what = "Power limits stay as they are and energy is not measured"
                _log.log(logging.INFO if is_usual else logging.WARNING, "%s: %s", what, problem)
        self.are_leased = any(ranks.gather(self.lease is not None))

    def _without_agent(self, problem: RheostatError, *, chooses_batch_sizes: bool) -> str:
        """Return what a machine without an agent lacks; without a GPU it lacks nothing, unless an agent was named."""
        if self.run.gpu.model == UNKNOWN_MODEL and not self._agent.is_named:
            what = "only batch sizes are" if chooses_batch_sizes else "no power limit is"
            return f"No GPU is known here: {what} chosen."
        missing = f"No agent here (there is no socket at {self._agent.socket})"
        return f"{missing}, so power limits stay as they are and energy is not measured. {problem.hint}"

    def _report(self) -> NodeReport | None:
        """Return how this node is now; None where another rank reports it."""
        if not self.run.leads:
            return None
        with suppress(ValidationError):  # an agent's figures that make no sense
            return node_report(
                self._name,
                self.run.found,
                Limits() if self.lease is None else self.lease.limits,
                problem=self._problem,
                is_usual=self._is_usual,
                energy_source=None if self.lease is None else self.lease.energy_source,
            )
        return None

    def meet(self, ranks: Ranks) -> None:
        """Take what the other ranks report of their nodes. Every rank must call it."""
        if ranks.size > 1:
            self._take(ranks.gather(self._report()), ranks)

    def _take(self, reports: Sequence[NodeReport | None], ranks: Ranks) -> None:
        self._others = [one for rank, one in enumerate(reports) if one is not None and rank != ranks.rank]

    def nodes(self) -> list[NodeReport]:
        """Return how this node is now, and the others were when they reported last."""
        own = self._report()
        return [*([] if own is None else [own]), *self._others][:MAX_NODES]

    def limit(self, power_limit_watts: float) -> bool:
        """Limit this node's GPUs until the lease ends; return whether the limit is in force."""
        if self.lease is None:
            return False
        try:
            return self.lease.limit(power_limit_watts)
        except RheostatError as error:
            if isinstance(error, ServerRefused) and error.server_code in READ_ONLY_CODES:
                _log.info("Power limits stay as they are: %s", error)
            else:
                self._warn_once("Training goes on without the power limit", error)
            return False

    def own_energy(self, moment_ns: int) -> Energy | None:
        """Return this rank's part of the energy up to a moment; None: it is unknown."""
        if not self.run.leads:
            return Energy()
        return None if self.lease is None else self.lease.energy(moment_ns)

    def energy_at(self, moment_ns: int, ranks: Ranks) -> Callable[[], Energy | None]:
        """Return a function that returns the energy of all nodes up to a moment; of one process, it asks the agent."""
        if ranks.size == 1:
            return lambda: self.own_energy(moment_ns)
        parts = ranks.gather((self.own_energy(moment_ns), self._report()))
        self._take([report for _, report in parts], ranks)
        total = total_energy(energy for energy, _ in parts)
        return lambda: total
