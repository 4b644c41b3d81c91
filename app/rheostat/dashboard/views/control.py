"""What an operator ordered of a job, and what may be ordered."""

from dataclasses import dataclass
from datetime import datetime

from rheostat.dashboard import words
from rheostat.schemas.control import Order, Pause
from rheostat.schemas.server import JobDetail

DONE = {
    "pin": "The job is pinned.",
    "unpin": "The pin is removed: the policy chooses again.",
    "pause": "Exploring is paused.",
    "resume": "Exploring goes on.",
    "force": "The next run trains as ordered.",
    "unforce": "The forced run is withdrawn.",
}
"""What an order came to, by its name."""


@dataclass(frozen=True, slots=True)
class ActiveOrder:
    """An order that is in force.

    Attributes:
        text: What is ordered.
        reason: Why; empty: no reason was given.
        by: Who ordered it.
        since: Since when.
        ago: How long ago that was.
        end: Name of the order that ends it.
        end_text: What the button says that ends it.
    """

    text: str
    reason: str
    by: str
    since: datetime
    ago: str
    end: str
    end_text: str


def active_orders(job: JobDetail, now: datetime) -> list[ActiveOrder]:
    """Return the orders in force, in the order in which they count."""
    control = job.control
    if control is None:
        return []
    found = []
    if (force := control.force) is not None:
        text = f"The next run is forced to train with batch size {_what(force)}"
        found.append(_order(text, force, now, "unforce", "Withdraw"))
    if (pin := control.pin) is not None:
        text = f"Pinned to batch size {_what(pin)}: nothing is explored"
        found.append(_order(text, pin, now, "unpin", "Unpin"))
    if (pause := control.pause) is not None:
        text = "Exploring is paused: every run trains as is best known"
        found.append(_order(text, pause, now, "resume", "Resume exploring"))
    return found


def _what(order: Order) -> str:
    limit = "" if order.power_limit_watts is None else f" at {words.watts(order.power_limit_watts)}"
    return f"{order.batch_size}{limit}"


def _order(text: str, order: Order | Pause, now: datetime, end: str, end_text: str) -> ActiveOrder:
    return ActiveOrder(
        text=text,
        reason=order.reason or "",
        by=order.by or "an operator",
        since=order.since,
        ago=words.ago(order.since, now),
        end=end,
        end_text=end_text,
    )
