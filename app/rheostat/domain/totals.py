"""What the runs of a placement have taken, and how they ended, as exact sums: savings read no trial.

State: by batch size, kind, end, and which figures are known, the sums over those runs, as ``"32 trial converged energy
time": [runs, epochs, joules, seconds, cost, metered joules, metered seconds, estimated runs]``. Figures are whole
billionths, the least that a report can say. Whole numbers add up to the same in any order, so that a trial that reports
after its end is taken out and put in again, and a rebuild finds the same state to the last digit. Trials that run are
not in it: the job holds them.

A placement of before there were such sums has no state until :func:`rheostat.domain.registration.complete`.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from rheostat.domain import energy
from rheostat.domain.records import Paid, RunRecord, Totals, TrialRecord
from rheostat.policy.interface import State

_UNIT: Final = 1_000_000_000

_Sums = list[int]


class _Group(NamedTuple):
    """Runs that are summed together."""

    batch_size: int
    is_trial: bool
    has_converged: bool
    knows_energy: bool
    knows_time: bool

    @property
    def name(self) -> str:
        words = [str(self.batch_size), "trial" if self.is_trial else "run"]
        words += [word for word, is_so in zip(_WORDS, self[2:], strict=True) if is_so]
        return " ".join(words)


_WORDS = ("converged", "energy", "time")
_NOT_METERED = energy.Metered(0.0, 0.0, 0.0)


class PlacementTotals:
    """The sums of a placement, to choose from.

    Args:
        state: Its state.
        running: Trials that run on it.
    """

    def __init__(self, state: State, running: Iterable[TrialRecord] = ()) -> None:
        sums = dict(state)
        for trial in running:
            if trial.epochs:
                _add(sums, Paid.of(trial), 1)
        self._groups = [(_group(name), figures) for name, figures in sums.items()]

    def trials(self, *, converged: bool = False, batch_size: int | None = None) -> list[Totals]:
        """Return the sums over the trials that trained, or over those that converged, or of one batch size."""
        return self._chosen(is_trial=True, converged=converged, batch_size=batch_size)

    def runs(self, *, converged: bool = False, batch_size: int | None = None) -> list[Totals]:
        """Return the sums over the whole runs, or over those not known to have missed the target, likewise."""
        return self._chosen(is_trial=False, converged=converged, batch_size=batch_size)

    def _chosen(self, *, is_trial: bool, converged: bool, batch_size: int | None) -> list[Totals]:
        sums: dict[tuple[bool, bool], _Sums] = {}
        for group, figures in self._groups:
            is_wanted = group.is_trial == is_trial and batch_size in (None, group.batch_size)
            if is_wanted and group.has_converged >= converged:
                known = group.knows_energy, group.knows_time
                sums[known] = _plus(sums.get(known), figures, 1)
        return [_totals(figures, *known, is_trial=is_trial) for known, figures in sorted(sums.items())]


def fold(paid: Iterable[Paid]) -> State:
    """Return the sums of a placement's past, as :meth:`rheostat.domain.history.History.paid` gives it."""
    groups: dict[_Group, _Sums] = {}
    for run in paid:
        group = _group_of(run)
        groups[group] = _plus(groups.get(group), _figures(run), 1)
    return {group.name: sums for group, sums in groups.items()}


def learn(state: State, before: TrialRecord | None, after: TrialRecord | RunRecord | None) -> State:
    """Return the sums with a run as it is now in place of how it was: the same object where that changes nothing.

    Args:
        state: The sums.
        before: The trial as it was; None: a run, which is new.
        after: The trial, or the run; None: another trial carries this one on, and what it took is part of that one.
    """
    old, new = _counted(before), _counted(after)
    if old == new:
        return state
    sums = dict(state)
    for run, times in ((old, -1), (new, 1)):
        if run is not None:
            _add(sums, run, times)
    return sums


def _counted(run: TrialRecord | RunRecord | None) -> Paid | None:
    is_counted = isinstance(run, RunRecord) or (run is not None and run.state != "running" and run.epochs)
    return Paid.of(run) if run is not None and is_counted else None


def _figures(run: Paid) -> _Sums:
    """Return what a run adds to its group."""
    known = energy.metered(run) or _NOT_METERED
    figures = (
        run.epochs if run.is_trial else None,
        run.energy_joules,
        run.time_seconds,
        run.cost,
        known.joules if known.seconds else None,
        known.seconds,
    )
    return [1, *(round(figure * _UNIT) if figure else 0 for figure in figures), int(energy.is_estimated(run))]


def _add(sums: dict[str, _Sums], run: Paid, times: int) -> None:
    name = _group_of(run).name
    after = _plus(sums.get(name), _figures(run), times)
    if after[0]:
        sums[name] = after
    else:
        del sums[name]


def _plus(sums: _Sums | None, figures: _Sums, times: int) -> _Sums:
    if sums is None:
        return [times * figure for figure in figures]
    return [so_far + times * figure for so_far, figure in zip(sums, figures, strict=True)]


def _group_of(run: Paid) -> _Group:
    knows_energy, knows_time = run.energy_joules is not None, run.time_seconds is not None
    return _Group(run.batch_size, bool(run.is_trial), bool(run.has_converged), knows_energy, knows_time)


def _group(name: str) -> _Group:
    size, kind, *words = name.split()
    return _Group(int(size), kind == "trial", *(word in words for word in _WORDS))


def _totals(sums: _Sums, knows_energy: bool, knows_time: bool, *, is_trial: bool) -> Totals:
    runs, epochs, joules, seconds, cost, metered_joules, metered_seconds, estimated = sums
    knows_cost = not (is_trial or knows_energy or knows_time)
    return Totals(
        runs,
        epochs / _UNIT if is_trial else None,
        joules / _UNIT if knows_energy else None,
        seconds / _UNIT if knows_time else None,
        cost / _UNIT if knows_cost else None,
        metered_joules / _UNIT,
        metered_seconds / _UNIT,
        estimated,
    )
