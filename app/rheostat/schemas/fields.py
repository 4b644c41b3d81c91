"""The fields of the wire models: types with their bounds, shared by the bodies of server and agent."""

import re
from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

JOB_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
JOB_ID_RULE = "1 to 128 letters of A to Z and a to z, digits, dots, hyphens and underscores, a letter or digit first"
"""The pattern of a job's id in words."""
IDEMPOTENCY_KEY_PATTERN = r"^[!-~]{1,128}$"

NAMESPACE_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
NAMESPACE = re.compile(NAMESPACE_PATTERN)
DEFAULT_NAMESPACE = "default"

MAX_BATCH_SIZES = 64
MAX_POWER_LIMITS = 64
MAX_MEASUREMENTS = 256
MAX_CURVE_POINTS = 10_000
MAX_WATTS = 100_000
MAX_METRIC = 1e300


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be printable text without surrounding spaces")
    return text


def _whole(value: object) -> object:
    """Accept 32.0 as 32: JSON has one type of number, and some clients write all of them with a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)


def _iso_day(value: object) -> object:
    """Refuse a number, which pydantic would take for seconds since 1970."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("must be a day, as 2026-11-01")
    return value


Day = Annotated[date, BeforeValidator(_iso_day)]


MAX_DETAIL = 500


def on_one_line(text: str) -> str:
    """Return a text as it can be shown in a line: without control characters and ends of lines, and not too long."""
    shown = "".join(one if one.isprintable() else " " for one in text[: 4 * MAX_DETAIL])
    return " ".join(shown.split())[:MAX_DETAIL]


Detail = Annotated[str, Field(max_length=4 * MAX_DETAIL), AfterValidator(on_one_line)]

# No control characters: PostgreSQL cannot store NUL, and the others are unreadable.
Printable = AfterValidator(_printable)
Name = Annotated[str, Field(min_length=1, max_length=128), Printable]
JobId = Annotated[str, Field(pattern=JOB_ID_PATTERN, examples=["nightly-finetune"])]
Namespace = Annotated[str, Field(pattern=NAMESPACE_PATTERN, examples=["team-vision"])]
TrialId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])]
IdempotencyKey = Annotated[str, Field(pattern=IDEMPOTENCY_KEY_PATTERN, examples=["run-2026-11-23"])]

BatchSize = Annotated[int, Field(ge=1, le=2**31 - 1), Whole]
GpuCount = Annotated[int, Field(ge=1, le=65_536), Whole]
MaxEpochs = Annotated[int, Field(ge=1, le=1_000_000), Whole]
WindowSize = Annotated[int, Field(ge=0, le=1000), Whole]
Seed = Annotated[int, Field(ge=0, le=2**53 - 1), Whole]
Watts = Annotated[int, Field(ge=1, le=MAX_WATTS), Whole]
# No run exceeds these, and sums of a hundred thousand of them stay exact enough to compare.
Joules = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
PositiveJoules = Annotated[float, Field(ge=1e-9, le=1e15, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(ge=1e-9, le=1e10, allow_inf_nan=False)]
Steps = Annotated[float, Field(ge=1e-3, le=1e12, allow_inf_nan=False)]  # figures are divided by them
Epoch = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
PositiveEpoch = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
Metric = Annotated[float, Field(ge=-MAX_METRIC, le=MAX_METRIC, allow_inf_nan=False)]
EtaKnob = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
BetaKnob = Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)]
BudgetRuns = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
SurveySeconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
DivergedAfter = Annotated[int, Field(ge=1, le=1000), Whole]
MaxSlowdown = Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)]

Scope = Literal["trainer", "admin", "read"]
TrialState = Literal["running", "converged", "failed", "stopped", "oom", "cancelled", "abandoned"]
Outcome = Literal["failed", "oom", "cancelled"]
Action = Literal["continue", "stop"]
FirstRun = Literal["predicted", "default"]


def _candidate(default: int, info: ValidationInfo) -> int:
    candidates = info.data.get("batch_sizes")
    if candidates is not None and default not in candidates:
        raise ValueError(f"must be one of batch_sizes, {candidates}")
    return default


def _ascending(values: list[int]) -> list[int]:
    if len(set(values)) != len(values):
        raise ValueError("must not name a value twice")
    return sorted(values)


def _listed(values: object) -> object:
    """Accept what Python has for a list: JSON has one kind of sequence."""
    return list(values) if isinstance(values, tuple | range) else values


CurvePoint = Annotated[list[Metric], Field(min_length=2, max_length=2)]
# The first wrong point is named; thousands would take a server too long.
Curve = Annotated[list[CurvePoint], Field(min_length=1, max_length=MAX_CURVE_POINTS, fail_fast=True)]
BatchSizes = Annotated[
    list[BatchSize],
    Field(min_length=1, max_length=MAX_BATCH_SIZES),
    BeforeValidator(_listed),
    AfterValidator(_ascending),
]
DefaultBatchSize = Annotated[BatchSize, AfterValidator(_candidate)]
PowerLimits = Annotated[
    list[Watts],
    Field(min_length=1, max_length=MAX_POWER_LIMITS),
    BeforeValidator(_listed),
    AfterValidator(_ascending),
]


class Body(BaseModel):
    """Base of all bodies: strict, closed, and frozen once read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


UNKNOWN_FIELD = "unknown field"


def unknown_field(model: type[BaseModel], path: Sequence[str | int]) -> str:
    """Return what to say of a field that a model does not have: with the name that is meant, if one is alike."""
    for step in path[:-1]:
        if isinstance(step, str) and step in model.model_fields:
            model = _model_in(model.model_fields[step].annotation) or model
    meant = get_close_matches(str(path[-1]), model.model_fields, n=1)
    return f"{UNKNOWN_FIELD}; did you mean {meant[0]}?" if meant else UNKNOWN_FIELD


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in a type, as in a list of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)


def sentence(text: str) -> str:
    """Return a text with a full stop, unless it ends as a question."""
    return text if text.endswith("?") else f"{text.rstrip('.')}."
