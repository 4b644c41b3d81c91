"""Runs of before in a CSV file: read, checked as a whole, and recorded line by line."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from rheostat.csv_lines import Line, read_lines
from rheostat.domain.job import Decision
from rheostat.errors import InvalidInput, RheostatError
from rheostat.schemas.trials import ObserveRunAnswer, ObserveRunRequest
from rheostat.service.context import Service
from rheostat.service.jobs import get_job
from rheostat.service.trials import observe_run

_AT_ONCE = 64
"""Runs that are on their way to the database: they share its commits."""

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Imported:
    """A run of a file.

    Attributes:
        line: Where it is.
        job_id: The job that it is a run of.
        run: What is recorded.
        key: The same whenever the file is imported again.
    """

    line: Line
    job_id: str
    run: ObserveRunRequest
    key: str


def import_history(
    service: Service, path: Path, job_id: str | None, defaults: Mapping[str, str] = MappingProxyType({})
) -> dict[str, int]:
    """Record the runs of a file; what was recorded before is not recorded again.

    Nothing is recorded unless all of its lines can be.

    Args:
        service: The service.
        path: The file; see docs/history.md for its columns.
        job_id: The job of all lines; None: the column ``job`` names it.
        defaults: What a line has in columns that are missing or empty.

    Returns:
        How many runs there are of each job.

    Raises:
        InvalidInput: A line is wrong; the message names line and column.
        JobNotFound: There is no such job.
    """
    sizes: dict[str, list[int]] = {}
    counts: dict[str, int] = {}
    for one in read_history(path, job_id, defaults):
        if one.job_id not in sizes:
            sizes[one.job_id] = get_job(service, one.job_id).settings.batch_sizes
        if one.run.batch_size not in sizes[one.job_id]:
            raise one.line.error("batch_size", f"is not among those of {one.job_id}, {sizes[one.job_id]}")
        counts[one.job_id] = counts.get(one.job_id, 0) + 1
    waiting: deque[tuple[Line, Future[Decision[ObserveRunAnswer]]]] = deque()
    for one in read_history(path, job_id, defaults):
        waiting.append((one.line, observe_run(service, one.job_id, one.run, one.key)))
        if len(waiting) == _AT_ONCE:
            _await(*waiting.popleft())
    while waiting:
        _await(*waiting.popleft())
    return counts


def _await(line: Line, recorded: Future[Decision[ObserveRunAnswer]]) -> None:
    try:
        recorded.result()
    except RheostatError as error:
        raise InvalidInput(f"{line.path}, line {line.number}: {error.message}", hint=error.hint) from error


def read_history(path: Path, job_id: str | None, defaults: Mapping[str, str]) -> Iterator[Imported]:
    """Yield the runs of a file, one at a time.

    Raises:
        InvalidInput: A line is wrong; the message names line and column.
    """
    needed = [column for column in ("job", "batch_size", "gpu_model") if column not in defaults]
    if job_id is not None:
        needed.remove("job")
    for given in read_lines(path, needed, ("run", *defaults, *_COLUMNS)):
        line = replace(given, values=given.values | {at: of for at, of in defaults.items() if not given.values.get(at)})
        of_job = job_id or line.text("job")
        yield Imported(line, of_job, _run(line), _key(of_job, given))


def _run(line: Line) -> ObserveRunRequest:
    given = {column: read(line, column) for column, read in _COLUMNS.items() if line.values.get(column)}
    gpu = {column.removeprefix("gpu_"): given.pop(column) for column in [*given] if column.startswith("gpu_")}
    metric = given.pop("metric", None)
    if metric is not None and "curve" not in given:
        if "epochs" not in given:
            raise line.error("metric", "needs the epochs after which it was reached, in the column epochs")
        given["curve"] = [[given["epochs"], metric]]
    body: dict[str, Any] = {**given, "batch_size": line.whole("batch_size")}
    body["gpu"] = {"model": line.text("gpu_model"), **gpu}
    try:
        return ObserveRunRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"]]
        column = "_".join(parts[:2]) if parts[:1] == ["gpu"] else next(iter(parts), "")
        where = f", column {column}" if column in line.values else ""
        raise InvalidInput(
            f"{line.path}, line {line.number}{where}: {first['msg'].removeprefix('Value error, ')}.",
            hint="Correct the line or leave it out.",
        ) from error


def _key(job_id: str, line: Line) -> str:
    """Return what identifies a run: its name, else what the line says and where."""
    what = line.values.get("run") or f"{line.number} {sorted(line.values.items())}"
    return f"import-{sha256(f'{job_id} {what}'.encode()).hexdigest()}"


def _truth(line: Line, column: str) -> bool:
    try:
        return _TRUTH[line.values[column].lower()]
    except KeyError:
        raise line.error(column, "must be true or false") from None


def _curve(line: Line, column: str) -> list[list[float]]:
    try:
        pairs = [pair.split(":") for pair in line.values[column].split(";")]
        return [[float(epoch), float(metric)] for epoch, metric in pairs]
    except ValueError:
        raise line.error(column, "must be written as 1:0.52;2:0.61, an epoch and a metric each") from None


_COLUMNS: dict[str, Callable[[Line, str], object]] = {
    "gpu_count": Line.whole,
    "gpu_min_power_limit_watts": Line.whole,
    "gpu_max_power_limit_watts": Line.whole,
    "energy_joules": Line.positive,
    "time_seconds": Line.positive,
    "cost": Line.positive,
    "converged": _truth,
    "epochs": Line.positive,
    "curve": _curve,
    "metric": Line.finite,
    "power_limit_watts": Line.whole,
}
