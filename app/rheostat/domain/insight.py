"""What the policy believes of a job's arms, and what the job has saved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rheostat.domain import crashes, energy, totals, words
from rheostat.domain.evidence import power_measurement
from rheostat.domain.history import History, LatestMeasurements
from rheostat.domain.job import Draft, Job
from rheostat.domain.overhead import overhead
from rheostat.domain.placements import wire_gpu
from rheostat.domain.records import PlacementRecord, Totals
from rheostat.domain.survey_sums import survey_sums
from rheostat.domain.totals import PlacementTotals
from rheostat.errors import PolicyFailed, RheostatError
from rheostat.policy import estimates as policy
from rheostat.policy.estimates import ArmEstimate
from rheostat.policy.interface import Job as PolicyJob
from rheostat.schemas.insight import (
    DefaultAccount,
    Estimate,
    Estimates,
    PlacementEstimates,
    PlacementSavings,
    Saving,
    Savings,
)


def estimates(job: Job) -> Estimates:
    """Return what the policy believes of every arm on every placement.

    Raises:
        PolicyFailed: The policy raised.
    """
    draft = Draft(job)
    return Estimates(
        job_id=job.job_id,
        policy=job.settings.policy,
        placements=[
            PlacementEstimates(
                gpu=wire_gpu(placement), arms=_arms(draft, placement), account=_account(draft, placement)
            )
            for placement in job.placements.values()
        ],
    )


def savings(job: Job, history: History, believed: Estimates | None = None) -> Savings:
    """Return what the job cost against always running the default at the maximum limit.

    Args:
        job: The job.
        history: Its past.
        believed: Its :func:`estimates`, where they are known already.
    """
    draft = Draft(job)
    arms = (
        dict.fromkeys(job.placements)
        if believed is None
        else {key: placement.arms for key, placement in zip(job.placements, believed.placements, strict=True)}
    )
    return Savings(
        job_id=job.job_id,
        placements=[
            _placement_savings(draft, history, placement, arms[key]) for key, placement in job.placements.items()
        ],
    )


def totals_of(job: Job, history: History, placement: PlacementRecord) -> PlacementTotals:
    """Return the sums of a placement's runs; a job of an older version may have none yet, and is added up."""
    state = job.states.get(placement.key, {}).get("totals")
    return PlacementTotals(
        totals.fold(history.paid(placement.key)) if state is None else state,
        [trial for trial in job.running.values() if trial.placement == placement.key],
    )


def _account(draft: Draft, placement: PlacementRecord) -> DefaultAccount | None:
    account = draft.advisor.account(draft.view(placement))
    if account is None:
        return None
    return DefaultAccount(
        balance_runs=account.balance_runs,
        saved_runs=account.saved_runs,
        spent_runs=account.spent_runs,
        budget_runs=account.budget_runs,
        default_cost=account.default_cost_joules,
        standing=account.standing,
    )


def _arms(draft: Draft, placement: PlacementRecord) -> list[Estimate]:
    view = draft.view(placement)
    believed = {arm.batch_size: arm for arm in draft.advisor.estimates(view)}
    sums = draft.energy.get(view)
    oom = placement.closed_from_batch_size
    open_sizes = [size for size in draft.job.settings.batch_sizes if oom is None or size < oom]
    crashing = crashes.left_out(draft, view, open_sizes)
    chances = [arm.probability_best or 0.0 for arm in believed.values() if oom is None or arm.batch_size < oom]
    arms = []
    for size in draft.job.settings.batch_sizes:
        arm = believed.get(size, ArmEstimate(size, 0, "the policy gives no estimate"))
        closed = oom is not None and size >= oom
        estimated = energy.sums_of(sums, size).estimated
        arms.append(
            Estimate(
                batch_size=size,
                runs=arm.runs,
                estimated_energy_runs=estimated,
                energy_is_estimated=estimated > 0,
                **_interval("cost", arm.cost),
                **_interval("epochs", arm.epochs),
                **_interval("epoch_cost", arm.epoch_cost),
                probability_best=None
                if not sum(chances)
                else (arm.probability_best or 0.0) * (not closed) / sum(chances),
                power_limit_watts=draft.advisor.power(view, size).power_limit_watts,
                status=f"closed: {oom} ran out of memory" if closed else crashing.get(size, arm.status),
            )
        )
    return arms


def _interval(name: str, estimate: policy.Estimate) -> dict[str, float | None]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


@dataclass(frozen=True, slots=True)
class _Default:
    """What one run of the default batch size at the maximum limit costs, and how that is known."""

    energy_joules: float | None
    time_seconds: float | None
    cost: float | None
    method: str
    runs: int = 0
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class _Figures:
    """Returns the figures of sums over runs; unknown energy is estimated from the time at a mean power.

    Attributes:
        view: The placement.
        mean_watts: The mean power of all that was metered on it; None: nothing was.
    """

    view: PolicyJob
    mean_watts: float | None

    def energy_joules(self, total: Totals) -> float | None:
        if total.energy_joules is not None or total.time_seconds is None:
            return total.energy_joules
        return _times(self.mean_watts, total.time_seconds)

    def time_seconds(self, total: Totals) -> float | None:
        return total.time_seconds

    def cost(self, total: Totals) -> float | None:
        if total.cost is not None:
            return total.cost
        return self.view.cost(self.energy_joules(total), total.time_seconds)


_Figure = Callable[[Totals], float | None]


@dataclass(frozen=True, slots=True)
class _Past:
    """The runs of a placement: all that trained, and those of them that converged; and the survey before them."""

    paid: list[Totals]
    converged: list[Totals]
    survey: list[Totals]

    def saving(self, figure: _Figure, one_default: float | None, method: str, *, has_energy: bool) -> Saving:
        """Return what was saved of one figure over those runs of which it is known or estimated."""
        counted = [total for total in self.paid if figure(total) is not None]
        surveyed = None if None in map(figure, self.survey) else _sum(figure, self.survey)
        actual = _sum(figure, self.paid) + (surveyed or 0.0) if counted or not self.paid else None
        default = one_default if self.paid or self.survey else None
        baseline = _times(default, _runs([total for total in self.converged if figure(total) is not None]))
        saved_percent = None
        if actual is not None and baseline:
            saved_percent = 100.0 * (1.0 - actual / baseline)
        notes = ["actual: all runs that trained, failed and stopped ones too"]
        runs = _runs(self.paid)
        estimated = sum(total.estimated_runs for total in counted)
        if has_energy and estimated:
            notes.append(f"of {estimated} of {words.counted(runs, 'run')} the energy is estimated, in whole or in part")
        if self.survey:
            notes.append("the survey before them too" if surveyed is not None else "the survey is left out")
        if left_out := runs - _runs(counted):
            verb, who = ("is", "it") if left_out == 1 else ("are", "they")
            notes.append(
                f"{left_out} of {words.counted(runs, 'run')} {verb} left out: {who} did not report this figure"
            )
        return Saving(
            actual=actual,
            surveyed=surveyed,
            baseline=baseline,
            saved_percent=saved_percent,
            method="not reported by any run" if actual is None else "; ".join([*notes, method]),
        )


def _placement_savings(
    draft: Draft, history: History, placement: PlacementRecord, believed: Sequence[Estimate] | None
) -> PlacementSavings:
    job, view = draft.job, draft.view(placement)
    sums = totals_of(job, history, placement)
    past = _Past(
        # Runs that were not asked for here, as imported ones, are neither savings nor losses.
        paid=sums.trials(),
        converged=sums.trials(converged=True),
        survey=survey_sums(job.states.get(placement.key, {}).get("survey")).totals(),
    )
    metered = energy.Sums(sum(t.metered_joules for t in past.paid), sum(t.metered_seconds for t in past.paid))
    seconds = sum(total.time_seconds or 0.0 for total in past.paid)
    figures = _Figures(view, metered.mean_watts)
    default = _default(draft, history, placement, sums, figures, believed=believed)
    method = default.method
    return PlacementSavings(
        gpu=wire_gpu(placement),
        converged_runs=_runs(past.converged),
        energy_is_estimated=any(total.estimated_runs for total in past.paid),
        energy_known_share=metered.seconds / seconds if seconds else None,
        baseline_is_estimated=default.is_estimated,
        baseline_runs=default.runs,
        energy_joules=past.saving(figures.energy_joules, default.energy_joules, method, has_energy=True),
        time_seconds=past.saving(figures.time_seconds, default.time_seconds, method, has_energy=False),
        cost=past.saving(figures.cost, default.cost, method, has_energy=True),
    )


def _default(
    draft: Draft,
    history: History,
    placement: PlacementRecord,
    sums: PlacementTotals,
    figures: _Figures,
    *,
    believed: Sequence[Estimate] | None,
) -> _Default:
    """Work out one run of the default: measured epochs and what runs take beside, or else the mean of its runs."""
    size, view = draft.job.settings.default_batch_size, figures.view
    trials = sums.trials(converged=True, batch_size=size)
    runs = sums.runs(converged=True, batch_size=size)
    limit = max(view.power_limits_watts, default=None)
    measured = history.latest_measurements(placement.key)
    record = None if limit is None else measured.get((size, limit))
    both = trials + runs
    epochs, source = _mean_epochs(trials) if both else _expected_epochs(draft, placement, believed)
    if record is not None and epochs and (record.cost is not None or record.steps_per_epoch is not None):
        epoch = power_measurement(view, record)
        wanted = figures.energy_joules, figures.time_seconds, figures.cost
        beside = overhead(draft, measured, placement, sums, wanted)
        return _Default(
            _plus(_times(epoch.energy_joules, epochs), beside.energy_joules),
            _plus(_times(epoch.time_seconds, epochs), beside.time_seconds),
            epoch.cost * epochs + beside.cost,
            f"baseline: {epochs:.3g} epochs, {source} at batch size {size}, each as the epoch measured at {limit} W, "
            f"and {beside.time_seconds:.3g} s of start-up and evaluations",
            _runs(both),
            is_estimated=not both,
        )
    if limit is not None and (steps := _of_steps(draft, measured, view, size, limit)) is not None and both:
        return _Default(
            _times(_mean(figures.energy_joules, both), steps.energy),
            _times(_mean(figures.time_seconds, both), steps.time),
            _times(_mean(figures.cost, both), steps.cost),
            f"baseline: the mean of {words.counted(_runs(both), 'converged run')} at batch size {size}, "
            f"times what a step took at {limit} W against {steps.best_watts} W, the best limit",
            _runs(both),
        )
    if not both:
        return _Default(None, None, None, f"no baseline: no run at batch size {size} has converged here")
    return _Default(
        _mean(figures.energy_joules, both),
        _mean(figures.time_seconds, both),
        _mean(figures.cost, both),
        f"baseline: the mean of {words.counted(_runs(both), 'converged run')} at batch size {size}, "
        "at the power limits that they had: "
        + ("no limit can be set here" if limit is None else f"no epoch was measured at {limit} W"),
        _runs(both),
    )


@dataclass(frozen=True, slots=True)
class _StepRatios:
    """A step at the maximum limit over one at the best limit, where the length of an epoch is unknown."""

    best_watts: int
    energy: float | None
    time: float | None
    cost: float


def _of_steps(
    draft: Draft, measured: LatestMeasurements, view: PolicyJob, size: int, maximum_watts: int
) -> _StepRatios | None:
    """Compare steps at the maximum limit with those at the best; None where one of them was not measured."""
    if measured.get((size, maximum_watts)) is None:
        return None
    try:
        best_watts = draft.advisor.power(view, size).power_limit_watts
    except PolicyFailed:  # what was saved is known without the policy
        return None
    records = [] if best_watts is None else [measured.get((size, limit)) for limit in (maximum_watts, best_watts)]
    if best_watts is None or any(record is None or record.steps_per_epoch is not None for record in records):
        return None
    top, best = (power_measurement(view, record) for record in records if record is not None)
    return _StepRatios(
        best_watts,
        _over(top.energy_joules, best.energy_joules),
        _over(top.time_seconds, best.time_seconds),
        top.cost / best.cost,
    )


def _over(figure: float | None, other: float | None) -> float | None:
    return None if figure is None or not other else figure / other


def _mean_epochs(trials: list[Totals]) -> tuple[float | None, str]:
    count = _runs(trials)
    mean = sum(total.epochs or 0.0 for total in trials) / count if count else None
    return mean, f"the mean of {words.counted(count, 'converged run')}"


def _expected_epochs(
    draft: Draft, placement: PlacementRecord, believed: Sequence[Estimate] | None
) -> tuple[float | None, str]:
    """Return the epochs that the policy expects of the default, of which no run has converged."""
    try:
        arms = _arms(draft, placement) if believed is None else believed
    except RheostatError:  # savings are shown whatever the policy does
        return None, "unknown"
    expected = [arm.epochs for arm in arms if arm.batch_size == draft.job.settings.default_batch_size]
    return next(iter(expected), None), "an estimate, since no run has converged,"


def _runs(totals: list[Totals]) -> int:
    return sum(total.runs for total in totals)


def _sum(figure: _Figure, totals: list[Totals]) -> float:
    """Return the sum of a figure over the runs of which it is known."""
    return sum(known for total in totals if (known := figure(total)) is not None)


def _mean(figure: _Figure, totals: list[Totals]) -> float | None:
    count = _runs([total for total in totals if figure(total) is not None])
    return _sum(figure, totals) / count if count else None


def _plus(figure: float | None, more: float) -> float | None:
    return None if figure is None else figure + more


def _times(figure: float | None, factor: float | None) -> float | None:
    return None if figure is None or factor is None else figure * factor
