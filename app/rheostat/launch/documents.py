"""Finds the evaluations in a JSON document, as `trainer_state.json`: in lists, columns and nested objects. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 8
_decoder = json.JSONDecoder()


def is_document(text: str, metric: str | None) -> bool:
    """Return whether a file is JSON of several lines, or of one line that has several evaluations in a list.

    Of JSON lines each is an object of its own, however deep.
    """
    text = text.lstrip()
    if not text.startswith("{"):
        return text.startswith("[")
    first = text.partition("\n")[0]
    try:
        value = json.loads(first)
    except ValueError:
        return '"' in text and not first.rstrip().endswith("}")  # it goes on in the next line, or is being written
    return _has_a_list(value, metric)


def _has_a_list(value: object, metric: str | None) -> bool:
    if not isinstance(value, dict):
        return False
    return any(
        (isinstance(one, list) and (_has_objects(one) or name == metric)) or _has_a_list(one, metric)
        for name, one in value.items()
    )


def records(text: str, metric: str | None) -> list[Mapping[str, Any]] | None:
    """Return the records of all JSON values in a text, one after the other; None: the last one is not complete."""
    found: list[Mapping[str, Any]] = []
    while text := text.lstrip():
        try:
            value, end = _decoder.raw_decode(text)
        except ValueError:
            return None
        found += _records(value, metric)
        text = text[end:].lstrip(",")
    return found


def _records(value: object, metric: str | None, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the objects that have no others in them, and the rows of columns that have the metric."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in value:
            yield from _records(one, metric, depth + 1)
    elif isinstance(value, dict):
        columns = value.get(metric) if metric is not None else None
        inner = [one for one in value.values() if _has_objects(one)]
        if isinstance(columns, list) and not _has_objects(columns):
            yield from _rows(value, len(columns))
        elif inner and metric not in value:
            for one in inner:
                yield from _records(one, metric, depth + 1)
        else:
            yield value


def _has_objects(value: object) -> bool:
    return (isinstance(value, dict) and bool(value)) or (
        isinstance(value, list) and any(isinstance(one, dict) for one in value)
    )


def _rows(columns: Mapping[str, Any], count: int) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of columns, as Keras writes its history; what is as long as the metric belongs to it."""
    whole = {name: cells for name, cells in columns.items() if isinstance(cells, list) and len(cells) == count}
    for row in range(count):
        yield {name: cells[row] for name, cells in whole.items()}
