"""The metrics that a run has reported, as far as its end depends on them."""

from math import isfinite
from typing import SupportsFloat

from rheostat.errors import ConfigurationError
from rheostat.schemas.server import JobSettings

_LARGEST = 1e300
"""The server's bound of a metric."""


class UnreadMetric(float):
    """NaN in place of a metric that nobody has read: there is none, or only a part of its number is known."""


UNREAD = UnreadMetric("nan")


def number_of(metric: SupportsFloat | str | None) -> float:
    """Return a metric as a number.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(metric, float):
        return metric
    problem = repr(metric)
    if metric is not None and not isinstance(metric, str):
        try:
            return float(metric)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            problem = f"a {type(metric).__name__}: {error}"
    raise ConfigurationError(
        f"The metric that was reported must be a number, and is {problem}.",
        hint="Report a float; a tensor or array of one value does, as float(tensor) or tensor.mean() gives it.",
    )


class SeenMetrics:
    """Counts the evaluations of a run. Without a target there is no metric, and nothing diverges.

    Attributes:
        is_diverging: Whether the latest evaluation was NaN or infinite.

    Args:
        settings: What the job asks for.
    """

    def __init__(self, settings: JobSettings) -> None:
        self.is_diverging = False
        self._settings = settings
        self._reports = self._finite = self._in_a_row = 0

    def add(self, metric: float) -> float | None:
        """Count an evaluation; return its metric, None for one that is not finite."""
        is_finite = isfinite(metric) and abs(metric) <= _LARGEST
        self._reports += 1
        self._finite += is_finite
        self.is_diverging = not (is_finite or isinstance(metric, UnreadMetric) or self._settings.target is None)
        self._in_a_row = 0 if is_finite else self._in_a_row + self.is_diverging
        return metric if is_finite else None

    @property
    def has_diverged(self) -> bool:
        """Whether the job calls that diverged by now."""
        most = self._settings.diverged_after_reports
        return self.is_diverging and most is not None and self._in_a_row >= most

    @property
    def divergence(self) -> str:
        """What a run that :attr:`has_diverged` shows of it."""
        last = "its last evaluation" if self._in_a_row == 1 else f"its last {self._in_a_row} evaluations"
        return f"its metric was NaN or infinite in {last}"

    @property
    def silence(self) -> str | None:
        """What a run that ends now has left unsaid; None: nothing."""
        if self._reports == 0:
            return "no evaluation was reported: call trial.report(metric) after each one"
        if self._settings.target is None or self._finite > 0:
            return None
        what = "NaN or infinite" if self._in_a_row > 0 else "unknown"
        evaluations = "the only evaluation" if self._reports == 1 else f"all {self._reports} evaluations"
        return f"{self._settings.target.metric} was {what} in {evaluations}"
