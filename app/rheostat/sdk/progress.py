"""Totals of a trial that began in another process: what that one reported is added to what this one reports."""

from dataclasses import dataclass
from typing import Any, Self

from rheostat.schemas.trials import ObserveRequest, TrialProgress


@dataclass(frozen=True, slots=True)
class Before:
    """What lies before this process; nothing, in a run that begins anew.

    Attributes:
        epoch: Epochs that were reported, as the trainer counts.
        energy_joules: Their energy; None: unknown.
        time_seconds: Their time; None: unknown.
        started_at_epoch: Epochs that the model had done when this process began to train; None: unknown.
    """

    epoch: float = 0.0
    energy_joules: float | None = 0.0
    time_seconds: float | None = 0.0
    started_at_epoch: float | None = None

    @classmethod
    def of(cls, progress: TrialProgress | None, started_at_epoch: float | None) -> Self:
        """Return what the server knows of a trial that goes on, and the trainer of where it does."""
        if progress is None:
            return cls(started_at_epoch or 0.0, started_at_epoch=started_at_epoch)
        return cls(progress.epoch, progress.energy_joules, progress.time_seconds, started_at_epoch)

    def added_to(self, report: ObserveRequest) -> ObserveRequest:
        """Return a report of this process as one of the whole trial; what is unknown of a part is so of the total.

        Only an unknown energy before this process leaves that of the process as it is: the server estimates the rest.
        """
        changed: dict[str, Any] = {}
        if self.started_at_epoch is not None and self.started_at_epoch <= report.epoch:
            changed["started_at_epoch"] = self.started_at_epoch
        if self.energy_joules:
            changed["energy_joules"] = _sum(report.energy_joules, self.energy_joules)
        elif self.energy_joules is None and self.time_seconds is not None and report.energy_joules is not None:
            changed["energy_known_from_seconds"] = self.time_seconds + (report.energy_known_from_seconds or 0.0)
        elif self.energy_joules is None:
            changed["energy_joules"] = None
        if self.time_seconds != 0.0:
            changed["time_seconds"] = _sum(report.time_seconds, self.time_seconds)
        return report.model_copy(update=changed) if changed else report


def _sum(figure: float | None, before: float | None) -> float | None:
    return None if figure is None or before is None else figure + before
