"""How far a run is, in whatever unit its trainer counts."""

from dataclasses import dataclass

from rheostat.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class EpochLength:
    """What an epoch has of a smaller unit.

    Attributes:
        batch_size: The run's global batch size.
        examples: Examples, tokens or whatever else the batch size counts; None: unknown.
        steps: Steps, as the loader says; None: unknown.
    """

    batch_size: int
    examples: float | None = None
    steps: int | None = None

    def epochs(self, *, epoch: float | None, step: float | None, examples: float | None) -> float | None:
        """Return the epochs done, by the one of these figures that is given; None: none is.

        Raises:
            ConfigurationError: Several are given, or the length of an epoch is unknown.
        """
        given = [figure for figure in (epoch, step, examples) if figure is not None]
        if len(given) > 1:
            raise ConfigurationError("A report has one of epoch, step and examples.", hint="Leave out the others.")
        if step is not None:
            steps = self.examples / self.batch_size if self.examples else self.steps
            return step / self._known(steps, "steps")
        return epoch if examples is None else examples / self._known(self.examples, "examples")

    def _known(self, length: float | None, unit: str) -> float:
        if not length:
            raise ConfigurationError(
                f"It is not known how many {unit} an epoch has.",
                hint="Give client.trial(..., examples_per_epoch=len(dataset)), or report epoch=.",
            )
        return length
