"""The client's environment variables, and a warning for one that is misspelt."""

import logging
import os
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache

_log = logging.getLogger("rheostat")

PREFIX = "RHEOSTAT_"
VARIABLES = frozenset(
    PREFIX + name
    for name in (
        "URL",
        "TOKEN",
        "TOKEN_FILE",
        "GPUS",
        "ANSWER_SECONDS",
        "SPOOL_DIR",
        "AGENT_DIR",
        "LOCKS_DIR",
        # Set by `rheostat run` for its command.
        "JOB_ID",
        "TRIAL_ID",
        "BATCH_SIZE",
        "PER_DEVICE_BATCH_SIZE",
        "LEARNING_RATE",
        "EPOCHS",
        "SEED",
        "POWER_LIMIT_WATTS",
    )
)
_ALIKE = 0.9
"""So alike is RHEOSTAT_ULR to RHEOSTAT_URL; no variable of the server is as alike to one of the client."""


def misspelt(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are probably meant to be others."""
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in VARIABLES)
    likely = {name: get_close_matches(name, sorted(VARIABLES), n=1, cutoff=_ALIKE) for name in unknown}
    return {name: match[0] for name, match in likely.items() if match}


@cache
def warn_of_misspelt_variables() -> None:
    """Warn of the misspelt variables of this process, once."""
    for name, meant in misspelt(os.environ).items():
        _log.warning("The variable %s is unknown; is %s meant?", name, meant)
