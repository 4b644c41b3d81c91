"""What the server knows as data frames. Needs pandas, which is not installed with Rheostat."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rheostat.errors import ConfigurationError
from rheostat.extras import install_command
from rheostat.schemas.fields import Body
from rheostat.schemas.rows import columns_of, row_of

if TYPE_CHECKING:
    import pandas as pd


def frame_of(kind: type[Body], models: Iterable[Body]) -> "pd.DataFrame":
    """Return a frame with a row for each model of a kind.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError("Data frames need pandas.", hint=install_command("pandas")) from error
    return pd.DataFrame([row_of(model) for model in models], columns=columns_of(kind))


def all_pages(ask: Callable[[str | None], Any], items: str) -> Iterator[Any]:
    """Yield the items of all pages.

    Args:
        ask: Returns the page after a cursor; None: the first one.
        items: Name of the items in a page.
    """
    cursor: str | None = None
    while True:
        page = ask(cursor)
        yield from getattr(page, items)
        cursor = page.next_cursor
        if cursor is None:
            return
