"""What a trial's methods do outside of its block."""

from rheostat.errors import ConfigurationError
from rheostat.schemas.fields import Action


def report_outside(process: int | None) -> Action:
    """Return what a report in another process than the one that entered the block is answered.

    Args:
        process: The process that entered it; None: none did.

    Raises:
        ConfigurationError: The block was never entered, so that nothing could ever be learnt from the run.
    """
    if process is None:
        raise ConfigurationError(
            "The trial's block was not entered, so that there is nothing to report to.",
            hint="Write: with client.trial(...) as trial: ... and report inside of the block.",
        )
    return "continue"
