"""The tags that a caller gives a run, checked before anything is asked."""

from collections.abc import Iterable, Mapping

from pydantic import TypeAdapter, ValidationError

from rheostat.errors import ConfigurationError
from rheostat.schemas.tags import TAG_RULE, Tags


def checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Return the tags of a run.

    Raises:
        ConfigurationError: They are no tags.
    """
    if not tags:
        return {}
    try:
        checked: dict[str, str] = TypeAdapter(Tags).validate_python(dict(tags), strict=True)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        where = f"The tag {wrong['loc'][0]!r}" if wrong["loc"] else "The tags"
        raise ConfigurationError(f"{where} cannot be kept: {wrong['msg']}.", hint=f"Tags are {TAG_RULE}.") from error
    return checked


def read_tags(texts: Iterable[str]) -> dict[str, str]:
    """Return tags that are written as ``key=value``.

    Raises:
        ConfigurationError: One of them is not.
    """
    tags: dict[str, str] = {}
    for text in texts:
        key, is_given, value = text.partition("=")
        if not is_given:
            raise ConfigurationError(f"--tag {text!r} has no value.", hint="Write it as mlflow_run=7.")
        tags[key] = value
    return checked_tags(tags)
