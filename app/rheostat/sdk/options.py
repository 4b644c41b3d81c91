"""The arguments of a trial, as its client hands them over."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rheostat.schemas.server import Gpu
from rheostat.schemas.trials import PredictRequest
from rheostat.sdk.agreement import OnConflict, OnUsedKey
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.run_gpus import NamedGpus
from rheostat.sdk.survey import OpenSteps


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """The arguments of one run; see :meth:`rheostat.sdk.client.Client.trial`.

    Attributes:
        on_conflict: What becomes of settings that differ from the registered ones.
        on_used_key: What a key of a trial that has ended means.
        answer_seconds: How long a report waits for its answer, and the end of the block for the server.
        entry_seconds: How long the block's entry waits for the server.
        survey: Makes steps at a batch size, for a survey before the run; None: there is no survey.
        examples_per_epoch: Size of the data set, for the survey.
    """

    gpu: Gpu | None
    gpus: NamedGpus = None
    node: str | None = None
    max_batch_size: int | None = None
    idempotency_key: str | None = None
    resumes: str | None = None
    started_at_epoch: float | None = None
    node_agent: NodeAgent | None = None
    on_conflict: OnConflict = "keep"
    on_used_key: OnUsedKey = "error"
    answer_seconds: float = 2.0
    entry_seconds: float = 10.0
    survey: OpenSteps | None = None
    examples_per_epoch: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def request(self, gpu: Gpu) -> PredictRequest:
        """Return what the server is asked; what is usual is left out, which servers of before it understand, too."""
        usual: dict[str, object] = {"on_used_key": "error", "resumes": None, "started_at_epoch": None, "tags": {}}
        unusual = {name: value for name in usual if (value := getattr(self, name)) != usual[name]}
        request = PredictRequest(gpu=gpu, node=self.node, max_batch_size=self.max_batch_size)
        return request.model_copy(update=unusual)
