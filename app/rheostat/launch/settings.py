"""Reads the job's settings: from options, from a file, or as they were registered."""

import logging
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from rheostat.errors import ConfigurationError, RheostatError, ServerRefused
from rheostat.schemas.fields import sentence, unknown_field
from rheostat.schemas.server import Gpu, JobSettings
from rheostat.sdk.client import Client
from rheostat.sdk.spool import spool_directory

_log = logging.getLogger(__name__)

_OPTIONS = {
    "learning_rate.default": "--learning-rate",
    "learning_rate.scaling": "--lr-scaling",
    "target": "--target",
    "power_limits_watts": "--power-limits",
    "power_limit_step_watts": "--power-limit-step",
    "diverged_after_reports": "--diverged-after",
}
_TARGET = re.compile(r"\s*(?P<metric>\S(?:.*\S)?)\s*(?P<sign>>=|<=)\s*(?P<value>\S+)\s*")
_GPU = re.compile(r"(?P<model>.+):(?P<lowest>\d+)-(?P<highest>\d+)")


def whole_numbers(option: str, text: str | None) -> list[int] | None:
    """Read a list as ``32,64,128``."""
    if text is None:
        return None
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ConfigurationError(
            f"{option} {text!r} is not a list of whole numbers.", hint="Example: 32,64,128."
        ) from None


def target(text: str | None) -> dict[str, object] | None:
    """Read a target as ``accuracy>=0.96`` or ``loss<=0.3``."""
    if text is None:
        return None
    found = _TARGET.fullmatch(text)
    value: float | None = None
    if found is not None:
        with suppress(ValueError):
            value = float(found["value"])
    if found is None or value is None:
        raise ConfigurationError(
            f"--target {text!r} is not of the form metric>=value or metric<=value.",
            hint="Write 'accuracy>=0.96' or 'loss<=0.3', in quotes.",
        )
    direction = "maximize" if found["sign"] == ">=" else "minimize"
    return {"metric": found["metric"], "value": value, "direction": direction}


def gpu(text: str | None, count: int) -> Gpu | None:
    """Read a description of GPUs, as ``Tesla V100:100-250``: model, lowest and highest power limit."""
    if text is None:
        return None
    found = _GPU.fullmatch(text)
    if found is not None:
        with suppress(ValidationError):
            return Gpu(
                model=found["model"],
                count=count,
                min_power_limit_watts=int(found["lowest"]),
                max_power_limit_watts=int(found["highest"]),
            )
    raise ConfigurationError(
        f"--gpu {text!r} does not describe a GPU.", hint="Example: 'Tesla V100:100-250', in watts."
    )


def given_settings(
    options: Mapping[str, object], config: Path | None, *, power_only: bool = False
) -> JobSettings | None:
    """Return the settings from options and a file, options first; None when neither has any.

    Args:
        options: By the names of the settings, ``learning_rate.default`` for a nested one; None: not given.
        config: A TOML file with the fields of `JobSettings`.
        power_only: Whether the batch size stays as it is, so that no setting is needed.

    Raises:
        ConfigurationError: The file cannot be read, or a setting is invalid.
    """
    settings = {} if config is None else _read(config)
    for name, value in options.items():
        if value is not None:
            outer, _, inner = name.partition(".")
            if inner:
                whole = settings.get(outer)
                settings[outer] = {**(whole if isinstance(whole, dict) else {}), inner: value}
            else:
                settings[outer] = value
    if power_only:
        settings = _of_power_only(settings)
    if not settings:
        return None
    for name in ("beta_knob", "diverged_after_reports"):
        if options.get(name) == 0:
            settings[name] = None
    try:
        return JobSettings.model_validate(settings)
    except ValidationError as error:
        raise ConfigurationError(_explained(error, config)) from error


def registered_settings(client: Client, job_id: str) -> JobSettings:
    """Return the settings of a registered job; without a server, as they were when it last ran on this machine.

    Raises:
        ConfigurationError: The job is not registered, or its settings are unknown.
    """
    cached = _cache_file(client.base_url, job_id)
    hint = "Give --batch-sizes, --default-batch-size and --max-epochs, or --config FILE; or --power-only."
    try:
        settings = client.get_job(job_id).settings
    except RheostatError as error:
        if isinstance(error, ServerRefused) and error.server_code == "job_not_found":
            raise ConfigurationError(
                f"The job {job_id} is not registered, and no settings are given.", hint=hint
            ) from error
        with suppress(OSError, ValidationError):
            return JobSettings.model_validate_json(cached.read_bytes())
        why = f"No settings are given for job {job_id}, and the server does not return them: {error.message}"
        raise ConfigurationError(why, hint=hint) from error
    try:
        cached.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        cached.write_text(settings.model_dump_json())
    except OSError as error:
        _log.info("The job's settings cannot be cached for runs without a server: %s", error)
    return settings


def _of_power_only(settings: Mapping[str, object]) -> dict[str, object]:
    sizes = settings.get("batch_sizes") or [settings.get("default_batch_size") or 1]
    if not isinstance(sizes, list) or len(sizes) != 1:
        raise ConfigurationError(
            f"--power-only leaves the batch size as it is, but {sizes} are given.",
            hint="Give the one that the command trains with, or none; or leave --power-only out.",
        )
    run = JobSettings.power_only(max_epochs=1, batch_size=sizes[0]) if isinstance(sizes[0], int) else None
    defaults = {} if run is None else run.model_dump(exclude_unset=True)
    return {**defaults, **settings, "batch_sizes": sizes, "default_batch_size": sizes[0]}


def _cache_file(url: str, job_id: str) -> Path:
    name = sha256(f"{url}\n{job_id}".encode()).hexdigest()
    return spool_directory() / "jobs" / f"{name}.json"


def _read(config: Path) -> dict[str, object]:
    try:
        return tomllib.loads(config.read_text())
    except OSError as error:
        raise ConfigurationError(f"--config {config} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigurationError(f"--config {config} is not TOML: {error}.") from error


def _explained(error: ValidationError, config: Path | None) -> str:
    """Return what is wrong with the settings, by the names of the options."""
    problems = []
    for one in error.errors(include_url=False):
        path = ".".join(str(part) for part in one["loc"] if isinstance(part, str))
        if one["type"] == "extra_forbidden":
            problems.append(f"{path}: {unknown_field(JobSettings, one['loc'])}")
            continue
        outer = path.partition(".")[0]
        option = _OPTIONS.get(path) or _OPTIONS.get(outer) or f"--{outer.replace('_', '-')}"
        what = "is missing" if one["type"] == "missing" else one["msg"].removeprefix("Value error, ")
        problems.append(f"{path} ({option}): {what}")
    where = "" if config is None else f" (options and {config})"
    return sentence(f"The job's settings are invalid{where}: {'; '.join(problems)}")
