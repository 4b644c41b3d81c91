"""What a trainer that can make a few steps at any batch size should measure before it asks for one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SurveyStep:
    """What a survey should measure of one batch size: a slice of training under each of some power limits.

    Attributes:
        batch_size: What to train with.
        power_limits_watts: The limits, in order; none: under whatever limit the GPU has.
    """

    batch_size: int
    power_limits_watts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What is worth measuring before a placement's first run.

    Attributes:
        steps: What to measure, in order; once that is done there may be more, so ask again. None: nothing is.
        slice_seconds: How long a slice should be at most ...
        slice_epochs: ... and how large a share of an epoch at the default batch size.
        reason: Why this is asked for, or why nothing is.
    """

    steps: tuple[SurveyStep, ...] = ()
    slice_seconds: float = 10.0
    slice_epochs: float = 0.02
    reason: str = "the policy asks for none"


NO_SURVEY = Survey()
