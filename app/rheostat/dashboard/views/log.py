"""The decision log: runs that were decided alike, one after the other, stand in one entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from rheostat.dashboard import words
from rheostat.schemas.trials import TrialDetail


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A run as the log has it.

    Attributes:
        power_limit: Empty: it has none.
        measures_limits: Whether it has none because the limits are measured in it.
        took: Epochs, energy, time and cost, as far as they are known; empty: nothing is.
    """

    trial_id: str
    number: int
    batch_size: int
    power_limit: str
    measures_limits: bool
    state: str
    reason: str
    state_reason: str
    took: str
    at: datetime
    ago: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Runs of one batch size and power limit in a row, for one kind of reason, newest first."""

    rows: list[TrialRow]

    @property
    def newest(self) -> TrialRow:
        """The run that stands for all."""
        return self.rows[0]

    @property
    def oldest(self) -> TrialRow:
        """The first of them."""
        return self.rows[-1]


def decision_log(trials: Sequence[TrialDetail], now: datetime) -> list[Entry]:
    """Return the log of trials, newest first."""
    return [Entry([trial_row(trial, now) for trial in group]) for _, group in groupby(trials, key=_kind)]


def trial_row(trial: TrialDetail, now: datetime) -> TrialRow:
    """Return a trial as the log has it."""
    return TrialRow(
        trial_id=trial.trial_id,
        number=trial.number,
        batch_size=trial.batch_size,
        power_limit="" if trial.power_limit_watts is None else words.watts(trial.power_limit_watts),
        measures_limits=bool(trial.profile_power_limits_watts),
        state=trial.state,
        reason=words.sentence(trial.reason),
        state_reason=words.sentence(trial.state_reason),
        took=_took(trial),
        at=trial.created_at,
        ago=words.ago(trial.created_at, now),
    )


def _took(trial: TrialDetail) -> str:
    found = [] if trial.epochs is None else [f"{trial.epochs:g} epoch{'' if trial.epochs == 1.0 else 's'}"]
    if trial.energy_joules is not None:
        found.append(words.energy(trial.energy_joules) + (" (estimated)" if trial.energy_is_estimated else ""))
    found += [] if trial.time_seconds is None else [words.duration(trial.time_seconds)]
    found += [] if trial.cost is None else [words.cost(trial.cost)]
    return ", ".join(found)


def _kind(trial: TrialDetail) -> tuple[object, ...]:
    return trial.batch_size, trial.power_limit_watts, trial.state, trial.reason.partition(":")[0]
