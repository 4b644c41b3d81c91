"""Wire models as rows of a table: every row of a kind has the same columns, and one value in each."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from csv import writer
from io import StringIO
from json import dumps
from typing import Any, get_args

from rheostat.schemas.fields import Body

_BEGIN_FORMULAS = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""OWASP's list for CSV injection. Some spreadsheets trim spaces, and take a full-width sign for the other."""


def columns_of(kind: type[Body]) -> list[str]:
    """Return the columns of a kind of model: a nested field is named after its path, as ``gpu_model``."""
    columns: list[str] = []
    for name, field in kind.model_fields.items():
        nested = _model_in(field.annotation)
        columns += [name] if nested is None else [f"{name}_{column}" for column in columns_of(nested)]
    return columns


def row_of(model: Body) -> dict[str, Any]:
    """Return a model as a row. Lists are joined by spaces; those of models are JSON, and so are mappings."""
    row: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value, nested = getattr(model, name), _model_in(field.annotation)
        if nested is None:
            row[name] = _cell(value)
        elif value is None:
            row |= {f"{name}_{column}": None for column in columns_of(nested)}
        else:
            row |= {f"{name}_{column}": cell for column, cell in row_of(value).items()}
    return row


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield rows as CSV, after a line with their columns.

    A text that a spreadsheet would take for a formula has an apostrophe before it: what a trainer sends, as the name of
    its node, must not be run where the file is opened.
    """
    yield _csv_line(columns)
    for row in rows:
        yield _csv_line([_harmless(row[column]) for column in columns])


def _csv_line(values: Sequence[Any]) -> str:
    line = StringIO()
    # With both in its end of a line, both are quoted in a text: a bare one would begin a line of its own.
    writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _BEGIN_FORMULAS.match(value) else value


def _model_in(annotation: Any) -> type[Body] | None:
    """Return the model that a field holds, or may hold; None: it holds something else."""
    candidates = (annotation, *get_args(annotation)) if type(None) in get_args(annotation) else (annotation,)
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, Body)), None)


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dumps(value) if value else None
    if isinstance(value, list) and value and isinstance(value[0], Body):
        return dumps([one.model_dump(mode="json") for one in value])
    return " ".join(map(str, value)) if isinstance(value, list) else value
