"""How a run begins: rank 0 asks the server, and every rank learns what it answered."""

from collections.abc import Callable
from dataclasses import dataclass

from rheostat.errors import ConfigurationError, RheostatError
from rheostat.schemas.server import JobSettings
from rheostat.schemas.trials import Trial
from rheostat.sdk.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Start:
    """The server's answer to rank 0, for all ranks.

    Attributes:
        trial: The trial; None: there is none.
        settings: Those of the job, as the server has them; None: there was no answer.
        problem: Why there is no trial.
        mistake: Why the run cannot begin.
    """

    trial: Trial | None = None
    settings: JobSettings | None = None
    problem: str | None = None
    mistake: str | None = None


def start_together(ranks: Ranks, ask: Callable[[], Start]) -> Start:
    """Ask on rank 0 alone, and return the answer on every rank, which must all call it.

    Raises:
        RheostatError: What asking raised, on rank 0.
        ConfigurationError: The same, on the others.
    """
    mistake: RheostatError | None = None
    start = Start()
    if ranks.rank == 0:
        try:
            start = ask()
        except RheostatError as error:
            mistake, start = error, Start(mistake=str(error))
    start = ranks.broadcast(start)
    if start.mistake is not None:
        raise mistake or ConfigurationError(start.mistake)
    return start
