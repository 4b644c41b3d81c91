"""What the use cases tell of the request in hand: for the log's one line about it, and for the metrics.

The use cases know which trial a request made or ended; what becomes of it, and that there are logs and metrics at
all, only the API knows. Outside of a request the notes go nowhere.
"""

from collections.abc import Mapping
from contextvars import ContextVar

_notes: ContextVar[dict[str, object] | None] = ContextVar("rheostat_notes", default=None)


def begin_notes(**facts: object) -> dict[str, object]:
    """Begin the notes of a request, in the context that all its work is done in."""
    notes = dict(facts)
    _notes.set(notes)
    return notes


def note(**facts: object) -> None:
    """Add facts to the notes of the request in hand; a later word on the same fact replaces an earlier one."""
    notes = _notes.get()
    if notes is not None:
        notes.update(facts)


def current_notes() -> Mapping[str, object]:
    """Return the notes of the request in hand."""
    return _notes.get() or {}
