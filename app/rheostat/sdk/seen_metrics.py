"""The metrics that a run has reported, as far as its end depends on them."""

from math import isfinite
from typing import SupportsFloat

from rheostat.errors import ConfigurationError
from rheostat.schemas.server import JobSettings

_LARGEST = 1e300


def number_of(metric: SupportsFloat | str | None) -> float:
    """Return a metric as a number.

    Raises:
        ConfigurationError: It is none.
    """
    problem = repr(metric)
    if metric is not None and not isinstance(metric, str):
        try:
            return float(metric)
        except (TypeError, ValueError, RuntimeError) as error:
            problem = f"a {type(metric).__name__}: {error}"
    raise ConfigurationError(
        f"The metric that was reported must be a number, and is {problem}.",
        hint="Report a float; a tensor or array of one value does, as float(tensor) or tensor.mean() gives it.",
    )


class SeenMetrics:
    """Counts the evaluations of a run; a metric that JSON or the server's bounds do not know is not finite.

    Args:
        settings: What the job asks for. Without a target there is no metric, and nothing diverges.
    """

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings
        self._reports = self._finite = self._in_a_row = 0

    def add(self, metric: float) -> float | None:
        """Count an evaluation; return its metric, None for one that is not finite."""
        is_finite = isfinite(metric) and abs(metric) <= _LARGEST
        self._reports += 1
        self._finite += is_finite
        self._in_a_row = 0 if is_finite else self._in_a_row + 1
        return metric if is_finite else None

    @property
    def is_diverging(self) -> bool:
        """Whether the latest one was not finite."""
        return self._settings.target is not None and self._in_a_row > 0

    @property
    def has_diverged(self) -> bool:
        """Whether the job calls that diverged by now."""
        most = self._settings.diverged_after_reports
        return self.is_diverging and most is not None and self._in_a_row >= most

    @property
    def silence(self) -> str | None:
        """What a run that ends now has left unsaid; None: nothing."""
        target = self._settings.target
        if self._reports == 0:
            return "no evaluation was reported: call trial.report(metric) after each one"
        if target is not None and self._finite == 0:
            return f"{target.metric} was NaN or infinite in all evaluations, {self._reports}"
        return None
