"""What a run takes beside its training steps: start-up and evaluations, which measured slices of training leave out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rheostat.domain.evidence import power_measurement
from rheostat.domain.history import LatestMeasurements
from rheostat.domain.job import Draft
from rheostat.domain.records import PlacementRecord, Totals
from rheostat.domain.totals import PlacementTotals
from rheostat.errors import RheostatError
from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import Job as PolicyJob

FigureOf = Callable[[Totals], float | None]


class Overhead(NamedTuple):
    """What a run takes beside its steps, 0 where it is unknown."""

    energy_joules: float = 0.0
    time_seconds: float = 0.0
    cost: float = 0.0


class _Steps(NamedTuple):
    """The steps of an epoch at the best limit of a batch size, and what measuring the others has cost beyond them."""

    epoch: PowerMeasurement
    profiling: Overhead


def overhead(
    draft: Draft,
    measured: LatestMeasurements,
    placement: PlacementRecord,
    sums_of_runs: PlacementTotals,
    figures: tuple[FigureOf, FigureOf, FigureOf],
) -> Overhead:
    """Return what the converged runs of the default took on average, else those of all batch sizes.

    It is what their totals exceed their epochs by, each as measured at the best limit. The other limits that they
    measured are taken away: always running the default would have measured none.

    Args:
        draft: The job.
        measured: The placement's measurements.
        placement: Where.
        sums_of_runs: What its runs have taken.
        figures: Energy, time and cost of sums over runs.
    """
    settings = draft.job.settings
    default = settings.default_batch_size
    sums = [0.0, 0.0, 0.0]
    count = 0
    for size in (default, *(size for size in settings.batch_sizes if size != default)):
        totals = sums_of_runs.trials(converged=True, batch_size=size)
        steps = _steps(draft, measured, placement, size) if totals else None
        if steps is None:
            continue
        count += sum(total.runs for total in totals)
        for at, figure in enumerate(figures):
            sums[at] += _beyond(totals, figure, _figures(steps.epoch)[at]) - steps.profiling[at]
        if size == default:
            break
    return Overhead(*(max(each / count, 0.0) for each in sums)) if count else Overhead()


def _beyond(totals: Sequence[Totals], figure: FigureOf, of_an_epoch: float | None) -> float:
    """Return what runs took beyond the steps of their epochs."""
    known = [(figure(total), total.epochs or 0.0) for total in totals]
    if of_an_epoch is None:
        return 0.0
    return sum(spent - epochs * of_an_epoch for spent, epochs in known if spent is not None)


def _steps(draft: Draft, measured: LatestMeasurements, placement: PlacementRecord, batch_size: int) -> _Steps | None:
    """Return what was measured of a batch size; None: its best limit is unknown, or the steps of an epoch are."""
    view = draft.view(placement)
    try:
        best = draft.advisor.power(view, batch_size).power_limit_watts
    except RheostatError:  # savings are shown whatever the policy does
        return None
    record = None if best is None else measured.get((batch_size, best))
    if record is None or not (record.cost is not None or record.steps_per_epoch is not None):
        return None
    epoch = power_measurement(view, record)
    return _Steps(epoch, _profiling(measured, view, batch_size, epoch))


def _profiling(measured: LatestMeasurements, view: PolicyJob, batch_size: int, best: PowerMeasurement) -> Overhead:
    sums = [0.0, 0.0, 0.0]
    for limit in view.power_limits_watts:
        record = measured.get((batch_size, limit))
        if record is None or record.surveyed or record.steps is None or record.steps_per_epoch is None:
            continue
        share = record.steps / record.steps_per_epoch
        for at, (there, usual) in enumerate(
            zip(_figures(power_measurement(view, record)), _figures(best), strict=True)
        ):
            if there is not None and usual is not None:
                sums[at] += share * (there - usual)
    return Overhead(*sums)


def _figures(epoch: PowerMeasurement) -> tuple[float | None, float | None, float | None]:
    return epoch.energy_joules, epoch.time_seconds, epoch.cost
