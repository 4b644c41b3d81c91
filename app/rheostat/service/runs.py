"""Whole runs that no trial stands for: imported history, other launchers."""

from uuid import uuid4

from rheostat.errors import FieldError, KeyReused
from rheostat.schemas.server import ObserveRunAnswer, ObserveRunRequest
from rheostat.service.context import Service
from rheostat.service.fold import learn, run_cost
from rheostat.service.jobs import require
from rheostat.service.open_job import OpenJob
from rheostat.storage.engine import Transaction
from rheostat.storage.evidence import Runs
from rheostat.storage.jobs import Jobs
from rheostat.storage.records import PlacementRecord, RunRecord


def observe_run(
    service: Service, job_id: str, request: ObserveRunRequest, idempotency_key: str | None
) -> ObserveRunAnswer:
    """Learn from a whole run; the same idempotency key records it once.

    Raises:
        JobNotFound: There is no such job.
        UnknownBatchSize: The batch size is not among those of the job.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        KeyReused: The key belongs to another run.
    """

    def work(connection: Transaction) -> ObserveRunAnswer:
        job = OpenJob(connection, require(Jobs(connection).find(service.namespace, job_id, lock=True), job_id))
        job.check_batch_size(request.batch_size)
        placement = job.enter(request.gpu)
        known = None
        if idempotency_key is not None:
            known = Runs(connection).find_by_key(job.record.job_pk, idempotency_key)
        if known is not None:
            _check_same(known, placement, request)
            return _answer(job, placement, known)
        run = RunRecord(
            run_id=uuid4().hex,
            job_pk=job.record.job_pk,
            placement_pk=placement.placement_pk,
            idempotency_key=idempotency_key,
            **request.model_dump(exclude={"gpu"}),
            sequence=job.take_sequence(),
            received_at=service.now(),
        )
        Runs(connection).add(run)
        learn(job, placement, run)
        return _answer(job, placement, run)

    return service.database.write(work)


def _answer(job: OpenJob, placement: PlacementRecord, run: RunRecord) -> ObserveRunAnswer:
    return ObserveRunAnswer(run_id=run.run_id, cost=run_cost(job.view(placement), run))


def _check_same(known: RunRecord, placement: PlacementRecord, request: ObserveRunRequest) -> None:
    fields = [
        FieldError(name, f"was {getattr(known, name)!r} in the first request with this key")
        for name, value in request.model_dump(exclude={"gpu"}).items()
        if getattr(known, name) != value
    ]
    if known.placement_pk != placement.placement_pk:
        fields.append(FieldError("gpu", "differs from the first request with this key"))
    if fields:
        raise KeyReused(
            f"The Idempotency-Key belongs to another run, {known.run_id}.",
            hint="Use a new key for every run.",
            fields=fields,
        )
