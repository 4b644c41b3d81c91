"""Policies by name: what the installed packages offer in the entry-point group ``rheostat.policies``."""

from functools import cache
from importlib.metadata import entry_points

from rheostat.errors import FieldError, InvalidInput, PolicyFailed
from rheostat.policy.interface import BatchSizeOptimizer, Policy, PowerLimitOptimizer
from rheostat.policy.zeus import JustInTimePowerLimit, PruningThompsonSampling

GROUP = "rheostat.policies"

DEFAULT_POLICY = "rheostat"


def policy_names() -> tuple[str, ...]:
    """Return the names that a job may ask for, in alphabetical order."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def load_policy(name: str) -> Policy:
    """Return the policy of a name.

    An entry point may be a :class:`Policy`, or one optimizer class alone: the other half is then the baseline's.

    Raises:
        InvalidInput: No installed package offers that name.
        PolicyFailed: The entry point cannot be imported, or is something else.
    """
    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        offered = ", ".join(policy_names())
        raise InvalidInput(
            f"There is no policy {name!r} here.",
            hint=f"Choose one of: {offered}. More come from packages with an entry point in {GROUP!r}.",
            fields=[FieldError("policy", f"must be one of: {offered}")],
        )
    try:
        offer = point.load()
    except Exception as error:
        raise PolicyFailed(f"The policy {name!r} cannot be imported: {error}") from error
    if isinstance(offer, Policy):
        return offer
    if isinstance(offer, type) and issubclass(offer, BatchSizeOptimizer):
        return Policy(offer, JustInTimePowerLimit)
    if isinstance(offer, type) and issubclass(offer, PowerLimitOptimizer):
        return Policy(PruningThompsonSampling, offer)
    raise PolicyFailed(
        f"The entry point {name!r} in {GROUP!r} is neither a Policy nor an optimizer class.",
        hint="Point it at a subclass of BatchSizeOptimizer or PowerLimitOptimizer.",
    )
