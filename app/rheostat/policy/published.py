"""The knobs of Zeus's batch size optimizer server, for jobs that are explored exactly as that server explores them."""

from dataclasses import dataclass

from rheostat.policy.thompson import FLAT, Prior

ZEUS = "zeus"
"""The name of the policy that knows them."""

__all__ = ["FLAT", "ZEUS", "Prior", "Published"]


@dataclass(frozen=True, slots=True)
class Published:
    """How a job is explored, one batch size at a time.

    Attributes:
        pruning_rounds: How often each surviving batch size is explored before sampling starts.
        explorations: Results that an arm needs before it is sampled; until then it is tried.
        prior: What is believed of each arm's expected cost before its first result.
    """

    pruning_rounds: int = 2
    explorations: int = 2
    prior: Prior = FLAT
