"""CSV files that users give: read line by line, with errors that say where they are."""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rheostat.errors import InvalidInput

_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, read so that an error says where it is.

    Attributes:
        path: The file.
        number: Of the line, from 1.
        values: By column, without surrounding spaces.
    """

    path: Path
    number: int
    values: dict[str, str]

    def error(self, column: str, fault: str) -> InvalidInput:
        """Return the error that a value has a fault."""
        return InvalidInput(
            f"{self.path}, line {self.number}, column {column}: {self.values[column]!r} {fault}.",
            hint="Correct the line or leave it out.",
        )

    def text(self, column: str) -> str:
        """Return a value that must not be empty."""
        if not self.values[column]:
            raise self.error(column, "must not be empty")
        return self.values[column]

    def finite(self, column: str) -> float:
        """Return a finite number."""
        try:
            number = float(self.values[column])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self.error(column, "must be a finite number")
        return number

    def positive(self, column: str) -> float:
        """Return a number above 0."""
        number = self.finite(column)
        if number <= 0:
            raise self.error(column, "must be greater than 0")
        return number

    def whole(self, column: str) -> int:
        """Return a whole number above 0."""
        number = self.positive(column)
        if not number.is_integer():
            raise self.error(column, "must be a whole number")
        return int(number)

    def whole_or_never(self, column: str) -> int | None:
        """Return a whole number above 0, or None where there is none."""
        return None if self.values[column].lower() in ("", "nan") else self.whole(column)


def read_lines(path: Path, columns: Sequence[str], optional: Sequence[str] | None = None) -> Iterator[Line]:
    """Yield the lines of a CSV file with a header; commas, semicolons or tabs separate its columns.

    Args:
        path: The file.
        columns: Those that it must have.
        optional: Those that it may have; None: any, which are not read.

    Raises:
        InvalidInput: It cannot be read; the message names file, line and column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            # Where a comma is the decimal sign, spreadsheets write semicolons.
            reader = csv.DictReader(file, strict=True, delimiter=max(",;\t", key=header.count))
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            missing = [column for column in columns if column not in reader.fieldnames]
            if missing:
                found = ", ".join(reader.fieldnames)[:_MOST_SHOWN] or "nothing"
                raise InvalidInput(
                    f"{path}, line 1 lacks the columns {', '.join(missing)}.",
                    hint=f"The header needs {','.join(columns)}, and has {found}. Is it the right file?",
                )
            names = [*columns, *(name for name in optional or () if name in reader.fieldnames)]
            if unknown := sorted(set(reader.fieldnames) - {*names}) if optional is not None else []:
                raise InvalidInput(
                    f"{path}, line 1 has unknown columns: {', '.join(unknown)}.",
                    hint=f"There may be: {', '.join(dict.fromkeys([*columns, *(optional or ())]))}.",
                )
            empty = True
            for row in reader:
                empty = False
                if None in row or None in row.values():
                    raise InvalidInput(
                        f"{path}, line {reader.line_num}: as many fields are needed as the header has columns, "
                        f"{len(reader.fieldnames)}.",
                        hint="Correct the line or leave it out; a download that broke off ends like this.",
                    )
                yield Line(path, reader.line_num, {column: row[column].strip() for column in names})
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check the path and its permissions."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} is not a CSV file in UTF-8: {error}.", hint="Export it again as CSV.") from error
    if empty:
        raise InvalidInput(f"{path} has a header and nothing else.", hint="Pass a file with recorded lines.")
