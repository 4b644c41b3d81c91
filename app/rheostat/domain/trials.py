"""Decisions about trials: predict, observe, and renewing a lease."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rheostat.domain import (
    calibration,
    control,
    crashes,
    energy,
    epochs,
    keys,
    plausibility,
    report_checks,
    resuming,
    setup,
)
from rheostat.domain.events import PolicyFailureTolerated, TrialEnded, TrialStarted
from rheostat.domain.evidence import enter, fold
from rheostat.domain.history import History
from rheostat.domain.job import Decision, Draft, Job
from rheostat.domain.placements import has_range_of, placement_key, where_fits
from rheostat.domain.records import CONCLUDED, OPEN, ObservationRecord, PlacementRecord, TrialRecord
from rheostat.domain.trial_views import LEASE_EXPIRED, gpu_of, trial_detail, wire_answer, wire_trial
from rheostat.errors import FieldError, KeyReused, PolicyFailed, TrialNotFound
from rheostat.policy.advisor import Verdict
from rheostat.policy.cost import cost_text
from rheostat.policy.interface import Situation
from rheostat.policy.learning_curve import LearningCurve, Target
from rheostat.schemas.nodes import NodeReport
from rheostat.schemas.trials import HeartbeatAnswer, ObserveAnswer, ObserveRequest, PredictRequest, Trial, TrialDetail


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of a decision.

    Attributes:
        now: The time, in UTC.
        lease: How long a trial may be silent before it counts as abandoned.
    """

    now: datetime
    lease: timedelta

    @property
    def lease_expires_at(self) -> datetime:
        """The end of a lease that begins now."""
        return self.now + self.lease


def predict(
    job: Job, history: History, request: PredictRequest, *, trial_id: str, idempotency_key: str | None, clock: Clock
) -> Decision[Trial]:
    """Make a trial: choose its batch size and power limit, and give it a lease.

    The same idempotency key gives the same trial, and no new one, unless :func:`rheostat.domain.keys.starts_anew`.

    Raises:
        KeyReused: The key belongs to a trial on other GPUs.
        NoBatchSizeLeft: None fits the GPU's memory.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        PolicyFailed: The policy raised, or chose what is not permitted.
    """
    draft = Draft(job)
    if idempotency_key is not None:
        known = history.trial_by_key(idempotency_key)
        if known is not None and not keys.starts_anew(known, request, clock.now):
            return _same_trial(job, history, known, request, clock)
        if known is not None:
            keys.leave(draft, known)
    before = resuming.ancestor(history, request)
    placement = enter(draft, history, request.gpu)
    _abandon_overdue(draft, clock.now)
    running = [trial for trial in job.running.values() if trial.trial_id not in draft.trials]
    view = job.view(placement, request.gpu)
    beside = [trial for trial in running if trial.placement == placement.key]
    situation = Situation(
        permitted=job.permitted(placement, request.max_batch_size),
        pending=tuple(trial.batch_size for trial in beside),
        exploring=tuple(trial.batch_size for trial in beside if not (trial.beside_exploration or trial.is_ordered)),
    )
    going_on = resuming.choice_like(before, situation.permitted)
    if going_on is None:
        silent = crashes.suspects(beside, request.node, clock.now, clock.lease)
        plan = control.choose(draft, view, situation, silent)
    else:
        plan = control.go_on(draft, view, going_on, before)
    choice, power = plan.choice, plan.power
    trial = TrialRecord(
        trial_id=trial_id,
        placement=placement.key,
        number=job.next_trial_number,
        idempotency_key=idempotency_key,
        node=request.node,
        batch_size=choice.batch_size,
        learning_rate=job.settings.learning_rate_for(choice.batch_size),
        power_limit_watts=power.power_limit_watts,
        profile_power_limits_watts=list(power.profile_power_limits_watts),
        reason=choice.reason,
        state="running",
        state_reason="not at the target yet",
        epochs=None,
        metric=None,
        energy_joules=None,
        time_seconds=None,
        curve=None,
        sequence=None,
        created_at=clock.now,
        lease_expires_at=clock.lease_expires_at,
        ended_at=None,
        gpu=request.gpu.model_dump(mode="json"),
        is_ordered=plan.is_ordered,
        beside_exploration=choice.beside_exploration,
        warning=plausibility.joined(None, plausibility.of_settings(job.settings)),
        tags=request.tags or None,
        predicted_cost=calibration.predicted(draft, view, plan),
    )
    trial = resuming.begun(draft, history, trial, before, request)
    crashes.carry_on(draft, trial)
    draft.started.append(trial)
    draft.events.append(TrialStarted(trial.trial_id, trial.batch_size))
    return draft.decided(wire_trial(job, trial))


def observe(
    job: Job, history: History, trial_id: str, request: ObserveRequest, clock: Clock
) -> Decision[ObserveAnswer]:
    """Take a report of a trial and say whether it should go on.

    A repeated report gets the same answer. A report of an abandoned trial is taken as any other: the trial runs again,
    or has come to its end. A report after the end is kept, and answered with the end.

    Raises:
        TrialNotFound: The job has no such trial.
        ReportContradicts: An earlier report of the same epoch has other figures.
        InvalidInput: Energy or time is less than at an earlier epoch, or more than at a later one.
    """
    draft = Draft(job)
    stored = _require_trial(job, history, trial_id)
    placement = draft.placement(stored.placement)
    trial, request = _counted(draft, history, stored, request)
    known = epochs.earlier_report(history, trial, request)
    if known is not None:
        report_checks.check_same(known, request)
        _renew(draft, stored, clock)
        return draft.decided(wire_answer(known, trial))
    report_checks.check_cumulative(history, trial, request)
    reported = _with_report(draft, placement, trial, request)
    if reported.epochs and (fits := where_fits(placement, trial.batch_size)) != placement:
        placement = draft.placements[placement.key] = fits
    verdict = _verdict(draft, placement, reported, request)
    saved = _with_verdict(draft, reported, verdict, clock)
    saved = crashes.follow(draft, trial, saved, clock.now, was_interrupted=request.interrupted)
    if saved.sequence is not None and trial.sequence is None:
        _conclude(draft, placement, saved)
    if saved != stored:
        draft.change_trial(stored, saved)
    if trial.state in OPEN and saved.state != "running":
        metered = energy.metered(saved)
        draft.events.append(TrialEnded(trial_id, saved.state, metered and metered.joules, saved.time_seconds))
    report = ObservationRecord(
        trial_id=trial_id,
        epoch=epochs.free_place(history, trial, request),
        closing=request.outcome is not None,
        metric=request.metric,
        energy_joules=request.energy_joules,
        energy_known_from_seconds=request.energy_known_from_seconds,
        time_seconds=request.time_seconds,
        outcome=request.outcome,
        received_at=clock.now,
        answered_state=verdict.state,
        answered_reason=verdict.reason,
        answered_power_limit_watts=_power_limit(draft, placement, trial),
    )
    draft.observations.append(report)
    return draft.decided(wire_answer(report, saved))


def renew_lease(
    job: Job, history: History, trial_id: str, clock: Clock, nodes: Sequence[NodeReport] | None = None
) -> Decision[HeartbeatAnswer]:
    """Renew the lease of a trial; one that counted as abandoned runs again.

    Args:
        job: The job.
        history: Its past.
        trial_id: The trial.
        clock: The time.
        nodes: What it runs on, as it is now; None: as it was.

    Raises:
        TrialNotFound: The job has no such trial.
    """
    draft = Draft(job)
    trial = _require_trial(job, history, trial_id)
    renewed = _renew(draft, trial, clock)
    if nodes is not None:
        renewed = replace(renewed, nodes=[node.model_dump(mode="json", exclude_defaults=True) for node in nodes])
        draft.change_trial(trial, renewed)
    return draft.decided(HeartbeatAnswer(state=renewed.state, lease_expires_at=renewed.lease_expires_at))


def show(job: Job, history: History, trial_id: str, now: datetime) -> TrialDetail:
    """Return a trial as the wire shows it.

    Raises:
        TrialNotFound: The job has no such trial.
    """
    return trial_detail(job, _require_trial(job, history, trial_id), now)


def no_such_trial(trial_id: str) -> TrialNotFound:
    """Return the error for a trial that does not exist."""
    return TrialNotFound(f"There is no trial {trial_id!r}.", hint="Trials come from POST /v1/jobs/{job_id}/predict.")


def _same_trial(
    job: Job, history: History, known: TrialRecord, request: PredictRequest, clock: Clock
) -> Decision[Trial]:
    """Return the trial of a key that is used again; it goes on where its trainer was started again."""
    if known.placement != placement_key(request.gpu):
        raise KeyReused(
            f"The Idempotency-Key belongs to trial {known.trial_id}, which was made for other GPUs.",
            hint="Use a new key for every run; one that goes on from that trial's checkpoint names it in `resumes`.",
            fields=[FieldError("gpu", "differs from the first request with this key")],
        )
    draft = Draft(job)
    trial = replace(resuming.restarted(history, known), tags=request.tags or known.tags)
    if trial.state == "running" and (trial.state != known.state or trial.lease_expires_at < clock.now):
        trial = replace(trial, lease_expires_at=clock.lease_expires_at)
    if trial != known:
        draft.change_trial(known, trial)
    return draft.decided(wire_trial(job, trial))


def _abandon_overdue(draft: Draft, now: datetime) -> None:
    """End the trials whose lease expired."""
    for trial in draft.job.running.values():
        if trial.lease_expires_at < now:
            latest = draft.trials.get(trial.trial_id, trial)
            lost = replace(latest, state="abandoned", state_reason=LEASE_EXPIRED, ended_at=now)
            draft.change_trial(trial, crashes.follow(draft, trial, lost, now))
            draft.events.append(TrialEnded(trial.trial_id, "abandoned"))


def _require_trial(job: Job, history: History, trial_id: str) -> TrialRecord:
    trial = job.running.get(trial_id) or history.trial(trial_id)
    if trial is None:
        raise no_such_trial(trial_id)
    return trial


def _counted(
    draft: Draft, history: History, trial: TrialRecord, request: ObserveRequest
) -> tuple[TrialRecord, ObserveRequest]:
    """Return a trial with what a report shows of its epochs, and the report with the model's epoch."""
    view = draft.view(draft.placement(trial.placement))

    def epoch_cost() -> float | None:
        try:
            arms = draft.advisor.estimates(view)
        except PolicyFailed:
            return None
        return next((arm.epoch_cost.mean for arm in arms if arm.batch_size == trial.batch_size), None)

    return epochs.counted(history, trial, request, view, epoch_cost)


def _with_report(draft: Draft, placement: PlacementRecord, trial: TrialRecord, request: ObserveRequest) -> TrialRecord:
    """Return the trial with the report's figures.

    A report of an earlier epoch changes nothing, nor does one after the end: what was learned from the trial stays
    what its figures say.
    """
    late = trial.epochs is not None and request.epoch < trial.epochs
    if late or trial.state not in OPEN:
        return trial
    view = draft.view(placement)
    request, doubts = plausibility.without_impossible_energy(placement, trial, request)
    doubts += plausibility.of_report(draft.job.settings, trial, request)
    totals = energy.figures_after(trial, request, lambda: draft.energy.get(view), view.max_power_watts)
    return replace(
        trial,
        **totals,
        **setup.figures_after(trial, request, totals),
        warning=plausibility.joined(trial.warning, doubts),
        epochs=request.epoch,
        metric=trial.metric if request.metric is None else request.metric,
        curve=_curve_after(trial, request, view.target).to_state(),
    )


def _curve_after(trial: TrialRecord, request: ObserveRequest, target: Target | None) -> LearningCurve:
    curve = LearningCurve.from_state(trial.curve)
    return curve.diverged_again() if request.diverged else curve.add(request.epoch, request.metric, target)


def _verdict(draft: Draft, placement: PlacementRecord, trial: TrialRecord, request: ObserveRequest) -> Verdict:
    if trial.state not in OPEN:
        return Verdict(trial.state, f"the trial has ended already: {trial.state_reason}")
    view, fixed = draft.view(placement), setup.outlay(trial)
    cost, share = view.cost(trial.energy_joules, trial.time_seconds), epochs.comparable_share(trial)
    try:
        verdict = draft.advisor.assess(
            view,
            batch_size=trial.batch_size,
            epoch=request.epoch,
            metric=request.metric if request.epoch > 0.0 else None,  # what is evaluated before training is no result
            cost=None if cost is None or share is None or request.epoch <= 0.0 else share * cost,
            outcome=request.outcome,
            curve=LearningCurve.from_state(trial.curve),
            may_stop=not trial.is_ordered,
            fixed_cost=None if fixed is None else view.price(fixed),
        )
    except PolicyFailed as error:
        draft.events.append(PolicyFailureTolerated(f"trial {trial.trial_id} continues", error))
        return Verdict("running", f"continues, since the policy failed: {error.message}")
    if request.outcome is not None and request.detail:
        return Verdict(verdict.state, f"{verdict.reason}: {request.detail}")
    if verdict.state != "stopped" or cost is None:
        return verdict
    estimate = energy.explanation(trial, view.max_power_watts)
    so_far = cost_text(cost, trial.energy_joules, trial.time_seconds)
    return replace(verdict, reason=f"{verdict.reason} (so far {so_far}{f'; energy {estimate}' if estimate else ''})")


def _with_verdict(draft: Draft, trial: TrialRecord, verdict: Verdict, clock: Clock) -> TrialRecord:
    """Return the trial in the state that a report brings it to."""
    if trial.state not in OPEN:
        return trial
    return replace(
        trial,
        state=verdict.state,
        state_reason=verdict.reason,
        lease_expires_at=clock.lease_expires_at,
        ended_at=None if verdict.state == "running" else clock.now,
        sequence=draft.take_sequence() if verdict.state in CONCLUDED else None,
    )


def _conclude(draft: Draft, placement: PlacementRecord, trial: TrialRecord) -> None:
    smallest = placement.smallest_oom_batch_size
    if trial.state == "oom" and (smallest is None or trial.batch_size < smallest):
        draft.placements[placement.key] = replace(placement, smallest_oom_batch_size=trial.batch_size)
    draft.learn(lambda: fold(draft, trial))


def _power_limit(draft: Draft, placement: PlacementRecord, trial: TrialRecord) -> int | None:
    """Return the best power limit among those that the trial's node allows, or the one that was ordered."""
    if trial.is_ordered and trial.power_limit_watts is not None:
        return trial.power_limit_watts
    gpu = gpu_of(trial)
    view = draft.view(placement) if gpu is None or has_range_of(gpu, placement) else draft.job.view(placement, gpu)
    try:
        return control.power(draft.job, draft.advisor, view, trial.batch_size).power_limit_watts
    except PolicyFailed as error:
        draft.events.append(PolicyFailureTolerated(f"trial {trial.trial_id} keeps its power limit", error))
        return trial.power_limit_watts


def _renew(draft: Draft, trial: TrialRecord, clock: Clock) -> TrialRecord:
    """Give an open trial a new lease; an abandoned one runs again."""
    if trial.state not in OPEN:
        return trial
    renewed = replace(
        trial,
        state="running",
        state_reason=trial.state_reason if trial.state == "running" else "it reported again",
        lease_expires_at=clock.lease_expires_at,
        ended_at=None,
    )
    renewed = crashes.follow(draft, trial, renewed, clock.now)
    draft.change_trial(trial, renewed)
    return renewed
