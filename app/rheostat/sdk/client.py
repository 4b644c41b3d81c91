"""The client that a trainer opens: the operations of the server, and the context of one run."""

from socket import gethostname

from rheostat.schemas.server import Gpu, JobSettings
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.run_gpus import NamedGpus
from rheostat.sdk.server import ServerClient
from rheostat.sdk.trial import RunningTrial, TrialOptions


class Client(ServerClient):
    """Client of a Rheostat server, for trainers; see :class:`rheostat.sdk.server.ServerClient`."""

    def trial(
        self,
        job_id: str,
        settings: JobSettings,
        gpu: Gpu | None = None,
        *,
        gpus: NamedGpus = None,
        node: str | None = None,
        max_batch_size: int | None = None,
        idempotency_key: str | None = None,
        node_agent: NodeAgent | None = None,
    ) -> RunningTrial:
        """Return the context of one run of a job; see :class:`rheostat.sdk.trial.RunningTrial`.

        Args:
            job_id: The job, registered on entry.
            settings: What it asks of Rheostat.
            gpu: Description of the GPUs of this run; by default that of the node's agent.
            gpus: UUIDs or numbers of this process's GPUs; by default ``RHEOSTAT_GPUS``, else the one that PyTorch uses,
                else the first that CUDA shows; with ``"visible"`` all that ``CUDA_VISIBLE_DEVICES`` names.
            node: Where it runs, for the list of trials; by default the host's name.
            max_batch_size: Largest batch size that this node can train with.
            idempotency_key: Identifies this run, so that a restarted trainer gets the same trial again.
            node_agent: The node's agent; by default the one in ``RHEOSTAT_AGENT_DIR``, if one is there.
        """
        options = TrialOptions(
            gpu, gpus, node or gethostname()[:128] or None, max_batch_size, idempotency_key, node_agent
        )
        return RunningTrial(self, job_id, settings, options)
