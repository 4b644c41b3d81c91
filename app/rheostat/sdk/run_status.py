"""Whether a run goes on, after a report."""

from typing import NamedTuple, Self

from rheostat.schemas.fields import Action
from rheostat.schemas.trials import ObserveAnswer


class RunStatus(NamedTuple):
    """What a report is answered, by the server or without it.

    Attributes:
        action: Whether to go on.
        power_limit_watts: The best power limit that is known; None: none is.
        has_converged: The target is reached.
        reason: Why the run goes on or ends.
    """

    action: Action = "continue"
    power_limit_watts: int | None = None
    has_converged: bool = False
    reason: str = ""

    @classmethod
    def of(cls, answer: ObserveAnswer) -> Self:
        """Return what the server answered."""
        return cls(answer.action, answer.power_limit_watts, answer.state == "converged", answer.reason)

    @property
    def is_short_of_target(self) -> bool:
        """Whether the run ends without having reached its target, so that its model is not the one asked for."""
        return self.action == "stop" and not self.has_converged
